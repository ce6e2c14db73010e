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
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, Unpack, overload

from reunite.core.mapped import MappedTable, check_columns_exist, mapped_tables
from reunite.core.merge import MergeFunction
from reunite.core.policy import Policy
from reunite.core.rules import Rules, asked_by, parse_rules
from reunite.core.schema import Column, ColumnMerge, RowMerge, TableSchema
from reunite.core.withheld import check_key_tells_nothing, withheld_sentence, without_secrets
from reunite.engine.ports import Store
from reunite.engine.tables import Tables
from reunite.errors import (
    BadRequestError,
    CallerError,
    ReuniteError,
    UnknownTableError,
    UntrackableTableError,
)

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
    include: Sequence[str] | None


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

    def _known_rules(self) -> tuple[Mapping[str, TableSchema], Mapping[str, Rules]]:
        """The tracked tables and their rules; none of a database that is no hub's yet."""
        try:
            with self._store.read() as tx:
                return tx.schemas(), parse_rules(tx.rules())
        except (CallerError, UnknownTableError):
            return {}, {}

    def track_found(self, table: str, *, include: Sequence[str] | None = None) -> TableSchema:
        """Track a table that was found, not named: one whose key looks like a secret is refused,
        unless that is included. Raises as `track` does."""
        check_key_tells_nothing(self._reflect(table), include or ())
        return self._track_table(table, include=include)

    def _tells_nothing(self, table: str) -> bool:
        """Whether a table that nobody named may be tracked; why not is in the log."""
        try:
            check_key_tells_nothing(self._reflect(table))
        except UntrackableTableError as exc:
            logger.warning("%s", exc.message)
            return False
        return True

    def withheld(self) -> Mapping[str, Sequence[str]]:
        """The columns of tracked tables that look like secrets and stay at the hub, by table."""
        found = {}
        for name, schema in self._known_rules()[0].items():
            try:
                _, columns = self._without_secrets(self._reflect(name), schema.column_names)
            except (UnknownTableError, UntrackableTableError):
                continue
            if columns:
                found[name] = [column.name for column in columns]
        return found

    def _without_secrets(
        self, schema: TableSchema, named: Collection[str]
    ) -> tuple[TableSchema, Sequence[Column]]:
        def key_of(parent: str) -> Sequence[str]:
            try:
                return self._reflect(parent).key
            except (UnknownTableError, UntrackableTableError):
                return ()

        return without_secrets(schema, named=named, key_of=key_of)

    def _offered(self, schema: TableSchema, options: TrackOptions) -> TableSchema:
        """What is tracked of a table that looks so: without secrets that nobody named. Raises
        BadRequestError for a name or a rule of a column that is not there then."""
        include, rules = options.get("include"), options.get("rules")
        named = {*(include or ()), *(options.get("merge") or ())}
        if unknown := set(include or ()) - schema.column.keys():
            raise BadRequestError(f"The table {schema.name!r} has no column {min(unknown)!r}.")
        named.add((options.get("tenant") or "").partition(".")[0])
        former = self._known_rules()[0].get(schema.name)
        if former is not None and include is None:
            named.update(former.column_names)
        if isinstance(rules, Rules):
            named.update(rules.columns)
        offered, columns = self._without_secrets(schema, named)
        withheld = {column.name for column in columns}
        asked = withheld & asked_by(rules) if isinstance(rules, Rules) else set()
        if asked:
            name = min(asked)
            raise BadRequestError(
                f"A rule of {schema.name!r} asks {name!r}, which looks like a secret and is not "
                f"tracked: name it, include=[{name!r}], and hide it from devices by a rule of "
                f"its own, columns={{{name!r}: Column(read=False, write=False)}}.",
                path="rules",
            )
        if columns and (former is None or not withheld.isdisjoint(former.column_names)):
            logger.warning("%s", withheld_sentence(schema.name, columns))
        return offered

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
        include        columns that sync although they look like secrets (`password_hash`,
                       `api_key`): such columns stay at the hub, with a line in its log, unless
                       `include`, `merge`, a rule of `columns` or `tenant` names them. None keeps
                       what was said before.
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
    merge, include = options.get("merge") or {}, options.get("include")
    unknown = {*merge, *(include or ())} - {name for table in tables for name in table.columns}
    if unknown:
        raise BadRequestError(f"No table of these has a column {min(unknown)!r}.")
    return [
        (
            table,
            {
                **options,
                "merge": {name: merge[name] for name in table.columns if name in merge},
                "include": None
                if include is None
                else [name for name in table.columns if name in include],
            },
        )
        for table in tables
    ]
