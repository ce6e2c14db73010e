"""`Mobync.apply`: one call in which a device sends its diffs and gets those it lacks.

    checked ─► the owner's turn ─► the log since the device's clock, the rows that diffs name
            ─► may the owner do this ─► judged (judging.py) ─► written (writing.py) ─► answered

The rule         nothing of a call is kept on the object, and nothing is written before all of it
                 has been checked.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from reunite.core.lens import Lens, backward, check_lenses
from reunite.dropin.mobync.answering import answer
from reunite.dropin.mobync.compacting import fold
from reunite.dropin.mobync.diff import (
    CREATE,
    DELETE,
    INCONSISTENT,
    UPDATE,
    Diff,
    Entry,
    RowKey,
    as_newest,
    as_of,
    parse,
)
from reunite.dropin.mobync.errors import (
    InconsistentClock,
    InconsistentDiff,
    MobyncError,
    Unauthorized,
    UnknownField,
    UnknownModel,
    about,
)
from reunite.dropin.mobync.judging import Step, judge
from reunite.dropin.mobync.log import Log, Past, rows_of
from reunite.dropin.mobync.synchronizer import FilterType, ReadFilter, Synchronizer, offered
from reunite.dropin.mobync.writing import Writer, together

UNAUTHORIZED = "Unauthorized action by the business logic."

# The code of an InconsistentClock after which a device starts again at 0.
RESYNC_NEEDED = "resync_needed"

_CLOCK = (
    "Received an inconsistent logical clock from client: Expected and integer >= 0, received {}"
)


class Mobync:
    """Syncs the devices of any number of owners with what a synchronizer stores.

    synchronizer        reads and writes rows and diffs
    diffs_model_name    the name under which the synchronizer knows the table of diffs
    lenses              by model, what became of its fields (`reunite.core.lens`): diffs of devices
                        and of the log that have old names are understood

    One object serves all requests and threads. Calls of one owner take turns where the
    synchronizer offers `lock`; where it does not, all calls on this object do.
    """

    def __init__(
        self,
        synchronizer: Synchronizer,
        diffs_model_name: str = "diffs",
        *,
        lenses: Mapping[str, Sequence[Lens]] | None = None,
    ) -> None:
        if not isinstance(synchronizer, Synchronizer):
            raise Exception(
                "synchronizer should be a subclass of Synchronizer, instead it was "
                f"{type(synchronizer)}"
            )
        self.synchronizer = synchronizer
        self.diffs_model_name = diffs_model_name
        self._lenses = {model: tuple(known) for model, known in (lenses or {}).items()}
        for model, known in self._lenses.items():
            check_lenses(known, path=f"lenses.{model}")
        self._log = Log(synchronizer, diffs_model_name, self._lenses)
        self._turn = threading.Lock()

    def apply(
        self,
        logical_clock: int | str,
        diff_list: list[dict[str, Any]],
        owner_id: str,
        *,
        limit: int | None = None,
        version: int | None = None,
    ) -> dict[str, Any]:
        """Take a device's new diffs and return those it lacks.

        logical_clock  what the device got with its last answer; 0 at first
        diff_list      its new diffs, in order; each gets the `logical_clock` that it has in the log
        limit          return whole clocks up to about this many diffs. If there are more, the
                       answer has `has_more`, and the clock to go on with. Diffs of this very call
                       may come back then; they change nothing
        version        of the device's fields, for models with lenses. Without it, the names in the
                       diffs decide, and the answer has the newest ones

        The result has `success`, `message`, `logical_clock` and `diffs`, to be applied in order;
        and `conflicts` if somebody lost something: each is the diff that lost, with a `code`
        (`overwritten`, `deleted`), its values in `lost`, and what the row has instead in `kept`.

        Raises MobyncError, and what the synchronizer raises; nothing is written then. Sent again, a
        call changes nothing and gets the same answer. Costs the diffs sent and missed, and for each
        diff sent a read by its id and one of its row.
        """
        entries = self._checked(diff_list, owner_id, version)
        clock = _checked_clock(logical_clock)
        if limit is not None and limit < 1:
            raise MobyncError(f"A page has one diff or more, not {limit}.")
        sent = {entry.id: entry for entry in entries}
        with self._owners_turn(owner_id):
            with together(self.synchronizer) as is_atomic:
                past = self._past(owner_id, clock, None if entries else limit)
                known = self._known(entries, owner_id, past)
                new = [entry for entry in entries if entry.id not in known]
                rows = self._rows(entries)
                logged = self._authorize(owner_id, new, rows, past)
                judged = judge(past.entries, sent=sent, new=new, rows=rows, logged=logged)
                highest = past.highest + 1 if new else past.highest
                for step in judged.steps:
                    step.entry.diff[Diff.LOGICAL_CLOCK] = highest
                self._write(judged.steps, rows, is_atomic=is_atomic)
            self._log.note(owner_id, past, highest, [step.entry for step in judged.steps])
        for diff in diff_list:
            diff[Diff.LOGICAL_CLOCK] = known.get(diff[Diff.ID], highest)
        until = _last_of_page(past, sent, limit)
        timeline = [*past.entries, *(step.entry for step in judged.steps)]
        found = answer(timeline, sent=sent, rows=judged.rows, until=until)
        result = {
            "success": True,
            "message": "",
            "logical_clock": (highest if until is None else until) + 1,
            "diffs": [entry.diff for entry in self._of_version(found, version)],
        }
        if judged.conflicts:
            result["conflicts"] = [self._told(one, version) for one in judged.conflicts]
        if until is not None:
            result["has_more"] = True
        return result

    def compact(self, owner_id: str, before_clock: int) -> int:
        """Fold the owner's diffs of clocks before `before_clock`: one stays for each row that is
        there, and one for each deletion. Returns how many went.

        A device behind the fold gets whole rows instead of single changes. The newest hundred diffs
        that went of a row are recognised if a device that did not hear of them sends them again.
        Compact what all devices have read all the same: an edit that a device made before it read
        the fold meets all fields of the row as if they had been set with the last of them. Reads
        the owner's whole log.
        """
        with self._owners_turn(owner_id), together(self.synchronizer) as is_atomic:
            old = [e for e in self._log.since(owner_id, 0) if e.clock < before_clock]
            plan = fold(old)
            writer = Writer(self.synchronizer, self.diffs_model_name, {})
            shortened = {entry.clock for entry in plan.gone}
            writer.keep_order(entry for entry in old if entry.clock in shortened)
            with _undone_on_error(writer, is_atomic=is_atomic):
                for entry in plan.gone:
                    writer.forget(entry)
                for before, after in plan.changed:
                    writer.relog(before, after)
        return len(plan.gone)

    @contextmanager
    def _owners_turn(self, owner: str) -> Iterator[None]:
        lock = offered(self.synchronizer, "lock")
        with self._turn if lock is None else lock(owner):
            yield

    def _checked(
        self, diff_list: list[dict[str, Any]], owner: str, version: int | None
    ) -> list[Entry]:
        """The call's diffs, each once."""
        entries: dict[str, Entry] = {}
        for diff in diff_list:
            with about(_id_of(diff)):
                entry = parse(diff)
                twin = entries.setdefault(entry.id, entry)
                if twin.diff != entry.diff:
                    raise InconsistentDiff(INCONSISTENT)
        models = getattr(self.synchronizer, "models", None)
        for entry in entries.values():
            model = entry.key[0]
            with about(entry.id):
                if entry.diff[Diff.OWNER] != owner or model == self.diffs_model_name:
                    raise Unauthorized(UNAUTHORIZED)
                if models is not None and model not in models:
                    raise UnknownModel(f"No model {model!r} is synchronised.")
        found = [as_newest(entry, self._lenses, since=version) for entry in entries.values()]
        fields = offered(self.synchronizer, "fields")
        if fields is not None:
            for entry in found:
                with about(entry.id):
                    _check_fields(entry, fields(entry.key[0]))
        return found

    def _past(self, owner: str, clock: int, limit: int | None) -> Past:
        past = self._log.past(owner, clock, limit=limit)
        if clock > past.highest + 1:
            raise InconsistentClock(
                f"The clock {clock} was never given out, the next one is {past.highest + 1}: the "
                "device starts again at 0.",
                code=RESYNC_NEEDED,
            )
        return past

    def _known(self, entries: Sequence[Entry], owner: str, past: Past) -> dict[str, int]:
        """By id, the clocks of those diffs that the log has."""
        clocks = {known: entry.clock for entry in past.entries for known in entry.folded}
        clocks |= {entry.id: entry.clock for entry in past.entries}
        known: dict[str, int] = {}
        for entry in entries:
            clock = clocks.get(entry.id)
            if clock is None:
                logged = self._log.with_id(entry.id)
                if logged is None:
                    continue
                if logged[Diff.OWNER] != owner:
                    raise Unauthorized(UNAUTHORIZED)
                clock = int(logged[Diff.LOGICAL_CLOCK])
            known[entry.id] = clock
        return known

    def _rows(self, entries: Sequence[Entry]) -> dict[RowKey, dict[str, Any] | None]:
        """The rows that diffs name, without their ids."""
        rows: dict[RowKey, dict[str, Any] | None] = {}
        for key, entry in {entry.key: entry for entry in reversed(entries)}.items():
            with about(entry.id):
                found = self._read_row(key)
            values = dict(found[0]) if found else None
            if values is not None:
                values.pop("id", None)
            rows[key] = values
        return rows

    def _read_row(self, key: RowKey) -> list[dict[str, Any]]:
        model, row = key
        chosen = [ReadFilter("id", FilterType.equal, row)]
        try:
            return rows_of(self.synchronizer.read(model, chosen))
        except Exception as exc:  # whatever the application's own storage raises
            if getattr(self.synchronizer, "models", None) is not None:
                raise
            # The table of diffs could be read just now, so it is the model that cannot.
            raise UnknownModel(f"No model {model!r} is synchronised.") from exc

    def _authorize(
        self,
        owner: str,
        new: Sequence[Entry],
        rows: dict[RowKey, dict[str, Any] | None],
        past: Past,
    ) -> set[RowKey]:
        """Ask the validators; returns the rows that the log has made. In `rows`, one that somebody
        else made after the owner's was deleted is no row."""
        makers: dict[RowKey, str | None] = {}
        for entry in new:
            key = entry.key
            if key not in makers:
                is_there = rows[key] is not None
                makers[key] = self._log.row_owner(owner, key, past) if is_there else None
            maker = makers[key]
            is_foreign = maker is not None and maker != owner
            if is_foreign and entry.type != CREATE and _has_seen_delete(past, key):
                rows[key] = makers[key] = maker = None
                is_foreign = False
            validator = self._validator(entry)
            accepts, looks = _asks(validator)
            asked = entry.diff | ({"row_owner": maker} if accepts else {})
            with about(entry.id):
                if (is_foreign and not looks) or not validator(owner, **asked):
                    raise Unauthorized(UNAUTHORIZED)
        return {key for key, maker in makers.items() if maker is not None}

    def _validator(self, entry: Entry) -> Callable[..., bool]:
        by_type = {
            CREATE: self.synchronizer.validate_create,
            UPDATE: self.synchronizer.validate_update,
            DELETE: self.synchronizer.validate_delete,
        }
        return by_type[entry.type]

    def _write(
        self,
        steps: Sequence[Step],
        rows: Mapping[RowKey, dict[str, Any] | None],
        *,
        is_atomic: bool,
    ) -> None:
        writer = Writer(self.synchronizer, self.diffs_model_name, rows)
        with _undone_on_error(writer, is_atomic=is_atomic):
            for step in steps:
                with about(step.entry.id):
                    writer.write(step)

    def _of_version(self, entries: Sequence[Entry], version: int | None) -> list[Entry]:
        if version is None:
            return list(entries)
        found = [as_of(entry, self._lenses, to=version) for entry in entries]
        return [entry for entry in found if not entry.is_silent]

    def _told(self, conflict: dict[str, Any], version: int | None) -> dict[str, Any]:
        """A conflict with the names of the device's version."""
        lenses = self._lenses.get(conflict[Diff.MODEL])
        if version is None or lenses is None:
            return conflict
        sides = {side: conflict[side] for side in ("lost", "kept") if conflict[side] is not None}
        return conflict | {
            side: backward(lenses, values, to=version) for side, values in sides.items()
        }


def _id_of(diff: Any) -> object:
    return diff.get(Diff.ID) if isinstance(diff, dict) else None


def _checked_clock(logical_clock: int | str) -> int:
    try:
        clock = int(logical_clock)
    except (TypeError, ValueError) as exc:
        raise InconsistentClock(_CLOCK.format(logical_clock)) from exc
    if clock < 0:
        raise InconsistentClock(_CLOCK.format(logical_clock))
    return clock


def _check_fields(entry: Entry, fields: Mapping[str, bool] | None) -> None:
    """Refuse fields that the model lacks, and creates that lack one that must be there."""
    if fields is None or entry.type == DELETE:
        return
    model = entry.key[0]
    unknown = sorted(entry.values.keys() - fields.keys())
    if unknown:
        raise UnknownField(f"The model {model!r} has no field {unknown[0]!r}.")
    must = {name for name, is_needed in fields.items() if is_needed and name != "id"}
    missing = sorted(must - entry.values.keys())
    if entry.type == CREATE and missing:
        raise UnknownField(f"A new row of {model!r} must have a field {missing[0]!r}.")


def _has_seen_delete(past: Past, key: RowKey) -> bool:
    return any(entry.key == key and entry.type == DELETE for entry in past.entries)


def _asks(validator: Callable[..., bool]) -> tuple[bool, bool]:
    """Whether a validator takes `row_owner`, and whether it looks at it.

    Only one that looks may allow changes of somebody else's row: it names the parameter, or asks
    its keywords for it. One that does not was written without a thought of other owners.
    """
    parameters = inspect.signature(validator).parameters
    if "row_owner" in parameters:
        return True, True
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    code = getattr(inspect.unwrap(validator), "__code__", None)
    return takes_all, takes_all and code is not None and "row_owner" in code.co_consts


def _last_of_page(past: Past, sent: Mapping[str, Entry], limit: int | None) -> int | None:
    """The clock at which a page of about `limit` missed diffs ends, if there are more."""
    missed = [entry.clock for entry in past.entries if entry.id not in sent]
    if limit is None or len(missed) < limit:
        return None
    # A call that sends nothing may have read no more than its page.
    end = missed[-1] if sent else past.highest
    return missed[limit - 1] if end > missed[limit - 1] else None


@contextmanager
def _undone_on_error(writer: Writer, *, is_atomic: bool) -> Iterator[None]:
    try:
        yield
    except BaseException as exc:
        if not is_atomic:
            writer.undo(exc)
        raise
