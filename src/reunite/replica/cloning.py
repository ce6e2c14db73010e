"""The first filling of a file: an identity, the hub's tables, and every row of them.

    register ─► page, page, … checkpoint: indexes and triggers are made, the file is `ready`

The rule: rows go straight into tables that have no triggers yet, each page in a transaction with
its cursor; so a clone that broke off goes on from its last page. A hub that has forgotten the
replica or the log is asked for a new identity and everything anew: nobody has written here yet.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec

from reunite.core.schema import revision_of
from reunite.errors import BadRequestError, ReuniteError, SchemaChangedError
from reunite.protocol.codec import encode
from reunite.protocol.limits import PAGE_ROWS_MAX
from reunite.replica.conversation import Conversation, adopt
from reunite.replica.file import ReplicaFile
from reunite.replica.lost import LOST_IDENTITY
from reunite.replica.pages import LatePage
from reunite.replica.state import State
from reunite.stores.sql.dialects.sqlite_pack import can_pack

# Rows in the first page, so that writing begins early, and how much larger the next one may be.
_FIRST_PAGE_ROWS = 500
_GROWTH = 4


class Cloning:
    """One first clone into one file. The caller holds the file's sync lock."""

    def __init__(self, file: ReplicaFile, hub: Conversation) -> None:
        self._file = file
        self._hub = hub
        self._rows = 0

    def register(
        self, url: str, tables: tuple[str, ...] | None, where: dict[str, Any] | None = None
    ) -> None:
        """Become a replica: an identity, key blocks, tables from the hub's schema."""
        where = where or {}
        answer = self._hub.register(tables, where)
        with self._file.writing() as (connection, state):
            state.url = url
            state.tables, state.where = tables, where
            self._file.create_tables(connection, answer.tables)
            state.schemas = answer.tables
            state.revision = revision_of(answer.tables)
            adopt(state, answer)

    def fill(self) -> None:
        """Read pages until the first checkpoint."""
        while not self._file.state().is_ready:
            try:
                self._read_pages()
            except LOST_IDENTITY as exc:
                self._begin_anew(exc)
            except SchemaChangedError as exc:
                self._hub.try_again(exc)
            except BadRequestError as exc:
                if exc.path != "cursor":
                    raise
                self._begin_anew(exc)

    def _read_pages(self) -> None:
        """One page is fetched ahead while one is written, if the hub is another process."""
        total = None
        rows_max = _FIRST_PAGE_ROWS
        with ThreadPoolExecutor(max_workers=1) as pool:

            def ask(state: State) -> Future[bytes]:
                nonlocal rows_max
                asked = self._hub.pull_request(state, rows_max=rows_max)
                request = encode(msgspec.structs.replace(asked, packed=can_pack()))
                rows_max = min(rows_max * _GROWTH, PAGE_ROWS_MAX)
                if self._hub.transport.is_remote:
                    return pool.submit(self._hub.transport.call, "pull", request)
                answered: Future[bytes] = Future()
                answered.set_result(self._hub.transport.call("pull", request))
                return answered

            state = self._file.state()
            future: Future[bytes] | None = ask(state)
            while future is not None:
                body, future = future.result(), None
                page = self._hub.read_page(body, LatePage)
                if not page.checkpoint:
                    # The next page is asked for before this one is read through.
                    future = ask(msgspec.structs.replace(state, cursor=page.cursor))
                schemas = self._hub.schemas_for(page, state)
                with self._file.writing(pack=page.pack) as (connection, state):
                    self._rows += self._file.write_clone_page(connection, state, page, schemas)
                    state.cursor = page.cursor
                    if page.checkpoint:
                        state.checkpoint = page.cursor
                        state.mark = page.mark or 0
                        self._file.finish_clone(connection, state)
                total = page.progress.rows_total if page.progress else total
                self._hub.tell("clone", self._rows, total)

    def _begin_anew(self, error: ReuniteError) -> None:
        """Another identity, and no cursor: the first page then empties the tables."""
        self._hub.try_again(error)
        state = self._file.state()
        answer = self._hub.register(state.tables, state.where)
        with self._file.writing() as (_, state):
            state.cursor = None
            adopt(state, answer)
