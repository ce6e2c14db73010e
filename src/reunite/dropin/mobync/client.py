"""`MobyncClient`: a device's copy in an SQLite file, edited without a network, synced by one call.

    any program writes ─► triggers note it                               device_file.py
    sync: what was noted of a row becomes one diff ─► POST ─► the answer is applied and the sent
          diffs are forgotten, in one transaction with the clock

The rule         a diff never changes once it may have been sent. What is written while a sync is
                 under way stays on top of the answer, and goes with the next one.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import msgspec

from reunite.core.change import Change, Op
from reunite.core.lens import Lens
from reunite.core.squash import squash
from reunite.dropin.mobync.apply import RESYNC_NEEDED
from reunite.dropin.mobync.device_file import DeviceFile, Noted
from reunite.dropin.mobync.diff import (
    CREATE,
    DELETE,
    UPDATE,
    Diff,
    RowId,
    are_odd,
    is_row_id,
    json_data,
    parse,
)
from reunite.dropin.mobync.errors import (
    InconsistentClock,
    InconsistentDiff,
    MobyncError,
    Unauthorized,
    UnknownField,
    UnknownModel,
)
from reunite.dropin.mobync.judging import conflict
from reunite.errors import CallerError, HubUnreachableError, NotAuthenticatedError

# Takes the body of a request and gives the answer's.
Send: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

TIMEOUT_S = 60.0

# The code of what a device has given up itself, among its conflicts.
DROPPED = "dropped"

_TYPES = {Op.INSERT: CREATE, Op.UPDATE: UPDATE, Op.DELETE: DELETE}
_REFUSALS = {
    refusal.code: refusal
    for refusal in (InconsistentDiff, InconsistentClock, Unauthorized, UnknownModel, UnknownField)
}


class MobyncReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one sync did: diffs sent and received, and what was lost on the way."""

    sent: int
    received: int
    conflicts: tuple[dict[str, Any], ...] = ()


class MobyncClient:
    """A device of one owner.

    path         the SQLite file; made if it is not there
    owner        the owner's id, as the server knows it
    models       by name, the fields beside `id`, or field → SQL type; a table that exists is
                 taken as it is. Columns of type BOOLEAN and JSON hold such values
    url          of the server's endpoint; or `send`, a function that takes the request's body and
                 gives the answer's
    auth_token   what the endpoint is told
    version      of this device's fields, where the server has lenses
    lenses       the same, by model: a file of an earlier version gets the fields of `version`,
                 with its rows and what waits in it. One whose version was never said has the first.
                 Clients of the release before that have the file open raise CallerError from then
                 on; models that are not in `models` follow when a client names them
    limit        about how many diffs come at a time

    Rows are written by the methods here, by `transaction`, or by any other program; their ids
    should be UUIDs, which `create` makes. A context manager; `close` may be called twice.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        owner: str,
        models: Mapping[str, Iterable[str] | Mapping[str, str]],
        url: str | None = None,
        send: Send | None = None,
        auth_token: str = "",
        version: int | None = None,
        limit: int | None = None,
        lenses: Mapping[str, Sequence[Lens]] | None = None,
    ) -> None:
        if lenses is not None and version is None:
            raise CallerError("Say the `version` of this device's fields with `lenses`.")
        if (url is None) == (send is None):
            raise CallerError("Give a `url` or a `send`, and not both.")
        self.owner = owner
        self._send = send if send is not None else _over_http(url or "")
        self._asked = {"auth_token": auth_token, "version": version, "limit": limit}
        self._file = DeviceFile(path, models, lenses=lenses, version=version)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def clock(self) -> int:
        """The clock of the last answer."""
        return self._file.state("clock")

    def create(self, model: str, values: Mapping[str, Any]) -> RowId:
        """Insert a row; its id, which is made if there is none in `values`."""
        values = {"id": str(uuid.uuid4()), **values}
        self._check(model, values)
        with self._file.writing():
            self._file.put(model, values["id"], values)
        row: RowId = values["id"]
        return row

    def update(self, model: str, row: RowId, values: Mapping[str, Any]) -> None:
        """Set fields of a row; nothing happens if it is not there."""
        self._check(model, values)
        with self._file.writing():
            self._file.change(model, row, values)

    def delete(self, model: str, row: RowId) -> None:
        """Delete a row, if it is there."""
        self._check(model, {})
        with self._file.writing():
            self._file.remove(model, row)

    def rows(self, model: str) -> list[dict[str, Any]]:
        """All rows of a model, in the order of their ids."""
        return self._file.rows(model)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """SQL on the file, all of it or nothing."""
        with self._file.writing() as connection:
            yield connection

    def sync(self) -> MobyncReport:
        """Send what was written since, and take what others did.

        Raises HubUnreachableError when the server does not answer, and MobyncError when it refuses;
        nothing is lost then, and the next call sends the same again. A server that does not know
        this device's clock, because it was restored, is read from the beginning.

        A diff that the server refuses for good keeps the others back: the error's `diff_id` says
        which it is, if the server tells, and `drop` gives it up.
        """
        if self._file.is_behind():
            return self._sync(*self._collected(), is_afresh=True)
        try:
            report = self._sync(*self._collected())
        except InconsistentClock as exc:
            if exc.code != RESYNC_NEEDED:
                raise
            return self._sync(*self._collected(), is_afresh=True)
        if self._file.state("dropped"):
            # What waited is merged by what this device knew; only then is that forgotten.
            self._sync([], self.clock, is_afresh=True)
        return report

    def waiting(self) -> list[dict[str, Any]]:
        """The diffs that the server has not answered, in order; those of what was written since
        the last `sync` are made by the next one."""
        with self._file.writing():
            return self._waiting()

    def drop(self, diff_id: str) -> dict[str, Any]:
        """Give up a diff that waits, because the server refuses it; the diff.

        `conflicts` has it then, with the code `dropped` and its values in `lost`. The next `sync`
        reads all of the owner's rows anew, so that its row becomes what the server has; if the
        server had taken the diff, and the answer was lost, it stays taken.

        Raises CallerError if no such diff waits.
        """
        with self._file.writing() as connection:
            gone = "DELETE FROM mobync_diff WHERE id = ? RETURNING diff"
            found = connection.execute(gone, (diff_id,)).fetchall()
            if not found:
                raise CallerError(f"No diff {diff_id!r} waits on this device.")
            entry = parse(json.loads(found[0][0]))
            self._note([conflict(entry, DROPPED, entry.values, None)])
            self._file.set_state("dropped", self._file.state("dropped") + 1)
        return entry.diff

    def conflicts(self) -> list[dict[str, Any]]:
        """What answers have said of losses, oldest first: see `Mobync.apply`."""
        with self._file.writing() as connection:
            found = connection.execute("SELECT conflict FROM mobync_conflict ORDER BY n").fetchall()
        return [json.loads(text) for (text,) in found]

    def forget_conflicts(self) -> None:
        """Forget them all."""
        with self._file.writing() as connection:
            connection.execute("DELETE FROM mobync_conflict")

    def _sync(
        self, diffs: list[dict[str, Any]], started: int, *, is_afresh: bool = False
    ) -> MobyncReport:
        """Send these diffs of a device with this clock; with `is_afresh`, read all rows anew."""
        dropped = self._file.state("dropped") if is_afresh else 0
        answers = [self._ask(0 if is_afresh else started, diffs)]
        while answers[-1].get("has_more"):
            answers.append(self._ask(answers[-1]["logical_clock"], []))
        entries = [parse(diff) for answer in answers for diff in answer["diffs"]]
        conflicts = [one for answer in answers for one in answer.get("conflicts", ())]
        with self._file.applying() as connection:
            # If another process synced this file meanwhile, its answer stands, and ours comes
            # again: with diffs that are known by then.
            if self._file.state("clock") == started:
                if is_afresh:
                    self._file.clear()
                    self._file.apply(map(parse, self._to_send()))
                self._file.apply(entries)
                self._file.apply_again(self._file.noted())
                self._file.set_state("clock", int(answers[-1]["logical_clock"]))
                connection.executemany(
                    "DELETE FROM mobync_diff WHERE id = ?", [(diff[Diff.ID],) for diff in diffs]
                )
                self._note(conflicts)
                self._file.set_state("dropped", self._file.state("dropped") - dropped)
        return MobyncReport(sent=len(diffs), received=len(entries), conflicts=tuple(conflicts))

    def _note(self, conflicts: Iterable[dict[str, Any]]) -> None:
        """Keep conflicts, inside a transaction."""
        self._file.connection.executemany(
            "INSERT INTO mobync_conflict (conflict) VALUES (?)",
            [(json.dumps(one),) for one in conflicts],
        )

    def _collected(self) -> tuple[list[dict[str, Any]], int]:
        """The diffs to be sent, with those of what was written since; and the clock."""
        with self._file.writing() as connection:
            noted = self._file.noted()
            made = [_diff(change, self.owner) for change in squash(_changes(noted))]
            connection.executemany(
                "INSERT INTO mobync_diff (id, diff) VALUES (?, ?)",
                [(diff[Diff.ID], json.dumps(diff)) for diff in made],
            )
            connection.executemany(
                "DELETE FROM mobync_change WHERE n = ?", [(one.n,) for one in noted]
            )
            return self._to_send(), self._file.state("clock")

    def _to_send(self) -> list[dict[str, Any]]:
        """What waits of this client's models; that of others may say another version's names."""
        return [diff for diff in self._waiting() if self._file.has(diff[Diff.MODEL])]

    def _waiting(self) -> list[dict[str, Any]]:
        found = self._file.connection.execute("SELECT diff FROM mobync_diff ORDER BY n").fetchall()
        return [json.loads(text) for (text,) in found]

    def _ask(self, clock: int, diffs: list[dict[str, Any]]) -> dict[str, Any]:
        asked = {name: value for name, value in self._asked.items() if value is not None}
        return self._send({**asked, "logical_clock": clock, "diffs": diffs})

    def _check(self, model: str, values: Mapping[str, Any]) -> None:
        unknown = sorted(values.keys() - {"id", *self._file.fields(model)})
        if unknown:
            raise CallerError(f"The model {model!r} has no field {unknown[0]!r} on this device.")
        if not is_row_id(values.get("id", 0)):
            raise CallerError("A row's id is an integer, or a text that is not empty.")
        if are_odd(values):
            raise CallerError("A value is none that JSON can hold, such as NaN or bytes.")


def _changes(noted: Sequence[Noted]) -> list[Change]:
    """What was noted, as the core has it. What fields were is left out: a value that comes back to
    what it was is still a value that this device set."""
    changes: list[Change] = []

    def add(one: Noted, op: Op, row: RowId, values: Mapping[str, Any]) -> None:
        changes.append(
            Change(
                id=str(uuid.uuid4()),
                n=len(changes),
                table=one.model,
                op=op,
                key=(row,),
                columns=tuple(values),
                set=tuple(values.values()),
                stamp=str(one.at_ms),
            )
        )

    for one in noted:
        before = None if one.old is None else one.old["id"]
        after = None if one.new is None else one.new["id"]
        if before is not None and before == after:
            if one.changed:
                add(one, Op.UPDATE, before, one.changed)
            continue
        if before is not None:
            add(one, Op.DELETE, before, {})
        if one.new is not None and after is not None:
            values = {field: value for field, value in one.new.items() if field != "id"}
            add(one, Op.INSERT, after, values)
    return changes


def _diff(change: Change, owner: str) -> dict[str, Any]:
    values = dict(zip(change.columns, change.set, strict=True)) if change.set else {}
    (row,) = change.key
    assert isinstance(row, str | int)
    return {
        Diff.ID: change.id,
        Diff.OWNER: owner,
        Diff.LOGICAL_CLOCK: 0,
        Diff.UTC_TIMESTAMP: max(int(change.stamp), 0),
        Diff.TYPE: _TYPES[change.op],
        Diff.MODEL: change.table,
        Diff.JSON_DATA: json_data(row, values),
    }


def _over_http(url: str) -> Send:
    """Requests to an endpoint such as `flask_blueprint` makes."""

    def send(body: dict[str, Any]) -> dict[str, Any]:
        import httpx2

        try:
            answer = httpx2.post(url, json=body, timeout=TIMEOUT_S)
        except httpx2.HTTPError as exc:
            raise HubUnreachableError(f"The server does not answer: {exc}.") from exc
        try:
            said = answer.json()
        except ValueError:
            said = None
        if answer.status_code == 200 and isinstance(said, dict) and said.get("success"):
            return said
        if answer.status_code >= 500:
            raise HubUnreachableError("The server failed.", has_answered=True)
        raise _refusal(answer.status_code, said)

    return send


def _refusal(status: int, said: Any) -> Exception:
    """The error that an answer names."""
    if not isinstance(said, dict) or "code" not in said:
        return MobyncError(f"The server refused the sync with status {status}.")
    code, message = said["code"], str(said.get("message", ""))
    if code == NotAuthenticatedError.code:
        return NotAuthenticatedError(message)
    if code == RESYNC_NEEDED:
        return InconsistentClock(message, code=RESYNC_NEEDED)
    refusal = _REFUSALS.get(code, MobyncError)(message)
    refusal.diff_id = str(said["diff"]) if "diff" in said else None
    return refusal
