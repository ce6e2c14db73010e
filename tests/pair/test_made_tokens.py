"""Tokens that the hub made for a principal, and what the directory says of its user and tenant."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reunite import Hub, Principal
from reunite.directory import StoredDirectory
from reunite.errors import NotAuthenticatedError
from tests.pair.test_directory import directory
from tests.pair.test_rules import Office, office

__all__ = ["directory", "office"]

pytestmark = pytest.mark.hubs("sqlite", "postgresql")

MIA = Principal(user="mia", tenant="red", roles=("Managers",))


def opens(hub: Hub, token: str) -> bool:
    try:
        hub.authenticate(token)
    except NotAuthenticatedError:
        assert token not in hub.holders([token])
        return False
    return token in hub.holders([token])


@pytest.mark.parametrize(
    "switch",
    [
        lambda directory, on: directory.set_user_active("mia", on),
        lambda directory, on: directory.set_tenant_active("red", on),
    ],
    ids=["user", "tenant"],
)
def test_a_token_rests_while_its_user_or_tenant_is_not_active(
    office: Office,
    directory: StoredDirectory,
    switch: Callable[[StoredDirectory, bool], None],
) -> None:
    others = [office.hub.create_token(Principal(user="max", tenant="blue")),
              office.hub.create_token("owner")]  # fmt: skip
    token = office.hub.create_token(MIA)
    assert opens(office.hub, token)
    switch(directory, False)
    assert not opens(office.hub, token)
    switch(directory, True)
    assert opens(office.hub, token)
    assert all(opens(office.hub, other) for other in others)


def without_red(directory: StoredDirectory) -> None:
    document = directory.export()
    kept = [one for one in document["tenants"] if one["name"] != "red"]
    members = [one for one in document["members"] if one["tenant"] != "red"]
    directory.import_document({**document, "tenants": kept, "members": members})


@pytest.mark.parametrize(
    ("remove", "add"),
    [
        (lambda found: found.remove_user("mia"), lambda found: found.add_user("mia")),
        (lambda found: found.remove_tenant("red"), lambda found: found.add_tenant("red")),
        (without_red, lambda found: found.add_tenant("red")),
    ],
    ids=["user", "tenant", "import"],
)
def test_a_token_is_gone_for_good_when_its_user_or_tenant_is_removed(
    office: Office,
    directory: StoredDirectory,
    remove: Callable[[StoredDirectory], None],
    add: Callable[[StoredDirectory], None],
) -> None:
    token = office.hub.create_token(MIA)
    kept = office.hub.create_token(Principal(user="max", tenant="blue"))
    remove(directory)
    assert not opens(office.hub, token)
    add(directory)
    assert not opens(office.hub, token)
    assert opens(office.hub, kept)


def test_what_a_role_gives_to_a_token_is_its_own(
    office: Office, directory: StoredDirectory
) -> None:
    """It has the roles that it was made with; whoever takes them away revokes it."""
    token = office.hub.create_token(MIA)
    directory.remove_member("mia", tenant="red")
    assert office.hub.authenticate(token).roles == ("Managers",)
