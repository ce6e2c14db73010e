"""Storage that fails: full disks, read-only files, and power cuts that took the end of a log.

    full       no file grows beyond some size (RLIMIT_FSIZE): writes fail, some in mid-page
    readonly   the process may read the files and not write them, nor make any beside them
    power      the write-ahead log of one side (or both) is cut at a frame, or inside one

The rule         what fails says so with an error of ours, whose message is a sentence; what a file
                 holds afterwards is a state that it was in; and the next sync goes on from there.

A file cut back further than a power cut can (SQLite flushes the hub's commits, and those of
programs on a replica) is one that was restored from a backup: what only it had is excused, what
others hold, or its outbox, is not.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from reunite import ReuniteError
from reunite.core.cursor import decode_cursor
from tests.crash.edges import ChildFailedError, heal_in_child, in_child
from tests.crash.scenarios import SCENARIOS
from tests.crash.world import Book, ProgramFailedError, World, names_in, pending_names, rows

# Bytes of the smallest and largest file that a full disk takes; the book stays smaller.
FULL_AT = (32_768, 320_000)

# What the write-ahead log of SQLite is made of, in bytes.
WAL_HEADER, FRAME = 32, 24 + 4096

NOBODY = 65_534

# Errors that failing storage may cause: on the side that asked, and on the one that was asked.
CODES = {
    "storage-unavailable", "storage-full", "storage-read-only", "storage-fault", "hub-unreachable",
}  # fmt: skip


def fail_everywhere(
    kind: str, name: str, folder: Path, *, seed: int, times: int
) -> tuple[int, list[str]]:
    """Let storage fail so often in a scenario: how often it did, and what went wrong."""
    fail = {"full": _fill_disk, "readonly": _forbid_writing, "power": _cut_power}[kind]
    template = folder / f"{kind}-{name}"
    template.mkdir()
    in_child(lambda: _step(SCENARIOS[name].prepare, template, "before"), template)
    failures = []
    for time in range(times):
        work = folder / f"{kind}-{name}-{time}"
        shutil.copytree(template, work)
        try:
            fail(name, work, random.Random(f"{seed} {kind} {name} {time}"))
            heal_in_child(work)
        except ChildFailedError as exc:
            failures.append(
                f"{kind}, {name}, time {time}\n{exc}"
                f"python -m tests.crash {kind} --scenario {name} --seed {seed} --times {times}"
            )
        shutil.rmtree(work)
    shutil.rmtree(template)
    return times, failures


def _fill_disk(name: str, folder: Path, chance: random.Random) -> None:
    limit = chance.randrange(*FULL_AT)

    def run() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        _expecting_our_errors(name, folder)

    in_child(run, folder)


def _forbid_writing(name: str, folder: Path, chance: random.Random) -> None:
    """One side's file cannot be written, or nothing in the folder can.

    Rights do not bind the superuser, so the child becomes nobody.
    """
    files = chance.choice((["hub.db"], ["till.db"], ["hub.db", "till.db"]))
    book, outside = folder / "book.jsonl", folder.with_name(f"{folder.name}.jsonl")
    outside.write_bytes(book.read_bytes() if book.exists() else b"")
    book.unlink(missing_ok=True)
    book.symlink_to(outside)
    outside.chmod(0o666)
    folder.parent.chmod(0o777)
    for path in folder.glob("*.db"):
        path.chmod(0o444 if path.name in files else 0o666)
    folder.chmod(0o555 if chance.random() < 0.5 else 0o777)

    def run() -> None:
        if os.geteuid() == 0:
            os.setuid(NOBODY)
        _expecting_our_errors(name, folder)

    try:
        in_child(run, folder)
    finally:
        folder.chmod(0o755)
        for path in folder.glob("*.db*"):
            path.chmod(0o644)
        book.unlink()
        outside.rename(book)


def _cut_power(name: str, folder: Path, chance: random.Random) -> None:
    def run() -> None:
        world = World(folder, who="run")
        SCENARIOS[name].run(world)
        # Nothing is closed: closing would empty the logs into the files.
        os.kill(os.getpid(), signal.SIGKILL)

    in_child(run, folder)
    sides = chance.choice((["till"], ["hub"], ["till", "hub"]))
    for side in sides:
        _cut(folder / f"{side}.db-wal", chance)
        (folder / f"{side}.db-shm").unlink(missing_ok=True)
    in_child(lambda: _excuse(folder, hub_was_cut="hub" in sides), folder)


def _cut(log: Path, chance: random.Random) -> None:
    """Keep some frames of a write-ahead log, and often a part of the next one."""
    if not log.exists() or log.stat().st_size <= WAL_HEADER:
        return
    frames = (log.stat().st_size - WAL_HEADER) // FRAME
    size = WAL_HEADER + chance.randrange(frames + 1) * FRAME
    with log.open("r+b") as file:
        file.truncate(max(0, size + chance.choice((0, 0, -8, -2_000, 700))))


def _excuse(folder: Path, *, hub_was_cut: bool) -> None:
    """What no file holds any more is gone, as with a backup; so are cursors of a lost log."""
    book = Book(folder / "book.jsonl")
    there = names_in(folder / "hub.db")
    for path in folder.glob("*.db"):
        if path.stem != "hub":
            there |= pending_names(path)
            if not hub_was_cut:
                there |= names_in(path)
    for name in book.names("did") - there:
        book.note("excused", name)
    if hub_was_cut:
        seqs = dict(rows(folder / "hub.db", "select seq, nonce from reunite_commit"))
        book.forget("cursor", {text for text in book.names("cursor") if not _stands_in(seqs, text)})


def _stands_in(nonces: dict[int, str], text: str) -> bool:
    cursor = decode_cursor(text)
    return nonces.get(cursor.seq) == cursor.nonce


def _expecting_our_errors(name: str, folder: Path) -> None:
    """Run a scenario; it may end early, but only with an error of ours that says what to do."""
    world = World(folder, who="run")
    try:
        SCENARIOS[name].run(world)
    except ProgramFailedError:
        pass  # another program's own write failed, and it was told so by SQLite
    except ReuniteError as exc:
        if exc.code not in CODES or not exc.message.endswith("."):
            raise AssertionError(f"{exc.code}: {exc.message}") from exc
    world.close()


def _step(step: Callable[[World], None], folder: Path, who: str) -> None:
    world = World(folder, who=who)
    step(world)
    world.close()
