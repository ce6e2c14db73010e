"""What a project writes is captured, and what replicas push is in its tables."""

from __future__ import annotations

import datetime as dt
import sqlite3
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from reunite import Principal, Replica
from reunite.contrib.django.saving import python_value
from tests.contrib.django.clinic.models import Booking, Everything, Place, Tag, Ward
from tests.contrib.django.conftest import Project


def rows(replica: Replica, sql: str) -> list[Any]:
    with replica.transaction() as db:
        return list(db.execute(sql))


def write(replica: Replica, sql: str, *parameters: Any) -> None:
    with replica.transaction() as db:
        db.execute(sql, parameters)


def test_json_is_in_python_what_was_written_there(everywhere: Project) -> None:
    """For models whose pushed rows are saved: a text of JSON on SQLite, a value on PostgreSQL."""
    field = Everything._meta.get_field("data")
    for value in ({"a": [1, "x"]}, "text", '{"a": 1}', "null", 5, True, []):
        one = Everything.objects.create(data=value)
        with everywhere.hub.reading() as tx:
            schema = tx.schemas()["clinic_everything"]
            (row,) = [
                row
                for row in tx.scan("clinic_everything", after=None, limit=100)
                if str(row[0]).replace("-", "") == one.pk.hex
            ]
        wire = row[schema.position["data"]]
        assert python_value(field, wire, "default") == value
    if connection.vendor == "sqlite":
        with pytest.raises(ValidationError):
            python_value(field, "{", "default")


def test_a_replica_and_the_orm_see_what_the_other_writes(everywhere: Project) -> None:
    everywhere.user("root", is_superuser=True)
    Tag.objects.create(name="from the ORM")
    replica = everywhere.clone("root")
    assert rows(replica, "select name from clinic_tag") == [("from the ORM",)]
    write(replica, "insert into clinic_tag (name) values ('from the till')")
    assert replica.sync().rejected == 0
    assert set(Tag.objects.values_list("name", flat=True)) == {"from the ORM", "from the till"}
    Tag.objects.filter(name="from the till").update(name="changed in bulk")
    Tag.objects.filter(name="from the ORM").delete()
    Tag.objects.bulk_create([Tag(name="bulk 1"), Tag(name="bulk 2")])
    with connection.cursor() as cursor:
        cursor.execute("insert into clinic_tag (name) values ('raw')")
    replica.sync()
    assert set(rows(replica, "select name from clinic_tag")) == {
        ("changed in bulk",), ("bulk 1",), ("bulk 2",), ("raw",),
    }  # fmt: skip
    assert replica.compare().found == 0


def test_a_value_of_every_field_comes_back_as_it_left(everywhere: Project) -> None:
    everywhere.user("root", is_superuser=True)
    given = {
        "big": 2**60,
        "small": 7,
        "flag": True,
        "maybe": None,
        "price": Decimal("1234567890.12"),
        "ratio": 0.1,
        "text": "Zoë \N{GRINNING FACE}",
        "email": "a@b.example",
        "day": dt.date(2026, 2, 28),
        "moment": dt.datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=dt.UTC),
        "clock": dt.time(1, 2, 3, 400000),
        "lasting": dt.timedelta(days=3, microseconds=5),
        "data": {"a": [1, None, "x"], "b": 2.5},
        "raw": b"\x00\xff",
        "file": "files/a.pdf",
        "address": "::1",
    }
    one = Everything.objects.create(id=uuid.uuid4(), **given)
    empty = Everything.objects.create(id=uuid.uuid4())
    replica = everywhere.clone("root")
    write(replica, "update clinic_everything set text = text || '!'")
    assert replica.sync().rejected == 0
    one.refresh_from_db()
    for name, value in given.items():
        found = getattr(one, name)
        found = bytes(found) if name == "raw" else found
        found = str(found) if name in ("file", "address") else found
        assert found == (f"{value}!" if name == "text" else value), name
    empty.refresh_from_db()
    assert (empty.text, empty.price, empty.data, empty.maybe) == ("!", None, None, None)
    assert replica.compare().found == 0
    # A row that a replica copies with all its values is one that Django reads the same.
    key = (
        str(uuid.uuid4())
        if "-" in rows(replica, "select id from clinic_everything")[0][0]
        else (uuid.uuid4().hex)
    )
    names = ", ".join(f for f in given if f != "text")
    write(
        replica,
        f"insert into clinic_everything (id, text, {names}) "
        f"select ?, 'copy', {names} from clinic_everything where big is not null",
        key,
    )
    assert replica.sync().rejected == 0
    copy = Everything.objects.get(text="copy")
    assert copy.id == uuid.UUID(key)
    assert (copy.price, copy.moment, copy.lasting, copy.data) == (
        one.price, one.moment, one.lasting, one.data,
    )  # fmt: skip


def test_what_is_rolled_back_is_not_captured(everywhere: Project) -> None:
    before = everywhere.hub.status().changes
    with transaction.atomic():
        Tag.objects.create(name="kept")
        with transaction.atomic():
            Tag.objects.create(name="gone")
            transaction.set_rollback(True)
    assert [entry.key for entry in everywhere.hub.log()] == [(Tag.objects.get().pk,)]
    assert everywhere.hub.status().changes == before + 1


def test_a_hub_works_inside_a_transaction_of_the_project(everywhere: Project) -> None:
    """As in `TestCase` and under ATOMIC_REQUESTS: everything is a savepoint, and goes with it."""
    everywhere.user("root", is_superuser=True)
    replica = everywhere.clone("root")
    with transaction.atomic():
        Tag.objects.create(name="a")
        replica.sync()
        assert rows(replica, "select name from clinic_tag") == [("a",)]
        write(replica, "insert into clinic_tag (name) values ('b')")
        assert replica.sync().pushed == 1
        assert Tag.objects.count() == 2
        transaction.set_rollback(True)
    assert Tag.objects.count() == 0


def test_the_projects_settings_of_a_transaction_are_as_before(on_postgresql: Project) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("set local timezone = 'Asia/Tokyo'")
        cursor.execute("set local lock_timeout = '77ms'")
        on_postgresql.hub.create_token("anybody")
        on_postgresql.hub.status()
        cursor.execute("select current_setting('timezone'), current_setting('lock_timeout')")
        assert cursor.fetchone() == ("Asia/Tokyo", "77ms")


def test_rows_of_models_in_two_tables_arrive_whole(everywhere: Project) -> None:
    everywhere.user("root", is_superuser=True)
    Ward.objects.create(name="north", beds=12)
    replica = everywhere.clone("root")
    with replica.transaction() as db:
        db.execute("insert into clinic_place (name) values ('south')")
        (key,) = db.execute("select id from clinic_place where name = 'south'").fetchone()
        db.execute("insert into clinic_ward (place_ptr_id, beds) values (?, 5)", (key,))
    assert replica.sync().rejected == 0
    assert set(Ward.objects.values_list("name", "beds")) == {("north", 12), ("south", 5)}
    assert Place.objects.count() == 2


def test_a_model_that_asks_for_it_is_cleaned_and_saved(everywhere: Project) -> None:
    everywhere.set(MODELS={"clinic.Booking": {"apply": "save"}})
    everywhere.user("root", is_superuser=True)
    replica = everywhere.clone("root")
    write(replica, "insert into clinic_booking (room, guests, shouted) values ('r1', 2, '')")
    write(replica, "insert into clinic_booking (room, guests, shouted) values ('r2', 9, '')")
    report = replica.sync()
    assert (report.rejected, Booking.objects.get().shouted) == (1, "R1")
    assert rows(replica, "select shouted from clinic_booking") == [("R1",)]
    (parked,) = replica.parked()
    assert (parked.code, "Four at most." in parked.reason) == ("check", True)
    write(replica, "update clinic_booking set room = 'r3'")
    assert replica.sync().rejected == 0
    assert Booking.objects.get().shouted == "R3"
    write(replica, "delete from clinic_booking")
    replica.sync()
    assert not Booking.objects.exists()


def test_another_program_is_captured_too(project: Project) -> None:
    Tag.objects.create(name="a")
    with sqlite3.connect(project.folder / "project.db") as db:
        db.execute("update clinic_tag set name = 'b'")
    db.close()
    (entry,) = list(project.hub.history("clinic_tag", (Tag.objects.get().pk,)))[-1:]
    assert entry.op == "update"


def test_hooks_write_through_the_orm_in_the_same_transaction(everywhere: Project) -> None:
    everywhere.user("root", is_superuser=True)
    hub = everywhere.hub
    hub.adopt()

    @hub.on_insert("clinic_tag")
    def welcome(change: Any, db: Any) -> None:
        Place.objects.create(name=f"for {change.row['name']}")

    replica = everywhere.clone("root")
    write(replica, "insert into clinic_tag (name) values ('a')")
    assert replica.sync().rejected == 0
    assert Place.objects.get().name == "for a"


def test_tokens_are_asked_after_by_principal(project: Project) -> None:
    token = project.hub.create_token(Principal(user="somebody"))
    assert project.hub.authenticate(token).user == "somebody"


def test_what_waits_for_commit_and_refuses_is_parked_alone(on_postgresql: Project) -> None:
    """As foreign keys of Django's wait: one change that COMMIT refuses made every push fail."""
    with connection.cursor() as cursor:
        cursor.execute(
            "create function refuse() returns trigger language plpgsql as "
            "$$ begin raise exception 'not this name'; end $$"
        )
        cursor.execute(
            "create constraint trigger late after insert on clinic_tag deferrable initially "
            "deferred for each row when (new.name = 'bad') execute function refuse()"
        )
    on_postgresql.user("root", is_superuser=True)
    replica = on_postgresql.clone("root")
    for name in ("first", "bad", "last"):
        write(replica, "insert into clinic_tag (name) values (?)", name)
    replica.sync()
    assert set(Tag.objects.values_list("name", flat=True)) == {"first", "last"}
    assert [(change.code, change.reason) for change in replica.parked()] == [
        ("check", "not this name")
    ]
