"""A pull: for each model that is asked for, what comes after the client's place.

    value ──► place ──► hub.read_on ──► rows, keys that are gone, the next place ──► stamp, cursor
                    ──► list_page, of Django's own models

Models are read children first and given parents first: a row that another one points to is read
later, so it is there.

The rule         the request's values alone decide what comes. What cannot be given says why, and
                 does not keep the others back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from reunite.contrib.django.conf import setting
from reunite.contrib.django.hubs import DjangoHub
from reunite.core.principal import Principal
from reunite.dropin.sb_sync.asking import Member
from reunite.dropin.sb_sync.describing import Described, canonical_label
from reunite.dropin.sb_sync.errors import SyncError
from reunite.dropin.sb_sync.listing import is_offered, list_page
from reunite.dropin.sb_sync.places import (
    Given,
    ListPlace,
    cursor_text,
    iso_text,
    read_place,
    stamp_of,
)
from reunite.dropin.sb_sync.versions import version_of
from reunite.engine.feed import FeedPage, Place
from reunite.hub import SystemClock

BATCH_SIZE = 100
BATCH_SIZE_MAX = 1_000

# Models in one request.
MODELS_MAX = 500

_decode = msgspec.json.Decoder(list[tuple[Any, ...]]).decode


class Pulled:
    """What one model gives."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.rows: list[dict[str, Any]] = []
        self.gone: list[dict[str, Any]] = []
        self.metadata: dict[str, Any] = {"count": 0}
        self.place: Place | ListPlace | None = None
        self.at_ms = 0
        self.mark = 0
        self.has_more = False
        self.given = Given()

    def refuse(self, why: str, code: str) -> None:
        """Say why there is nothing."""
        self.metadata = {"error": why, "code": code, "count": 0}


def wanted_models(body: Mapping[str, Any], defaults: Iterable[str]) -> dict[str, Any]:
    """The values of a request by model; those of all models that there are for none. Raises
    SyncError."""
    models = body.get("models")
    if models is None or models == {} or models == []:
        return dict.fromkeys(defaults)
    if isinstance(models, list):
        models = dict.fromkeys(name for name in models if isinstance(name, str))
    if not isinstance(models, dict):
        raise SyncError("validation", "models: an object of values by model.")
    if len(models) > MODELS_MAX:
        raise SyncError("validation", f"models: at most {MODELS_MAX} of them.", status=413)
    return dict(models)


def batch_size(body: Mapping[str, Any]) -> int:
    """How many rows of a model a request wants at most. Raises SyncError."""
    size = body.get("batch_size", BATCH_SIZE)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= BATCH_SIZE_MAX:
        raise SyncError("validation", f"batch_size: a number from 1 to {BATCH_SIZE_MAX}.")
    return size


def pull_models(
    hub: DjangoHub,
    member: Member,
    principal: Principal,
    wanted: Mapping[str, Any],
    models: Mapping[str, Described],
    flags: Any,
    *,
    size: int,
    with_versions: bool,
    order: Sequence[str],
) -> list[Pulled]:
    """What each of these models gives, parents first.

    wanted   values by model, as the client spells it
    order    the labels of all models, parents first
    """
    found = {name: Pulled(canonical_label(name)) for name in wanted}
    places = {name: place for place, name in enumerate(order)}
    by_order = sorted(found, key=lambda name: places.get(found[name].label, -1))
    for name in by_order:
        found[name].given = read_place(member, found[name].label, wanted[name])
    for name in reversed(by_order):
        _pull_one(
            hub, member, principal, found[name], models, flags, size=size,
            with_versions=with_versions,
        )  # fmt: skip
    return [found[name] for name in by_order]


def _pull_one(
    hub: DjangoHub,
    member: Member,
    principal: Principal,
    pulled: Pulled,
    models: Mapping[str, Described],
    flags: Any,
    *,
    size: int,
    with_versions: bool,
) -> None:
    label = pulled.label
    model = models.get(label)
    is_list = is_offered(label)
    is_given = model is not None and (
        model.tracked.tenant is not None or label in setting("SHARED_MODELS")
    )
    if not (is_list or is_given):
        is_known = canonical_label(label) != label or _is_model(label)
        pulled.refuse(
            f"Model {label} is not enabled for sync operations"
            if is_known
            else f"Model '{label}' not found",
            "not_enabled" if is_known else "not_found",
        )
        return
    if not {"pull", "read"} <= set(flags(label)):
        pulled.refuse(
            f"User {member.user.get_username()} does not have pull permission for {label} in "
            f"{member.organization.name}",
            "permission",
        )
        return
    if model is None:
        _give_list(member, principal, pulled, size=size)
        return
    place = pulled.given.place
    assert not isinstance(place, ListPlace)
    page = hub.read_on(principal, model.table, place, limit=size)
    pulled.rows = _rows(model, page, with_versions=with_versions)
    pulled.gone = [{"_model": label, "id": model.key.show(key[0])} for key in page.gone]
    pulled.place, pulled.at_ms, pulled.mark = page.place, page.at_ms, page.mark
    pulled.has_more = page.has_more
    pulled.metadata = {"count": len(pulled.rows)}
    if page.is_reset and place is not None and not isinstance(place, int):
        pulled.metadata["reset"] = True


def _give_list(member: Member, principal: Principal, pulled: Pulled, *, size: int) -> None:
    page = list_page(member, principal, pulled.label, pulled.given.place, limit=size)
    pulled.rows, pulled.place, pulled.has_more = page.rows, page.place, page.has_more
    pulled.at_ms = SystemClock().now_ms()
    pulled.metadata = {"count": len(page.rows)}
    if page.is_first and pulled.given.place is not None:
        pulled.metadata["reset"] = True
    if page.is_last:
        pulled.metadata["complete"] = True


def note_places(member: Member, pulled: Sequence[Pulled], last: Mapping[str, Any]) -> None:
    """Give each model's next place its stamp and cursor. `last` is, by model, when the member has
    synced it before."""
    for one in pulled:
        if one.place is None:
            continue
        if one.given.stamp is not None and one.given.place == one.place:
            stamp = iso_text(one.given.stamp)
        else:
            stamp = stamp_of(member, one.label, one.place, at_ms=one.at_ms, is_end=not one.has_more)
        before = last.get(one.label)
        one.metadata |= {
            "last_sync": stamp,
            "user_last_sync": None if before is None else iso_text(before),
            "next_cursor": cursor_text(member, one.label, one.place),
            "has_more": one.has_more,
        }


def _rows(model: Described, page: FeedPage, *, with_versions: bool) -> list[dict[str, Any]]:
    rows = _decode(page.rows)
    if not rows:
        return []
    names = [model.shown_name(column) for column in page.schema.column_names]
    columns: list[Sequence[Any]] = [(model.label,) * len(rows)]
    for values, column in zip(zip(*rows, strict=True), page.schema.column_names, strict=True):
        columns.append(model.by_column[column].json_of_all(values))
    names = ["_model", *names]
    found = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if with_versions:
        for one, row in zip(found, rows, strict=True):
            one["_version"] = version_of(page.schema, page.schema, row)
    return found


def _is_model(label: str) -> bool:
    from django.apps import apps

    try:
        apps.get_model(label)
    except (LookupError, ValueError):
        return False
    return True
