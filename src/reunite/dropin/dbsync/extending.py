"""Extensions: virtual fields that travel with a row, such as a file that it names.

    city                      the model's own table
    city_picture_extension    one row for each city that has a `picture`: its key, and the value

    before a message is built     load   ─► side table, which is tracked like any other
    after a message has come      side table ─► all `delete` functions, then all `save` functions

What came and was not handed over yet waits in `reunite_dbsync_arrival`, so what a function fails
at is tried again, also by the next process.

The rule         no function is called inside a transaction of the sync.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Engine,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    Text,
    delete,
    insert,
    select,
    types,
    update,
)
from sqlalchemy.exc import NoInspectionAvailable
from sqlalchemy.inspection import inspect
from sqlalchemy.orm import Mapper, Session

from reunite.core.key import key_text, parse_key
from reunite.dropin.dbsync.codec import (
    key_of,
    name_of,
    object_of,
    plain,
    row_of,
    stored,
    table_of,
)

logger = logging.getLogger("dbsync")


class Extension(NamedTuple):
    """One virtual field of a model; `table` has its values."""

    model: type
    name: str
    load: Callable[[Any], Any]
    save: Callable[[Any, Any], Any]
    delete: Callable[[Any, Any], Any] | None
    table: Table


class ExtensionError(NamedTuple):
    """What a function failed at: `step` is load, save or delete."""

    model: type
    key: Any
    step: str
    field: str
    error: Exception


class Extensions:
    """The extensions of one client or server."""

    def __init__(self) -> None:
        self._metadata = MetaData()
        self._by_model: dict[type, dict[str, Extension]] = {}
        self.arrivals = Table(
            "reunite_dbsync_arrival",
            self._metadata,
            Column("id", Integer, primary_key=True),
            Column("table_name", Text, nullable=False),
            Column("row_key", Text, nullable=False),
            Column("old", Text),
        )
        self.errors: list[ExtensionError] = []

    def extend(
        self,
        model: type,
        fieldname: Any,
        fieldtype: Any,
        loadfn: Callable[[Any], Any],
        savefn: Callable[[Any, Any], Any],
        deletefn: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        """Have a virtual field travel with the rows of a mapped class.

        fieldtype   a type of SQLAlchemy
        loadfn      `loadfn(obj)` gives the value when a message is built; None for none
        savefn      `savefn(obj, value)` is called when a row has come
        deletefn    `deletefn(old_obj, new_obj)` before that, if there was one; new_obj is None for
                    a row that is gone
        """
        assert _is_mapped(model), "model must be a mapped class"
        is_named = isinstance(fieldname, str) and fieldname != ""
        assert is_named, "field name must be a non-empty string"
        known = self._by_model.setdefault(model, {})
        assert fieldname in known or not hasattr(model, fieldname), (
            f"the model {model.__name__} already has the attribute {fieldname}"
        )
        assert callable(loadfn), "load function must be a callable"
        assert callable(savefn), "save function must be a callable"
        assert deletefn is None or callable(deletefn), "delete function must be a callable"
        if fieldname in known:
            table = known[fieldname].table
        else:
            table = self._side_table(table_of(model), fieldname, fieldtype)
        known[fieldname] = Extension(model, fieldname, loadfn, savefn, deletefn, table)

    def _side_table(self, table: Table, name: str, kind: Any) -> Table:
        # A plain BIGINT and not INTEGER: its keys are the model's, never generated.
        key = [
            Column(
                column.name,
                types.BigInteger() if isinstance(column.type, types.Integer) else column.type,
                primary_key=True,
                autoincrement=False,
            )
            for column in table.primary_key
        ]
        return Table(
            f"{table.name}_{name}_extension",
            self._metadata,
            *key,
            Column("value", kind() if isinstance(kind, type) else kind),
            ForeignKeyConstraint(
                [column.name for column in key], list(table.primary_key), ondelete="CASCADE"
            ),
        )

    def of(self, model: type) -> Iterable[Extension]:
        """The extensions of a model."""
        return self._by_model.get(model, {}).values()

    @property
    def models(self) -> dict[str, type]:
        """The model of each table that has to do with extensions: its own and the side tables."""
        found = {name_of(model): model for model in self._by_model}
        found.update(self.side_tables)
        return found

    @property
    def side_tables(self) -> dict[str, type]:
        """The model of each side table."""
        return {str(each.table.name): model for model in self._by_model for each in self.of(model)}

    def create(self, engine: Engine) -> None:
        """Make the tables that are not there."""
        if self._by_model:
            self._metadata.create_all(engine)

    def table(self, name: str) -> Table:
        """A side table by its name."""
        return self._metadata.tables[name]

    def save_extensions(self, obj: Any) -> None:
        """Call every save function of an object with its field's value."""
        for extension in self.of(type(obj)):
            with _Trying(self, extension, obj, "save"):
                extension.save(obj, getattr(obj, extension.name, None))

    # -- before a message is built --------------------------------------------------------------

    def load(self, engine: Engine, rows: Iterable[tuple[type, tuple[Any, ...]]]) -> None:
        """Write what the load functions say of these rows into the side tables, and of those that
        one has failed at before."""
        if not self._by_model:
            return
        with Session(engine, expire_on_commit=False) as session:
            wanted = dict.fromkeys([*rows, *self._failed_loads(session)])
            for model, key in wanted:
                obj: Any = session.get(model, key_of(model, key))
                for extension in self.of(model):
                    if obj is None:
                        session.execute(delete(extension.table).where(_is(extension.table, key)))
                        continue
                    with _Trying(self, extension, obj, "load") as trying:
                        self._put(session, extension, key, extension.load(obj))
                    if trying.has_failed:
                        place = {"table_name": extension.table.name, "row_key": key_text(key)}
                        session.execute(insert(self.arrivals).values(place))
            session.commit()

    def _failed_loads(self, session: Session) -> list[tuple[type, tuple[Any, ...]]]:
        """Takes them from where they are kept: they stand under the side table's name."""
        sides = self.side_tables
        kept = self.arrivals
        found = session.execute(select(kept).where(kept.c.table_name.in_(sides))).all()
        session.execute(delete(kept).where(kept.c.id.in_([row.id for row in found])))
        return [(sides[row.table_name], parse_key(row.row_key)) for row in found]

    def _put(
        self, session: Session, extension: Extension, key: tuple[Any, ...], value: Any
    ) -> None:
        table = extension.table
        found = session.execute(select(table.c.value).where(_is(table, key))).one_or_none()
        if value is None:
            session.execute(delete(table).where(_is(table, key)))
        elif found is None:
            values = {**_named(table, key), "value": value}
            session.execute(insert(table).values(values))
        elif found.value != value:
            session.execute(update(table).where(_is(table, key)).values(value=value))

    # -- after a message has come ----------------------------------------------------------------

    def state_of(self, session: Session, model: type, key: tuple[Any, ...]) -> str | None:
        """A row as it is, with marks of its fields' values; None if it is not there."""
        obj: Any = session.get(model, key_of(model, key))
        if obj is None:
            return None
        fields = {
            extension.name: digest(found.value)
            for extension in self.of(model)
            if (found := self._value(session, extension, key)) is not None
        }
        return json.dumps({"row": row_of(obj), "fields": fields}, sort_keys=True)

    def _value(self, session: Session, extension: Extension, key: tuple[Any, ...]) -> Any:
        table = extension.table
        return session.execute(select(table.c.value).where(_is(table, key))).one_or_none()

    def note(self, session: Session, model: type, key: tuple[Any, ...], old: str | None) -> None:
        """Remember that a row is about to change, or has, and what it was; the first time
        counts."""
        place = {"table_name": name_of(model), "row_key": key_text(key)}
        known = select(self.arrivals.c.id).filter_by(**place)
        if session.execute(known).first() is None:
            session.execute(insert(self.arrivals).values(**place, old=old))

    def note_all(self, engine: Engine, *, besides: Collection[tuple[str, str]] = ()) -> None:
        """Have the save functions called for every row that has a value, also where it is what it
        was, but for those of some tables and keys."""
        with Session(engine) as session:
            for model in self._by_model:
                for extension in self.of(model):
                    columns = list(extension.table.primary_key)
                    for found in session.execute(select(*columns)).all():
                        key = tuple(map(stored, columns, found))
                        if (name_of(model), key_text(key)) not in besides:
                            self._note_again(session, model, key)
            session.commit()

    def _note_again(self, session: Session, model: type, key: tuple[Any, ...]) -> None:
        """Take what is as if it had just come."""
        kept = self.arrivals
        mine = (kept.c.table_name == name_of(model)) & (kept.c.row_key == key_text(key))
        self.note(session, model, key, None)
        as_it_is = self.state_of(session, model, key)
        session.execute(update(kept).where(mine, kept.c.old == as_it_is).values(old=None))

    def hand_over(self, engine: Engine) -> None:
        """Call the functions for what has come: first all that delete, then all that save. What
        one fails at is kept, and tried again when this is called again."""
        if not self._by_model:
            return
        models = {name_of(model): model for model in self._by_model}
        with Session(engine, expire_on_commit=False) as session:
            found = session.execute(select(self.arrivals).order_by(self.arrivals.c.id)).all()
            rows = [row for row in found if row.table_name in models]
            work = [self._work(session, models[row.table_name], row) for row in rows]
            session.expunge_all()
        failed = {
            index
            for step in (self._delete, self._save)
            for index, item in enumerate(work)
            if item is not None and not step(item)
        }
        with Session(engine) as session:
            for index, row in enumerate(rows):
                if index not in failed:
                    session.execute(delete(self.arrivals).where(self.arrivals.c.id == row.id))
            session.commit()

    def _work(self, session: Session, model: type, row: Any) -> _Work | None:
        key = parse_key(row.row_key)
        now = self.state_of(session, model, key)
        if now == row.old:
            return None  # what this side sent came back
        new = session.get(model, key_of(model, key))
        old = None if row.old is None else object_of(model, json.loads(row.old)["row"])
        values = {
            extension.name: found.value
            for extension in self.of(model)
            if (found := self._value(session, extension, key)) is not None
        }
        return _Work(model, old, new, values)

    def _delete(self, work: _Work) -> bool:
        if work.old is None:
            return True
        done = [
            self._try(each, work.old, "delete", each.delete, work.new)
            for each in self.of(work.model)
            if each.delete is not None
        ]
        return all(done)

    def _save(self, work: _Work) -> bool:
        if work.new is None:
            return True
        done = []
        for each in self.of(work.model):
            if each.name in work.values:
                value = work.values[each.name]
                setattr(work.new, each.name, value)
                done.append(self._try(each, work.new, "save", each.save, value))
        return all(done)

    def _try(
        self, extension: Extension, obj: Any, step: str, call: Callable[..., Any], value: Any
    ) -> bool:
        with _Trying(self, extension, obj, step) as trying:
            call(obj, value)
        return not trying.has_failed


class _Work(NamedTuple):
    model: type
    old: Any
    new: Any
    values: dict[str, Any]


class _Trying:
    """Keeps what a function of the program raises, and logs it."""

    def __init__(self, owner: Extensions, extension: Extension, obj: Any, step: str) -> None:
        self._owner, self._extension, self._obj, self._step = owner, extension, obj, step
        self.has_failed = False

    def __enter__(self) -> _Trying:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        self.has_failed = True
        model, name = self._extension.model, self._extension.name
        values: tuple[Any, ...] = tuple(inspect(model).primary_key_from_instance(self._obj))
        key = values[0] if len(values) == 1 else values
        self._owner.errors.append(ExtensionError(model, key, self._step, name, error))
        logger.error(
            "the %s function of %s.%s failed for %r; the next sync tries again",
            self._step, model.__name__, name, key, exc_info=error,
        )  # fmt: skip
        return True


def digest(value: Any) -> str:
    """A mark by which two values of a field are told apart."""
    return hashlib.sha256(repr(plain(value)).encode()).hexdigest()


def _named(table: Table, key: tuple[Any, ...]) -> dict[str, Any]:
    """A key's values by column."""
    names = [column.name for column in table.primary_key]
    return dict(zip(names, key_of(table, key), strict=True))


def _is(table: Table, key: tuple[Any, ...]) -> Any:
    """The condition that means one key of a side table."""
    condition = None
    for name, value in _named(table, key).items():
        each = table.c[name] == value
        condition = each if condition is None else condition & each
    return condition


def _is_mapped(model: Any) -> bool:
    if not isinstance(model, type):
        return False
    try:
        return isinstance(inspect(model), Mapper)
    except NoInspectionAvailable:
        return False
