"""Log-ins at the hub's own door, on every database."""

from __future__ import annotations

import pytest

from reunite.errors import NotAuthenticatedError
from reunite.protocol.codec import decode, encode
from reunite.protocol.token import RefreshRequest, TokenAnswer, TokenRequest
from tests.pair.test_directory import directory
from tests.pair.test_rules import Office, office

__all__ = ["directory", "office"]

pytestmark = [
    pytest.mark.hubs("sqlite", "postgresql"),
    pytest.mark.usefixtures("directory"),
]

PASSWORD = "correct horse battery"


def log_in(office: Office, password: str = PASSWORD) -> TokenAnswer:
    request = TokenRequest(protocol=1, user="mia", password=password, device="till")
    return decode(office.hub.admit("token", encode(request), address="10.0.0.1"), TokenAnswer)


def refresh(office: Office, token: str, attempt: str) -> TokenAnswer:
    request = RefreshRequest(protocol=1, refresh=token, attempt=attempt)
    return decode(office.hub.admit("refresh", encode(request), address="10.0.0.1"), TokenAnswer)


def test_a_log_in_is_refreshed_and_ends_when_a_copy_is_used(office: Office) -> None:
    office.hub.directory.add_user("mia", password=PASSWORD)
    with pytest.raises(NotAuthenticatedError):
        log_in(office, "guess")
    first = log_in(office)
    assert office.hub.authenticate(first.token).tenant == "red"
    second = refresh(office, first.refresh, "a")
    again = refresh(office, first.refresh, "a")
    third = refresh(office, again.refresh, "b")
    assert office.hub.holders([third.token])[third.token].roles == ("Managers",)
    (session,) = office.hub.log_ins()
    assert (session.device, session.tenant) == ("till", "red")
    with pytest.raises(NotAuthenticatedError):
        refresh(office, second.refresh, "c")
    assert office.hub.log_ins() == []
    assert office.hub.holders([first.token, third.token]) == {}


def test_a_log_in_that_is_not_refreshed_for_long_is_over(office: Office) -> None:
    office.hub.directory.add_user("mia", password=PASSWORD)
    first = log_in(office)
    office.clock.advance(first.refresh_expires_s * 1_000)
    assert office.hub.log_ins() == []
    with pytest.raises(NotAuthenticatedError):
        refresh(office, first.refresh, "a")
    assert office.hub.authenticate(log_in(office).token).user == "mia"


def test_tokens_and_log_ins_are_revoked_together(office: Office) -> None:
    office.hub.directory.add_user("mia", password=PASSWORD)
    made = office.hub.create_token("mia", label="till")
    kept = office.hub.create_token("other", label="desk")
    answer = log_in(office)
    assert office.hub.revoke(user="mia", device="till") == 2
    assert set(office.hub.holders([made, answer.token, kept])) == {kept}
    assert office.hub.revoke(tenant="red") == 0
