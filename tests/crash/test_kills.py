"""kill -9 at numbered edges and at random moments, and storage that fails.

`make crash` does the same for much longer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reunite.cli.opening import Kind, kind_of
from reunite.protocol.limits import PUSH_CHANGES_MAX
from reunite.replica.file import ReplicaFile
from tests.docs.files import ROOT
from tests.patience import DEADLINE_S

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="children are forked as on Linux"),
]


def crash(*arguments: str) -> None:
    """`python -m tests.crash` in a process of its own: it forks, which pytest's must not."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10 * DEADLINE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "scenario",
    [
        "track",
        "clone",
        "write",
        "push",
        "sync",
        "pull",
        "number-and-trim",
        "forked-file",
        "restored-hub",
        "parked",
        "parts",
        "migration",
        "repair",
    ],
)
def test_a_kill_at_any_edge_loses_and_doubles_nothing(scenario: str) -> None:
    """I1, I2, I3, I5, I10. The sample has every kind of edge; the rest is `make crash`."""
    crash("edges", "--scenario", scenario, "--sample", "0.06")


@pytest.mark.parametrize("kind", ["full", "readonly", "power"])
def test_storage_that_fails_is_named_and_loses_nothing(kind: str) -> None:
    """A full disk, a file or folder that cannot be written, a log cut off by a power cut."""
    crash(kind, "--times", "3")


def test_kills_at_random_moments_of_real_commands_lose_and_double_nothing() -> None:
    """I1, I2, I3, I5, I10, with programs that write on both sides all the while."""
    crash("soak", "--kills", "100")


def test_a_transaction_larger_than_any_push_is_seen_whole_by_everybody() -> None:
    """I5, I13: at the hub, where it was written, and on another replica."""
    crash("large", "--rows", str(PUSH_CHANGES_MAX + 10_000))


# Ends in the middle of a transaction, with pages of it in the file already.
KILLED_PROGRAM = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("create table note (id integer primary key, text text)")
db.execute("pragma cache_size = 1")
db.execute("begin immediate")
db.executemany("insert into note (text) values (?)", [("x" * 2_000,)] * 50)
os.kill(os.getpid(), 9)
"""


def test_a_file_that_a_killed_program_left_with_a_journal_can_be_looked_into(
    tmp_path: Path,
) -> None:
    """A read-only connection could not undo what the program was writing, and would refuse."""
    path = tmp_path / "shop.db"
    subprocess.run([sys.executable, "-c", KILLED_PROGRAM, str(path)])
    assert path.with_name("shop.db-journal").stat().st_size > 0
    copy = tmp_path / "other.db"
    copy.write_bytes(path.read_bytes())
    copy.with_name("other.db-journal").write_bytes(path.with_name("shop.db-journal").read_bytes())
    assert kind_of(path) is Kind.PLAIN
    ReplicaFile.check_free(copy, lambda: {"sale"})
