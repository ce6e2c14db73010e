"""A synchronizer over SQLAlchemy: the application's tables, and a table of diffs beside them.

    position        counts the diffs        logical_clock, utc_timestamp    integers
    id              unique                  type, model, json_data          texts
    owner           text                    row_id                          the row's id, as JSON

The rule         one call is one transaction, and it takes its owner's turn before it reads: by an
                 advisory lock on PostgreSQL, as the one writer on SQLite.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import enum
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from reunite.dropin.columns import python_type
from reunite.dropin.mobync.diff import CREATE, FIELDS, Diff, RowId
from reunite.dropin.mobync.errors import InconsistentDiff
from reunite.dropin.mobync.memory import COMPARISONS
from reunite.dropin.mobync.synchronizer import ReadFilter, Synchronizer
from reunite.errors import BadRequestError, CallerError

if TYPE_CHECKING:
    import sqlalchemy as sa

_POSITION = "position"
_ROW_ID = "row_id"

# What JSON says as text; everything else says itself.
_FROM_TEXT: Mapping[type, Callable[[str], Any]] = {
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
    decimal.Decimal: decimal.Decimal,
    uuid.UUID: uuid.UUID,
    bytes: lambda text: base64.b64decode(text, validate=True),
}


def diffs_table(metadata: sa.MetaData, name: str = "diffs") -> sa.Table:
    """The table of diffs, with its indexes; `metadata.create_all(engine)` makes it."""
    import sqlalchemy as sa

    return sa.Table(
        name,
        metadata,
        sa.Column(
            _POSITION,
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column(Diff.ID, sa.Text, nullable=False, unique=True),
        sa.Column(Diff.OWNER, sa.Text, nullable=False),
        sa.Column(Diff.LOGICAL_CLOCK, sa.BigInteger, nullable=False),
        sa.Column(Diff.UTC_TIMESTAMP, sa.BigInteger, nullable=False),
        sa.Column(Diff.TYPE, sa.Text, nullable=False),
        sa.Column(Diff.MODEL, sa.Text, nullable=False),
        sa.Column(Diff.JSON_DATA, sa.Text, nullable=False),
        sa.Column(_ROW_ID, sa.Text, nullable=False),
        sa.Index(f"{name}_by_clock", Diff.OWNER, Diff.LOGICAL_CLOCK, _POSITION),
        sa.Index(f"{name}_by_row", Diff.MODEL, _ROW_ID, Diff.TYPE, _POSITION),
    )


class SqlSynchronizer(Synchronizer):
    """Rows in the application's own tables, on SQLite or PostgreSQL.

    engine       SQLAlchemy's; other databases than the two are refused
    models       by the name that devices use, a Table or a mapped class whose key is `id`
    diffs        the table of diffs, of `diffs_table`; its name is the `diffs_model_name`

    Everything is allowed that `Mobync` allows; override the validators to allow less. Fields are
    the columns; dates, times, decimals and UUIDs travel as text, bytes as base64.
    """

    def __init__(self, engine: sa.Engine, models: Mapping[str, Any], diffs: sa.Table) -> None:
        if engine.dialect.name not in {"sqlite", "postgresql"}:
            raise CallerError(
                f"SqlSynchronizer knows SQLite and PostgreSQL, not {engine.dialect.name}: write a "
                "Synchronizer with a `lock` of that database."
            )
        self._engine = engine
        self._tables = {name: getattr(model, "__table__", model) for name, model in models.items()}
        for name, table in self._tables.items():
            if [column.name for column in table.primary_key] != ["id"]:
                raise CallerError(f"The key of the model {name!r} is not its column `id`.")
        self.models = tuple(models)
        self._diffs = diffs
        self._tables[diffs.name] = diffs
        self._local = threading.local()
        # SQLite has one writer, and does not care who has waited longest: threads wait here.
        is_alone = engine.dialect.name == "sqlite"
        self._turn: AbstractContextManager[object] = threading.Lock() if is_alone else nullcontext()

    def read(self, where: str, filters: list[ReadFilter]) -> str:
        table = self._tables[where]
        query = table.select()
        for chosen in filters:
            column = table.c[chosen.field_name]
            value = _from_json(column, chosen.data)
            query = query.where(COMPARISONS[chosen.filter_by](column, value))
        if table is self._diffs:
            query = query.order_by(table.c[Diff.LOGICAL_CLOCK], table.c[_POSITION])
        return json.dumps(self._rows(query, table))

    def create(self, where: str, data_json: str) -> None:
        table = self._tables[where]
        data = json.loads(data_json)
        if table is self._diffs:
            data[_ROW_ID] = _row_id(data)
        else:
            _checked_id(table.c.id, data["id"])
        self._run(table.insert().values(_values(table, data)))

    def update(self, where: str, data_json: str) -> None:
        table = self._tables[where]
        data = json.loads(data_json)
        if table is self._diffs and Diff.JSON_DATA in data:
            data[_ROW_ID] = _row_id(data)
        values = _values(table, data)
        row = values.pop("id")
        if values:
            self._run_on(table, data["id"], table.update().where(table.c.id == row).values(values))

    def delete(self, where: str, data_json: str) -> None:
        table = self._tables[where]
        given = json.loads(data_json)["id"]
        row = _from_json(table.c.id, given)
        self._run_on(table, given, table.delete().where(table.c.id == row))

    def _run_on(self, table: sa.Table, given: Any, statement: Any) -> None:
        """Change a row. Raises InconsistentDiff, and the transaction is undone, unless its id is
        written as the row's own. The owner of a row is found by what is written, the row by what
        the database takes for equal."""
        if table is self._diffs:
            self._run(statement)
            return
        _checked_id(table.c.id, given)
        with self._connection() as connection:
            for stored in connection.execute(statement.returning(table.c.id)).scalars().all():
                if _to_json(stored) != given:
                    raise InconsistentDiff(f"The id {given!r} is not written as the row's own.")

    def validate_create(self, owner_id: str, **kwargs: Any) -> bool:
        return True

    def validate_update(self, owner_id: str, **kwargs: Any) -> bool:
        return True

    def validate_delete(self, owner_id: str, **kwargs: Any) -> bool:
        return True

    def fields(self, model: str) -> Mapping[str, bool]:
        """The columns; a create must name those without a default that cannot be NULL."""
        return {column.name: _is_needed(column) for column in self._tables[model].c}

    def last_clock(self, owner_id: str) -> int:
        """The owner's highest clock, -1 without a diff."""
        import sqlalchemy as sa

        log = self._diffs.c
        query = sa.select(sa.func.max(log[Diff.LOGICAL_CLOCK])).where(log[Diff.OWNER] == owner_id)
        with self._connection() as connection:
            found = connection.execute(query).scalar()
        return -1 if found is None else int(found)

    def row_owner(self, model: str, row_id: RowId) -> str | None:
        """Whose diff made the row."""
        import sqlalchemy as sa

        log = self._diffs.c
        query = (
            sa.select(log[Diff.OWNER])
            .where(log[Diff.MODEL] == model, log[_ROW_ID] == json.dumps(row_id))
            .where(log[Diff.TYPE] == CREATE)
            .order_by(log[_POSITION].desc())
            .limit(1)
        )
        with self._connection() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

    def page(self, owner_id: str, clock: int, count: int) -> list[dict[str, Any]]:
        """The owner's diffs from a clock on: `count` and one more, and the rest of its clock."""
        import sqlalchemy as sa

        log = self._diffs.c
        mine = sa.and_(log[Diff.OWNER] == owner_id, log[Diff.LOGICAL_CLOCK] >= clock)
        order = (log[Diff.LOGICAL_CLOCK], log[_POSITION])
        end = sa.select(log[Diff.LOGICAL_CLOCK]).where(mine).order_by(*order).offset(count).limit(1)
        with self._connection() as connection:
            last = connection.execute(end).scalar()
        query = self._diffs.select().where(mine).order_by(*order)
        if last is not None:
            query = query.where(log[Diff.LOGICAL_CLOCK] <= last)
        return self._rows(query, self._diffs)

    @contextmanager
    def lock(self, owner_id: str) -> Iterator[None]:
        """A transaction in which no other call of the owner runs."""
        import sqlalchemy as sa

        with self._turn, self._begun() as connection:
            if self._engine.dialect.name == "postgresql":
                key = sa.func.hashtextextended(owner_id, 0)
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            else:
                # A write that changes nothing: this transaction is the one writer before it reads.
                connection.execute(self._diffs.delete().where(sa.false()))
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction, or the one of `lock` around it."""
        if getattr(self._local, "connection", None) is not None:
            yield
        else:
            with self._begun():
                yield

    @contextmanager
    def _begun(self) -> Iterator[sa.Connection]:
        """A transaction of this thread. Of what was committed, each of its statements sees all."""
        with self._engine.connect() as connection:
            if self._engine.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                self._local.connection = connection
                try:
                    yield connection
                finally:
                    self._local.connection = None

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            yield connection
        else:
            with self._engine.begin() as connection:
                yield connection

    def _run(self, statement: Any) -> None:
        with self._connection() as connection:
            connection.execute(statement)

    def _rows(self, query: Any, table: sa.Table) -> list[dict[str, Any]]:
        names = FIELDS if table is self._diffs else [column.name for column in table.c]
        with self._connection() as connection:
            rows = connection.execute(query).mappings().all()
        return [{name: _to_json(row[table.c[name]]) for name in names} for row in rows]


def _row_id(diff: Mapping[str, Any]) -> str:
    return json.dumps(json.loads(diff[Diff.JSON_DATA])["id"])


def _values(table: sa.Table, data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _from_json(table.c[name], value) for name, value in data.items()}


def _from_json(column: sa.Column[Any], value: Any) -> Any:
    """What the column takes. Raises BadRequestError for text that is no value of its type."""
    if not isinstance(value, str):
        return value
    kind = python_type(column)
    if kind is None:
        return value
    try:
        if issubclass(kind, enum.Enum):
            return kind[value]
        read = _FROM_TEXT.get(kind)
        return value if read is None else read(value)
    except (ValueError, KeyError, ArithmeticError) as exc:
        raise BadRequestError(
            f"Column {column.name!r}: {value!r} is no {kind.__name__}.", path=column.name
        ) from exc


def _checked_id(column: sa.Column[Any], given: Any) -> None:
    """Raise InconsistentDiff for an id that its column would write in another way."""
    value = _from_json(column, given)
    kind = python_type(column) or type(value)
    told = _to_json(value)
    if type(value) is not kind or type(told) is not type(given) or told != given:
        raise InconsistentDiff(f"The id {given!r} is not written as column {column.name!r} does.")


def _to_json(value: Any) -> Any:
    match value:
        case enum.Enum():
            return value.name
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal():
            return format(value, "f")
        case uuid.UUID():
            return str(value)
        case bytes() | memoryview():
            return base64.b64encode(value).decode()
        case _:
            return value


def _is_needed(column: sa.Column[Any]) -> bool:
    has_default = column.default is not None or column.server_default is not None
    return not (column.nullable or has_default or column.primary_key)
