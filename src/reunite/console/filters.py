"""Filters: which rows a role's permission for a table is about."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from reunite.console.operations import READ, WRITE, Asked, Desk, Listed, operation
from reunite.console.paging import after_place, part_of
from reunite.console.permissions import NONE_TAG, own_directory, required_match
from reunite.console.problems import changed, missing
from reunite.directory.stored import condition_of
from reunite.engine.directory import NO_TENANT, FilterRecord
from reunite.engine.explain import expression_text
from reunite.engine.ports import Transaction


class FiltersAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which filters; "" is the tenant of those outside of any."""

    tenant: str | None = None
    role: str | None = None
    table: str | None = None


class FilterGiven(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A filter; `condition` is an expression as JSON."""

    role: str
    table: str
    name: str
    condition: dict[str, Any]
    tenant: str = NO_TENANT
    is_active: bool = True


class FilterAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One filter."""

    role: str
    table: str
    name: str
    tenant: str = NO_TENANT


class FilterItem(msgspec.Struct, frozen=True, kw_only=True):
    """A filter, and what it says as one would write it in Python. `url`: where its host changes
    it."""

    tenant: str
    role: str
    table: str
    name: str
    condition: Any
    text: str
    is_active: bool
    etag: str
    url: str | None = None


@operation("GET", "filters", READ, "Which rows permissions are about")
def filters(desk: Desk, given: FiltersAsked) -> Listed[FilterItem]:
    """The filters that are meant."""
    place = after_place(given.after)
    kept: FiltersKept | None = getattr(desk.inside.directory, "filters_kept", None)
    if kept is not None:
        all_of = kept.filters(given.tenant, given.role, given.table)
        items, following = part_of(all_of, given.limit, place)
        return Listed(items=items, next=following)
    asked = {"tenant": given.tenant, "role": given.role, "table_name": given.table}
    where = {name: value for name, value in asked.items() if value is not None}
    with desk.reading() as tx:
        found = tx.records(FilterRecord, **where)
    part, following = part_of(found, given.limit, place)
    return Listed(items=[_item(one) for one in part], next=following)


class FiltersKept(Protocol):
    """The filters, where the host of a hub keeps them."""

    def filters(
        self, tenant: str | None, role: str | None, table: str | None
    ) -> Sequence[FilterItem]:
        """Those of a tenant, a role and a table; of any for None."""


@operation("PUT", "filters", WRITE, "Add a filter, or change it")
def set_filter(desk: Desk, given: FilterGiven) -> FilterItem:
    """Keep a filter that is as the request says, or not there yet."""
    directory, check = own_directory(desk), _unchanged(desk, given)
    with directory.by(desk.user):
        directory.add_filter(
            given.role,
            given.table,
            given.name,
            given.condition,
            tenant=given.tenant,
            is_active=given.is_active,
            check=check,
        )
    with desk.reading() as tx:
        return _item(_records(tx, given)[0])


@operation("DELETE", "filters", WRITE, "Take a filter away: more rows are read then")
def remove_filter(desk: Desk, given: FilterAsked) -> None:
    """Take it away."""
    directory = own_directory(desk)
    check = _unchanged(desk, given)
    with directory.by(desk.user):
        if not directory.remove_filter(
            given.role, given.table, given.name, tenant=given.tenant, check=check
        ):
            raise missing("There is no such filter.")


def _records(tx: Transaction, given: FilterGiven | FilterAsked) -> Sequence[FilterRecord]:
    return tx.records(
        FilterRecord,
        tenant=given.tenant,
        role=given.role,
        table_name=given.table,
        name=given.name,
    )


def _unchanged(desk: Desk, given: FilterGiven | FilterAsked) -> Callable[[Transaction], None]:
    """What refuses a change of a filter that is not as the request says."""
    tag = required_match(desk)

    def check(tx: Transaction) -> None:
        found = _records(tx, given)
        if tag != (_etag(found[0]) if found else NONE_TAG):
            raise changed(
                "Somebody has changed this filter meanwhile: look at what is there now.",
                item=_item(found[0]) if found else None,
            )

    return check


def _item(one: FilterRecord) -> FilterItem:
    return FilterItem(
        tenant=one.tenant,
        role=one.role,
        table=one.table_name,
        name=one.name,
        condition=msgspec.Raw(one.condition.encode()),
        text=expression_text(condition_of(one)),
        is_active=one.is_active,
        etag=_etag(one),
    )


def _etag(one: FilterRecord) -> str:
    return hashlib.sha256(f"{one.is_active}{one.condition}".encode()).hexdigest()[:16]
