"""What the SQL store asks of a kind of database: the port behind which dialects differ.

    SqlStore, SqlTransaction, Step ──► Dialect ──► tables      statements about tracked rows
                                              ├──► log         which commit holds which change
                                              └──► the rest    reunite's own tables, capture, DDL

What it is       every place where SQLite and PostgreSQL need other words or other steps. SQL that
                 both understand stands in the store itself, once, with `?` or `?1` for parameters.
What it is not   connections and errors: those are a `Database`'s.
The rule         the store never asks which dialect it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from reunite.core.schema import ForeignKey, TableSchema
from reunite.engine.pack import Pack
from reunite.engine.ports import Head

if TYPE_CHECKING:
    from reunite.stores.sql.catalogue import Catalogue
    from reunite.stores.sql.outcomes import PushRecord
    from reunite.stores.sql.ports import Session
    from reunite.stores.sql.tables import TablePlan

# A change as `Log.touched` gives it: seq or None, id, table, key, old key, version of the schema.
TouchRecord = tuple[int | None, int, str, str, str | None, int]


class UniqueTerms(Protocol):
    """A unique index: the columns in it, and the text of its expressions where it has some."""

    @property
    def name(self) -> str: ...

    @property
    def columns(self) -> Sequence[str]:
        """The columns whose values it reads, also inside expressions; perhaps too many."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """What an error says of its terms."""
        ...


class Details(Protocol):
    """What a database knows of a table beyond its schema."""

    @property
    def unique_terms(self) -> Sequence[UniqueTerms]: ...

    @property
    def has_deferred_keys(self) -> bool:
        """Whether a foreign key waits for COMMIT to be checked."""
        ...


class LogWords(msgspec.Struct, frozen=True, kw_only=True):
    """What differs in the statement that reads log entries; `c` is the change.

    entry        the change's columns: id, table_name, key, old_key, op, schema, then its image
    place        its place among marks (`LogEntry.place`)
    in_commit    whether commit `m` holds it
    in_push      whether push `p` made it
    changes      how many changes a commit had when it got its number
    after_keys   where entries of some keys come from, and which of them count; takes
                 `Log.keys_parameters`
    in_range     which entries are those of a range of ids, to which more conditions may be added;
                 takes `Log.range_parameters`, of which the third is a limit
    """

    entry: str
    place: str
    in_commit: str
    in_push: str
    changes: str
    after_keys: tuple[str, str]
    in_range: str


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a log stands: its newest commit, its largest id, what stands for this snapshot among
    marks, and whether anything has no number yet."""

    head: Head
    last_change_id: int
    mark: int
    has_news: bool


class Log(Protocol):
    """How changes, commits and marks hang together."""

    words: LogWords

    def state(self, session: Session) -> LogState:
        """Where the log stands. One read."""
        ...

    def number(self, session: Session, *, now_ms: int, new_nonce: Callable[[], str]) -> Head | None:
        """Number what is visible and has no number, in a write transaction of its own; the head
        then, None if there was nothing."""
        ...

    def lock_numbering(self, session: Session) -> None:
        """Be the only numberer until the transaction ends."""
        ...

    def touched(
        self,
        session: Session,
        *,
        seq: int,
        after_id: int,
        trimmed_seq: int,
        trimmed_id: int,
        limit: int,
        has_news: bool,
    ) -> list[TouchRecord]:
        """The changes after commit `seq` and, in the next one, `after_id`; numbered ones first.
        Without `has_news`, all are."""
        ...

    def fresh(self, session: Session, *, after_id: int) -> list[TouchRecord]:
        """The changes that this transaction has made, with a larger id."""
        ...

    def fresh_run(self, session: Session, *, table: str, after_id: int) -> tuple[int, int, int]:
        """How many of those are inserts into a table, and the first and last id of all of them."""
        ...

    def add_push(self, session: Session, push: PushRecord, *, after_id: int) -> None:
        """Store a push, and that it made the changes of this transaction with a larger id."""
        ...

    def add_runs(
        self, session: Session, record: tuple[Any, ...], runs: Sequence[tuple[int, int]]
    ) -> None:
        """Store the same record for runs of this transaction's changes, first and last ids."""
        ...

    def runs(self, session: Session, *, after_id: int) -> list[tuple[int, int]]:
        """The runs of this transaction that were stored so far, in order."""
        ...

    def blank(self, session: Session, ids: Sequence[int]) -> None:
        """Take the images out of these changes, and mark them as erased."""
        ...

    def add_erased(self, session: Session, rows: Sequence[tuple[str, str, int]]) -> None:
        """Log updates that are erased: table, key and version of the schema of each."""
        ...

    def pushes(self, session: Session, after: int | None) -> tuple[int, dict[str, int]]:
        """A mark among pushes, and the last number of each replica that has pushed since another
        one; none for None."""
        ...

    def keys_parameters(
        self, keys: str, table: str, *, after_id: int, trimmed_seq: int, trimmed_id: int
    ) -> tuple[Any, ...]:
        """`keys` is a JSON array of their texts in the log."""
        ...

    def range_parameters(
        self, *, after_id: int, until_id: int, limit: int, trimmed_seq: int, trimmed_id: int
    ) -> tuple[Any, ...]: ...

    def index(self, session: Session) -> None:
        """Bring the index by key up to date, where it is not the database's own."""
        ...

    def changes_by_table(
        self, session: Session, *, trimmed_seq: int, trimmed_id: int
    ) -> Mapping[str, int]:
        """How many changes of each table are not trimmed."""
        ...

    def trimmed_by(self, session: Session, *, after_seq: int, until_seq: int) -> tuple[int, int]:
        """How many changes the commits in between have, and the place of the last of them."""
        ...

    def sweep(self, session: Session, *, trimmed_seq: int, trimmed_id: int, limit: int) -> int:
        """Remove at most `limit` changes that are trimmed, and what hangs on them; how many."""
        ...


class Dialect(Protocol):
    """A kind of database. Stateless: one object serves all stores of the kind."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """What kind of database it is, for people."""
        ...

    @property
    def log(self) -> Log: ...

    # Words: a join whose left side is read first, the larger of two numbers, the place of a text in
    # another one; what selects from a JSON array of numbers `?1`, and such a number; what has rows
    # that are read wait for others and then be one's own, "" where whoever writes is alone.
    joined: str
    greatest: str
    position: str
    numbers: str
    number: str
    locking: str

    # --- reunite's own tables

    def layout(self) -> Sequence[str]:
        """The statements that make a hub's tables where they are missing."""
        ...

    def missing(self, session: Session, names: Iterable[str]) -> list[str]:
        """Which of these tables and indexes of ours are not there, in the order given."""
        ...

    def lock_layout(self, session: Session) -> None:
        """Be the only one who changes tables, triggers or versions until the transaction ends."""
        ...

    def remove_all(self, session: Session) -> None:
        """Drop everything of ours."""
        ...

    def meta_value(self, value: Any) -> Any:
        """A value as `reunite_meta` keeps it."""
        ...

    def identity(self, session: Session) -> str:
        """What becomes another one when the database is restored into another place, so that
        what the log says of transactions means nothing any more; "" if that cannot happen."""
        ...

    def renew(self, session: Session) -> None:
        """Make the log good again after that; its changes and commits stay."""
        ...

    def sizes(self, session: Session) -> tuple[int | None, int | None]:
        """Bytes of the whole database, and of our tables in it."""
        ...

    def size(self, session: Session) -> int | None:
        """Bytes of the whole database. Cheap."""
        ...

    # --- The user's tables

    def ddl(self, session: Session) -> int | str:
        """Something that changes whenever a table, an index or a trigger does."""
        ...

    def meta(self, session: Session) -> tuple[Iterable[tuple[str, Any]], int | str]:
        """What `reunite_meta` holds, by name, and `ddl`. Many transactions begin with it."""
        ...

    def reflect(self, session: Session, table: str) -> TableSchema:
        """The schema of a table. Raises UnknownTableError, UntrackableTableError."""
        ...

    def all_tables(self, session: Session) -> list[str]:
        """The tables that are not ours."""
        ...

    def trackable_tables(self, session: Session) -> list[str]:
        """The tables with a primary key that are not ours."""
        ...

    def check_trackable(self, session: Session, schema: TableSchema) -> None:
        """Raises UntrackableTableError for a table with a row whose key is NULL, and for one that
        this role may not read or put triggers on."""
        ...

    def details(self, session: Session, table: str) -> Details: ...

    def references(self, session: Session) -> dict[str, list[tuple[str, ForeignKey]]]:
        """By parent table: each table that points to it, and by which foreign key."""
        ...

    def pack(self, session: Session, catalogue: Catalogue) -> Pack | None:
        """See `Transaction.pack`."""
        ...

    def plans(self, session: Session, schemas: Iterable[TableSchema]) -> dict[str, TablePlan]:
        """The plans of tracked tables as they are now."""
        ...

    def former_plan(self, schema: TableSchema) -> TablePlan:
        """A plan that reads what was logged of a former version of a table."""
        ...

    # --- Capture

    def create_triggers(self, session: Session, schema: TableSchema) -> None:
        """Make the triggers of a table, in place of those it has."""
        ...

    def drop_triggers(self, session: Session, table: str) -> None:
        """Take our triggers off a table, if there is one."""
        ...

    def is_captured(self, session: Session, schema: TableSchema) -> bool:
        """Whether a table has the triggers it should have: then nothing has escaped them."""
        ...

    def suspend_capture(self, session: Session, tables: Sequence[str]) -> None:
        """Take all triggers off for a migration, and put witnesses in their place."""
        ...

    def end_suspension(self, session: Session, tables: Sequence[str]) -> set[str]:
        """Take the witnesses off; the tables of which they cannot say that nobody wrote them."""
        ...

    # --- Steps

    def deferred(self, session: Session, catalogue: Catalogue) -> AbstractContextManager[None]:
        """Foreign keys wait for the end of the block. Raises ConstraintError there."""
        ...

    def unchecked(self, session: Session) -> AbstractContextManager[None]:
        """CHECK constraints wait as well, where a database can do that."""
        ...
