"""What is under way when the process is killed: each scenario prepares a world, then runs.

The steps of `run` are cut off at every edge; those of `prepare` are not.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from reunite import Hub
from reunite.replica import driver, sending
from tests.crash.world import DDL, TABLES, TOKEN, World, rows


class Scenario(NamedTuple):
    """`prepare` makes what `run` begins with; `run` is what gets killed."""

    prepare: Callable[[World], None]
    run: Callable[[World], None]


def make_bank(world: World) -> None:
    """A hub's database, not yet tracked."""
    with closing(sqlite3.connect(world.hub_path, isolation_level=None)) as db:
        db.executescript("pragma journal_mode = wal;" + DDL)


def make_hub(world: World) -> None:
    make_bank(world)
    world.hub.create_token(token=TOKEN)
    world.write("hub", transfers=2, sales=2)


def make_both(world: World) -> None:
    make_hub(world)
    world.clone("witness")
    till = world.clone("till")
    world.write_group(till)
    till.sync()


def write_everywhere(world: World) -> None:
    """Work that waits on both sides: groups, other programs' writes, and a group to reject."""
    till = world.replica()
    world.write_group(till, sales=2)
    world.write_group(till)
    world.write_refused(till)
    world.write("till", transfers=2, sales=2)
    # SQLite continues in the replica's block here, so its sales must move.
    world.write("hub", transfers=3, sales=3)


def _track(world: World) -> None:
    with Hub(world.hub_path) as hub:
        for table in TABLES:
            hub.track(table, merge={"balance": "counter"} if table == "account" else None)
        hub.create_token(token=TOKEN)


def _prepare_untracked(world: World) -> None:
    make_bank(world)


def _clone(world: World) -> None:
    world.clone("till")


def _write(world: World) -> None:
    till = world.replica()
    world.write_group(till)
    world.write("till", transfers=1, sales=1)
    key = till.new_key("sale")
    with world.promised("s") as name, till.transaction() as db:
        db.execute("insert into sale values (?, ?, 1, 1)", (key, name))
    till.status()


def _prepare_pending(world: World) -> None:
    make_both(world)
    write_everywhere(world)


def _push(world: World) -> None:
    world.replica().push()


def _sync(world: World) -> None:
    world.replica().sync()


def _prepare_pull(world: World) -> None:
    make_both(world)
    world.write("hub", transfers=6, sales=4)
    world.hub.number()
    world.write("hub", transfers=3)
    till = world.replica()
    world.write_group(till)


def _pull(world: World) -> None:
    world.replica().pull()
    world.write("hub", sales=2)
    world.replica("witness").pull()


def _number_and_trim(world: World) -> None:
    for _ in range(2):
        world.write("hub", transfers=1, sales=1)
        world.hub.number()
    world.replica("witness").pull()
    world.replica().sync()
    world.hub.trim(older_than_s=0)
    world.write("hub", transfers=1)
    world.hub.number()


def _prepare_fork(world: World) -> None:
    """Two files with one identity, both with changes of their own."""
    _prepare_pending(world)
    world.close()
    copy_database(world.folder / "till.db", world.folder / "twin.db")
    twin = world.replica("twin")
    world.write_group(twin)
    twin.sync()
    world.write_group(world.replica())


def _prepare_restored_hub(world: World) -> None:
    """The hub's database is put back from a backup; what it had taken since is gone there."""
    make_both(world)
    world.close()
    copy_database(world.hub_path, world.folder / "backup")
    till = world.replica()
    world.write_group(till)
    world.write("hub", transfers=2)
    till.sync()
    for name in world.book.names("did"):
        if not rows(world.folder / "backup", f"select 1 from transfer where id = '{name}'"):
            world.book.note("excused", name)
    write_everywhere(world)
    for name in world.book.names("did"):
        if name.startswith(("h-", "t-")) and rows(
            world.hub_path,
            f"select 1 from transfer where id = '{name}'"
            f" union select 1 from sale where label = '{name}'",
        ):
            world.book.note("excused", name)
    world.close()
    for ending in ("", "-wal", "-shm"):
        (world.folder / f"hub.db{ending}").unlink(missing_ok=True)
    shutil.move(world.folder / "backup", world.hub_path)
    (world.folder / "book.jsonl").write_text(
        "".join(
            line
            for line in (world.folder / "book.jsonl").read_text().splitlines(keepends=True)
            if not line.startswith('["cursor"')
        )
    )


def _prepare_parked(world: World) -> None:
    _prepare_pending(world)
    world.replica().sync()


def _settle_parked(world: World) -> None:
    till = world.replica()
    for change in till.parked():
        if change.table == "sale":
            till.retry(change.id, {"amount": 1})
    till.sync()


def _prepare_large(world: World) -> None:
    """A transaction of many parts, and others before and after it. Other programs write nothing:
    what they write is cut where a push is full."""
    make_both(world)
    till = world.replica()
    world.write_group(till)
    world.write_group(till, sales=30)
    world.write_refused(till)
    world.write("hub", transfers=1, sales=1)


def _sync_in_parts(world: World) -> None:
    with small_parts():
        world.replica().sync()


@contextmanager
def small_parts() -> Iterator[None]:
    """Groups of more than 8 changes go in parts of 5."""
    before = sending.WHOLE_MAX, sending.PART_MAX, driver.PUSH_CHANGES_AIM
    sending.WHOLE_MAX, sending.PART_MAX, driver.PUSH_CHANGES_AIM = 8, 5, 3
    try:
        yield
    finally:
        sending.WHOLE_MAX, sending.PART_MAX, driver.PUSH_CHANGES_AIM = before


def _prepare_migration(world: World) -> None:
    _prepare_pending(world)
    world.close()
    with closing(sqlite3.connect(world.hub_path, isolation_level=None)) as db:
        db.execute("alter table sale add column note text")


def _prepare_damage(world: World) -> None:
    """A replica whose rows are not the hub's, with work that waits on both sides."""
    _prepare_pull(world)
    world.close()
    with closing(sqlite3.connect(world.folder / "till.db", isolation_level=None)) as db:
        db.execute("begin")
        db.execute("update reunite_guard set suspended = 1")
        db.execute("update sale set amount = amount + 1 where id = (select min(id) from sale)")
        db.execute("delete from sale where id = (select max(id) from sale)")
        db.execute("insert into sale (id, label, amount) values (1000000, 'nobody', 1)")
        db.execute("delete from receipt")
        db.execute("update reunite_guard set suspended = 0")
        db.execute("commit")
    world.book.note("damaged", "till")


def _repair(world: World) -> None:
    till = world.replica()
    till.repair(["sale"])
    world.write("hub", transfers=2, sales=1)
    world.write_group(till)
    till.repair()


def copy_database(source: Path, target: Path) -> None:
    """A copy with all that is committed; nobody may be writing."""
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    shutil.copyfile(source, target)


SCENARIOS: dict[str, Scenario] = {
    "track": Scenario(_prepare_untracked, _track),
    "clone": Scenario(make_hub, _clone),
    "write": Scenario(make_both, _write),
    "push": Scenario(_prepare_pending, _push),
    "sync": Scenario(_prepare_pending, _sync),
    "pull": Scenario(_prepare_pull, _pull),
    "number-and-trim": Scenario(_prepare_pending, _number_and_trim),
    "forked-file": Scenario(_prepare_fork, _sync),
    "restored-hub": Scenario(_prepare_restored_hub, _sync),
    "parked": Scenario(_prepare_parked, _settle_parked),
    "parts": Scenario(_prepare_large, _sync_in_parts),
    "migration": Scenario(_prepare_migration, _sync),
    "repair": Scenario(_prepare_damage, _repair),
}
