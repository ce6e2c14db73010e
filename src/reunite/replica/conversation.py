"""What a replica and its hub say to each other, a question at a time.

The rule: nothing here changes the file. What an answer means for it is `driver`'s and `cloning`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from reunite.core.schema import TableSchema
from reunite.errors import ReuniteError, SchemaChangedError
from reunite.protocol.codec import decode, encode
from reunite.protocol.pack import PageType, decode_page
from reunite.protocol.pull import Page, PullRequest
from reunite.protocol.push import SchemaAnswer
from reunite.protocol.register import RegisterAnswer, RegisterRequest
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.replica.pages import fits, versions
from reunite.replica.reports import OnProgress, SyncProgress
from reunite.replica.state import State
from reunite.replica.transport import Transport

Answer = TypeVar("Answer")

# Attempts of one sync to agree with the hub on who it is before it gives up with the hub's error.
IDENTITY_TRIES_MAX = 5


class Conversation:
    """The questions of one sync over one transport, and how much was heard and tried.

    name        what the hub calls this replica
    page_rows   rows in a page, None for what the hub finds good
    """

    def __init__(
        self,
        transport: Transport,
        *,
        name: str,
        page_rows: int | None,
        on_progress: OnProgress | None,
    ) -> None:
        self.transport = transport
        self._name = name
        self._page_rows = page_rows
        self._on_progress = on_progress
        self._bytes = 0
        self._tries = 0

    def call(self, operation: str, request: object, answer_type: type[Answer]) -> Answer:
        """One question, and its answer."""
        return self.read(self.transport.call(operation, encode(request)), answer_type)

    def read(self, body: bytes, answer_type: type[Answer]) -> Answer:
        """An answer that has arrived."""
        self._bytes += len(body)
        # The transport has bounded the answer: a single row may be larger than any request.
        return decode(body, answer_type, bytes_max=None)

    def read_page(self, body: bytes, page_type: type[PageType]) -> PageType:
        """A page that has arrived, which may be packed."""
        self._bytes += len(body)
        return decode_page(body, page_type)

    def register(self, tables: tuple[str, ...] | None, where: dict[str, Any]) -> RegisterAnswer:
        """Ask for an identity."""
        request = RegisterRequest(
            protocol=PROTOCOL_VERSION, name=self._name, tables=tables, where=where
        )
        return self.call("register", request, RegisterAnswer)

    def pull_request(
        self, state: State, *, wait_s: int | None = None, rows_max: int | None = None
    ) -> PullRequest:
        """The question for the page after the state's cursor; with `wait_s` the hub waits so long
        for news, if there is none."""
        asked = [count for count in (self._page_rows, rows_max) if count is not None]
        return PullRequest(
            protocol=PROTOCOL_VERSION,
            replica=state.replica,
            known=state.known_n,
            known_id=state.known_id,
            cursor=state.cursor,
            tables=state.tables,
            where=state.where,
            limit=min(asked, default=None),
            repaired=state.repaired,
            wait_s=wait_s,
        )

    def ask_page(self, state: State) -> Page:
        """The page after the state's cursor."""
        return self.call("pull", self.pull_request(state), Page)

    def pages_after(self, state: State) -> Iterator[Page]:
        """The pages from the state's cursor on, up to a checkpoint. Nothing is kept of them."""
        while True:
            page = self.ask_page(state)
            yield page
            if page.checkpoint and not page.more:
                return
            state.cursor = page.cursor

    def schemas_for(self, page: Page, state: State) -> tuple[TableSchema, ...] | None:
        """The hub's schemas, if they are others than the file has. Raises SchemaChangedError if
        the hub's tables have other versions by now than the page is written in."""
        if fits(page, state.schemas, state.revision):
            return None
        if state.next_schemas and fits(page, state.next_schemas, state.next_revision):
            return state.next_schemas
        answer = self.call("schema", {}, SchemaAnswer)
        tables = tuple(table for table in answer.tables if table.name in page.schemas)
        if versions(tables) != page.schemas:
            raise SchemaChangedError("The hub's tables changed while they were pulled.")
        return tables

    def try_again(self, error: ReuniteError | None = None) -> None:
        """Count an attempt that came to nothing. Raises the error after too many."""
        self._tries += 1
        if self._tries > IDENTITY_TRIES_MAX:
            raise error or ReuniteError("The hub's schema changes faster than it can be pulled.")

    def tell(self, phase: str, rows: int, total: int | None = None) -> None:
        """Report progress."""
        if self._on_progress is not None:
            self._on_progress(
                SyncProgress(phase=phase, rows=rows, bytes=self._bytes, rows_total=total)
            )


def adopt(state: State, answer: RegisterAnswer) -> None:
    """Be who the hub says."""
    state.replica, state.whose = answer.replica, answer.whose
    state.epoch = answer.epoch
    state.blocks = state.granted = answer.blocks
    state.heard_stamp = max(state.heard_stamp, answer.stamp)
