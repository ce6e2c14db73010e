"""The SQL store on Django's connections: rows of some models are written through the model.

    apply = "bulk"    the store's own statements, some for each table of a push
    apply = "save"    the model's `full_clean()`, `save()` and `delete()`, row by row, with signals

What it is       `SqlStore`, and of its transactions the step that writes rows.
The rule         a model that refuses a row refuses it as a constraint of the database would: the
                 change is parked, and nothing of its group stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import Error as DjangoError

from reunite.contrib.django.conf import SAVE
from reunite.contrib.django.database import DjangoDatabase
from reunite.contrib.django.discovery import TrackedModel, tracked_models
from reunite.contrib.django.saving import delete_rows, insert_rows, update_rows
from reunite.core.grants import Grants
from reunite.core.principal import Principal
from reunite.core.values import Row
from reunite.engine.ports import Writes
from reunite.errors import ConstraintError
from reunite.stores.sql import SqlStore, following
from reunite.stores.sql.catalogue import Catalogue
from reunite.stores.sql.ports import Session
from reunite.stores.sql.writing import SqlWriteTransaction


class DjangoWriteTransaction(SqlWriteTransaction):
    """A transaction that knows which tables are models'."""

    def __init__(
        self,
        session: Session,
        catalogue: Catalogue,
        meta: Mapping[str, Any],
        *,
        using: str,
        models: Mapping[str, TrackedModel],
        saved: Mapping[str, TrackedModel],
    ) -> None:
        super().__init__(session, catalogue, meta)
        self._using = using
        self._models = models
        self._saved = saved
        self._granted: list[tuple[Principal, Grants]] = []

    def granted(self, principal: Principal, find: Callable[[], Grants]) -> Grants:
        """A principal's grants, found once: a push asks when it reads its items and again when it
        judges their changes, of one moment both times."""
        for known, grants in self._granted:
            if known == principal:
                return grants
        self._granted.append((principal, find()))
        return self._granted[-1][1]

    def defaults(self, table: str) -> Row:
        found = super().defaults(table)
        one = self._models.get(table)
        if one is None:
            return found
        # Django keeps defaults in Python: the column itself has none.
        fields = {field.column: field for field in one.model._meta.local_concrete_fields}
        names = self._catalogue.schemas[table].column_names
        return tuple(
            _default(fields[name]) if value is None and name in fields else value
            for name, value in zip(names, found, strict=True)
        )

    def apply(self, writes: Writes, *, has_way_back: bool = True) -> bool:
        names = {*writes.inserts, *writes.updates, *writes.deletes}
        if names.isdisjoint(self._saved):
            return super().apply(writes, has_way_back=has_way_back)
        self.last_id_before()
        order = self._catalogue.order
        names_in_order = sorted(names, key=lambda name: order[name])
        is_complete = True
        with self.savepoint():
            # Parents first, children gone first, whichever way each of them is written.
            for table in names_in_order:
                part = Writes(
                    inserts={table: writes.inserts.get(table, ())},
                    updates={table: writes.updates.get(table, ())},
                    deletes={},
                )
                is_complete = self._apply_to(table, part) and is_complete
            for table in reversed(names_in_order):
                keys = writes.deletes.get(table, ())
                part = Writes(inserts={}, updates={}, deletes={table: keys})
                is_complete = self._apply_to(table, part) and is_complete
        return is_complete

    def _apply_to(self, table: str, writes: Writes) -> bool:
        """Writes of one table, through its model if that asks for it."""
        one = self._saved.get(table)
        if one is None:
            return super().apply(writes)
        schema, using = self._catalogue.schemas[table], self._using
        try:
            insert_rows(one, schema, writes.inserts.get(table, ()), using=using)
            update_rows(one, schema, writes.updates.get(table, ()), using=using)
            delete_rows(one, schema, writes.deletes.get(table, ()), using=using)
        except ValidationError as error:
            raise _refusal(error, table) from error
        except DjangoError as error:
            raise ConstraintError(
                "The database refused a row of this model.", code="constraint", table=table
            ) from error
        return True


class DjangoStore(SqlStore):
    """The store of one of a project's databases."""

    def __init__(self, database: DjangoDatabase) -> None:
        super().__init__(database)
        models = tracked_models(database.alias)
        saved = {table: one for table, one in models.items() if one.applies == SAVE}
        self.write_transaction = partial(
            DjangoWriteTransaction,
            using=database.alias,
            models=models,
            saved=saved,
        )

    def tracked_names(self) -> list[str]:
        """The tracked tables, as they were when a hub looked last."""
        with self._database.read() as session:
            return [schema.name for schema in following.tracked_schemas(session)]

    def uncaptured(self) -> list[str]:
        """Tracked tables whose triggers are not what they should be."""
        with self._database.read() as session:
            return [
                schema.name
                for schema in following.tracked_schemas(session)
                if not session.dialect.is_captured(session, schema)
            ]


def _default(field: Any) -> Any:
    """What a model gives a field where nothing is said, where that is a plain value."""
    if field.null and not field.has_default():
        return None
    value = field.get_default()
    return value if isinstance(value, str | bool | int | float) else None


def _refusal(error: ValidationError, table: str) -> ConstraintError:
    """A model's refusal as a constraint's: the field, and what the model says of it."""
    if hasattr(error, "error_dict"):
        field, messages = next(iter(error.message_dict.items()))
        columns = () if field == "__all__" else (field,)
        return ConstraintError(" ".join(messages), code="check", table=table, columns=columns)
    return ConstraintError(" ".join(error.messages), code="check", table=table)
