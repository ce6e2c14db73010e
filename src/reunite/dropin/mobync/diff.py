"""Diffs: what a device says it did to one row, checked and parsed.

What it is       mobync's `Diff` and `OperationType`, and `Entry`, a diff that has been parsed.
The rule         the id of a diff names the diff; the id inside `json_data` names the row.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from reunite.core.checks import value_faults
from reunite.core.lens import Lens, backward, forward
from reunite.core.schema import Column, ColumnType
from reunite.dropin.mobync.errors import InconsistentDiff

RowId: TypeAlias = str | int
RowKey: TypeAlias = tuple[str, RowId]

INCONSISTENT = "Tried to instantiate an inconsistent Diff."

_JSON_COLUMN = (Column(name="json_data", type=ColumnType.JSON),)


class OperationType(enum.Enum):
    """What a diff does to its row."""

    create = 0
    update = 1
    delete = 2

    @classmethod
    def validate(cls, operation_type: object) -> bool:
        """Whether this is the name of an operation, as diffs have it."""
        return isinstance(operation_type, str) and operation_type in cls.__members__


CREATE, UPDATE, DELETE = (operation.name for operation in OperationType)


class Diff:
    """The fields of a diff."""

    ID = "id"
    OWNER = "owner"
    LOGICAL_CLOCK = "logical_clock"
    UTC_TIMESTAMP = "utc_timestamp"
    TYPE = "type"
    MODEL = "model"
    JSON_DATA = "json_data"

    @staticmethod
    def validate(data: Any) -> bool:
        """Whether a dictionary, or its JSON text, is a diff whose `json_data` names a row."""
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except (ValueError, RecursionError):
                return False
        try:
            parse(data)
        except InconsistentDiff:
            return False
        return True


FIELDS = (
    Diff.ID,
    Diff.OWNER,
    Diff.LOGICAL_CLOCK,
    Diff.UTC_TIMESTAMP,
    Diff.TYPE,
    Diff.MODEL,
    Diff.JSON_DATA,
)


# In the log's `json_data`: the ids of diffs that were folded into this one.
FOLDED = "mobync_folded"


class Entry(msgspec.Struct, kw_only=True):
    """A parsed diff. `diff` has the seven fields; `values` are those of `json_data` but the id.

    An update without values changes nothing. The log has such entries for diffs of which nothing
    came into effect, so that they are known when they are sent again. For the same reason a diff of
    the log names those that were `folded` into it; no device is told.
    """

    diff: dict[str, Any]
    row: RowId
    values: dict[str, Any]
    folded: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The diff's own id."""
        return str(self.diff[Diff.ID])

    @property
    def type(self) -> str:
        """`create`, `update` or `delete`."""
        return str(self.diff[Diff.TYPE])

    @property
    def clock(self) -> int:
        """The logical clock that it has, or had when it was made."""
        return int(self.diff[Diff.LOGICAL_CLOCK])

    @property
    def key(self) -> RowKey:
        """Which row of which model."""
        return str(self.diff[Diff.MODEL]), self.row

    @property
    def stamp(self) -> str:
        """Text that sorts as `(utc_timestamp, id)` does, whatever number the time is."""
        digits = format(self.diff[Diff.UTC_TIMESTAMP], "x")
        return f"{len(digits):08x}{digits}-{self.id}"

    @property
    def is_silent(self) -> bool:
        """Whether it changes nothing."""
        return self.type == UPDATE and not self.values

    @property
    def logged(self) -> dict[str, Any]:
        """The seven fields as the log keeps them."""
        if not self.folded:
            return self.diff
        data = json_data(self.row, {**self.values, FOLDED: list(self.folded)})
        return self.diff | {Diff.JSON_DATA: data}

    def replaced(self, *, values: Mapping[str, Any], **fields: Any) -> Entry:
        """The same with other values and fields; the text of `json_data` stays if it can."""
        text = json_data(self.row, values)
        if text != json_data(self.row, self.values):  # as text: 1 and true are equal, not the same
            fields[Diff.JSON_DATA] = text
        return Entry(diff=self.diff | fields, row=self.row, values=dict(values))


def json_data(row: RowId, values: Mapping[str, Any] = {}) -> str:
    """The text for the row's id and these values."""
    return json.dumps({"id": row, **values})


def parse(diff: Any) -> Entry:
    """A diff that came from outside. Raises InconsistentDiff."""
    if not isinstance(diff, dict) or not _are_fields_right(diff):
        raise InconsistentDiff(INCONSISTENT)
    try:
        data = msgspec.json.decode(diff[Diff.JSON_DATA])
    except (ValueError, RecursionError) as exc:
        raise InconsistentDiff(INCONSISTENT) from exc
    if not isinstance(data, dict) or are_odd(data):
        raise InconsistentDiff(INCONSISTENT)
    row = data.pop("id", None)
    if not is_row_id(row):
        raise InconsistentDiff(INCONSISTENT)
    return Entry(diff={name: diff[name] for name in FIELDS}, row=row, values=data)


def parse_logged(
    diffs: Sequence[dict[str, Any]], lenses: Mapping[str, Sequence[Lens]]
) -> list[Entry]:
    """Entries of the log in order of their clocks, with today's names of fields.

    What older versions logged without a readable id of a row names no row: it is passed over.
    """
    entries = []
    for diff in sorted(diffs, key=lambda one: int(one[Diff.LOGICAL_CLOCK])):
        try:
            entries.append(as_newest(_unfolded(parse(diff)), lenses))
        except InconsistentDiff:
            continue
    return entries


def _unfolded(entry: Entry) -> Entry:
    """An entry of the log without what no device is told."""
    folded = entry.values.get(FOLDED)
    if not isinstance(folded, list):
        return entry
    values = {field: value for field, value in entry.values.items() if field != FOLDED}
    known = entry.replaced(values=values)
    known.folded = tuple(map(str, folded))
    return known


def as_newest(
    entry: Entry, lenses: Mapping[str, Sequence[Lens]], *, since: int | None = None
) -> Entry:
    """The entry with the names that its model's fields have today."""
    if entry.key[0] not in lenses or entry.type == DELETE:
        return entry
    is_whole = entry.type == CREATE
    known = lenses[entry.key[0]]
    newest = entry.replaced(values=forward(known, entry.values, since=since, is_whole=is_whole))
    newest.folded = entry.folded
    return newest


def as_of(entry: Entry, lenses: Mapping[str, Sequence[Lens]], *, to: int | None) -> Entry:
    """The entry with the names that its model's fields had in version `to`; None: today's."""
    if to is None or entry.key[0] not in lenses or entry.type == DELETE:
        return entry
    is_whole = entry.type == CREATE
    values = backward(lenses[entry.key[0]], entry.values, to=to, is_whole=is_whole)
    return entry.replaced(values=values)


def are_odd(values: Mapping[str, Any]) -> bool:
    """Whether one of the values is none that JSON and all databases can hold."""
    return bool(value_faults(_JSON_COLUMN, ((dict(values),),)))


def is_row_id(row: object) -> bool:
    """Whether this can be the id of a row: a text that is not empty, or an integer."""
    return _is_text(row) or type(row) is int


def _are_fields_right(diff: dict[str, Any]) -> bool:
    if not all(name in diff for name in FIELDS) or not OperationType.validate(diff[Diff.TYPE]):
        return False
    texts = (diff[Diff.ID], diff[Diff.OWNER], diff[Diff.MODEL], diff[Diff.JSON_DATA])
    numbers = (diff[Diff.LOGICAL_CLOCK], diff[Diff.UTC_TIMESTAMP])
    return all(map(_is_text, texts)) and all(type(n) is int and n >= 0 for n in numbers)


def _is_text(value: object) -> bool:
    """Whether it is text that is not empty and that every database can hold as UTF-8."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
