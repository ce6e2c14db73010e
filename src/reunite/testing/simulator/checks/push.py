"""What must hold of every push: its answer explains all that it did to the hub's tables.

I1    what is answered `applied` or `merged` is in the tables, merged by its column's policy
I2    what was answered before has no effect again; nothing else changes
I5    a transaction is rejected whole or accepted whole
I10   a value that loses is in a conflict record; a rejection has a reason that is there
keys  a generated key that reunite gives a row was never another one's
reuse a change of a row whose key another row got has no effect on that other row
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import groupby

from reunite.core.change import Op, OutcomeKind
from reunite.protocol.push import OutcomeMessage, PushRequest
from reunite.testing.simulator.book import Book, Captured, InvariantBroken, PushedChange
from reunite.testing.simulator.checks.model import Model, Place, is_contested, merged
from reunite.testing.simulator.tables import (
    CHILDREN,
    FACTS,
    FORBIDDEN,
    Key,
    Scalar,
    Tables,
    differences,
)


class PushCheck:
    """Checks pushes one by one; `moved` are idents that have changed their key at the hub,
    `restored` those that an update has brought back: they count as deleted for whoever has not
    seen that."""

    def __init__(self, book: Book, *, restored: Set[Scalar]) -> None:
        self._book = book
        self._restored = restored
        self.moved: set[Scalar] = set()
        self._keys_given: dict[Place, str] = {}

    def sent(self, change: PushedChange) -> None:
        """I1: a change is sent as it was captured, but for keys that reunite moved."""
        captured = self._book.captured.get(change.id)
        if captured is None:
            raise InvariantBroken("I1", f"Nobody wrote {change}.")
        facts = FACTS[change.table]
        old = None if captured.old is None else facts.as_dict(captured.old)
        row = None if captured.row is None else facts.as_dict(captured.row)
        columns = [
            column
            for column in facts.lasting
            if old is None or row is None or old[column] != row[column]
        ]
        if change.old_key is not None:
            columns = [column for column in columns if column not in facts.key]
        wanted = {} if row is None else {column: row[column] for column in columns}
        was = {} if old is None else {column: old[column] for column in columns}
        sent = {column: change.set[column] for column in facts.lasting if column in change.set}
        seen = {column: change.was[column] for column in facts.lasting if column in change.was}
        if change.old_key is not None:
            sent = {column: value for column, value in sent.items() if column not in facts.key}
            seen = {column: value for column, value in seen.items() if column not in facts.key}
        if (captured.table, wanted, was) != (change.table, sent, seen):
            raise InvariantBroken("I1", f"Captured {captured}, sent {change}.")

    def check_families(
        self, changes: Sequence[PushedChange], hub: Tables, led_astray: Set[Scalar]
    ) -> None:
        """A new child names its parent by the key that the parent is sent with, or has."""
        key_of: dict[Scalar, Key] = {}
        for facts in FACTS.values():
            if facts.generated and CHILDREN[facts.name]:
                key_of.update((facts.at(row, "ident"), key) for key, row in hub[facts.name].items())
        sent = [change for change in changes if change.op is Op.INSERT]
        key_of.update(
            (change.set["ident"], change.key)
            for change in sent
            if FACTS[change.table].generated and CHILDREN[change.table]
        )
        for change in sent:
            parent = FACTS[change.table].parent
            if parent is None or change.set.get("ident") in led_astray:
                continue
            value = change.set.get(parent.column)
            key = key_of.get(change.set.get(parent.ident_column))
            if value is not None and key is not None and key != (value,):
                raise InvariantBroken("parents", f"Its parent has key {list(key)}: {change}")

    def answered(
        self,
        request: PushRequest,
        changes: Sequence[PushedChange],
        fresh: dict[str, OutcomeMessage],
        before: Tables,
        after: Tables,
    ) -> None:
        """A push was answered; `fresh` are the outcomes that are new with it."""
        self._check_groups(changes, fresh)
        self._check_dependents(changes, fresh)
        self._check_given_keys(changes, fresh)
        if not fresh and before != after:
            raise InvariantBroken(
                "I2", f"A push without anything new changed {differences(before, after)}."
            )
        model = Model(before)
        for _, members in groupby(changes, key=lambda change: change.group):
            group = [change for change in members if change.id in fresh]
            self._check_reasons(group, fresh, model)
            accepted = [change for change in group if not _is_rejected(fresh[change.id])]
            self._follow(model, accepted, fresh)
        for line in model.differences(after):
            raise InvariantBroken("I1", f"The push does not explain: {line}")

    # -- outcomes -----------------------------------------------------------------------------

    def _check_groups(
        self, changes: Sequence[PushedChange], fresh: dict[str, OutcomeMessage]
    ) -> None:
        for _, members in groupby(changes, key=lambda change: change.group):
            group = list(members)
            known = [change for change in group if change.id in fresh]
            verdicts = {_is_rejected(fresh[change.id]) for change in known}
            if not group[0].divisible and len(verdicts) > 1:
                raise InvariantBroken("I5", f"Half rejected: {[str(change) for change in group]}")

    def _check_dependents(
        self, changes: Sequence[PushedChange], fresh: dict[str, OutcomeMessage]
    ) -> None:
        """What a program wrote on top of a change falls with it."""
        for change in changes:
            outcome = fresh.get(change.id)
            if outcome is None or _is_rejected(outcome):
                continue
            stands_on = _stands_on(self._book.captured[change.id])
            for uid in self._book.pending_before[change.id]:
                judged = self._book.judged.get(uid)
                if judged is None or not judged.is_rejected:
                    continue
                if not stands_on.isdisjoint(_anchors(self._book.captured[uid])):
                    raise InvariantBroken(
                        "I10", f"Accepted: {change}; it stands on {judged.change}, rejected."
                    )

    def _check_given_keys(
        self, changes: Sequence[PushedChange], fresh: dict[str, OutcomeMessage]
    ) -> None:
        """A key that reunite gives a row has never been another row's."""
        for change in changes:
            outcome = fresh.get(change.id)
            if change.op is not Op.INSERT or not FACTS[change.table].generated:
                continue
            if outcome is None or _is_rejected(outcome):
                continue
            place = (change.table, outcome.key or change.key)
            known = self._keys_given.setdefault(place, change.id)
            is_reunites = self._book.captured[change.id].key != place[1]
            if is_reunites and known != change.id:
                raise InvariantBroken("keys", f"This key was another row's: {change}")

    def _check_reasons(
        self, group: Sequence[PushedChange], fresh: dict[str, OutcomeMessage], model: Model
    ) -> None:
        codes = {fresh[change.id].code for change in group if _is_rejected(fresh[change.id])}
        for code in codes:
            if not self._is_plausible(code, group, model):
                raise InvariantBroken(
                    "I10", f"Rejected as {code} without cause: {[str(c) for c in group]}"
                )

    def _is_plausible(self, code: str | None, group: Sequence[PushedChange], model: Model) -> bool:
        tables = {change.table for change in group}
        match code:
            case "check":
                return any(_has(change, "amount", -1) for change in group)
            case "vetoed":
                return "note" in tables and (
                    any(_has(change, "body", FORBIDDEN) for change in group)
                    or model.has("note", "body", FORBIDDEN)
                )
            case "unique":
                return bool(tables & {"shop", "note"})
            case "key-taken":
                return any(change.old_key is not None for change in group)
            case "parent-deleted":
                return any(self._is_orphan(change, group, model) for change in group)
            case "foreign-key":
                return any(FACTS[table].parent is not None for table in tables)
            case "depends-on-rejected":
                return any(judged.is_rejected for judged in self._book.judged.values())
            case _:
                return False

    def _is_orphan(self, change: PushedChange, group: Sequence[PushedChange], model: Model) -> bool:
        """Whether the change points to a row that is not the one it was born to, or may not be."""
        parent = FACTS[change.table].parent
        if parent is None or change.set.get(parent.column) is None:
            return False
        if any(other.op is Op.DELETE and CHILDREN[other.table] for other in group):
            return True
        born_to = change.set.get(parent.ident_column)
        return born_to in self._restored or born_to not in model.ident(
            parent.table, (change.set[parent.column],)
        )

    # -- effects ------------------------------------------------------------------------------

    def _follow(
        self, model: Model, accepted: Sequence[PushedChange], fresh: dict[str, OutcomeMessage]
    ) -> None:
        """Do to the model what one group does to the hub."""
        first_places = {place for change in accepted for place in _touched(change)}
        start = model.copy_of(first_places)
        born: list[Scalar] = []
        for change in accepted:
            self._follow_one(model, change, fresh[change.id], accepted, born)
        for place, alternative in _squashed(accepted, start):
            if place not in model.unsure:
                model.allow(place, alternative)
        alive = {ident for key in self._keys(accepted) for ident in model.ident("sale", key)}
        for ident in born:
            (code,) = key = _trace_of(ident)
            if ident in alive:
                model.expect("trace", {"code": code, "about": ident})
            else:
                model.unsure.add(("trace", key))

    @staticmethod
    def _keys(accepted: Sequence[PushedChange]) -> list[tuple[Scalar, ...]]:
        return [change.key for change in accepted if change.table == "sale"]

    def _follow_one(
        self,
        model: Model,
        change: PushedChange,
        outcome: OutcomeMessage,
        group: Sequence[PushedChange],
        born: list[Scalar],
    ) -> None:
        table = change.table
        key = change.old_key or change.key
        if (table, key) in model.unsure:
            self._doubt(model, change)
            if change.op is Op.INSERT and table == "sale":
                model.unsure.add(("trace", _trace_of(change.set["ident"])))
            return
        is_alone = len([other for other in group if _touched(other) & _touched(change)]) == 1
        if change.op is Op.INSERT:
            row = model.row(table, outcome.key or change.key)
            if row is not None and is_alone:
                self._check_conflicts(change, outcome, row)
            if not model.insert(change, outcome.key or change.key):
                raise InvariantBroken("I2", f"Two rows became one: {change}")
            if table == "sale":
                born.append(change.set["ident"])
            self._restore_parent(model, change)
            return
        row = model.row(table, key)
        if self._was_set_aside(change):
            self._doubt(model, change)
            return
        if row is None or self._is_another(model, change, outcome):
            if change.op is Op.UPDATE and not _has_row_conflict(outcome):
                raise InvariantBroken("I10", f"Lost without a conflict record: {change}")
            if FACTS[table].update_wins:
                self._doubt(model, change)
            return
        if is_alone:
            self._check_conflicts(change, outcome, row)
        if change.op is Op.UPDATE:
            model.update(change, key)
        elif FACTS[table].update_wins and _has_row_conflict(outcome):
            pass  # the hub's change of the row wins over its deletion
        else:
            model.delete(table, key)
        if FACTS[table].update_wins and not is_alone:
            self._doubt(model, change)

    def _was_set_aside(self, change: PushedChange) -> bool:
        """Whether its program saw the hub's row under a key that a pending row of its own file
        has: a unique value stood in that one's way."""
        captured = self._book.captured[change.id]
        before = [self._book.captured[uid] for uid in self._book.pending_before[change.id]]
        own = [
            other.row
            for other in before
            if other.table == change.table and other.key == captured.key and other.row is not None
        ]
        facts = FACTS[change.table]
        if not own or not facts.has_ident or facts.chosen or change.op is Op.INSERT:
            return False
        return facts.at(own[-1], "ident") != captured.ident

    @staticmethod
    def _doubt(model: Model, change: PushedChange) -> None:
        for place in _touched(change):
            model.doubt(*place)

    @staticmethod
    def _restore_parent(model: Model, change: PushedChange) -> None:
        """A row that is pointed to comes back, where update wins over delete."""
        parent = FACTS[change.table].parent
        if parent is not None and FACTS[parent.table].update_wins:
            key = (change.set.get(parent.column),)
            if key != (None,) and model.row(parent.table, key) is None:
                model.doubt(parent.table, key)

    def _is_another(self, model: Model, change: PushedChange, outcome: OutcomeMessage) -> bool:
        """Whether the row that the replica meant is no longer the one under the key."""
        facts = FACTS[change.table]
        if not facts.has_ident:
            return False
        captured = self._book.captured.get(change.id)
        meant = None if captured is None else captured.ident
        found = model.ident(change.table, change.old_key or change.key)
        if meant in self._restored:
            model.doubt(change.table, change.key)
            return change.op is Op.DELETE or _has_row_conflict(outcome)
        if not facts.chosen:
            return meant not in found
        # Rows of several idents are merged, and some move away and back: the log knows better.
        is_same = meant in found and found.isdisjoint(self.moved)
        if change.op is Op.DELETE:
            if is_same or _has_row_conflict(outcome):
                return False
            row = model.row(change.table, change.key) or {}
            if all(was in row[column] for column, was in change.was.items()):
                model.unsure.add((change.table, change.key))
            return True
        if is_same and _has_row_conflict(outcome):
            raise InvariantBroken("I10", f"Its row is there, and the change is lost: {change}")
        return _has_row_conflict(outcome)

    def _check_conflicts(
        self, change: PushedChange, outcome: OutcomeMessage, row: dict[str, set[Scalar]]
    ) -> None:
        """A value of the hub or of the replica that loses is in a conflict record."""
        recorded = {conflict.column for conflict in outcome.conflicts}
        if change.op is Op.DELETE:
            # What the same group's deletes have set to NULL by a cascade is its own doing.
            parent = FACTS[change.table].parent
            own = parent.column if parent is not None else None
            lost = any(
                row[column] != {was} and not (column == own and row[column] == {None})
                for column, was in change.was.items()
            )
            if lost and all(len(values) == 1 for values in row.values()) and None not in recorded:
                raise InvariantBroken("I10", f"Deleted what it had not seen: {change}, {row}")
            return
        facts = FACTS[change.table]
        for column, wanted in change.set.items():
            policy = facts.merge.get(column, "last_writer")
            if change.op is Op.INSERT:
                contested = [policy != "counter" and hub != wanted for hub in row[column]]
            else:
                was = change.was.get(column)
                contested = [is_contested(policy, hub, was, wanted) for hub in row[column]]
            if column in facts.key:
                continue
            if all(contested):
                if column not in recorded:
                    raise InvariantBroken(
                        "I10", f"No conflict record for {column}: {change}, hub {row[column]}"
                    )
            elif column in recorded and len(row[column]) == 1:
                raise InvariantBroken(
                    "I10", f"A conflict where there is none: {change}, hub {row[column]}"
                )


def _squashed(
    accepted: Sequence[PushedChange], start: dict[Place, dict[str, set[Scalar]] | None]
) -> Iterator[tuple[Place, dict[str, set[Scalar]] | None]]:
    """What rows may also look like if the updates of a row are merged as one (section 9)."""
    by_place: dict[Place, list[PushedChange]] = {}
    for change in accepted:
        by_place.setdefault((change.table, change.old_key or change.key), []).append(change)
    for place, changes in by_place.items():
        row = start.get(place)
        if len(changes) < 2 or row is None or any(change.old_key for change in changes):
            continue
        if all(change.op is Op.UPDATE for change in changes):
            wanted: dict[str, Scalar] = {}
            was: dict[str, Scalar] = {}
            for change in changes:
                wanted |= change.set
                was = change.was | was
            yield place, _merged_once(place[0], row, was, wanted)


def _merged_once(
    table: str, row: dict[str, set[Scalar]], was: dict[str, Scalar], wanted: dict[str, Scalar]
) -> dict[str, set[Scalar]]:
    result = dict(row)
    for column, value in wanted.items():
        policy = FACTS[table].merge.get(column, "last_writer")
        result[column] = set().union(
            *(merged(policy, hub, was.get(column), value) for hub in row[column])
        )
    return result


def _is_rejected(outcome: OutcomeMessage) -> bool:
    return outcome.kind is OutcomeKind.REJECTED


def _has_row_conflict(outcome: OutcomeMessage) -> bool:
    return any(conflict.column is None for conflict in outcome.conflicts)


def _has(change: PushedChange, column: str, value: Scalar) -> bool:
    return column in change.set and change.set[column] == value


def _anchors(captured: Captured) -> set[tuple[str, object]]:
    """The rows that a change is about: by ident where reunite gives other keys, else by key."""
    if FACTS[captured.table].generated:
        return {(captured.table, captured.ident)}
    return {(captured.table, captured.key), (captured.table, captured.old_key or captured.key)}


def _stands_on(captured: Captured) -> set[tuple[str, object]]:
    """Those rows, and the one that it sets a foreign key to."""
    facts, row, old = FACTS[captured.table], captured.row, captured.old
    found = _anchors(captured)
    if facts.parent is not None and row is not None:
        value = facts.at(row, facts.parent.column)
        if value is not None and (old is None or facts.at(old, facts.parent.column) != value):
            is_generated = FACTS[facts.parent.table].generated
            born_to = facts.at(row, facts.parent.ident_column)
            found.add((facts.parent.table, born_to if is_generated else (value,)))
    return found


def _trace_of(ident: Scalar) -> Key:
    """The key of the row that the hub's hook writes for a new sale."""
    return (f"trace of {ident}",)


def _touched(change: PushedChange) -> set[Place]:
    keys = {change.key} if change.old_key is None else {change.key, change.old_key}
    return {(change.table, key) for key in keys}
