"""dbsync's calls besides push and pull: repair, queries, trims, vetoes, directions, settings."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

from reunite.dropin import dbsync
from reunite.dropin.dbsync import client, core, server
from reunite.dropin.dbsync.client import BadResponseError, PushRejected, ResyncNeeded, serverquery
from reunite.dropin.dbsync.client.net import NetworkError
from reunite.dropin.dbsync.server import handlers
from tests.dropin.dbsync_world import City, House, Person, World

SEEN = datetime.fromisoformat("2020-01-02T03:04:05.678901")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as closing:
        yield World(tmp_path, closing)


# -- repair, trim ----------------------------------------------------------------------------------


def test_db_14_repair_brings_the_servers_rows_and_sets_unpushed_ones_aside(world: World) -> None:
    node = world.node("a")
    node.add(City(name="shared"))
    node.synchronize()
    with node.session() as session:  # past the log
        session.execute(text("update reunite_guard set suspended = 1"))
        session.execute(text("insert into city (id, name) values (900001, 'phantom')"))
        session.execute(text("update reunite_guard set suspended = 0"))
        session.commit()
    with node.session() as session:
        session.query(City).filter_by(name="shared").one().pop = 5
        session.add(City(name="mine"))
        session.commit()
    answer = node.repair()
    assert answer["new_version_id"] == node.client.get_latest_version_id()
    world.check_equal(node)
    assert [row[1] for row in node.rows()] == ["shared"]
    rescued = node.client.rescued_changes()
    assert [(each.model, each.command) for each in rescued] == [(City, "u"), (City, "i")]
    assert rescued[0].values["pop"] == 5
    assert rescued[1].values["name"] == "mine"
    assert node.client.unsynched_objects() == []
    node.add(City(name="after"))
    node.synchronize()
    world.check_equal(node)


def test_db_14_repair_may_put_unpushed_changes_back(world: World) -> None:
    node = world.node("a")
    node.add(City(name="shared"))
    node.synchronize()
    node.add(City(name="mine"))
    node.repair(reapply=True)
    assert node.client.rescued_changes() == []
    assert len(node.client.unsynched_objects()) == 1
    node.synchronize()
    world.check_equal(node)
    assert {row[1] for row in world.rows()} == {"shared", "mine"}


def test_a_repair_that_cannot_reach_the_server_changes_nothing(world: World) -> None:
    node = world.node("a")
    node.add(City(name="mine"))
    with pytest.raises(NetworkError):
        node.client.repair("nowhere")
    assert len(node.client.unsynched_objects()) == 1
    node.synchronize()
    assert [row[1] for row in world.rows()] == ["mine"]


def test_db_12_a_node_behind_a_trim_is_told_and_repairs(world: World) -> None:
    node, lazy = world.node("a"), world.node("b")
    node.add(City(name="one"))
    node.synchronize()
    lazy.synchronize()
    node.add(City(name="two"))
    node.synchronize()
    node.pull()
    assert world.server.trim(forget_nodes_idle_for=timedelta(0)) > 0
    lazy.add(City(name="unpushed"))
    with pytest.raises(ResyncNeeded):
        lazy.pull()
    assert {row[1] for row in lazy.rows()} == {"one", "unpushed"}
    lazy.repair(reapply=True)
    lazy.synchronize()
    node.synchronize()
    world.check_equal(node, lazy)
    assert {row[1] for row in world.rows()} == {"one", "two", "unpushed"}


def test_db_23_a_trim_keeps_what_some_node_has_not_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reunite.engine.pull.SEEN_STALE_MS", -1)  # else noted once a minute
    node, reader = world.node("a"), world.node("b")
    reader.pull()
    for name in "xyz":
        node.add(City(name=name))
        node.synchronize()
    assert world.server.trim() == 0
    for each in (reader, node):
        for _ in range(2):
            each.pull()
    assert world.server.trim() > 0
    node.add(City(name="later"))
    node.synchronize()
    reader.pull()
    world.check_equal(node, reader)


def test_handle_repair_without_a_node_is_the_whole_database(world: World) -> None:
    node = world.node("a")
    node.add(City(name="Rome", pop=3))
    node.synchronize()
    whole = world.server.handle_repair({})
    assert [row["name"] for row in whole["City"]] == ["Rome"]
    assert whole["latest_version_id"] == world.server.get_latest_version_id()
    with pytest.raises(handlers.PullRejected):
        world.server.handle_repair({"message": "no message"})


# -- queries ---------------------------------------------------------------------------------------


def test_query_server_gives_objects_that_no_session_has(world: World) -> None:
    with world.session() as session:
        session.add(Person(first="A", last="B", born=date(2000, 1, 2), wage=Decimal("3.30")))
        session.add(Person(first="C", last="D", seen=SEEN))
        session.commit()
    query = world.node("a").client.query_server("query")
    (found,) = query(Person, first="A") or []
    assert (found.last, found.born, found.wage) == ("B", date(2000, 1, 2), Decimal("3.30"))
    (other,) = query(Person, seen=SEEN) or []
    assert other.first == "C"
    assert query(Person, nme="A") is None
    with pytest.raises(serverquery.BadResponseError):
        world.node("b").client.query_server("register")(Person)


# -- vetoes ----------------------------------------------------------------------------------------


def test_before_and_after_push_run_in_the_pushs_transaction_and_may_veto(world: World) -> None:
    node = world.node("a")
    heard: list[Any] = []

    @world.server.before_push.listen
    def before(session: Session, message: Any) -> None:
        heard.append((message["extra_data"], len(session.scalars(select(City)).all())))
        session.add(House(address=f"made before {len(heard)}"))

    @world.server.after_push.listen
    def after(session: Session, message: Any) -> None:
        names = set(session.scalars(select(City.name)))
        heard.append(names)
        if "forbidden" in names:
            raise ValueError("not this one")

    node.add(City(name="fine"))
    node.client.push("push", extra_data={"who": "me"})
    assert heard == [({"who": "me"}, 0), {"fine"}]
    node.add(City(name="forbidden"))
    with pytest.raises(PushRejected, match="not this one"):
        node.push()
    assert [row[1] for row in world.rows()] == ["fine"]
    assert [row[1] for row in world.rows(House)] == ["made before 1"]
    with node.session() as session:
        session.query(City).filter_by(name="forbidden").one().name = "allowed"
        session.commit()
    node.synchronize()
    world.check_equal(node)
    assert {row[1] for row in world.rows()} == {"fine", "allowed"}


# -- directions ------------------------------------------------------------------------------------


def test_a_class_that_a_node_only_pulls_logs_nothing(tmp_path: Path) -> None:
    with ExitStack() as closing:
        world = World(tmp_path, closing)
        node = world.node("a", directions={City: ("pull",)})
        node.synchronize()
        node.add(City(name="mine alone"))
        assert node.client.unsynched_objects() == []
        with world.session() as session:
            session.add(City(id=5_000, name="the server's"))
            session.commit()
        node.synchronize()
        assert {row[1] for row in node.rows()} == {"mine alone", "the server's"}
        assert [row[1] for row in world.rows()] == ["the server's"]


def test_a_class_that_is_only_pushed_goes_to_the_server_and_to_no_other_node(
    tmp_path: Path,
) -> None:
    with ExitStack() as closing:
        world = World(tmp_path, closing, directions={City: ("push",)})
        one, two = world.node("a"), world.node("b")
        one.add(City(name="one's"))
        two.add(City(name="two's"))
        for node in (one, two, one, two):
            node.synchronize()
        assert {row[1] for row in world.rows()} == {"one's", "two's"}
        assert [row[1] for row in one.rows()] == ["one's"]
        assert [row[1] for row in two.rows()] == ["two's"]
        with one.session() as session:
            session.query(City).one().pop = 9
            session.commit()
        one.synchronize()
        assert [row[2] for row in one.rows()] == [9]


def test_db_24_what_is_only_pulled_is_not_pushed(tmp_path: Path) -> None:
    with ExitStack() as closing:
        world = World(tmp_path, closing, directions={City: ("pull",)})
        node = world.node("a")
        node.add(City(name="x"))
        with pytest.raises(PushRejected, match="to be pushed"):
            node.push()
        assert world.rows() == []


def test_tracking_again_adds_directions_and_others_are_refused() -> None:
    one = client.Client()
    assert one.track("pull")(City) is City
    one.track("push")(City)
    assert one._models[City] == frozenset({"push", "pull"})
    assert one.track()(House) is House
    with pytest.raises(AssertionError, match="track only accepts the arguments: push, pull"):
        one.track("sideways")


# -- versions, policies --------------------------------------------------------------------------


def test_db_4_a_push_that_comes_again_has_the_version_of_then(world: World) -> None:
    node, other = world.node("a"), world.node("b")
    node.add(City(name="x"))
    node.net.lose = lambda: True
    with pytest.raises(NetworkError):
        node.push()
    # Registering was lost; so is the push itself, the second time.
    with pytest.raises(NetworkError):
        node.push()
    node.net.lose = lambda: False
    version = world.server.get_latest_version_id()
    other.add(City(name="y"))
    other.push()
    assert node.push()["new_version_id"] in (version, world.server.get_latest_version_id())
    again = node.push()["new_version_id"]
    node.synchronize()
    assert len(world.rows()) == 2
    assert again <= world.server.get_latest_version_id()


def test_db_11_under_the_strict_policy_everybody_gets_through(world: World) -> None:
    world.server.set_push_policy("strict")
    nodes = [world.node(name) for name in "abcdefgh"]
    refused = dict.fromkeys(nodes, 0)
    for number in range(10):
        for node in nodes:
            node.add(City(name=f"{node.path.stem}{number}"))
        for node in nodes[number % 8 :] + nodes[: number % 8]:
            while True:
                try:
                    node.push()
                    break
                except PushRejected:
                    refused[node] += 1
                    node.pull()
    assert len(world.rows()) == 80
    assert max(refused.values()) <= 3 * max(1, min(refused.values()))


# -- settings, monitors, the top -----------------------------------------------------------------


def test_s18_a_monitor_hears_of_each_step_in_order(world: World) -> None:
    node = world.node("a")
    with world.session() as session:
        session.add_all([City(name=str(number)) for number in range(20)])
        session.commit()
    heard: list[dict[str, Any]] = []
    node.pull(monitor=heard.append)
    names = [each["status"] for each in heard]
    assert names[0] == "connect"
    assert names[-2:] == ["merging", "done"]
    assert set(names[1:-2]) == {"downloading"}
    assert heard[-2]["operations"] == 20
    heard.clear()
    node.repair(monitor=heard.append)
    names = [each["status"] for each in heard]
    assert (names[0], names[-2], names[-1]) == ("connect", "repairing", "done")
    heard.clear()
    world.server.handle_pull = lambda data: {"nothing": 1}  # type: ignore[method-assign]
    with pytest.raises(BadResponseError):
        node.pull(monitor=heard.append)
    assert heard[-1]["status"] == "error"


def test_settings_are_checked_and_given_back() -> None:
    one = client.Client()
    settings: list[tuple[Any, Any, Any, str]] = [
        (one.set_default_encoder, str, 1, "encoder must be a function"),
        (one.set_default_decoder, str, 1, "decoder must be a function"),
        (one.set_default_headers, {"a": "b"}, 1, "headers must be a dictionary"),
        (one.set_default_timeout, 3, "3", "timeout must be a number"),
        (one.set_authentication_callback, str, 1, "authentication callback must be a function"),
        (one.set_pull_suggestion_criterion, str, 1, "criterion must be a function"),
    ]
    for setter, good, bad, message in settings:
        assert setter(good) is good
        with pytest.raises(AssertionError, match=message):
            setter(bad)


def test_db_22_only_the_network_is_a_network_error(world: World) -> None:
    one = client.Client()
    assert not one.isconnected("http://127.0.0.1:9/")
    assert not one.isready("127.0.0.1:9")
    with pytest.raises(NetworkError):
        client.net.get_request("http://127.0.0.1:9/")

    def breaks(data: Any) -> Any:
        raise ZeroDivisionError

    node = world.node("a", is_registered=False)
    real = client.Client(node.engine)
    real.set_default_encoder(breaks)
    with pytest.raises(ZeroDivisionError):
        real.register("http://127.0.0.1:9/")


def test_the_functions_at_the_top_act_on_the_side_that_was_imported_last(tmp_path: Path) -> None:
    before = core._default.pop("engine", None)
    mode = core.mode
    try:
        with pytest.raises(core.ConfigurationError, match="hasn't been set yet"):
            dbsync.create_all()
        with pytest.raises(AssertionError, match="expected sqlalchemy"):
            dbsync.set_engine("sqlite://")  # type: ignore[arg-type]
        engine = create_engine(f"sqlite:///{tmp_path / 'one.db'}")
        dbsync.set_engine(engine)
        assert dbsync.get_engine() is engine
        City.metadata.create_all(engine)
        core.set_mode("client", client.Client())
        core.sides["client"].track(City)  # type: ignore[attr-defined]
        dbsync.create_all()
        dbsync.create_all()
        with Session(engine, expire_on_commit=False) as session:
            city = City(name="x")
            session.add(city)
            session.commit()
        assert not dbsync.is_synched(city)
        with pytest.raises(TypeError, match="class House isn't being tracked"):
            dbsync.is_synched(House())
        assert core.get_latest_version_id() == 0
        dbsync.drop_all()
        with engine.connect() as db:
            names = set(db.scalars(text("select name from sqlite_master")))
        assert not any(name.startswith("reunite") for name in names)
        engine.dispose()
    finally:
        core.mode = mode
        core._default.pop("engine", None)
        if before is not None:
            core._default["engine"] = before
        core.sides.update(client=client.default, server=server.default)


def test_capture_can_be_switched_off_for_the_writes_of_one_thread(world: World) -> None:
    node = world.node("a")
    core.toggle_listening(False)
    try:
        node.add(City(name="unheard"))
    finally:
        core.toggle_listening()
    node.add(City(name="heard"))

    @core.with_listening(False)
    def quietly() -> None:
        node.add(City(name="unheard too"))

    quietly()
    node.push()
    assert [row[1] for row in world.rows()] == ["heard"]


def test_warnings_go_where_the_program_wants_them(world: World) -> None:
    target = io.StringIO()
    dbsync.set_log_target(target)
    try:
        world.server.handle_query({"model": "Town"})
        assert " - dbsync - WARNING - query for a class" in target.getvalue()
    finally:
        core.logger.handlers.clear()


def test_db_18_a_process_has_any_number_of_replicas(world: World) -> None:
    assert dbsync.Replica is client.Client
    nodes = [world.node(name) for name in "ab"]
    for node in nodes:
        node.add(City(name=node.path.stem))
    for node in nodes * 2:
        node.synchronize()
    world.check_equal(*nodes)


def test_s8_values_of_every_type_come_back_as_they_were(world: World) -> None:
    node, other = world.node("a"), world.node("b")
    node.add(
        Person(
            first="A", last="B", born=date(1999, 12, 31),
            seen=SEEN, wage=Decimal("3.3"), size=3.3,
        )
    )  # fmt: skip
    node.synchronize()
    other.synchronize()
    with other.session() as session:
        found = session.query(Person).one()
        assert (found.born, found.wage) == (date(1999, 12, 31), Decimal("3.30"))
        assert (found.seen, found.size) == (SEEN, 3.3)
    world.check_equal(node, other)


def test_who_is_no_node_yet_is_told_so(world: World) -> None:
    node = world.node("a", is_registered=False)
    node.add(City(name="x"))
    with pytest.raises(PushRejected, match="not registered"):
        node.push()
    for call in (node.pull, node.repair):
        with pytest.raises(BadResponseError, match="not registered"):
            call()
    assert len(node.client.unsynched_objects()) == 1
