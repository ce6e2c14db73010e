"""Items of a push: what each wants, checked as far as that needs no database.

    {"_model": "myapp.Customer", "id": 7, "name": "…"} ──► Item(key, values in wire form)
                                                      └──► ItemError(code, message)

The rule         an item that is wrong says so for itself; the others go on.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from reunite.core.key import Key
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.dropin.sb_sync.asking import Member
from reunite.dropin.sb_sync.describing import Described, FieldError, canonical_label

_encode = msgspec.json.Encoder().encode

CREATED, UPDATED, DELETED = "created", "updated", "deleted"

# Keys of an item that are no fields.
_OWN_KEYS = frozenset({"_model", "_deleted", "_version", "_uid"})

# Characters of the name of an item's attempt.
UID_LENGTH_MAX = 255


class ItemError(Exception):
    """An item that cannot be taken: `code` and what is said of it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Item:
    """One item of a push, and what becomes of it."""

    __slots__ = (
        "action", "asked", "change_id", "current", "failure", "given", "index", "is_delete",
        "is_named", "key", "label", "model", "python", "result_version", "uid", "version",
        "wanted_key", "was",
    )  # fmt: skip

    def __init__(self, index: int) -> None:
        self.index = index
        self.label = ""
        self.model: Described | None = None
        self.wanted_key: Key | None = None  # the one that it names
        self.asked: dict[str, Any] = {}  # wire values by column
        self.python: dict[str, Any] = {}  # the same as the model has them
        self.is_delete = False
        self.version: Any = None
        self.uid: str | None = None
        self.change_id = ""
        self.is_named = False  # and so its change can be recognised
        self.begin()

    def begin(self) -> None:
        """Nothing has become of it yet."""
        self.failure: ItemError | None = None
        self.key = self.wanted_key
        self.given = dict(self.asked)  # what is written
        self.action = ""
        self.current: dict[str, Any] | None = None  # the row that it conflicts with
        self.was: Row | None = None  # the row as its sender knew it
        self.result_version: int | None = None

    def repeat(self, other: Item) -> None:
        """What became of the other one has become of it."""
        self.failure, self.key, self.action = other.failure, other.key, other.action
        self.current, self.result_version = other.current, other.result_version

    @property
    def described(self) -> Described:
        """Its model; of items that were not refused."""
        assert self.model is not None, "an item that has not failed has a model"
        return self.model


def read_items(
    data: Sequence[Any],
    models: Mapping[str, Described],
    schemas: Mapping[str, TableSchema],
    member: Member,
) -> list[Item]:
    """The items of a push.

    schemas    the tables that the hub offers
    """
    items = []
    labels: dict[str, str] = {}
    for index, given in enumerate(data):
        item = Item(index)
        items.append(item)
        try:
            _read(item, given, models, schemas, member, labels)
        except ItemError as refused:
            item.failure = refused
        except FieldError as error:
            item.failure = ItemError("validation", str(error))
    return items


def _read(
    item: Item,
    given: Any,
    models: Mapping[str, Described],
    schemas: Mapping[str, TableSchema],
    member: Member,
    labels: dict[str, str],
) -> None:
    if not isinstance(given, dict):
        raise ItemError("validation", "An item is an object.")
    label = given.get("_model")
    if not isinstance(label, str) or not label:
        raise ItemError("missing_model", 'The item says no model: "_model": "app.Model".')
    if label not in labels:
        labels[label] = canonical_label(label)
    item.label = label = labels[label]
    model = models.get(label)
    schema = None if model is None else schemas.get(model.table)
    if model is None or schema is None or model.tracked.tenant is None:
        raise ItemError("not_enabled", f"Model {label} is not enabled for sync operations")
    item.model = model
    item.is_delete = _flag(given, "_deleted")
    item.version = given.get("_version")
    uid = given.get("_uid")
    if uid is not None:
        if not isinstance(uid, str | int) or not 0 < len(str(uid)) <= UID_LENGTH_MAX:
            raise ItemError("validation", f"_uid: a text of up to {UID_LENGTH_MAX} characters.")
        item.uid = str(uid)
    item.wanted_key = _key(given, model, schema)
    if item.is_delete and item.wanted_key is None:
        raise ItemError("validation", "id: This field is required to delete a row.")
    takes = model.takes(schema)
    for name, value in given.items():
        if name in takes and not item.is_delete:
            column, take = takes[name]
            item.asked[column] = take(value)
            if model.needs_clean:
                item.python[model.settable[name].name] = model.settable[name].clean(value)
        elif name not in takes and name not in _OWN_KEYS:
            _pass_over(name, value, model, member)


def _flag(given: Mapping[str, Any], name: str) -> bool:
    found = given.get(name, False)
    if not isinstance(found, bool):
        raise ItemError("validation", f"{name}: true or false.")
    return found


def _key(given: Mapping[str, Any], model: Described, schema: TableSchema) -> Key | None:
    name = "id" if model.has_id and "id" in given else model.key.name
    value = given.get(name)
    if value is None:
        return None
    found = model.key.clean(value)
    if found in ("", None):
        raise FieldError(f"{name}: This field cannot be blank.")
    if schema.generated_key and not 0 < found <= schema.generated_key_max // 2:
        raise FieldError(f"{name}: This number is no key that a client may choose.")
    return (model.key.wire(found, schema.column[schema.key[0]].type),)


def _pass_over(name: str, value: Any, model: Described, member: Member) -> None:
    """What sets nothing: the key, and what a pull has given. Raises ItemError for all else."""
    if name == model.key.name or (name == "id" and model.has_id):
        return
    if not _is_own_organization(name, value, model, member) and not model.is_passed_over(name):
        raise ItemError("validation", f"{name}: This field cannot be set.")


def _is_own_organization(name: str, value: Any, model: Described, member: Member) -> bool:
    """Whether an item names the organization that its row has anyhow, as a pull has given it."""
    if model.organization is None:
        return False
    field = model.by_column[model.organization]
    if name not in (field.name, field.field.name):
        return False
    if str(value) != str(member.organization.pk):
        raise ItemError("tenant", f"{name}: The organization of a row cannot be set.")
    return True


def name_changes(items: Sequence[Item], data: Sequence[Any], member: Member, key: str) -> None:
    """Give each item the id of its change. One with a `_uid`, or of a request with an
    Idempotency-Key, has the same when it comes again.

    key    the request's Idempotency-Key, "" for none
    """
    who = f"{member.user.pk}\x1f{member.organization.pk}"
    common = _digest(who, key)[:12] if key else f"{time.time_ns() // 1_000_000:012x}"
    chance = secrets.token_hex(7)
    for item in items:
        if item.uid is not None:
            item.change_id = _digest(who, "uid", item.label, item.uid)
            item.is_named = True
        elif key:
            # Another item under the same key is no repetition.
            content = _encode(data[item.index]).decode("utf-8", "replace")
            item.change_id = common + _digest(who, key, str(item.index), content)[:20]
            item.is_named = True
        else:
            item.change_id = f"{common}{chance}{item.index:06x}"


def repetitions(items: Sequence[Item]) -> list[tuple[Item, Item]]:
    """Items whose `_uid` an earlier one of the same push has, each with that one."""
    first: dict[str, Item] = {}
    named = [item for item in items if item.is_named and item.failure is None]
    found = [(item, first.setdefault(item.change_id, item)) for item in named]
    return [(item, earlier) for item, earlier in found if item is not earlier]


def _digest(*parts: str) -> str:
    text = "\x1f".join(parts).encode("utf-8", "replace")
    return hashlib.blake2b(text, digest_size=16).hexdigest()
