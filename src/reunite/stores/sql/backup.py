"""Copies of a database of one moment, and a hub's way back from one.

    backup     source ──► target.part, checked ──► target
    restore    backup ──► target.part, with a new epoch ──► target: a new file, or in one
               transaction over the database that is there, of which a copy is kept

What it is       SQLite's online backup: others go on reading and writing meanwhile. The copy is of
                 the moment at which it began, whatever is written until it ends.
The rule         a file that is there is written over only where the caller says so, and never
                 without a copy of it; a copy has its name only when it is whole.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from reunite.errors import CallerError, StorageFaultError, StorageUnavailableError
from reunite.stores.sql.database import translated
from reunite.stores.sql.ports import LOCK_TIMEOUT_S
from reunite.stores.sql.versions import is_laid_out, new_epoch

# Called with the pages that are done, and how many there are.
OnPages = Callable[[int, int], None]

# Pages between two calls of `on_pages`: 4 MB of a database as SQLite makes it.
PAGES_PER_STEP = 1_000

# How often a restore asks for a database that others write to, and how long it waits in between.
LOCK_TRIES_MAX = 40
LOCK_WAIT_S = LOCK_TIMEOUT_S / LOCK_TRIES_MAX

# The files that SQLite keeps beside a database.
_SIDES = ("-wal", "-shm", "-journal")

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def backup(
    source: Path, target: Path, *, replace: bool = False, on_pages: OnPages | None = None
) -> int:
    """Copy the database `source`, as it is now, to the file `target`; the bytes of the copy.

    Raises CallerError if there is such a file and `replace` does not allow to write over it, if it
    is `source` itself, or if the copy turns out to be damaged; then nothing has changed.
    """
    if target.exists() and target.samefile(source):
        raise CallerError(f"{target} is the database itself: name another file.")
    with _named(target, replace=replace) as part:
        _copy_moment(source, part, on_pages)
        _check(part, source)
        return part.stat().st_size


def restore(
    source: Path, target: Path, *, replace: bool = False, on_pages: OnPages | None = None
) -> Path | None:
    """Make the backup `source` of a hub the hub's database `target`, with a new epoch.

    Where there is a database and `replace` allows it, it is written over in one transaction, so
    programs that have it open see the one or the other; the copy of it that was kept is returned.
    Raises CallerError (a file is there; it is no database), NewerLayoutError,
    StorageUnavailableError if others write to it all the time; then `target` has not changed.
    """
    if target.exists() and target.samefile(source):
        raise CallerError(f"{target} is the backup itself: name the database to restore.")
    if not target.exists():
        with _named(target, replace=False) as part:
            _copy_moment(source, part, on_pages)
            _begin_epoch(part)
            _check(part, source)
        return None
    _check_is_file(target)
    if not replace:
        raise CallerError(_TAKEN.format(target))
    former = _free_name(target)
    _keep(target, former)
    part = _part_of(target)
    try:
        _copy_moment(source, part, on_pages)
        _begin_epoch(part)
        _check(part, source)
        _write_over(part, target)
    finally:
        _remove(part)
    return former


def _keep(target: Path, former: Path) -> None:
    """Copy what is about to be written over. Raises CallerError if it is too damaged for that."""
    try:
        backup(target, former)
    except (CallerError, StorageFaultError) as exc:
        raise CallerError(
            f"{target} cannot be copied before it is written over. {exc.message} To restore all "
            f"the same, move it aside with {target.name}-wal and {target.name}-shm, if there are "
            "such files, and restore again."
        ) from exc


_TAKEN = "There is a file {} already: name another one, or give --replace."


@contextmanager
def _named(target: Path, *, replace: bool) -> Iterator[Path]:
    """A file to fill, which gets the name `target` when the block has ended well."""
    if not target.parent.is_dir():
        raise CallerError(f"There is no folder {target.parent}: make it first.")
    _check_is_file(target)
    if target.exists() and not replace:
        raise CallerError(_TAKEN.format(target))
    part = _part_of(target)
    try:
        yield part
        _flush(part)
        # What a database of this name left behind; SQLite would take it for a part of this one.
        _remove(target, *_SIDES)
        if replace:
            part.replace(target)
        else:
            _rename(part, target)
        _flush(target.parent)
    finally:
        _remove(part)


def _check_is_file(target: Path) -> None:
    """Refuse what a file must not take the place of: a folder, a device, a socket."""
    if target.exists() and not target.is_file():
        raise CallerError(f"{target} is not a file: name a new one.")


def _rename(part: Path, target: Path) -> None:
    """Give a file its name, unless another one took it meanwhile."""
    try:
        target.hardlink_to(part)
    except FileExistsError as exc:
        raise CallerError(_TAKEN.format(target)) from exc
    except OSError:  # a file system without links
        if target.exists():
            raise CallerError(_TAKEN.format(target)) from None
        part.rename(target)


def _copy_moment(source: Path, part: Path, on_pages: OnPages | None) -> None:
    """Copy what `source` holds at this moment into a new file."""

    def tell(_status: int, remaining: int, total: int) -> None:
        if on_pages is not None:
            on_pages(total - remaining, total)

    _remove(part)
    with (
        translated(),
        closing(sqlite3.connect(source, isolation_level=None, timeout=LOCK_TIMEOUT_S)) as reading,
        closing(sqlite3.connect(part, isolation_level=None)) as writing,
    ):
        # An open snapshot: without it, each write of others would begin the copy again.
        reading.execute("begin")
        reading.execute("select count(*) from sqlite_schema").fetchall()
        reading.backup(writing, pages=PAGES_PER_STEP, progress=tell)
        # One file, not one and its log; whoever opens it as a hub switches it back.
        writing.execute("pragma journal_mode = delete").fetchall()


def _begin_epoch(part: Path) -> None:
    """Give a hub's log another identity: cursors and pushes that know the former one notice."""
    with (
        translated(),
        closing(sqlite3.connect(part, isolation_level=None)) as db,
    ):
        is_laid_out(dict(db.execute("select name, value from reunite_meta")))
        db.executemany(
            "update reunite_meta set value = ? where name = ?",
            # No program that has the database open may take its tables for those it knows.
            [(new_epoch(), "epoch"), (secrets.randbits(48), "edition")],
        )


def _check(part: Path, source: Path) -> None:
    with translated(), closing(sqlite3.connect(part)) as db:
        (answer,) = db.execute("pragma quick_check(1)").fetchone()
    if answer != "ok":
        raise CallerError(
            f"{source} is damaged ({answer}), so there is no copy of it: `reunite doctor {source}` "
            "says more."
        )


def _write_over(part: Path, target: Path) -> None:
    """The pages of `part` become those of `target`, in one transaction."""
    tries = 0

    def give_up(status: int, _remaining: int, _total: int) -> None:
        nonlocal tries
        tries += status in _BUSY
        if tries > LOCK_TRIES_MAX:
            raise StorageUnavailableError(
                f"Others write to {target} all the time: stop them, and try again."
            )

    with (
        translated(),
        closing(sqlite3.connect(part)) as reading,
        closing(sqlite3.connect(target, isolation_level=None, timeout=0)) as writing,
    ):
        writing.execute("pragma journal_mode = wal").fetchall()
        reading.backup(writing, progress=give_up, sleep=LOCK_WAIT_S)


def _free_name(target: Path) -> Path:
    """A name beside the file for what it was, that nothing has yet."""
    number = 1
    while (found := target.with_name(f"{target.name}.former-{number}")).exists():
        number += 1
    return found


def _part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def _remove(path: Path, *suffixes: str) -> None:
    for suffix in suffixes or ("", *_SIDES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """What was written survives a power cut; folders too, where the system can."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
