"""A push: items become changes of the hub's, in one transaction, judged as a replica's are.

    read_items ──► hub.push ┬─ request: what is there, what may be, which keys ──► changes
                            ├─ the engine: rights, merge, constraints, the log
                            └─ after: results, versions, counters

What it is       `Whole` over a replica of the hub's that stands for one user in one organization,
                 and is held while its changes are numbered. Items are one group that may be split,
                 so that a bad one is alone; of an atomic request, a group that may not.
What it is not   a merge or a log: the engine decides what becomes of a row, and triggers log it.
The rule         a number of statements that does not depend on the number of items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from reunite.contrib.django.directory import BLIND
from reunite.contrib.django.hubs import DjangoHub
from reunite.contrib.django.models import ModelPermission
from reunite.core.change import Op, OutcomeKind
from reunite.core.grants import FLAGS
from reunite.core.key import Key
from reunite.core.principal import Principal, tenant_text
from reunite.core.schema import TableSchema
from reunite.core.stamp import commit_stamp
from reunite.core.values import Row
from reunite.dropin.sb_sync.asking import Member
from reunite.dropin.sb_sync.describing import Described, FieldError
from reunite.dropin.sb_sync.items import CREATED, DELETED, UPDATED, Item, ItemError, repetitions
from reunite.dropin.sb_sync.pointing import Pointing
from reunite.dropin.sb_sync.versions import version_of
from reunite.engine.changed import with_values
from reunite.engine.forgetting import forget_answers
from reunite.engine.ports import ReplicaRecord, StoredOutcome, UndoneError, WriteTransaction
from reunite.engine.rights import Rights
from reunite.engine.whole import Whole
from reunite.errors import StorageUnavailableError
from reunite.protocol.push import GroupMessage, OutcomeMessage, PushAnswer, PushRequest, Run
from reunite.protocol.version import PROTOCOL_VERSION

# How often a push begins anew because somebody else made a row under one of its keys.
_TRIES_MAX = 5

# Codes of the engine's rejections, as the API names them; all others are about values.
_CODES = {
    "not-allowed": "permission",
    "column-not-allowed": "permission",
    "vetoed": "permission",
    "key-taken": "tenant",
    "row-deleted": "not_found",
    "parent-deleted": "tenant",
}

Bases = Mapping[str, int]


def principal_of(member: Member, *, is_push: bool = False) -> Principal:
    """A member as the hub knows it."""
    user = member.user
    claims: dict[str, Any] = {"pk": user.pk if isinstance(user.pk, int) else str(user.pk)}
    claims |= {"is_superuser": bool(user.is_superuser), "is_staff": bool(user.is_staff)}
    if is_push:
        claims[BLIND] = True
    return Principal(
        user=user.get_username(),
        tenant=member.organization.pk,
        roles=(member.group,),
        claims=claims,
    )


def flags_of(member: Member) -> Callable[[str], Collection[str]]:
    """The flags that a member has for a model: "push", "create" and so on. One query."""
    if member.user.is_superuser:
        return lambda label: FLAGS
    found = ModelPermission.objects.filter(
        organization=member.organization, group__name=member.group
    )
    flags = {
        one.model_name: frozenset(name for name in FLAGS if getattr(one, f"can_{name}"))
        for one in found
    }
    return lambda label: flags.get(label, frozenset())


class _AgainError(Exception):
    """Somebody else made a row under one of the keys: it is to be looked at again."""


def push_items(
    hub: DjangoHub,
    member: Member,
    items: Sequence[Item],
    *,
    is_atomic: bool,
    bases: Callable[[], Bases],
    finish: Callable[[], None],
) -> None:
    """Do what these items want, as far as it can be done; each says then what became of it.

    bases     by model, the snapshot that the member has seen all of
    finish    called in the same transaction, when everything is done

    Raises StorageUnavailableError; then nothing has happened.
    """
    may = flags_of(member)
    checked = [item for item in items if item.failure is None]
    for item in checked:
        if "push" not in may(item.label):
            item.failure = _not_permitted(member, item, "push")
    repeated = repetitions(items)
    again = {item.index for item, _ in repeated}
    items = [item for item in items if item.index not in again]

    def finish_all() -> None:
        for item, earlier in repeated:
            item.repeat(earlier)
        finish()

    if not any(item.failure is None for item in items):
        with hub.database.write():
            finish_all()
        return
    _push(
        _Work(hub, member, items, may, is_atomic=is_atomic, bases=bases, finish=finish_all),
    )


def _push(work: _Work) -> None:
    for _ in range(_TRIES_MAX):
        try:
            work.hub.push(work.nothing(), work.principal, whole=work)
            return
        except _AgainError:
            continue
        except UndoneError as error:
            # What the database undoes whole, as one that refuses at COMMIT, is told in halves.
            parts = work.halves()
            if parts is None:
                work.refuse(error)
                continue
            for part in parts:
                _push(part)
            return
    raise StorageUnavailableError("Others write the same rows: try again.")


def _not_permitted(member: Member, item: Item, what: str) -> ItemError:
    return ItemError(
        "permission",
        f"User {member.user.get_username()} does not have {what} permission for {item.label} in "
        f"{member.organization.name}",
    )


class _Work(Whole):
    """What one push does in its transaction."""

    takes_all = False

    def __init__(
        self,
        hub: DjangoHub,
        member: Member,
        items: Sequence[Item],
        may: Callable[[str], Collection[str]],
        *,
        is_atomic: bool,
        bases: Callable[[], Bases],
        finish: Callable[[], None],
    ) -> None:
        self.principal = principal_of(member, is_push=True)
        self.hub = hub
        self._member = member
        self._items = items
        self._may = may
        self._is_atomic = is_atomic
        self._bases = bases
        self._finish = finish
        self._open = [item for item in items if item.failure is None]
        self._sent: list[Item] = []

    def halves(self) -> Sequence[_Work] | None:
        """Two pushes of half the items each; None for one that cannot be divided."""
        if self._is_atomic or len(self._open) < 2:
            return None
        middle = len(self._open) // 2
        parts = (self._open[:middle], self._open[middle:])
        options: dict[str, Any] = {"is_atomic": False, "bases": self._bases}
        for item in self._open:
            item.begin()
        return [
            _Work(self.hub, self._member, part, self._may, finish=finish, **options)
            for part, finish in zip(parts, (_nothing, self._finish), strict=True)
        ]

    def refuse(self, error: UndoneError) -> None:
        """Nothing of it can be done."""
        for item in self._open:
            item.begin()
            item.failure = _refusal(item, str(error.code), error.message, error.columns)
        self._open = []

    def nothing(self) -> PushRequest:
        """A request without changes, in whose place `request` puts what there is to do."""
        return PushRequest(
            protocol=PROTOCOL_VERSION, epoch="", replica="", known=0, first_n=1, schemas={},
            groups=(),
        )  # fmt: skip

    # -- what there is to do ------------------------------------------------------------------

    def request(self, tx: WriteTransaction, request: PushRequest) -> PushRequest:
        for item in self._open:
            item.begin()
        record = self._record(tx)
        tables = self.hub.tables_at(tx)
        self._access = tables.access(self.principal)
        self._rights = Rights(tx, self._access)
        self._shown = tables.shown_by(self._access)
        self._tables = tables
        self._repeat_known(tx)
        waiting = [item for item in self._open if item.failure is None and not item.action]
        if self._is_atomic and len(self._open) < len(self._items):
            _leave(waiting)
        waiting = self._going(waiting)
        self._place(tx, waiting)
        Pointing(tx, self._member, self._tables, self._rights).check(self._going(waiting))
        self._lease(tx, self._going(waiting), record.id)
        self._sent = self._going(waiting)
        if self._is_atomic and len(self._sent) < len(waiting):
            _leave(self._sent)
            self._sent = []
        runs = tuple(self._runs(tx, record))
        return PushRequest(
            protocol=PROTOCOL_VERSION,
            epoch=tx.head().epoch,
            replica=record.id,
            known=0,
            first_n=record.last_n + 1,
            schemas={run.table: self._shown.schemas[run.table].version for run in runs},
            groups=(GroupMessage(runs=runs, divisible=not self._is_atomic),) if runs else (),
        )

    def _going(self, items: Sequence[Item]) -> list[Item]:
        return [item for item in items if item.failure is None]

    def _record(self, tx: WriteTransaction) -> ReplicaRecord:
        """The replica that stands for the member; from here on nobody else numbers its changes."""
        principal = self.principal
        text = f"sb-sync\x1f{principal.user}\x1f{tenant_text(principal)}"
        replica = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        self._replica = replica
        tx.hold([replica])
        found = tx.replica(replica)
        now_ms = self.hub.now_ms()
        if found is None:
            found = ReplicaRecord(
                id=replica,
                principal=principal.user,
                name=f"API: {principal.user} of {self._member.organization.slug}"[:255],
                last_n=0,
                known_n=0,
                created_ms=now_ms,
                seen_ms=now_ms,
                seen_seq=0,
                tenant=tenant_text(principal),
            )
            tx.add_replica(found)
            tx.hold([replica])
        # It reads nothing, so it holds back no log.
        tx.confirm(replica, known_n=0, seen_seq=tx.head().seq, now_ms=now_ms)
        forget_answers(tx, found, now_ms=now_ms)
        return found

    def _repeat_known(self, tx: WriteTransaction) -> None:
        """Answer again what was answered before."""
        named = {item.change_id: item for item in self._open if item.is_named}
        if not named:
            return
        for id_, stored in tx.outcomes_by_id(list(named)).items():
            _repeat(named[id_], stored)

    def _place(self, tx: WriteTransaction, items: Sequence[Item]) -> None:
        """Find out which rows are there, and so what each item does."""
        for table, of_table in _by_table(items).items():
            model, schema = of_table[0].described, self._tables.schemas[table]
            keys = dict.fromkeys(item.key for item in of_table if item.key is not None)
            rows = dict(tx.rows(table, keys)) if keys else {}
            self._rights.prepare(table, list(rows.values()))
            seen = {key for key, row in rows.items() if self._access.may("read", table, row)}
            bases = self._bases() if rows else {}
            olds = self._olds(tx, table, seen, bases.get(model.label, 0))
            for item in of_table:
                try:
                    self._place_one(item, schema, rows, seen, olds)
                except ItemError as refused:
                    item.failure = refused
                except FieldError as error:
                    item.failure = ItemError("validation", str(error))

    def _place_one(
        self,
        item: Item,
        schema: TableSchema,
        rows: dict[Key, Row],
        seen: set[Key],
        olds: Mapping[Key, Mapping[str, Any]],
    ) -> None:
        """Say what an item does, given the rows that there are once those before it are done."""
        known = self._shown.schemas[schema.name].column
        if not all(column in known for column in item.given):
            raise ItemError("validation", "One of its fields cannot be set.")
        key = item.key
        row = None if key is None else rows.get(key)
        if row is not None and key not in seen:
            is_other = self._is_others(item.described, schema, row)
            raise ItemError("tenant" if is_other else "not_found", _missing(item))
        if row is None:
            if item.is_delete or item.version is not None:
                raise ItemError("not_found", _missing(item))
            self._need(item, "create")
            item.action = CREATED
            self._fill(item, schema)
            if item.key is not None:
                values = {**item.given, schema.key[0]: item.key[0]}
                rows[item.key] = tuple([values.get(name) for name in schema.column_names])
                seen.add(item.key)
            return
        self._need(item, "delete" if item.is_delete else "update")
        item.action = DELETED if item.is_delete else UPDATED
        if item.version is not None and item.version != self._version(schema, row):
            shown = self._shown.schemas[schema.name]
            if {"pull", "read"} <= set(self._may(item.label)):
                item.current = item.described.item_of(schema, shown, row)
            raise ItemError("conflict", f"The row {_shown(item)} has changed since that version.")
        assert key is not None, "a row is found by its key"
        item.was = row
        if item.is_delete:
            del rows[key]
            return
        self._prepare_update(item, schema, row, olds.get(key))
        rows[key] = with_values(schema, row, tuple(item.given), tuple(item.given.values()))

    def _need(self, item: Item, what: str) -> None:
        if what not in self._may(item.label):
            raise _not_permitted(self._member, item, what)

    def _is_others(self, model: Described, schema: TableSchema, row: Row) -> bool:
        if model.organization is None:
            return True
        return bool(row[schema.position[model.organization]] != self.principal.tenant)

    def _olds(
        self, tx: WriteTransaction, table: str, keys: Collection[Key], base: int
    ) -> dict[Key, Mapping[str, Any]]:
        """The rows as they were in the snapshot `base`, of those that have changed since then."""
        found: dict[Key, Mapping[str, Any]] = {}
        if not keys or not base or base < tx.trimmed_id() or base >= tx.mark():
            return found
        for entry in tx.entries(table, keys, after_id=base):
            if entry.key in keys and entry.key not in found:
                old = entry.old if entry.old is not None else ()
                found[entry.key] = dict(zip(entry.old_columns, old, strict=False))
        return found

    def _prepare_update(
        self, item: Item, schema: TableSchema, row: Row, old: Mapping[str, Any] | None
    ) -> None:
        """What the item sets of a row, beside what it replaces."""
        was = list(row)
        for column in item.given:
            if old is not None and column in old:
                was[schema.position[column]] = old[column]
        item.was = tuple(was)
        item.given = {
            column: value
            for column, value in item.given.items()
            if value != was[schema.position[column]]
        }
        if not item.given:
            return
        for field in item.described.clocks:
            wire = field.wire(field.now(), schema.column[field.column].type)
            item.given[field.column] = wire
        if item.described.needs_clean:
            item.described.clean_row(item.python, dict(zip(schema.column_names, row, strict=True)))

    def _fill(self, item: Item, schema: TableSchema) -> None:
        """What a new row has where the item says nothing."""
        model, shown = item.described, self._shown.schemas[schema.name]
        for column in shown.columns:
            if column.name in item.given or column.name in schema.key:
                continue
            if column.name == model.organization:
                item.given[column.name] = self.principal.tenant
                continue
            field = model.by_column[column.name]
            item.given[column.name] = field.wire(field.default(), column.type)
        if model.needs_clean:
            own = () if model.organization is None else ((model.by_column[model.organization].name,
                  self.principal.tenant),)  # fmt: skip
            model.clean_row({**item.python, **dict(own)}, None)
        if item.key is None and not schema.generated_key:
            value = model.key.default()
            item.key = (model.key.wire(value, schema.column[schema.key[0]].type),)

    def _lease(self, tx: WriteTransaction, items: Sequence[Item], replica: str) -> None:
        """Keys for the rows that the database numbers."""
        for table, of_table in _by_table(items).items():
            keyless = [item for item in of_table if item.key is None]
            if keyless:
                leased = tx.lease(table, replica, size=len(keyless))
                if leased is None:
                    raise StorageUnavailableError(f"The table {table!r} has no keys left.")
                for key, item in enumerate(keyless, leased[0]):
                    item.key = (key,)

    # -- changes ------------------------------------------------------------------------------

    def _runs(self, tx: WriteTransaction, record: ReplicaRecord) -> Iterator[Run]:
        """The changes, neighbours of one shape together."""
        mark, stamp = tx.mark(), commit_stamp(self.hub.now_ms())
        shape: Any = None
        of_shape: list[Item] = []
        self._sent = [item for item in self._sent if item.given or item.action != UPDATED]
        for item in self._sent:
            columns = tuple(item.given) if item.action == UPDATED else ()
            found = (item.described.table, item.action, columns)
            if found != shape and of_shape:
                yield self._run(of_shape, mark, record.last_n, stamp)
                of_shape = []
            shape = found
            of_shape.append(item)
        if of_shape:
            yield self._run(of_shape, mark, record.last_n, stamp)

    def _run(self, items: Sequence[Item], mark: int, covered: int, stamp: str) -> Run:
        schema = self._shown.schemas[items[0].described.table]
        whole = self._tables.schemas[schema.name]
        action = items[0].action
        common: dict[str, Any] = {
            "table": schema.name,
            "mark": mark,
            "covered": covered,
            "stamps": (stamp,),
            "ids": tuple(item.change_id for item in items),
        }
        if action == CREATED:
            names = schema.column_names
            (key,) = schema.key
            rows = tuple(
                tuple([item.key[0] if name == key else item.given[name] for name in names])
                for item in items
                if item.key is not None
            )
            return Run(op=Op.INSERT, columns=names, set=rows, **common)
        keys = tuple(item.key for item in items if item.key is not None)
        columns = schema.column_names if action == DELETED else tuple(items[0].given)
        places = [whole.position[name] for name in columns]
        was = tuple(tuple([item.was[place] for place in places]) for item in items if item.was)
        if action == DELETED:
            return Run(op=Op.DELETE, columns=columns, keys=keys, was=was, **common)
        rows = tuple(tuple([item.given[name] for name in columns]) for item in items)
        return Run(op=Op.UPDATE, columns=columns, keys=keys, was=was, set=rows, **common)

    # -- what became of it --------------------------------------------------------------------

    def after(self, tx: WriteTransaction, answer: PushAnswer) -> None:
        settled = answer.last_n - answer.first_n + 1
        if settled < len(self._sent):
            raise _AgainError
        sent = {item.change_id: item for item in self._sent}
        for outcome in answer.outcomes:
            item = sent.get(outcome.id)
            if item is not None:
                _settle(item, outcome)
        self._move_generators(tx)
        self._read_versions(tx)
        self._finish()

    def _move_generators(self, tx: WriteTransaction) -> None:
        """The database's own numbers go on after keys that clients have chosen."""
        for table, items in _by_table(self._sent).items():
            schema = self._tables.schemas[table]
            is_chosen = any(i.action == CREATED and i.wanted_key is not None for i in items)
            if schema.generated_key and is_chosen:
                tx.lease(table, self._replica, size=1)

    def _read_versions(self, tx: WriteTransaction) -> None:
        done = [item for item in self._items if item.failure is None and item.action != DELETED]
        for table, items in _by_table(done).items():
            schema = self._tables.schemas[table]
            rows = tx.rows(table, dict.fromkeys(item.key for item in items if item.key))
            for item in items:
                row = rows.get(item.key) if item.key else None
                item.result_version = None if row is None else self._version(schema, row)

    def _version(self, schema: TableSchema, row: Row) -> int:
        return version_of(self._shown.schemas[schema.name], schema, row)


_NOTHING_STORED = "Nothing of this request was stored, because of another item."


def _nothing() -> None:
    """What is done after the first of two halves."""


def _leave(items: Sequence[Item]) -> None:
    for item in items:
        item.failure = ItemError("validation", _NOTHING_STORED)


def _repeat(item: Item, stored: StoredOutcome) -> None:
    outcome = stored.outcome
    item.action = {Op.INSERT: CREATED, Op.UPDATE: UPDATED, Op.DELETE: DELETED}[stored.op]
    if outcome.kind is OutcomeKind.REJECTED:
        item.failure = _refusal(item, outcome.code, outcome.reason, outcome.columns)
        return
    item.key = outcome.key or stored.key


def _settle(item: Item, outcome: OutcomeMessage) -> None:
    if outcome.kind is OutcomeKind.REJECTED:
        item.failure = _refusal(item, outcome.code, outcome.reason, outcome.columns)
        return
    if outcome.key is not None:
        item.key = tuple(outcome.key)
    is_gone = any(one.column is None and one.result is None for one in outcome.conflicts)
    if is_gone and item.action == UPDATED:
        item.failure = ItemError("not_found", _missing(item))


def _refusal(item: Item, code: str | None, reason: str | None, columns: Sequence[str]) -> ItemError:
    if code == "foreign-key" and item.action == DELETED:
        return ItemError("validation", "Other rows point to this one.")
    if code == "foreign-key":
        return ItemError("tenant", "A row that it points to was not found.")
    if code == "unique":
        names = ", ".join(columns) or "its values"
        return ItemError("validation", f"{names}: Another row has this already.")
    return ItemError(_CODES.get(code or "", "validation"), reason or "The row was refused.")


def _by_table(items: Sequence[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        if item.model is not None:
            found.setdefault(item.model.table, []).append(item)
    return found


def _shown(item: Item) -> str:
    return f"{item.described.key.show(item.key[0]) if item.key else ''}"


def _missing(item: Item) -> str:
    return f"There is no row {_shown(item)}."
