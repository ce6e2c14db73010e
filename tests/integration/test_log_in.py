"""A device logs in with a name and a password, stays logged in by itself, and sees its tenant."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reunite import Hub, Replica, Rules
from reunite.directory.signing import ACCESS_S, LEEWAY_S
from reunite.errors import BadRequestError, NotAuthenticatedError
from reunite.replica.login import Login
from reunite.server import ServerThread
from reunite.testing import FakeClock
from tests.integration.live_helpers import LiveReplica, query

PASSWORD = "correct horse battery"
IDS = "select id from invoice order by id"


@dataclass
class Firm:
    hub: Hub
    server: ServerThread
    clock: FakeClock
    folder: Path
    stack: ExitStack

    def clone(self, name: str, **options: Any) -> Replica:
        options = {"username": "ann", "password": PASSWORD} | options
        return self.stack.enter_context(
            Replica.clone(self.folder / f"{name}.db", self.server.url, **options)
        )


@pytest.fixture
def firm(tmp_path: Path) -> Iterator[Firm]:
    """Ann is a manager of acme, which may read and write its invoices."""
    with closing(sqlite3.connect(tmp_path / "firm.db")) as db:
        db.executescript("""
            create table invoice (id text primary key not null, org integer, total integer);
            insert into invoice values ('i1', 7, 10), ('i2', 8, 20);
        """)
    clock = FakeClock()
    with ExitStack() as stack:
        hub = stack.enter_context(Hub(tmp_path / "firm.db", clock=clock))
        hub.track("invoice", tenant="org", rules=Rules.none())
        directory = hub.directory
        directory.add_tenant("acme", value=7)
        directory.add_tenant("umbrella", value=8)
        directory.add_role("Managers", template="read_write")
        directory.add_user("ann", password=PASSWORD)
        directory.add_member("ann", "Managers", tenant="acme")
        directory.permit("Managers", "invoice", tenant="acme")
        server = stack.enter_context(ServerThread(hub))
        yield Firm(hub, server, clock, tmp_path, stack)


def ids(replica: Replica) -> list[str]:
    with closing(sqlite3.connect(replica.path)) as db:
        return [key for (key,) in db.execute("select id from invoice order by id")]


def kept(replica: Replica) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(f"{replica.path}-token").read_text())
    return found


def test_a_replica_logs_in_and_sees_its_tenant_s_rows_alone(firm: Firm) -> None:
    replica = firm.clone("till")
    assert ids(replica) == ["i1"]
    with replica.transaction() as db:
        db.execute("insert into invoice (id, total) values ('i3', 30)")
    replica.sync()
    assert replica.parked() == []
    (session,) = firm.hub.log_ins()
    assert (session.user_name, session.tenant, session.device) == ("ann", "acme", "till.db")


def test_what_refreshes_the_log_in_is_kept_beside_the_file_for_its_owner_only(firm: Firm) -> None:
    replica = firm.clone("till")
    file = Path(f"{replica.path}-token")
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in file.read_text()
    database = (firm.folder / "firm.db").read_bytes() + (firm.folder / "firm.db-wal").read_bytes()
    for secret in (PASSWORD, kept(replica)["refresh"], kept(replica)["token"]):
        assert secret.encode() not in database


def test_a_token_that_expired_is_refreshed_by_itself(firm: Firm) -> None:
    replica = firm.clone("till")
    before = kept(replica)
    firm.clock.advance((ACCESS_S + LEEWAY_S + 1) * 1_000)
    replica.sync()
    after = kept(replica)
    assert (after["token"], after["refresh"]) != (before["token"], before["refresh"])
    assert len(firm.hub.log_ins()) == 1


def test_another_process_goes_on_with_the_log_in_that_is_kept(firm: Firm) -> None:
    replica = firm.clone("till")
    replica.close()
    with Replica(firm.folder / "till.db") as later:
        later.sync()
        firm.clock.advance((ACCESS_S + LEEWAY_S + 1) * 1_000)
        later.sync()


def test_an_answer_that_was_lost_is_asked_for_again(firm: Firm) -> None:
    replica = firm.clone("till")
    file = Path(f"{replica.path}-token")
    login = Login(Path(replica.path), firm.server.url, now_s=lambda: 1e12)
    before = kept(replica) | {"attempt": "this-one"}
    file.write_text(json.dumps(before))
    first = login()
    file.write_text(json.dumps(before))  # as if the answer had never come
    second = login()
    assert first != second
    assert firm.hub.authenticate(second).user == "ann"
    assert len(firm.hub.log_ins()) == 1


def test_a_copy_of_the_file_ends_the_log_in_when_both_are_used(firm: Firm) -> None:
    replica = firm.clone("till")
    stolen = Path(f"{replica.path}-token").read_text()
    login = Login(Path(replica.path), firm.server.url, now_s=lambda: 1e12)
    token = login()
    Path(f"{replica.path}-token").write_text(stolen)
    with pytest.raises(NotAuthenticatedError):
        login()
    assert firm.hub.log_ins() == []
    with pytest.raises(NotAuthenticatedError):
        firm.hub.authenticate(token)

    replica.log_in("ann", PASSWORD)
    replica.sync()


def test_a_wrong_password_leaves_nothing_behind(firm: Firm) -> None:
    with pytest.raises(NotAuthenticatedError):
        firm.clone("till", password="not this one")
    assert sorted(path.name for path in firm.folder.glob("till*")) == []


def test_a_member_of_several_tenants_says_which(firm: Firm) -> None:
    firm.hub.directory.add_member("ann", "Managers", tenant="umbrella")
    firm.hub.directory.permit("Managers", "invoice", tenant="umbrella")
    with pytest.raises(BadRequestError, match="acme, umbrella") as failure:
        firm.clone("till")
    assert failure.value.path == "tenant"
    assert ids(firm.clone("till", tenant="umbrella")) == ["i2"]


@pytest.mark.parametrize(
    "end",
    [
        lambda hub: hub.revoke(user="ann"),
        lambda hub: hub.revoke(device="till.db"),
        lambda hub: hub.revoke(tenant="acme"),
        lambda hub: hub.revoke_token(hub.log_ins()[0].id[:12]),
        lambda hub: hub.directory.set_user_active("ann", False),
        lambda hub: hub.directory.set_tenant_active("acme", False),
        lambda hub: hub.directory.remove_member("ann", tenant="acme"),
        lambda hub: hub.directory.add_user("ann", password="another password"),
        lambda hub: hub.directory.remove_user("ann"),
        lambda hub: hub.rotate_keys("HS256", is_sudden=True),
    ],
    ids=[
        "user",
        "device",
        "tenant",
        "token",
        "inactive",
        "tenant-inactive",
        "member",
        "password",
        "removed",
        "keys",
    ],
)
def test_what_ends_a_log_in_does_so_with_the_next_request(firm: Firm, end: Any) -> None:
    replica = firm.clone("till")
    token = kept(replica)["token"]
    assert firm.hub.authenticate(token).roles == ("Managers",)
    end(firm.hub)
    with pytest.raises(NotAuthenticatedError):
        firm.hub.authenticate(token)


def test_keys_that_rotate_leave_tokens_good_until_they_expire(firm: Firm) -> None:
    replica = firm.clone("till")
    token = kept(replica)["token"]
    firm.hub.rotate_keys("HS256")
    assert firm.hub.authenticate(token).user == "ann"
    firm.clock.advance((ACCESS_S + LEEWAY_S + 1) * 1_000)
    replica.sync()
    assert firm.hub.authenticate(kept(replica)["token"]).user == "ann"
    firm.hub.rotate_keys()
    assert sorted(key.algorithm for key in firm.hub.signing_keys()) == ["EdDSA", "HS256"]


def test_a_role_and_a_permission_that_change_reach_a_live_replica(firm: Firm) -> None:
    with LiveReplica(firm.clone("till"), "invoice") as live:
        live.seen.until_phase("live")
        firm.hub.directory.permit("Managers", "invoice", "custom", tenant="acme")
        live.until_rows(IDS, [])
        firm.hub.directory.permit("Managers", "invoice", "read_only", tenant="acme")
        live.until_rows(IDS, [("i1",)])
        firm.hub.directory.add_role("Others")
        firm.hub.directory.add_member("ann", "Others", tenant="acme")
        firm.hub.directory.remove_member("ann", role="Managers", tenant="acme")
        live.until_rows(IDS, [])


def test_a_log_in_that_is_revoked_ends_its_stream_and_another_one_opens_it(firm: Firm) -> None:
    replica = firm.clone("till")
    with LiveReplica(replica, "invoice") as live:
        live.seen.until_phase("live")
        firm.hub.revoke(user="ann")
        live.seen.until_phase("offline")
        query(firm.folder / "firm.db", "insert into invoice values ('i3', 7, 1)")
        assert live.rows(IDS) == [("i1",)]
        replica.log_in("ann", PASSWORD)
        live.until_rows(IDS, [("i1",), ("i3",)])
