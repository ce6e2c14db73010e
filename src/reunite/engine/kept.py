"""The part of a transaction that keeps records: of the directory, and of what a hub remembers; and
that forgets what it need not remember.

What it is       protocols that `engine/ports.py` has among its own, with the same promises.
The rule         a store knows of a kind of records what `engine/directory.py` says, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec

Record = TypeVar("Record", bound=msgspec.Struct)

# Records that `record_count` counts at most, if nothing else is said.
COUNTED_MAX = 1_000_000


class ReadsRecords(Protocol):
    """Reads them, in one snapshot."""

    def records(self, kind: type[Record], **where: str | int) -> Sequence[Record]:
        """The records of a kind of `engine/directory.py` whose fields have these values, by key.
        Cost: an index range where the first fields of the key are among them, else all."""
        ...

    def latest(
        self,
        kind: type[Record],
        *,
        limit: int,
        since: str | int | None = None,
        before: str | int | None = None,
        **where: str | int,
    ) -> Sequence[Record]:
        """The newest `limit` records whose fields have these values, newest first, of a kind that
        has an order; from `since` on, and before `before`. Cost: an index range where at most one
        field is asked for and has an index, else what it passes over."""
        ...

    def record_count(
        self,
        kind: type[msgspec.Struct],
        *,
        since: str | int | None = None,
        limit: int = COUNTED_MAX,
        **where: str | int,
    ) -> int:
        """How many records there are whose fields have these values, from `since` on; at most
        `limit`. Cost: an index range of them."""
        ...

    def stamp(self, name: str) -> str:
        """What `keep_stamp` was given last under this name; "" before that. Costs nothing."""
        ...


class WritesRecords(ReadsRecords, Protocol):
    """Changes them, as a part of its transaction."""

    def put_record(self, record: msgspec.Struct) -> None:
        """Keep a record, instead of the one with its key if there is one."""
        ...

    def put_records(self, records: Iterable[msgspec.Struct]) -> None:
        """Do the same with many. A statement for each kind."""
        ...

    def drop_records(
        self,
        kind: type[msgspec.Struct],
        *,
        before: str | int | None = None,
        limit: int | None = None,
        **where: str | int,
    ) -> int:
        """Remove the records whose fields have these values, those before `before` by their order,
        at most `limit` of them, whichever; how many. Cost: as of `latest`."""
        ...

    def forget_outcomes(self, replica_id: str, *, until_n: int, limit: int) -> int:
        """Let outcomes of this replica go, up to that number and the first ones first, at most
        `limit` of the pieces in which they are kept; how many. What was pushed in one transaction
        with a later number stays. Whoever sends such a change again is answered as for a new one:
        only of who is known not to. Cost: an index range of those."""
        ...

    def keep_stamp(self, name: str, text: str) -> None:
        """Keep this text for `stamp`, of this transaction too, and of all that begin later."""
        ...
