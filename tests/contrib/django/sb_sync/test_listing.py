"""Django's own models, which `pull/` gives as lists: section 6, SB-15, SB-20, SB-24."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.test import override_settings
from django.test.utils import CaptureQueriesContext, isolate_apps

from reunite.contrib.django.models import DataFilter, ModelPermission, UserOrganization
from reunite.core.stored import TAG
from reunite.dropin.sb_sync import listing
from reunite.dropin.sb_sync.describing import described_models
from reunite.dropin.sb_sync.models import SyncStamp, UserSyncMetadata
from tests.contrib.django.sb_sync.conftest import READ_WRITE, Api, World

USER, GROUP, TYPE = "auth.User", "auth.Group", "contenttypes.ContentType"
LISTS = (USER, GROUP, TYPE)
FIELDS = {
    USER: {"_model", "id", "username", "first_name", "last_name", "email"},
    GROUP: {"_model", "id", "name"},
    TYPE: {"_model", "id", "app_label", "model"},
}


class Reader:
    """A client that keeps a list: `reset` and `complete` say what it may drop."""

    def __init__(self, api: Api, model: str = USER, *, key: str = "last_sync") -> None:
        self.api = api
        self.model = model
        self.value: Any = None
        self.told: dict[str, Any] = {}
        self.rows: dict[Any, dict[str, Any]] = {}
        self._arriving: dict[Any, dict[str, Any]] = {}
        self._key = key

    def pull(self, size: int = 100) -> int:
        found = self.api.pull({self.model: self.value}, batch_size=size)
        self.told = found["metadata"][self.model]
        self.value = self.told[self._key]
        if self.told.get("reset"):
            self._arriving = {}
        self._arriving |= {row["id"]: row for row in found["data"]}
        if self.told.get("complete"):
            self.rows, self._arriving = self._arriving, {}
        return int(self.told["count"])

    def pull_all(self, size: int = 100) -> list[int]:
        counts = []
        for _ in range(100):
            counts.append(self.pull(size))
            if counts[-1] == 0:
                return counts
        raise AssertionError("it does not end")

    @property
    def names(self) -> list[str]:
        return [row["username"] for row in self.rows.values()]


@pytest.fixture
def acme(readme: World) -> World:
    """Managers of acme-corp may pull all three."""
    for label in LISTS:
        readme.grant(readme.acme, "Managers", label, "pull", "read")
    return readme


def join(world: World, *names: str, organization: Any = None) -> list[User]:
    """New users, members of acme-corp if nothing else is said."""
    group = Group.objects.get(name="Managers")
    users = [get_user_model().objects.create(username=name) for name in names]
    for user in users:
        UserOrganization.objects.create(
            user=user, organization=organization or world.acme, group=group
        )
    return users


@pytest.mark.parametrize("label", LISTS)
def test_a_list_comes_whole_with_its_fields_and_no_others(acme: World, label: str) -> None:
    found = acme.api("john_manager").pull({label: None})
    told = found["metadata"][label]
    assert found["data"]
    assert all(row.keys() == FIELDS[label] for row in found["data"])
    assert (told["count"], told["has_more"], told["complete"]) == (len(found["data"]), False, True)
    keys = [row["id"] for row in found["data"]]
    kind = {GROUP: Group, TYPE: ContentType}.get(label)
    wanted = kind.objects.order_by("pk") if kind else User.objects.filter(username="john_manager")
    assert keys == list(wanted.values_list("pk", flat=True))


def test_members_of_other_organizations_are_not_given(acme: World) -> None:
    (shared, _) = join(acme, "ann", "other")
    UserOrganization.objects.filter(user__username="other").update(organization=acme.retail)
    UserOrganization.objects.create(
        user=shared, organization=acme.retail, group=Group.objects.get(name="Sales")
    )
    get_user_model().objects.create(username="nobody's", is_superuser=True)
    reader = Reader(acme.api("john_manager"))
    reader.pull_all()
    assert reader.names == ["john_manager", "ann"]


@pytest.mark.parametrize("key", ["last_sync", "next_cursor"])
def test_a_list_comes_in_batches_each_row_once(acme: World, key: str) -> None:
    join(acme, *(f"u{n:02}" for n in range(24)))
    reader = Reader(acme.api("john_manager"), key=key)
    assert reader.pull_all(10) == [10, 10, 5, 0]
    assert len(reader.rows) == 25
    assert "complete" not in reader.told  # nothing came: nothing is to be dropped


def test_the_last_page_of_a_list_is_known_where_it_is_full(acme: World) -> None:
    join(acme, "ann", "ben", "cem")
    reader = Reader(acme.api("john_manager"))
    told = []
    for _ in range(2):
        assert reader.pull(2) == 2
        told.append((reader.told["has_more"], reader.told.get("complete")))
    assert told == [(True, None), (False, True)]


def renamed(_: World, user: User) -> None:
    User.objects.filter(pk=user.pk).update(username="renamed")


def left(_: World, user: User) -> None:
    UserOrganization.objects.filter(user=user).delete()


def suspended(_: World, user: User) -> None:
    UserOrganization.objects.filter(user=user).update(is_active=False)


def deactivated(_: World, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def deleted(_: World, user: User) -> None:
    user.delete()


@pytest.mark.parametrize("key", ["last_sync", "next_cursor"])
@pytest.mark.parametrize(
    ("change", "names"),
    [
        (renamed, ["john_manager", "renamed", "ben"]),
        (left, ["john_manager", "ben"]),
        (suspended, ["john_manager", "ben"]),
        (deactivated, ["john_manager", "ben"]),
        (deleted, ["john_manager", "ben"]),
    ],
)
def test_a_list_that_has_changed_comes_again_and_is_complete(
    acme: World, change: Callable[[World, User], None], names: list[str], key: str
) -> None:
    ann, _ = join(acme, "ann", "ben")
    reader = Reader(acme.api("john_manager"), key=key)
    reader.pull_all()
    assert reader.names == ["john_manager", "ann", "ben"]
    assert reader.pull() == 0
    change(acme, ann)
    assert reader.pull(2) == 2
    assert reader.told["reset"]
    reader.pull_all(2)
    assert reader.names == names


def test_what_no_row_has_changes_no_list(acme: World) -> None:
    reader = Reader(acme.api("john_manager"))
    reader.pull_all()
    User.objects.filter(username="mary_sales").update(first_name="of another organization")
    User.objects.filter(username="john_manager").update(is_staff=True)
    assert reader.pull() == 0


def test_a_list_that_changes_between_its_pages_begins_again(acme: World) -> None:
    ann, *_ = join(acme, "ann", "ben", "cem")
    reader = Reader(acme.api("john_manager"))
    reader.pull(2)
    left(acme, ann)
    reader.pull_all(2)
    assert reader.names == ["john_manager", "ben", "cem"]


@pytest.mark.parametrize("value", ["2020-01-01", "2999-01-01T00:00:00Z"])
def test_a_time_of_one_s_own_brings_the_whole_list(acme: World, value: str) -> None:
    found = acme.api("john_manager").pull({USER: value})
    assert [row["username"] for row in found["data"]] == ["john_manager"]
    assert (found["metadata"][USER]["reset"], found["metadata"][USER]["complete"]) == (True, True)


def test_a_stamp_that_is_forgotten_brings_the_whole_list(acme: World) -> None:
    reader = Reader(acme.api("john_manager"))
    reader.pull_all()
    SyncStamp.objects.all().delete()
    assert (reader.pull(), reader.names) == (1, ["john_manager"])


def test_nobody_reads_on_in_a_list_from_the_place_of_another(acme: World) -> None:
    reader = Reader(acme.api("john_manager"), key="next_cursor")
    reader.pull()
    for label in (GROUP, "myapp.Customer"):
        answer = reader.api.post("pull/", {"models": {label: reader.value}})
        assert answer.status_code == 400
    customers = reader.api.pull({"myapp.Customer": None})["metadata"]["myapp.Customer"]
    answer = reader.api.post("pull/", {"models": {USER: customers["next_cursor"]}})
    assert answer.status_code == 400


@pytest.mark.parametrize("label", LISTS)
@pytest.mark.parametrize("flags", [(), ("pull",), ("read",), ("push", "create", "update")])
def test_both_flags_of_a_pull_are_needed(readme: World, label: str, flags: tuple[str, ...]) -> None:
    readme.grant(readme.acme, "Managers", label, *flags)
    found = readme.api("john_manager").pull({label: None})
    assert (found["data"], found["metadata"][label]["code"]) == ([], "permission")


def test_who_may_no_more_reads_on_no_more(acme: World) -> None:
    join(acme, "ann", "ben")
    reader = Reader(acme.api("john_manager"))
    reader.pull(1)
    acme.grant(acme.acme, "Managers", USER, "read")
    found = reader.api.pull({USER: reader.value})
    assert (found["data"], found["metadata"][USER]["code"]) == ([], "permission")


@pytest.mark.parametrize("label", LISTS)
@pytest.mark.parametrize("is_superuser", [False, True])
def test_no_list_is_pushed(readme: World, label: str, is_superuser: bool) -> None:
    readme.grant(readme.acme, "Managers", label, *READ_WRITE, "delete")
    User.objects.filter(username="john_manager").update(is_superuser=is_superuser)
    john = User.objects.get(username="john_manager")
    before = [list(model.objects.values()) for model in (User, Group, ContentType)]
    found = readme.api("john_manager").push(
        {"_model": label, "id": john.pk, "is_superuser": True, "name": "x", "model": "x"},
        {"_model": label, "username": "new", "name": "new"},
        {"_model": label, "id": john.pk, "_deleted": True},
    )
    assert [one["code"] for one in found["results"]] == ["not_enabled"] * 3
    now = [list(model.objects.values()) for model in (User, Group, ContentType)]
    for row in before[0] + now[0]:
        del row["last_login"]
    assert now == before


@pytest.mark.parametrize("spelling", [USER, "auth.user"])
def test_no_request_and_no_setting_names_other_fields(acme: World, spelling: str) -> None:
    user = User.objects.get(username="john_manager")
    acme.project.set(MODELS={USER: {}}, SHOW_FIELDS={USER: ["password", "is_staff"]})
    named = {
        "SB_SYNC_FIELDS": {USER: ["password", "is_staff"]},
        "SB_SYNC_SHARED_MODELS": [USER],
        "SB_SYNC_CONFIG": {"MODEL_DISCOVERY": {"INCLUDE_APPS": ["auth", "myapp"]}},
    }
    with override_settings(**named):
        apps.get_app_config("reunite").forget()
        api = acme.api("john_manager")
        asked = {"fields": ["password"], "include": ["password"], "include_versions": True}
        found = api.pull({spelling: None}, **asked)
        everything = api.pull(**asked)
    assert [row.keys() for row in found["data"]] == [FIELDS[USER]]
    for answer in (found, everything):
        assert user.password not in str(answer)
        assert "password" not in str(answer)
        assert "is_staff" not in str(answer)


def test_lists_come_where_they_are_named(acme: World) -> None:
    found = acme.api("john_manager").pull()
    assert not set(LISTS) & set(found["metadata"])


def test_a_model_that_is_excluded_is_no_list_either(acme: World) -> None:
    with override_settings(SB_SYNC_CONFIG={"MODEL_DISCOVERY": {"EXCLUDE_MODELS": [USER]}}):
        found = acme.api("john_manager").pull({USER: None, GROUP: None})
    assert found["metadata"][USER]["code"] == "not_enabled"
    assert {row["_model"] for row in found["data"]} == {GROUP}


def test_sessions_are_never_synced(readme: World) -> None:
    label = "sessions.Session"
    readme.grant(readme.acme, "Managers", label, *READ_WRITE)
    readme.project.set(MODELS={label: {}})
    discovery = {"INCLUDE_APPS": ["sessions"], "EXCLUDE_MODEL_PATTERNS": []}
    with override_settings(
        SB_SYNC_SHARED_MODELS=[label], SB_SYNC_CONFIG={"MODEL_DISCOVERY": discovery}
    ):
        apps.get_app_config("reunite").forget()
        assert label not in described_models(readme.project.hub)
        found = readme.api("john_manager").pull({label: None})
    assert (found["data"], found["metadata"][label]["code"]) == ([], "not_enabled")


class Filters:
    """What Managers of acme-corp may see of a list."""

    def __init__(self, world: World, label: str = USER) -> None:
        self.where = {
            "organization": world.acme,
            "group": Group.objects.get(name="Managers"),
            "model_name": label,
        }

    def add(self, condition: Any, *, is_active: bool = True) -> None:
        DataFilter.objects.create(
            **self.where, filter_name="f", filter_condition=condition, is_active=is_active
        )

    def permission(self, condition: Any) -> None:
        ModelPermission.objects.filter(**self.where).update(filters=condition)


def on(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def test_filters_hold_for_lists_all_of_them(acme: World) -> None:
    join(acme, "ann", "anton", "ben")
    reader = Reader(acme.api("john_manager"))
    reader.pull_all()
    filters = Filters(acme)
    filters.add(on("username", "exact", "ben"), is_active=False)
    assert reader.pull() == 0
    filters.add(on("username", "startswith", "an"))
    reader.pull_all()
    assert reader.names == ["ann", "anton"]
    filters.permission([on("username", "endswith", "ton"), on("id", "gte", 1)])
    reader.pull_all()
    assert reader.names == ["anton"]
    filters.permission(on("username", "exact", "nobody"))
    assert (reader.pull(), reader.told["complete"], reader.names) == (0, True, [])


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        (on("pk", "gte", 0), ["john_manager", "ann"]),
        (on("username", "in", ["ann", "mary_sales"]), ["ann"]),
        (on("username", "contains", "nn"), ["ann"]),
        ({"field": "username", "operator": "exact", "value": "$user.id"}, None),
        ({"not": on("username", "exact", "ann")}, ["john_manager"]),
        (on("username", "exact", None), []),
        (on("nickname", "exact", "a"), []),
        (on("username", "near", "a"), []),
        (on("is_active", "exact", True), []),  # a field that no row has
        (on("groups__name", "exact", "Managers"), []),
        (on("password", "startswith", "md5"), []),
        ("nonsense", []),
    ],
)
def test_a_filter_says_what_it_says_of_other_models(
    acme: World, condition: Any, names: list[str] | None
) -> None:
    join(acme, "ann")
    Filters(acme).add(condition)
    reader = Reader(acme.api("john_manager"))
    reader.pull()
    assert reader.names == (names if names is not None else ["john_manager"])


def test_a_filter_for_a_field_that_is_not_given_is_logged(
    acme: World, caplog: pytest.LogCaptureFixture
) -> None:
    Filters(acme).add(on("is_active", "exact", True))
    Reader(acme.api("john_manager")).pull()
    assert "a filter of auth.User asks for is_active, which is not given" in caplog.text


def test_a_filter_of_another_group_or_list_says_nothing(acme: World) -> None:
    Filters(acme, GROUP).add(on("name", "exact", "Sales"))
    filters = Filters(acme)
    filters.where["group"] = Group.objects.get(name="Sales")
    filters.add(on("username", "exact", "nobody"))
    found = acme.api("john_manager").pull({USER: None, GROUP: None, TYPE: None})
    told = {label: one["count"] for label, one in found["metadata"].items()}
    assert told == {USER: 1, GROUP: 1, TYPE: ContentType.objects.count()}


def test_a_superuser_reads_the_members_of_the_organization(readme: World) -> None:
    """And no others, without any permission."""
    User.objects.filter(username="john_manager").update(is_superuser=True)
    Filters(readme).add(on("username", "exact", "nobody"))
    reader = Reader(readme.api("john_manager"))
    reader.pull()
    assert reader.names == ["john_manager"]


def test_a_name_of_any_characters_is_given_as_it_is(acme: World) -> None:
    join(acme, TAG + "text:x", "Zoë")
    either = [on("username", "contains", "unite:text:x"), on("username", "exact", "Zoë")]
    Filters(acme).add({"or": either})
    reader = Reader(acme.api("john_manager"))
    reader.pull()
    assert reader.names == [TAG + "text:x", "Zoë"]


@isolate_apps("tests.contrib.django.myapp")
def test_a_project_s_own_users_have_the_fields_that_there_are(
    acme: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Person(AbstractBaseUser):
        mail = models.EmailField(unique=True, db_column="email")
        USERNAME_FIELD = "mail"
        EMAIL_FIELD = "mail"

        class Meta:
            app_label = "myapp"
            db_table = "auth_user"
            managed = False

    api = acme.api("john_manager")
    john = User.objects.get(username="john_manager")
    monkeypatch.setattr(listing, "get_user_model", lambda: Person)
    mail = "john_manager@example.com"
    wanted = {"_model": USER, "id": john.pk, "username": mail, "email": mail}
    assert api.pull({USER: None})["data"] == [wanted]
    Filters(acme).add(on("username", "exact", mail))
    assert api.pull({USER: None})["data"] == [wanted]
    Filters(acme).add(on("first_name", "exact", ""))
    assert api.pull({USER: None})["data"] == []


def test_a_list_costs_as_many_queries_however_long_it_is(acme: World) -> None:
    reader = Reader(acme.api("john_manager"))

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            reader.api.pull(dict.fromkeys(LISTS), batch_size=5)
        return len(found)

    queries()
    few = queries()
    join(acme, *(f"u{n}" for n in range(40)))
    queries()
    assert queries() == few


def test_a_list_is_counted_like_every_pull(acme: World) -> None:
    reader = Reader(acme.api("john_manager"))
    reader.pull_all()
    assert UserSyncMetadata.objects.get(model_name=USER).total_synced == 1


def test_lists_are_read_on_every_database(world: World) -> None:
    for label in LISTS:
        world.grant(world.acme, "Managers", label, "pull", "read")
    ann, _ = join(world, "ann", "ben")
    for label in LISTS:
        counts = Reader(world.api("john_manager"), label).pull_all(2)
        assert counts[-1] == 0
    reader = Reader(world.api("john_manager"))
    reader.pull_all(2)
    left(world, ann)
    reader.pull_all(2)
    assert reader.names == ["john_manager", "ben"]
