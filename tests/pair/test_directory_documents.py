"""The directory as a document: exported, looked through, imported."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from reunite.directory import StoredDirectory
from reunite.errors import BadRequestError
from tests.pair.test_directory import directory, member
from tests.pair.test_rules import Office, ids, office

__all__ = ["directory", "office"]

pytestmark = pytest.mark.hubs("sqlite", "postgresql")


@pytest.fixture
def full(directory: StoredDirectory) -> StoredDirectory:
    directory.permit("Managers", "task", tenant="red")
    directory.permit("Analysts", "task", tenant="red")
    condition = {"field": "owner", "operator": "exact", "value": "$user.id"}
    directory.add_filter("Analysts", "task", "own", condition, tenant="red")
    directory.add_user("mia", password="correct horse", claims={"teams": [1, 2]})
    return directory


def test_what_is_exported_is_valid_and_its_import_changes_nothing(full: StoredDirectory) -> None:
    document = full.export()
    assert full.validate(document) == []
    full.import_document(document)
    assert full.export() == document
    assert full.knows("mia", "correct horse"), "passwords stay"
    assert "correct horse" not in repr(document)
    assert "argon2" not in repr(document)


def test_an_import_makes_rights_what_the_document_says(
    office: Office, full: StoredDirectory
) -> None:
    replica = office.replica_of(member(office, "mia", "red"))
    assert ids(replica) == ["r1", "r2"]
    document = full.export()
    document["permissions"] = [one for one in document["permissions"] if one["role"] != "Managers"]
    full.import_document(document)
    replica.sync()
    assert ids(replica) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda d: d["permissions"][0].update(table="nothing"), "permissions[0].table"),
        (lambda d: d["permissions"][0].update(role="Nobody"), "permissions[0].role"),
        (lambda d: d["permissions"][0].update(may=["fly"]), "permissions[0].may"),
        (lambda d: d["permissions"][0].update(may="push"), "permissions[0].may"),
        (
            lambda d: d.update(permissions=(*d["permissions"], d["permissions"][0])),
            "permissions[2]",
        ),
        (lambda d: d["members"][0].update(tenant="green"), "members[0].tenant"),
        (lambda d: d["members"][0].update(user="nobody"), "members[0].user"),
        (lambda d: d["roles"][0].update(template="all"), "roles[0].template"),
        (lambda d: d["tenants"][0].update(value="red"), "tenants[1].value"),
        (lambda d: d["users"][0].update(name=" x"), "users[0].name"),
        (lambda d: d["users"][0].update(claims={"tenant": 1}), "users[0].claims"),
        (lambda d: d["users"][0].update(password="x"), "users[0]"),
        (
            lambda d: d["filters"][0].update(condition={"field": "nothing", "value": 1}),
            "filters[0].condition",
        ),
        (lambda d: d.update(extra=[]), "document"),
    ],
)
def test_a_problem_is_named_with_its_path_and_nothing_is_imported(
    full: StoredDirectory, change: Any, path: str
) -> None:
    before = full.export()
    document = copy.deepcopy(before)
    change(document)
    problems = full.validate(document)
    assert path in [problem.path for problem in problems]
    with pytest.raises(BadRequestError):
        full.import_document(document)
    assert full.export() == before


def test_what_is_no_document_is_told_so(full: StoredDirectory) -> None:
    for value in (None, [], "x", 1):
        (problem,) = full.validate(value)
        assert problem.path == "document"
