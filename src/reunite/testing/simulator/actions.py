"""What happens in a step: somebody writes, somebody syncs, something goes wrong.

The rule: an action draws from `world.chance` only, and leaves every file closed or at rest.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from reunite.errors import BadRequestError, HubUnreachableError
from reunite.replica import ParkedChange, Replica
from reunite.testing.simulator.book import InvariantBroken
from reunite.testing.simulator.checks.hub import strays
from reunite.testing.simulator.checks.replica import check_equal
from reunite.testing.simulator.files import SimulatedFile, Written
from reunite.testing.simulator.mortal import ProcessKilled
from reunite.testing.simulator.tables import FACTS, WHOLE_TABLES
from reunite.testing.simulator.world import World
from reunite.testing.simulator.writers import REFUSALS, SqlWriter, write_something

Action: TypeAlias = Callable[[World], None]

FILES_FIRST = 3
FILES_MAX = 5
BACKUPS_MAX = 3

# How often a replica's process dies at one of the statements of a sync, and of how many.
DEATHS_AT_STATEMENTS = 0.1
STATEMENTS_MAX = 150

# Transactions at the end that must arrive by streams alone.
LIVE_ROUNDS = 6

# Rounds in which everybody syncs once, after which all must agree.
ROUNDS_MAX = 12


def write_at_hub(world: World) -> None:
    """Another program writes to the hub's database."""
    world.write_at_hub()


def write_group(world: World) -> None:
    """A program writes through `replica.transaction()`: a group."""
    file = _pick(world)
    if file.is_cloned:
        _write_group(world, file, file.opened())


def write_program(world: World) -> None:
    """A program that knows nothing of reunite writes to a replica file, with SQLite alone."""
    file = _pick(world)
    if file.is_cloned:
        for _ in range(world.chance.choice((1, 1, 2))):
            _write_program(world, file)


def meddle(world: World, file: SimulatedFile) -> None:
    """Another process writes to a replica file while it syncs: it waits for the network, so no
    transaction of it is open."""
    world.book.count("meddling")
    world.log(f"{file.label}: meanwhile")
    world.look_at(file)
    if world.chance.random() < 0.7:
        _write_program(world, file)
    else:
        with file.another() as replica:
            _write_group(world, file, replica)


def _write_group(world: World, file: SimulatedFile, replica: Replica) -> None:
    keys: dict[str, list[int]] = {}
    if world.chance.random() < 0.3:
        table = world.chance.choice(("shop", "sale"))
        keys[table] = [replica.new_key(table)]
    author = world.author(whole=True, replaces=world.chance.random() < 0.3)
    author.keys = keys
    with _recorded(world, file):
        try:
            with replica.transaction() as db:
                world.log(f"{file.label} group")
                write_something(SqlWriter(db, _log_of(world, file)), author)
        except REFUSALS as exc:
            world.log(f"{file.label} rolled back: {exc}")


def _write_program(world: World, file: SimulatedFile) -> None:
    foreign_keys = world.chance.random() < 0.6
    author = world.author(whole=False, replaces=True)
    db = file.program(foreign_keys=foreign_keys)
    with _recorded(world, file):
        world.log(f"{file.label} program, foreign keys {'on' if foreign_keys else 'off'}")
        db.execute("begin immediate")
        try:
            write_something(SqlWriter(db, _log_of(world, file)), author)
            db.execute("commit")
        except sqlite3.IntegrityError as exc:
            db.execute("rollback")
            world.log(f"{file.label} rolled back: {exc}")


def settle_parked(world: World) -> None:
    """A person retries or discards a change that the hub rejected."""
    file = _pick(world)
    # Two files of one identity would retry one change twice, and both would be right.
    if not file.is_cloned or file.is_copied:
        return
    replica = file.opened()
    parked = replica.parked()
    if not parked:
        return
    change = world.chance.choice(parked)
    may_retry = change.table not in WHOLE_TABLES and _parent_is_there(file, change)
    if not may_retry or world.chance.random() < 0.3:
        world.log(f"{file.label} discards {change.op} {change.table}{list(change.key)}")
        replica.discard(change.id)
        return
    world.log(f"{file.label} retries {change.op} {change.table}{list(change.key)}")
    world.book.count("retry")
    with _recorded(world, file):
        try:
            replica.retry(change.id)
        except (BadRequestError, *REFUSALS) as exc:
            world.log(f"{file.label} cannot: {exc}")


def _parent_is_there(file: SimulatedFile, change: ParkedChange) -> bool:
    """Whether the row that a parked change points to is still the one that its row was born to."""
    facts = FACTS[change.table]
    if facts.parent is None or change.set.get(facts.parent.column) is None:
        return True
    tables = file.look().tables
    parent = FACTS[facts.parent.table]
    row = tables[parent.name].get((change.set[facts.parent.column],))
    if facts.parent.ident_column in change.set:
        born_to = change.set[facts.parent.ident_column]
    else:  # The parent's key had moved, and the row followed it.
        rows = tables[change.table].items()
        child = next((child for key, child in rows if key == change.key), None)
        born_to = None if child is None else facts.at(child, facts.parent.ident_column)
    return row is not None and parent.at(row, "ident") == born_to


def sync(world: World) -> None:
    """A replica pushes, pulls or both, over a bad wire."""
    _reach_out(world, _pick(world), world.chance.choice(("push", "pull", "sync", "sync")))


def repair(world: World) -> None:
    """A replica compares its rows with the hub's: mostly there is nothing to mend."""
    file = _pick(world)
    if file.is_cloned:
        world.book.count("repair")
        _reach_out(world, file, "repair")


def deliver_late(world: World) -> None:
    """A request that was given up reaches the hub after all."""
    late = world.wire.late
    if late:
        index = world.chance.randrange(len(late))
        world.log(f"a late {late[index].operation} of {late[index].label} arrives")
        world.wire.deliver_late(index)


def reopen(world: World) -> None:
    """A replica's process ends; the next use opens the file again."""
    file = _pick(world)
    world.log(f"{file.label} is closed")
    file.die()


def back_up(world: World) -> None:
    """Somebody keeps a copy of a replica file."""
    file = _pick(world)
    if file.is_cloned and len(file.backups) < BACKUPS_MAX:
        world.log(f"{file.label} is backed up")
        path = world.folder / f"{file.label}.backup{len(file.backups)}"
        file.backups.append(file.backup(path))


def restore(world: World) -> None:
    """A replica file comes back from an older copy of itself."""
    file = _pick(world)
    if file.backups:
        backup = world.chance.choice(file.backups)
        world.log(f"{file.label} is restored from {backup.path.name}")
        file.restore(backup)


def copy_file(world: World) -> None:
    """A replica file is copied: two files, one identity."""
    file = _pick(world)
    if not file.is_cloned or len(world.files) >= FILES_MAX:
        return
    twin = world.add_file()
    world.log(f"{twin.label} is a copy of {file.label}")
    backup = file.backup(world.folder / f"{twin.label}.copy")
    shutil.copyfile(backup.path, twin.path)
    twin.memory = backup.memory
    twin.is_cloned = twin.is_copied = file.is_copied = True


def join(world: World) -> None:
    """A new replica comes late."""
    if len(world.files) < FILES_MAX:
        file = world.add_file()
        world.log(f"{file.label} joins")
        _reach_out(world, file, "sync")


def jump(world: World) -> None:
    """A clock jumps, forwards or back."""
    clock = world.chance.choice([world.hub.clock, *(file.clock for file in world.files)])
    by_ms = world.chance.choice((-3_600_000, -5_000, 5_000, 86_400_000))
    world.log(f"a clock jumps by {by_ms} ms")
    clock.jump(by_ms)


def read_raw(world: World) -> None:
    """The reader of raw pages goes on."""
    world.reader.read_on(world.chance)


ACTIONS: tuple[tuple[Action, int], ...] = (
    (write_at_hub, 14),
    (write_group, 20),
    (write_program, 14),
    (sync, 34),
    (repair, 2),
    (deliver_late, 5),
    (reopen, 2),
    (back_up, 2),
    (restore, 3),
    (copy_file, 2),
    (join, 1),
    (settle_parked, 5),
    (jump, 2),
    (read_raw, 5),
)


def leave_open(world: World) -> None:
    """A program at the hub's database leaves its transaction open."""
    world.leave_open()


def end_open(world: World) -> None:
    """A transaction that was left open ends."""
    world.end_open(commits=world.chance.random() < 0.8)


# Where several transactions can be open at once.
CONCURRENT_ACTIONS: tuple[tuple[Action, int], ...] = ((leave_open, 14), (end_open, 12))


def open_stream(world: World) -> None:
    """A replica opens its live stream."""
    file = _pick(world)
    if world.streams is not None and file.is_cloned:
        world.log(f"{file.label} opens a stream")
        world.streams.open(file)


def look_for_news(world: World) -> None:
    """The hub looks what is new for its streams."""
    if world.streams is not None:
        world.log("the hub looks for news")
        world.streams.round()


def read_stream(world: World) -> None:
    """Some of what a stream has to write comes through, or the line is cut."""
    live = [file for file in world.files if world.streams and world.streams.is_open(file)]
    if world.streams is None or not live:
        return
    file = world.chance.choice(live)
    if not world.is_calm and world.chance.random() < 0.1:
        world.log(f"{file.label}'s stream is cut")
        world.streams.cut(file)
        return
    for _ in range(world.chance.choice((1, 2, 5))):
        _read_event(world, file)


def _read_event(world: World, file: SimulatedFile) -> None:
    assert world.streams is not None
    world.bounds_check.began(file.label)
    try:
        if not world.is_calm and world.chance.random() < DEATHS_AT_STATEMENTS:
            file.doom.arm(world.chance.randrange(STATEMENTS_MAX))
        if world.streams.write(file):
            world.log(f"{file.label} reads an event")
    except ProcessKilled:
        world.log(f"{file.label} dies over an event")
        file.die()
    finally:
        file.doom.disarm()


# Where replicas are live.
LIVE_ACTIONS: tuple[tuple[Action, int], ...] = (
    (open_stream, 10),
    (look_for_news, 22),
    (read_stream, 40),
)


def begin(world: World) -> None:
    """The first replicas clone the hub."""
    world.meddle = lambda file: meddle(world, file)
    for _ in range(FILES_FIRST):
        _reach_out(world, world.add_file(), "sync")


def happen(world: World) -> None:
    """One step: time passes, one action, and every file is looked at."""
    for clock in (world.hub.clock, *(file.clock for file in world.files)):
        clock.advance(world.chance.randrange(1, 2_000))
    more: tuple[tuple[Action, int], ...] = ()
    if world.hub.place is not None:
        more += CONCURRENT_ACTIONS
    if world.streams is not None:
        more += LIVE_ACTIONS
    actions, weights = zip(*(*ACTIONS, *more), strict=True)
    action = world.chance.choices(actions, weights)[0]
    action(world)
    for file in world.files:
        world.look_at(file)


def heal(world: World) -> None:
    """The wire is well again: late requests arrive, everybody syncs, and then all must agree."""
    world.is_calm = True
    while world.hub.place is not None and world.hub.place.open_count:
        world.end_open(commits=True)
    world.wire.deliver_all_late()
    for round_ in range(ROUNDS_MAX):
        world.log(f"healing, round {round_ + 1}")
        for file in world.files:
            _reach_out(world, file, "sync")
            world.look_at(file)
        if _is_quiet(world):
            break
    world.reader.read_all()
    check_equal(world.files, world.hub_check.tables)
    before = world.hub_check.tables
    for file in world.files:
        report = file.opened().sync()
        if report.pushed or world.hub_check.tables != before:
            raise InvariantBroken("I4", f"{file.label} had nothing to say, and said {report}.")
    if world.streams is not None:
        _stay_live(world)


def _stay_live(world: World) -> None:
    """All is quiet, and every replica holds a stream: what is written then, at the hub or pushed
    by a replica, reaches all of them by their streams alone."""
    assert world.streams is not None
    for file in world.files:
        world.log(f"{file.label} opens a stream")
        world.streams.open(file)
        world.streams.read_all(file)
    for writer in world.chance.choices((None, *world.files), k=LIVE_ROUNDS):
        if writer is None:
            world.write_at_hub()
        else:
            _write_group(world, writer, writer.opened())
            world.bounds_check.began(writer.label)
            writer.opened().push()
        world.streams.round()
        for file in world.files:
            world.bounds_check.began(file.label)
            world.streams.read_all(file)
            world.look_at(file)
        live = [file for file in world.files if world.streams.is_open(file)]
        world.book.count("replica kept live", len(live))
        check_equal(live, world.hub_check.tables)


def _is_quiet(world: World) -> bool:
    hub = world.hub_check.tables
    states = [file.look() for file in world.files]
    return all(not state.outbox and state.tables == hub for state in states)


def _reach_out(world: World, file: SimulatedFile, use_case: str) -> None:
    """Let a replica talk to the hub; a bad wire may stop it, and it may die."""
    world.log(f"{file.label} {use_case if file.is_cloned else 'clone'}")
    world.bounds_check.began(file.label)
    try:
        if not file.is_cloned:
            file.clone()
            return
        replica = file.opened()
        if not world.is_calm and world.chance.random() < DEATHS_AT_STATEMENTS:
            file.doom.arm(world.chance.randrange(STATEMENTS_MAX))
        if use_case == "repair":
            world.log(f"{file.label} repaired: {replica.repair()}")
            return
        report = {"push": replica.push, "pull": replica.pull, "sync": replica.sync}[use_case]()
    except HubUnreachableError as exc:
        world.log(f"{file.label} gives up: {exc}")
    except ProcessKilled:
        if file.doom.is_dead:
            world.book.count("death at a statement")
            world.log(f"{file.label} dies at a statement")
        file.die()
    else:
        world.log(
            f"{file.label} pushed {report.pushed}, pulled {report.pulled}, rejected"
            f" {report.rejected}, conflicts {report.conflicts}, pending {report.pending}"
        )
    finally:
        file.doom.disarm()


@contextmanager
def _recorded(world: World, file: SimulatedFile) -> Iterator[None]:
    """Enter what a program commits to a file in between."""
    before = file.look()
    yield
    after = file.look()
    captured = tuple(change for change in after.outbox if change.id > before.last_id)
    if not captured and before.tables == after.tables:
        return
    world.book.count("replica transaction")
    led_astray = {*strays(after.tables)} - {*strays(before.tables)}
    world.hub_check.led_astray.update(ident for ident, _, found in led_astray if found is not None)
    world.replica_check.wrote(
        file,
        Written(step=world.step, before=before.tables, after=after.tables, captured=captured),
    )


def _pick(world: World) -> SimulatedFile:
    return world.chance.choice(world.files)


def _log_of(world: World, file: SimulatedFile) -> Callable[[str], None]:
    return lambda line: world.log(f"{file.label}: {line}")
