"""Extensions: files that travel with rows, in order, and again when a function has failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import String

from reunite.dropin.dbsync.client import Client
from tests.dropin.dbsync_world import City, House, Node, World


class Files:
    """What one side keeps beside its rows: a file for the name of each city."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.is_broken = False

    def load(self, city: Any) -> str | None:
        return self.kept.get(city.name)

    def save(self, city: Any, value: str) -> None:
        if self.is_broken:
            raise OSError("the disk is gone")
        self.calls.append(("save", city.name, value))
        self.kept[city.name] = value

    def delete(self, old: Any, new: Any) -> None:
        self.calls.append(("delete", old.name, None if new is None else new.name))
        self.kept.pop(old.name, None)

    def extend(self, side: Any) -> None:
        side.extend(City, "picture", String, self.load, self.save, self.delete)


class Office:
    """A server and two nodes, each with files."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.world = World(folder, closing)
        self.files = Files()
        self.files.extend(self.world.server)
        self.one, self.ones = self.node("one")
        self.two, self.twos = self.node("two")

    def node(self, name: str) -> tuple[Node, Files]:
        node, files = self.world.node(name), Files()
        files.extend(node.client)
        node.client.create_all()
        return node, files

    def check_equal(self) -> None:
        self.world.check_equal(self.one, self.two)
        assert self.files.kept == self.ones.kept == self.twos.kept


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with ExitStack() as closing:
        yield Office(tmp_path, closing)


def test_a_file_travels_with_its_row(office: Office) -> None:
    office.ones.kept["Rome"] = "a colosseum"
    office.one.add(City(name="Rome"), City(name="without"))
    office.one.synchronize()
    office.two.synchronize()
    assert office.twos.kept == {"Rome": "a colosseum"}
    office.check_equal()
    assert office.ones.calls == []  # nothing that it sent came back to it


def test_s17_all_that_delete_are_called_before_all_that_save(office: Office) -> None:
    office.ones.kept["P1"] = "file-of-P1"
    office.one.add(City(name="P1"))
    office.one.synchronize()
    office.two.synchronize()
    office.twos.calls.clear()
    with office.one.session() as session:
        session.query(City).one().name = "P2"
        session.commit()
    office.ones.kept = {"P2": "file-of-P2"}
    office.one.synchronize()
    office.two.synchronize()
    assert office.twos.calls == [("delete", "P1", "P2"), ("save", "P2", "file-of-P2")]
    with office.one.session() as session:
        session.delete(session.query(City).one())
        session.commit()
    office.ones.kept.clear()
    office.one.synchronize()
    office.two.synchronize()
    assert office.twos.calls[-1] == ("delete", "P2", None)
    office.check_equal()


def test_files_of_rows_that_the_servers_programs_write_travel_too(office: Office) -> None:
    office.one.pull()
    office.files.kept["Oslo"] = "a ship"
    with office.world.session() as session:
        session.add(City(id=70_000, name="Oslo"))
        session.commit()
    office.one.pull()
    office.two.pull()
    office.check_equal()
    assert office.ones.kept == {"Oslo": "a ship"}


def test_db_16_what_a_function_fails_at_is_told_and_tried_again(office: Office) -> None:
    office.ones.kept["Rome"] = "a colosseum"
    office.one.add(City(name="Rome"))
    office.twos.is_broken = office.files.is_broken = True
    office.one.synchronize()
    office.two.synchronize()
    assert [row[1] for row in office.two.rows()] == ["Rome"]
    ((model, key, step, field, error),) = office.two.client.extension_errors()
    assert (model, step, field, str(error)) == (City, "save", "picture", "the disk is gone")
    assert key == office.two.rows()[0][0]
    assert office.world.server.extension_errors()
    office.twos.is_broken = office.files.is_broken = False
    office.two.pull()
    assert office.two.client.extension_errors() == []
    office.one.pull()
    office.check_equal()


def test_a_load_that_failed_is_tried_again_by_the_next_call(office: Office) -> None:
    def fails(city: Any) -> str:
        raise OSError("not yet")

    loads = office.ones.load
    office.one.client.extend(City, "picture", String, fails, office.ones.save, office.ones.delete)
    office.ones.kept["Rome"] = "a colosseum"
    office.one.add(City(name="Rome"))
    office.one.push()
    assert [each.step for each in office.one.client.extension_errors()] == ["load"]
    office.one.client.extend(City, "picture", String, loads, office.ones.save, office.ones.delete)
    office.one.synchronize()
    office.two.synchronize()
    office.check_equal()


def test_without_extensions_rows_travel_alone(office: Office) -> None:
    office.ones.kept["Rome"] = "a colosseum"
    office.one.add(City(name="Rome"))
    office.one.client.push("push", include_extensions=False)
    office.two.client.pull("pull", include_extensions=False)
    assert [row[1] for row in office.two.rows()] == ["Rome"]
    assert office.twos.kept == {}


def test_rows_that_are_renumbered_keep_their_files(office: Office) -> None:
    office.ones.kept["Rome"], office.twos.kept["Oslo"] = "a colosseum", "a ship"
    office.one.add(City(id=1, name="Rome"))
    office.two.add(City(id=1, name="Oslo"))
    for node in (office.one, office.two, office.one):
        node.synchronize()
    office.check_equal()
    assert office.files.kept == {"Rome": "a colosseum", "Oslo": "a ship"}


def test_save_extensions_calls_the_functions_with_the_fields_value(office: Office) -> None:
    city = City(name="Rome")
    city.picture = "a forum"  # type: ignore[attr-defined]
    office.one.client.save_extensions(city)
    assert office.ones.calls == [("save", "Rome", "a forum")]


def test_what_cannot_be_extended_is_refused() -> None:
    def function(*_: Any) -> None:
        return None

    one = Client()
    refusals: list[tuple[tuple[Any, ...], str]] = [
        ((object, "x", String, function, function), "model must be a mapped class"),
        ((House, "", String, function, function), "field name must be a non-empty string"),
        ((House, "address", String, function, function), "the model House already has the attri"),
        ((House, "x", String, 1, function), "load function must be a callable"),
        ((House, "x", String, function, 1), "save function must be a callable"),
        ((House, "x", String, function, function, 1), "delete function must be a callable"),
    ]
    for arguments, message in refusals:
        with pytest.raises(AssertionError, match=message):
            one.extend(*arguments)


def test_a_repair_brings_lost_files_back(office: Office) -> None:
    office.ones.kept |= {"Rome": "a colosseum", "Bern": "a bear"}
    office.one.add(City(name="Rome"), City(name="Bern"))
    office.one.synchronize()
    office.two.synchronize()
    office.twos.kept.clear()
    office.twos.calls.clear()
    with office.two.session() as session:
        session.query(City).filter_by(name="Bern").one().pop = 5
        session.commit()
    office.twos.kept["Bern"] = "a bear of its own"
    office.two.repair(reapply=True)
    assert office.twos.kept == {"Rome": "a colosseum", "Bern": "a bear of its own"}
    assert office.twos.calls == [("save", "Rome", "a colosseum")]
    for node in (office.two, office.one):
        node.synchronize()
    office.check_equal()
    office.twos.kept.clear()
    office.two.repair(include_extensions=False)
    assert office.twos.kept == {}
    office.two.repair()
    office.check_equal()


def test_a_file_that_a_repair_sets_aside_is_rescued(office: Office) -> None:
    office.ones.kept["Rome"] = "a colosseum"
    office.one.add(City(name="Rome"))
    office.one.synchronize()
    office.two.synchronize()
    with office.two.session() as session:
        session.query(City).one().pop = 5
        session.commit()
    office.twos.kept["Rome"] = "unpushed"
    office.two.repair()
    office.check_equal()
    assert {"value": "unpushed"} in [each.values for each in office.two.client.rescued_changes()]
