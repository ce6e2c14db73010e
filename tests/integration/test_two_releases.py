"""Two releases of the hub on one database, with replicas that go through both.

The other release is the last tagged one, where there is one. Until then, and besides, it is
today's code with the constants of the next: a newer protocol that still speaks ours, and a layout
that ours can work on.
"""

import io
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from reunite import HubUnreachableError, NewerLayoutError, Replica
from tests.integration.processes import ServeProcess
from tests.integration.test_conformance_http import ROOT, TOKEN, check, made_hub, told

NEXT_RELEASE = """
import sys
from types import MappingProxyType

import reunite.cli, reunite.hub
from reunite.stores.sql import layout

for module in list(sys.modules.values()):
    if module.__name__.startswith("reunite.") and hasattr(module, "PROTOCOL_VERSION"):
        module.PROTOCOL_VERSION += 1
steps = dict(layout.LAYOUT_STEPS)
steps[layout.LAYOUT_VERSION] = ("ALTER TABLE reunite_replica ADD COLUMN next_one DEFAULT 'x'",)
layout.LAYOUT_STEPS = MappingProxyType(steps)
layout.LAYOUT_VERSION += 1
layout.LAYOUT_VERSION_MIN = {layout_min}
from reunite.cli import main
main()
"""


def next_release(*, layout_min: str) -> tuple[str, ...]:
    return (sys.executable, "-c", NEXT_RELEASE.format(layout_min=layout_min))


def git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True)
    return done.stdout if done.returncode == 0 else b""


def unpacked(revision: str, folder: Path) -> Path:
    """The sources of a revision of this project."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", revision, "src"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "src"


def last_release() -> str:
    """The newest tag of a release before this commit, or nothing."""
    return git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*").decode().strip()


def test_this_release_and_the_next_serve_one_database(tmp_path: Path) -> None:
    """Protocol, exactly once and all else hold while requests go to both by turns (I2, I14)."""
    path = made_hub(tmp_path / "hub.db")
    with ExitStack() as stack:
        ours = stack.enter_context(ServeProcess(path, "--token", TOKEN))
        newer = stack.enter_context(
            ServeProcess(path, "--token", TOKEN, command=next_release(layout_min="1"))
        )
        found = check(ours.url, newer.url)
        assert told(found, "fail") == []
        assert found["pass"] > 100
        with closing(Replica.clone(tmp_path / "r.db", ours.url, token=TOKEN)) as replica:
            for turn, url in enumerate([newer.url, ours.url, newer.url]):
                with replica.transaction() as db:
                    db.execute("insert into note (id, title) values (?, 'x')", (f"turn-{turn}",))
                with Replica(replica.path, url=url, token=TOKEN) as moved:
                    moved.sync()
                    assert moved.status().pending == 0
    with closing(sqlite3.connect(path)) as db:
        turns = "select count(*) from note where id like 'turn-%'"
        assert db.execute(turns).fetchone() == (3,)
        assert db.execute("select distinct next_one from reunite_replica").fetchall() == [("x",)]


def test_a_process_that_cannot_work_on_the_next_layout_says_so(tmp_path: Path) -> None:
    """Its replicas are told to come again; after its upgrade they go on."""
    path = made_hub(tmp_path / "hub.db")
    with ServeProcess(path, "--token", TOKEN) as ours:
        replica = Replica.clone(tmp_path / "r.db", ours.url, token=TOKEN)
        with closing(replica), replica.transaction() as db:
            db.execute("insert into note (id) values ('mine')")
        command = next_release(layout_min="layout.LAYOUT_VERSION")
        with ServeProcess(path, "--token", TOKEN, command=command) as newer:
            with (
                Replica(tmp_path / "r.db", token=TOKEN) as waiting,
                pytest.raises((NewerLayoutError, HubUnreachableError)),
            ):
                waiting.sync()
            with Replica(tmp_path / "r.db", url=newer.url, token=TOKEN) as moved:
                moved.sync()
                assert moved.status().pending == 0


@pytest.mark.skipif(not git("rev-parse", "HEAD"), reason="there is no history of this project here")
def test_the_release_before_and_this_one_serve_one_database(tmp_path: Path) -> None:
    """Without a release so far, the last commit serves alone, so that this way stays open."""
    release = last_release()
    sources = unpacked(release or "HEAD", tmp_path / "release")
    assert (sources / "reunite" / "cli" / "app.py").is_file()
    path = made_hub(tmp_path / "hub.db")
    environment = {"PYTHONPATH": str(sources)}
    with ExitStack() as stack:
        before = ServeProcess(path, "--token", TOKEN, environment=environment)
        urls = [stack.enter_context(before).url]
        if release:
            urls.append(stack.enter_context(ServeProcess(path, "--token", TOKEN)).url)
        found = check(*urls, case="" if release else "registering")
    assert told(found, "fail") == []
