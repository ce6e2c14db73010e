"""Organizations, groups, permissions and filters decide what a replica has and may do."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from reunite.contrib.django.filters import conditions_of
from reunite.contrib.django.models import DataFilter, ModelPermission, UserOrganization
from reunite.core.rules import NEVER
from reunite.engine.explain import expression_text
from tests.contrib.django.clinic.models import Patient, Tag, Visit
from tests.contrib.django.conftest import Project
from tests.contrib.django.test_capture import rows, write

EVERY_FLAG = ("push", "pull", "create", "update", "delete", "read")
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clinics(everywhere: Project) -> tuple[Project, Any, Any]:
    """Two organizations with a patient each; Ann is in north, Bob in south, as nurses."""
    everywhere.user("ann")
    everywhere.user("bob")
    north = everywhere.organization("north", ann="Nurses")
    south = everywhere.organization("south", bob="Nurses")
    for organization in (north, south):
        for model in ("clinic.Patient", "clinic.Visit"):
            everywhere.permit(organization, "Nurses", model, *EVERY_FLAG)
        patient = Patient.objects.create(organization=organization, name=f"of {organization.slug}")
        Visit.objects.create(patient=patient, at=AT, note=organization.slug)
    return everywhere, north, south


def names(replica: Any) -> list[str]:
    return [name for (name,) in rows(replica, "select name from clinic_patient order by name")]


def test_members_have_the_rows_of_their_organization_alone(clinics: Any) -> None:
    project, north, south = clinics
    replica = project.clone("ann", "north")
    assert names(replica) == ["of north"]
    assert rows(replica, "select note from clinic_visit") == [("north",)]
    tables = {name for (name,) in rows(replica, "select name from sqlite_schema")}
    assert "clinic_patient" in tables
    columns = [name for _, name, *_ in rows(replica, "pragma table_info(clinic_patient)")]
    assert sorted(columns) == ["born", "doctor_id", "id", "name", "organization_id"]
    with replica.transaction() as db:
        db.execute(
            "insert into clinic_patient (name, organization_id) values ('new', ?)", (north.pk,)
        )
        db.execute(
            "insert into clinic_visit (patient_id, at, note) select id, ?, 'x' from clinic_patient "
            "where name = 'new'",
            ("2026-01-01T00:00:00Z",),
        )
    report = replica.sync()
    assert report.rejected == 0, replica.parked()
    assert Patient.objects.get(name="new").portal_password == ""
    # Neither the row of another organization, nor one of one's own that points there.
    write(replica, "insert into clinic_patient (name, organization_id) values ('bad', ?)", south.pk)
    other = Patient.objects.get(organization=south)
    with sqlite3.connect(replica.path) as db:  # which asks for no foreign keys
        db.execute(
            "insert into clinic_visit (patient_id, at, note) values (?, ?, 'bad')",
            (other.pk, "2026-01-01T00:00:00Z"),
        )
    db.close()
    assert replica.sync().rejected == 2
    assert not Visit.objects.filter(note="bad").exists()
    assert not Patient.objects.filter(name="bad").exists()


@pytest.mark.parametrize("missing", EVERY_FLAG)
def test_each_flag_is_needed_for_what_it_says(project: Project, missing: str) -> None:
    project.user("ann")
    north = project.organization("north", ann="Nurses")
    for name in ("keep", "go"):
        Patient.objects.create(organization=north, name=name)
    flags = [flag for flag in EVERY_FLAG if flag != missing]
    project.permit(north, "Nurses", "clinic.Patient", *EVERY_FLAG)
    replica = project.clone("ann", "north")
    project.permit(north, "Nurses", "clinic.Patient", *flags)
    for sql in (
        "insert into clinic_patient (name, organization_id) select 'new', 1",
        "update clinic_patient set name = 'kept' where name = 'keep'",
        "delete from clinic_patient where name = 'go'",
    ):
        write(replica, sql)
    replica.sync()
    hidden = missing in ("pull", "read")
    done = {
        "create": Patient.objects.filter(name="new").exists(),
        "update": Patient.objects.filter(name="kept").exists(),
        "delete": not Patient.objects.filter(name="go").exists(),
    }
    for flag, was_done in done.items():
        if missing == flag or missing == "push" or (hidden and flag != "create"):
            assert not was_done, flag
        elif not hidden:
            assert was_done, flag
    if hidden:
        assert names(replica) == []


def test_a_filter_narrows_what_is_read_and_written(clinics: Any) -> None:
    project, north, _ = clinics
    ann = get_user_model().objects.get(username="ann")
    mine = Patient.objects.create(organization=north, name="mine", doctor=ann)
    DataFilter.objects.create(
        organization=north,
        group=UserOrganization.objects.get(user=ann).group,
        model_name="clinic.Patient",
        filter_name="own",
        filter_condition={"field": "doctor_id", "operator": "exact", "value": ann.pk},
    )
    replica = project.clone("ann", "north")
    assert names(replica) == ["mine"]
    write(replica, "update clinic_patient set doctor_id = null")
    assert replica.sync().rejected == 1
    mine.refresh_from_db()
    assert mine.doctor == ann
    DataFilter.objects.update(
        filter_condition={"field": "nothing", "operator": "exact", "value": 1}
    )
    replica.sync()
    assert names(replica) == []


def test_rights_that_end_take_rows_away(clinics: Any) -> None:
    project, north, _ = clinics
    replica = project.clone("ann", "north")
    ModelPermission.objects.filter(organization=north, model_name="clinic.Visit").delete()
    replica.sync()
    assert names(replica) == ["of north"]
    assert rows(replica, "select * from clinic_visit") == []


def test_models_without_organization_are_closed_in_one_unless_they_are_shared(
    project: Project,
) -> None:
    project.user("ann")
    north = project.organization("north", ann="Nurses")
    project.permit(north, "Nurses", "clinic.Tag", *EVERY_FLAG)
    Tag.objects.create(name="a")
    assert rows(project.clone("ann", "north"), "select * from clinic_tag") == []
    project.set(SHARED_MODELS=["clinic.Tag"])
    replica = project.clone("ann", "north")
    assert rows(replica, "select name from clinic_tag") == [("a",)]
    write(replica, "delete from clinic_tag")
    assert replica.sync().rejected == 1


def test_members_and_others_are_who_the_directory_says(project: Project) -> None:
    users = project.hub.users
    assert users.member(None, "ann", "") is None
    ann = project.user("ann")
    assert users.member(None, "ann", "").claims["pk"] == ann.pk
    assert list(users.tenants_of(None, "ann")) == [""]
    north = project.organization("north", ann="Nurses")
    assert list(users.tenants_of(None, "ann")) == ["north"]
    assert users.member(None, "ann", "") is None
    assert users.member(None, "ann", "north").tenant == north.pk
    assert users.knows("ann", "secret")
    assert not users.knows("ann", "wrong")
    assert not users.knows("nobody", "secret")
    north.is_active = False
    north.save()
    assert users.member(None, "ann", "north") is None


def test_a_superuser_passes_every_flag_and_never_the_organization(clinics: Any) -> None:
    project, north, _ = clinics
    project.user("root", is_superuser=True)
    UserOrganization.objects.create(
        user=get_user_model().objects.get(username="root"),
        organization=north,
        group=UserOrganization.objects.first().group,
    )
    ModelPermission.objects.all().delete()
    replica = project.clone("root", "north")
    assert names(replica) == ["of north"]
    assert names(project.clone("root", "")) == []


def on(field: str, operator: str = "exact", value: Any = 1) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def filtered(north: Any, **condition: Any) -> None:
    """Nurses of this organization have patients of this kind alone."""
    found, _ = DataFilter.objects.get_or_create(
        organization=north,
        group=UserOrganization.objects.filter(organization=north).first().group,
        model_name="clinic.Patient",
        filter_name="many",
        defaults={"filter_condition": {}},
    )
    found.filter_condition = on(**condition)
    found.save()


def test_a_filter_over_many_rows_shows_each_row_once_and_follows_them(clinics: Any) -> None:
    """What they become brings rows and takes them away."""
    project, north, _ = clinics
    for name in ("b", "c"):
        patient = Patient.objects.create(organization=north, name=name)
        for _ in range(2):
            Visit.objects.create(patient=patient, at=AT, note="north")
    filtered(north, field="visits__note", operator="startswith", value="nor")
    replica = project.clone("ann", "north")
    assert names(replica) == ["b", "c", "of north"]
    Visit.objects.filter(patient__name="b").update(note="west")
    Visit.objects.filter(patient__name="c").first().delete()
    replica.sync()
    assert names(replica) == ["c", "of north"]
    Visit.objects.filter(patient__name="c").update(patient=Patient.objects.get(name="b"))
    replica.sync()
    assert names(replica) == ["b", "of north"]
    write(replica, "update clinic_patient set born = '2000-01-01'")
    assert replica.sync().rejected == 0
    write(replica, "insert into clinic_patient (name, organization_id) values ('x', ?)", north.pk)
    assert replica.sync().rejected == 1, "nobody has visited it"
    filtered(north, field="visits__note", operator="endswith", value="est")
    replica.sync()
    assert names(replica) == ["b"]


def test_a_filter_over_a_many_to_many_relation_holds_for_its_table_too(clinics: Any) -> None:
    project, north, _ = clinics
    project.set(SHARED_MODELS=["clinic.Tag"])
    project.permit(north, "Nurses", "clinic.Tag", "pull", "read")
    tagged = Patient.objects.create(organization=north, name="tagged")
    filtered(north, field="tags__name", operator="in", value=["red", "blue"])
    replica = project.clone("ann", "north")
    assert names(replica) == []
    tags = [Tag.objects.create(name=name) for name in ("red", "blue", "grey")]
    tagged.tags.set(tags)
    replica.sync()
    assert names(replica) == ["tagged"]
    assert len(rows(replica, "select * from clinic_patient_tags")) == 3
    tagged.tags.set(tags[2:])
    replica.sync()
    assert names(replica) == rows(replica, "select * from clinic_patient_tags") == []
    tags[2].name = "blue"
    Tag.objects.filter(name="blue").delete()
    tags[2].save()
    replica.sync()
    assert names(replica) == ["tagged"]


def test_a_filter_that_leads_to_what_is_not_synced_denies_and_says_so(
    clinics: Any, caplog: pytest.LogCaptureFixture
) -> None:
    project, north, _ = clinics
    ann = get_user_model().objects.get(username="ann")
    Patient.objects.update(doctor=ann)
    for path in ("doctor__username", "organization__user_organizations__user__username"):
        caplog.clear()
        filtered(north, field=path, operator="exact", value="ann")
        assert names(project.clone("ann", "north")) == []
        assert "denies all rows" in caplog.text
        assert "'ann'" not in caplog.text


@pytest.mark.parametrize(
    "condition",
    [
        on("visits__pk", "exact", "x"),
        on("visits__pk", "contains", "1"),
        on("visits__patient__visits__patient__visits__note"),
        {"or": [on("name"), on("nothing")]},
        {"not": on("born", "gte", 7)},
    ],
)
def test_a_filter_that_cannot_be_asked_of_the_tables_denies_and_says_so(
    clinics: Any, caplog: pytest.LogCaptureFixture, condition: dict[str, Any]
) -> None:
    project, north, _ = clinics
    filtered(north, field="name")
    DataFilter.objects.update(filter_condition=condition)
    assert names(project.clone("ann", "north")) == []
    assert "the filter 'many' of clinic.Patient denies all rows" in caplog.text


def test_lookups_become_paths_and_what_cannot_be_understood_denies() -> None:
    for path, text in {
        "patient__organization__slug": "row.patient_id.organization_id.slug == 1",
        "patient": "row.patient_id == 1",
        "patient_id": "row.patient_id == 1",
        "pk": "row.id == 1",
        "patient__visits": ("row.patient_id ─► (some clinic_visit by patient_id ─► (row.id == 1))"),
        "patient__tags__name": (
            "row.patient_id ─► (some clinic_patient_tags by patient_id ─► (row.tag_id.name == 1))"
        ),
    }.items():
        (found,) = conditions_of(Visit, on(path), name="x")
        assert expression_text(found) == text
    (found,) = conditions_of(Tag, on("patient"), name="x")
    assert expression_text(found) == "some clinic_patient_tags by tag_id ─► (row.patient_id == 1)"
    for wrong in (
        *map(on, ("nothing", "patient__nothing", "patient__visits__nothing", "tags__x")),
        *map(on, ("patient__tags__name__upper", "patient__name__upper", "patient__", "")),
        on("patient__visits__pk", "regex"),
        on("patient__visits__pk", "exact", None),
        {"field": "note", "operator": "regex", "value": "x"},
        {"field": "note", "operator": "exact", "value": None},
        {"field": "note", "operator": "exact"},
        {"field": "note__startswith", "operator": "exact", "value": "x"},
        "note",
        None,
    ):
        assert list(conditions_of(Visit, wrong, name="x")) == [NEVER]
