"""What a program says of the tables that a hub is to offer, by name or by what maps them.

    hub.track("product")                     a table that is there
    hub.track(Product), @hub.track           a mapped class; its table may come later
    hub.track(Base.metadata)                 all of its tables

What it is       the part of the public `Hub` that takes models; `core/mapped.py` reads them.
What it is not   a schema of its own: what a table is, its database says.
The rule         a mapped table that is not there yet is waited for, and looked for each time the
                 hub does something; a name that is not there is an error at once.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar, Unpack, overload

from reunite.core.mapped import MappedTable, check_columns_exist, mapped_tables
from reunite.core.merge import MergeFunction
from reunite.core.policy import Policy
from reunite.core.rules import Rules
from reunite.core.schema import ColumnMerge, RowMerge, TableSchema
from reunite.engine.ports import Store
from reunite.engine.tables import Tables
from reunite.errors import BadRequestError, ReuniteError, UnknownTableError

logger = logging.getLogger("reunite.hub")

Model = TypeVar("Model")


class TrackOptions(TypedDict, total=False):
    """What `Hub.track` takes beside the table."""

    merge: Mapping[str, str | ColumnMerge | MergeFunction] | None
    rows: str | RowMerge
    generated_key: bool | None
    rules: Rules | None
    tenant: str | None
    policy: Policy | None


class Tracking(ABC):
    """The hub's door for models. `Hub` is one."""

    _store: Store
    _declared: Tables

    def __init__(self) -> None:
        self._awaited: dict[str, tuple[MappedTable, TrackOptions]] = {}
        self._catching_up = threading.RLock()
        self._is_catching_up = False

    @abstractmethod
    def _track_table(self, table: str, **options: Unpack[TrackOptions]) -> TableSchema:
        """Track a table that is there. Raises UnknownTableError."""

    @abstractmethod
    def _reflect(self, table: str) -> TableSchema:
        """What a table looks like now. Raises UnknownTableError, UntrackableTableError."""

    @property
    def _tables(self) -> Tables:
        """What is tracked, with the awaited tables that have come."""
        if self._awaited:
            self._catch_up()
        return self._declared

    @overload
    def track(self, table: str, /, **options: Unpack[TrackOptions]) -> TableSchema: ...

    @overload
    def track(self, /, **options: Unpack[TrackOptions]) -> Callable[[type[Model]], type[Model]]: ...

    @overload
    def track(self, model: Model, /, **options: Unpack[TrackOptions]) -> Model: ...

    def track(self, table: Any = None, /, **options: Unpack[TrackOptions]) -> Any:
        """Capture the changes of a table from now on, and offer it to replicas.

            hub.track("product", merge={"stock": "counter"})    # its schema comes back
            hub.track(Product)                                  # what is given comes back,
            hub.track(Base.metadata)

            @hub.track(rows="update_wins")                      # so this decorates a class
            class Product(Base): ...

        table          the name of a table; or a mapped class, a Table or metadata of SQLAlchemy,
                       whose tables may come later (`create_all`): the hub then looks for them
                       whenever it does something. Tables of metadata without a key are left out.
        merge          a policy of design section 10, or a function (base, theirs, mine, context)
                       -> value, for columns that are not `last_writer`
        rows           who wins when one side deletes a row that the other changes
        generated_key  False if the program chooses the table's integer keys itself; then two
                       inserts of one key are merged rather than renumbered
        rules          who may read and write which rows; kept in the database, None keeps them.
                       As soon as one table has some, those without any are closed to everybody.
        tenant         the column that says whose compartment a row is in, "organization" or
                       "project.organization": `rules`, everything if there are none, are about
                       rows of the principal's own; None keeps it
        policy         code that decides beside `rules`; everything if there are none. A process
                       that was not given it serves nothing of the table; None keeps it

        Raises UnknownTableError, UntrackableTableError, BadRequestError (what the columns do not
        have or cannot do; a mapping with columns or a key that the table does not have). Calling
        it again changes the policies. A row with a NULL in its key keeps a table from being
        tracked; one that comes later is left out alone.
        """
        if table is None:
            return lambda model: self.track(model, **options)
        if isinstance(table, str):
            return self._track_table(table, **options)
        for mapped, its_options in _shared_out(mapped_tables(table), options):
            if not self._track_mapped(mapped, its_options):
                # A hub without a table is a hub all the same: it has tokens to give.
                self._store.track([])
                self._awaited[mapped.name] = (mapped, its_options)
        return table

    def _track_mapped(self, mapped: MappedTable, options: TrackOptions) -> bool:
        """Track a table if it is there, under one of its names; whether it was."""
        for name in mapped.names:
            try:
                check_columns_exist(mapped, self._reflect(name))
            except UnknownTableError:
                continue
            self._track_table(name, **options)
            return True
        return False

    def _catch_up(self) -> None:
        """Track the awaited tables that have come."""
        with self._catching_up:
            if self._is_catching_up:
                return
            self._is_catching_up = True
            try:
                for name, (mapped, options) in list(self._awaited.items()):
                    try:
                        if not self._track_mapped(mapped, options):
                            continue
                    except ReuniteError as exc:
                        # Nobody is there to be told but who reads the log.
                        logger.error("the table %r cannot be tracked: %s", name, exc)
                    del self._awaited[name]
            finally:
                self._is_catching_up = False


def _shared_out(
    tables: tuple[MappedTable, ...], options: TrackOptions
) -> list[tuple[MappedTable, TrackOptions]]:
    """Each table with its options: a policy goes to the table that has the column."""
    merge = options.get("merge") or {}
    unknown = set(merge) - {name for table in tables for name in table.columns}
    if unknown:
        raise BadRequestError(f"No table of these has a column {min(unknown)!r}.")
    return [
        (
            table,
            {
                **options,
                "merge": {name: merge[name] for name in table.columns if name in merge},
            },
        )
        for table in tables
    ]
