"""Who may sit before the console, how they come in, and what keeps others out."""

from __future__ import annotations

from reunite.console.visitors import CODE_S, COOKIE, SESSION_S, one_time_code
from tests.console.conftest import PASSWORD, World


def test_a_printed_code_opens_the_console_once(world: World) -> None:
    code = one_time_code(world.hub, "owner")
    browser = world.browser()
    session = browser.begun(browser.ask("POST", "session/code", {"code": code}))
    assert (session["user"], session["via"]) == ("owner", "code")
    assert session["can"] == ["console:read", "console:write"]
    assert browser.get("session")["user"] == "owner"
    again = world.browser().ask("POST", "session/code", {"code": code})
    assert again.status_code == 401
    assert "prints another one" in again.json()["detail"]


def test_a_code_that_waited_too_long_opens_nothing(world: World) -> None:
    code = one_time_code(world.hub)
    world.clock.advance(CODE_S * 1_000 + 1)
    assert world.browser().ask("POST", "session/code", {"code": code}).status_code == 401


def test_a_code_is_no_session_and_a_session_is_no_code(world: World) -> None:
    code = one_time_code(world.hub)
    browser = world.browser()
    browser.client.cookies.set(COOKIE, code)
    assert browser.ask("GET", "overview").status_code == 401
    owner = world.owner()
    secret = owner.client.cookies[COOKIE]
    assert world.browser().ask("POST", "session/code", {"code": secret}).status_code == 401


def test_the_cookie_is_for_the_console_alone_and_no_script_reads_it(world: World) -> None:
    answer = world.browser().ask("POST", "session/code", {"code": one_time_code(world.hub)})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "path=/console/" in cookie


def test_a_user_with_the_role_logs_in_and_one_without_is_told_so(world: World) -> None:
    browser = world.member("ann", "console:write")
    assert browser.get("session")["via"] == "password"
    world.hub.directory.add_user("bob", password=PASSWORD)
    world.hub.directory.add_role("Managers")
    world.hub.directory.add_member("bob", "Managers")
    refused = world.browser().ask("POST", "session", {"user": "bob", "password": PASSWORD})
    assert refused.status_code == 403
    assert "console:read" in refused.json()["detail"]


def test_the_role_in_a_tenant_opens_nothing(world: World) -> None:
    directory = world.hub.directory
    directory.add_tenant("acme")
    directory.add_role("console:write")
    directory.add_user("eve", password=PASSWORD)
    directory.add_member("eve", "console:write", tenant="acme")
    refused = world.browser().ask("POST", "session", {"user": "eve", "password": PASSWORD})
    assert refused.status_code == 403


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(world: World) -> None:
    world.member("ann", "console:read")
    wrong = world.browser().ask("POST", "session", {"user": "ann", "password": "wrong"})
    unknown = world.browser().ask("POST", "session", {"user": "eve", "password": "wrong"})
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json()["detail"] == unknown.json()["detail"]
    assert wrong.json()["login"] == {"password": True, "url": None}


def test_a_session_ends_by_time_by_logging_out_and_with_the_user(world: World) -> None:
    ann = world.member("ann", "console:read")
    world.hub.directory.set_user_active("ann", False)
    assert ann.ask("GET", "overview").status_code == 401
    world.hub.directory.set_user_active("ann", True)
    assert ann.ask("GET", "overview").status_code == 401, "it was ended, not suspended"

    ann = world.member("ann", "console:read")
    world.hub.directory.add_user("ann", password="another one altogether")
    assert ann.ask("GET", "overview").status_code == 401, "a new password ends it"

    owner = world.owner()
    assert owner.ask("DELETE", "session").status_code == 204
    assert owner.ask("GET", "overview").status_code == 401

    late = world.owner()
    world.clock.advance(SESSION_S * 1_000 + 1)
    assert late.ask("GET", "overview").status_code == 401


def test_a_revoked_user_is_out_of_the_console_with_every_code(world: World) -> None:
    ann, owner, code = world.member("ann", "console:read"), world.owner(), one_time_code(world.hub)
    assert world.hub.revoke(user="ann") == 1
    assert ann.ask("GET", "overview").status_code == 401
    assert owner.ask("GET", "overview").status_code == 200
    world.hub.revoke(user="owner")
    assert owner.ask("GET", "overview").status_code == 401
    assert world.browser().ask("POST", "session/code", {"code": code}).status_code == 401


def test_a_right_that_is_taken_away_is_gone_at_once(world: World) -> None:
    ann = world.member("ann", "console:read")
    world.hub.directory.remove_member("ann", role="console:read")
    assert ann.ask("GET", "overview").status_code in (401, 403)
    world.hub.directory.add_member("ann", "console:read")
    assert ann.ask("GET", "overview").status_code == 401, "it was ended, not suspended"


def test_a_change_without_the_sessions_header_is_refused(world: World) -> None:
    owner = world.owner()
    owner.headers = {}
    refused = owner.ask("DELETE", "session")
    assert refused.status_code == 403
    assert "X-Reunite-Csrf" in refused.json()["detail"]
    owner.headers = {"X-Reunite-Csrf": "é"}
    assert owner.get("session")["user"] == "owner", "and nothing was done"


def test_another_sites_page_cannot_log_somebody_in(world: World) -> None:
    code = one_time_code(world.hub)
    answer = world.browser().ask("POST", "session/code", {"code": code}, Origin="https://evil.test")
    assert answer.status_code == 403
    answer = world.browser().client.post("session/code", content=b'{"code":"x"}')
    assert answer.status_code == 415, "a form cannot send JSON"


def test_a_token_with_the_role_needs_no_session(world: World) -> None:
    from reunite import Principal

    token = world.hub.create_token(Principal(user="robot", roles=("console:read",)))
    other = world.hub.create_token("ann")
    browser = world.browser()
    bearer = {"Authorization": f"Bearer {token}"}
    assert browser.ask("GET", "overview", **bearer).status_code == 200
    assert browser.ask("GET", "session", **bearer).json()["csrf"] is None
    refused = browser.ask("GET", "overview", Authorization=f"Bearer {other}")
    assert refused.status_code == 403
