"""What is said of somebody who was only named: what the directory says of that user decides."""

from __future__ import annotations

from typing import Any

import pytest

from reunite import Principal, Rules, row, user
from reunite.directory import StoredDirectory
from reunite.errors import BadRequestError
from tests.pair.test_directory import directory
from tests.pair.test_rules import Office, office

__all__ = ["directory", "office"]

pytestmark = pytest.mark.hubs("sqlite", "postgresql")

NAMED: list[Any] = ["mia", Principal(user="mia"), Principal(user="mia", tenant="red")]


@pytest.fixture
def house(office: Office, directory: StoredDirectory) -> Office:
    directory.permit("Managers", "task", tenant="red")
    directory.add_filter("Managers", "task", "own", row.owner == user.name, tenant="red")
    directory.add_user("mia", claims={"name": "anna"})
    return office


@pytest.mark.parametrize("who", NAMED, ids=str)
def test_roles_claims_and_filters_of_a_name_are_looked_up(house: Office, who: Any) -> None:
    found = house.hub.explain(who, "task", ("r1",))
    assert (found.user, found.tenant, found.roles) == ("mia", "red", ("Managers",))
    assert (found.is_visible, found.read.because) == (True, "permission")
    assert [reason.holds for reason in found.read.reasons] == [True, True]
    assert not house.hub.explain(who, "task", ("r2",)).is_visible, "bert's"
    task = next(one for one in house.hub.preview(who, {"task": None}) if one.table == "task")
    assert (task.now, task.then) == (1, 1)


def test_who_says_more_than_a_name_is_taken_at_its_word(house: Office) -> None:
    found = house.hub.explain(
        Principal(user="mia", tenant="red", roles=("Managers",)), "task", ("r1",)
    )
    assert not found.is_visible, "a token that was made so has no claim `name`"
    nobody = house.hub.explain("nobody", "task", ("r1",))
    assert (nobody.tenant, nobody.roles, nobody.is_visible) == (None, (), False)
    assert house.hub.explain(Principal(user="mia", tenant="blue"), "task", ("b1",)).roles == ()


def test_a_member_of_several_tenants_is_asked_about_in_one(
    house: Office, directory: StoredDirectory
) -> None:
    directory.add_member("mia", "Analysts", tenant="blue")
    for ask in (
        lambda: house.hub.explain("mia", "task", ("r1",)),
        lambda: house.hub.preview("mia", {"note": Rules()}),
    ):
        with pytest.raises(BadRequestError, match="blue, red") as caught:
            ask()
        assert caught.value.path == "tenant"
    directory.add_member("mia", "Support")
    assert house.hub.explain("mia", "task", ("r1",)).roles == ("Support",), "outside of any"


@pytest.mark.parametrize("of_tenant", [False, True], ids=["user", "tenant"])
def test_who_may_not_come_sees_nothing(
    house: Office, directory: StoredDirectory, of_tenant: bool
) -> None:
    told = Principal(user="mia", tenant="red", roles=("Managers",), claims={"name": "anna"})
    assert house.hub.explain(told, "task", ("r1",)).is_visible
    if of_tenant:
        directory.set_tenant_active("red", False)
    else:
        directory.set_user_active("mia", False)
    for who in (told, Principal(user="mia", tenant="red")):
        found = house.hub.explain(who, "task", ("r1",))
        assert [
            each.because for each in (found.read, found.insert, found.update, found.delete)
        ] == ["inactive"] * 4
        assert not found.is_visible
        with pytest.raises(BadRequestError, match="not active"):
            house.hub.preview(who, {})
