"""The directory's stored permissions and filters: rules like those in code, true at once."""

from __future__ import annotations

from typing import Any

import pytest

from reunite.core.fields import row, user
from reunite.core.principal import Principal
from reunite.core.rules import Rules
from reunite.directory import StoredDirectory
from reunite.errors import BadRequestError, NotAuthenticatedError, UnknownTableError
from reunite.protocol.query import QueryRequest
from tests.pair.test_rules import Office, ids, office, outcomes, write

__all__ = ["office"]

pytestmark = pytest.mark.hubs("sqlite", "postgresql")


def member(office: Office, name: str, tenant: str = "") -> Principal:
    """Who the directory says that a user is."""
    with office.hub._store.read() as tx:
        found = office.hub.directory.member(tx, name, tenant)
    assert found is not None
    return found


@pytest.fixture
def directory(office: Office) -> StoredDirectory:
    """Two tenants, the teams red and blue; a manager and an analyst in red, a manager in blue."""
    found = office.hub.directory
    for tenant in ("red", "blue"):
        found.add_tenant(tenant)
    found.add_groups()
    for name, role, tenant in (
        ("mia", "Managers", "red"),
        ("ada", "Analysts", "red"),
        ("max", "Managers", "blue"),
    ):
        found.add_user(name)
        found.add_member(name, role, tenant=tenant)
    office.hub.track("team", tenant="id", rules=Rules.none())
    office.hub.track("task", tenant="team_id", rules=Rules.none())
    office.hub.track("note", rules=Rules.none())
    return found


def test_a_permission_opens_a_table_to_a_role_of_a_tenant_alone(
    office: Office, directory: StoredDirectory
) -> None:
    directory.permit("Managers", "task", tenant="red")

    assert ids(office.replica_of(member(office, "mia", "red"))) == ["r1", "r2"]
    assert ids(office.replica_of(member(office, "ada", "red"))) == []
    assert ids(office.replica_of(member(office, "max", "blue"))) == []
    assert ids(office.replica_of(Principal(user="owner"))) == []


@pytest.mark.parametrize(
    ("template", "allowed"),
    [
        ("full_access", {"insert", "update", "delete"}),
        ("read_write", {"insert", "update"}),
        ("read_only", set()),
    ],
)
def test_templates_say_what_may_be_written(
    office: Office, directory: StoredDirectory, template: str, allowed: set[str]
) -> None:
    directory.permit("Managers", "task", template, tenant="red")
    replica = office.replica_of(member(office, "mia", "red"))
    assert ids(replica) == ["r1", "r2"]
    for operation, statement in (
        ("insert", "insert into task values ('n', 'red', 'mia', 'new')"),
        ("update", "update task set title = 'other' where id = 'r1'"),
        ("delete", "delete from task where id = 'r2'"),
    ):
        write(replica, statement)
        expected = [] if operation in allowed else ["not-allowed"]
        assert outcomes(replica) == expected, operation
        for parked in replica.parked():
            replica.discard(parked.id)


def test_who_may_only_write_reads_nothing_and_makes_rows(
    office: Office, directory: StoredDirectory
) -> None:
    directory.permit("Managers", "task", "write_only", tenant="red")
    replica = office.replica_of(member(office, "mia", "red"))
    write(replica, "insert into task (id, owner) values ('n', 'mia')")
    assert outcomes(replica) == []
    assert office.at_hub("select team_id from task where id = 'n'") == [("red",)]
    assert ids(replica) == []


def test_filters_hold_for_what_is_read_and_what_is_written(
    office: Office, directory: StoredDirectory
) -> None:
    directory.permit("Managers", "task", "full_access", tenant="red")
    directory.add_filter(
        "Managers",
        "task",
        "own",
        {"field": "owner", "operator": "exact", "value": "$user.id"},
        tenant="red",
    )
    office.at_hub("update task set owner = 'mia' where id = 'r1'")
    replica = office.replica_of(member(office, "mia", "red"))
    assert ids(replica) == ["r1"]
    write(replica, "update task set owner = 'somebody' where id = 'r1'")
    assert outcomes(replica) == ["not-allowed"]

    directory.remove_filter("Managers", "task", "own", tenant="red")
    replica.sync()
    assert ids(replica) == ["r1", "r2"]


def test_roles_add_up_and_filters_of_one_do_not_bind_the_other(
    office: Office, directory: StoredDirectory
) -> None:
    directory.permit("Managers", "task", "read_only", tenant="red")
    directory.add_filter("Managers", "task", "none", row.title == "no such", tenant="red")
    directory.permit("Analysts", "task", tenant="red")
    directory.add_user("two")
    directory.add_member("two", "Managers", tenant="red")
    directory.add_member("two", "Analysts", tenant="red")

    assert ids(office.replica_of(member(office, "mia", "red"))) == []
    assert ids(office.replica_of(member(office, "two", "red"))) == ["r1", "r2"]


def test_rights_that_are_taken_away_take_rows_away_and_only_the_difference_travels(
    office: Office, directory: StoredDirectory
) -> None:
    directory.permit("Managers", "task", tenant="red")
    directory.permit("Managers", "team", tenant="red")
    replica = office.replica_of(member(office, "mia", "red"))
    assert ids(replica, "team") == ["red"]

    directory.forbid("Managers", "task", tenant="red")
    assert replica.sync().pulled == 0
    assert ids(replica) == ["r1", "r2"], "nobody has one any more: it is as before the first"

    directory.permit("Analysts", "task", tenant="red")
    replica.sync()
    assert ids(replica) == []
    assert ids(replica, "team") == ["red"]


def test_code_s_rules_hold_as_well(office: Office, directory: StoredDirectory) -> None:
    office.hub.track("task", rules=Rules(read=row.owner == user.id), tenant="team_id")
    directory.permit("Managers", "task", "full_access", tenant="red")
    office.at_hub("update task set owner = 'mia' where id = 'r2'")
    assert ids(office.replica_of(member(office, "mia", "red"))) == ["r2"]


def test_a_tenant_that_is_not_active_has_no_members_and_no_rights(
    office: Office, directory: StoredDirectory
) -> None:
    directory.permit("Managers", "task", tenant="red")
    mia = member(office, "mia", "red")
    replica = office.replica_of(mia)
    directory.set_tenant_active("red", False)
    with office.hub._store.read() as tx:
        assert directory.member(tx, "mia", "red") is None
        assert directory.tenants_of(tx, "mia") == []
    assert office.hub.query(QueryRequest(table="task", where={}), mia).rows == []
    with pytest.raises(NotAuthenticatedError):
        replica.sync()


@pytest.mark.parametrize(
    "call",
    [
        lambda d: d.permit("Nobody", "task", tenant="red"),
        lambda d: d.permit("Managers", "task", tenant="green"),
        lambda d: d.permit("Managers", "task", "admin", tenant="red"),
        lambda d: d.add_member("nobody", "Managers", tenant="red"),
        lambda d: d.add_user(" ann"),
        lambda d: d.add_user("ann", password="short"),
        lambda d: d.add_user("ann", claims={"tenant": "blue"}),
        lambda d: d.add_tenant("other", value="red"),
        lambda d: d.add_tenant("other", value=True),
        lambda d: d.add_filter("Managers", "task", "f", {"field": "nothing", "value": 1}),
        lambda d: d.add_filter(
            "Managers", "task", "f", {"field": "title", "operator": "sounds", "value": 1}
        ),
        lambda d: d.remove_user("nobody"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    office: Office, directory: StoredDirectory, call: Any
) -> None:
    def everything() -> Any:
        return (
            directory.users(),
            directory.tenants(),
            directory.members(),
            directory.permissions(),
            directory.filters(),
        )

    before = everything()
    with pytest.raises(BadRequestError):
        call(directory)
    assert everything() == before


def test_a_permission_is_for_a_table_that_is_tracked(
    office: Office, directory: StoredDirectory
) -> None:
    with pytest.raises(UnknownTableError):
        directory.permit("Managers", "nothing", tenant="red")


def test_an_explanation_names_the_role_and_the_filter(
    office: Office, directory: StoredDirectory
) -> None:
    directory.permit("Managers", "task", "read_only", tenant="red")
    directory.add_filter("Managers", "task", "own", row.owner == user.id, tenant="red")
    mia = member(office, "mia", "red")

    found = office.hub.explain(mia, "task", ("r1",))
    assert (found.read.because, found.read.is_allowed) == ("permission", False)
    assert [(reason.text, reason.holds) for reason in found.read.reasons] == [
        ("the role Managers in red may pull, read", True),
        ("its filter own: row.owner == user.id", False),
    ]
    assert found.insert.reasons[0].holds is False
    assert found.update.because == "permission"

    ada = office.hub.explain(member(office, "ada", "red"), "task", ("r1",))
    assert [reason.text for reason in ada.read.reasons] == [
        "the role Analysts in red has no permission"
    ]
    other = office.hub.explain(member(office, "max", "blue"), "task", ("r1",))
    assert other.read.because == "tenant"
