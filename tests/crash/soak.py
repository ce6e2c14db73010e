"""kill -9 at random moments: a served hub, commands that sync, programs that write all the while.

    serve ◄── sync, clone (killed, again and again)      a reader looks at both files all the time
      ▲ killed, and started again on its port            writers on both sides are killed as well

What is killed and when comes from a seed; what the processes are doing then does not, so a failure
is repeated by trying its seed some more. The book of `world.py` knows what was promised.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from reunite import Replica
from tests.crash.edges import in_child
from tests.crash.processes import DEADLINE_S, Child, import_all, run_command
from tests.crash.scenarios import make_hub
from tests.crash.world import ADDS_UP, TOKEN, World, heal

# What a killed command may say when it is let run instead: done, or the hub cannot be reached.
EXIT_CODES = (0, 75)

# Pauses of the writers between transactions, in seconds.
PAUSES = (0.02, 0.1, 0.3)

# Between two looks of the reader.
READ_EVERY_S = 0.05


class Soak:
    """One hub, its replicas and those who use them, until `kills` of them were killed."""

    def __init__(self, folder: Path, *, seed: int, kills: int) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._left = kills
        self._started = 0
        self.kills = 0
        self._port = 0
        self._clones = 0
        self._sync_s = 0.2

        self._sync_till = ("sync", str(folder / "till.db"), "--token", TOKEN)

    def run(self) -> int:
        """Do it; how many processes were killed. Raises AssertionError."""
        in_child(self._prepare, self._folder)
        self._warm_up()
        self._server = self._serve()
        reader = self._start(self._read)
        self._writers = [self._start(self._write_at_hub), self._start(self._write_at_till)]
        while self.kills < self._left:
            acts = {
                self._kill_sync: 60,
                self._kill_server: 20,
                self._kill_writer: 10,
                self._kill_clone: 8,
                self._sync: 12,
            }
            self._chance.choices(tuple(acts), tuple(acts.values()))[0]()
            assert not reader.ended_within(0), reader.stderr
        for child in (*self._writers, reader):
            child.kill()
        self._run_to_end(*self._sync_till)
        self._server.kill()
        in_child(self._check, self._folder)
        return self.kills

    # -- what is done ---------------------------------------------------------------------------

    def _kill_sync(self) -> None:
        child = self._command(*self._sync_till)
        self._kill_at_a_moment(child)

    def _kill_server(self) -> None:
        """The hub dies while a replica syncs, which must then say that it cannot reach it."""
        child = self._command(*self._sync_till)
        self._server.ended_within(self._chance.uniform(0, self._sync_s))
        self.kills += self._server.kill()
        if self._chance.random() < 0.5:
            self._kill_at_a_moment(child)
        self._server = self._serve()
        assert child.ended_within(DEADLINE_S), "a sync hangs when its hub dies"
        self._check_end(child)

    def _kill_writer(self) -> None:
        index = self._chance.randrange(len(self._writers))
        self.kills += self._writers[index].kill()
        self._writers[index] = self._start((self._write_at_hub, self._write_at_till)[index])

    def _kill_clone(self) -> None:
        """A new replica, cut off; the command is given again until it is done."""
        self._clones += 1
        file = str(self._folder / f"clone{self._clones}.db")
        command = ("clone", self._url, file, "--token", TOKEN)
        self._kill_at_a_moment(self._command(*command))
        again = self._command(*command)
        assert again.ended_within(DEADLINE_S), "a clone hangs"
        if again.status != 0:  # it may have been ready when it was killed
            assert "is a replica of" in again.stderr, again.stderr

    def _sync(self) -> None:
        begun = time.monotonic()
        self._run_to_end(*self._sync_till)
        self._sync_s = 0.5 * self._sync_s + 0.5 * (time.monotonic() - begun)

    def _kill_at_a_moment(self, child: Child) -> None:
        child.ended_within(self._chance.uniform(0, 1.2 * self._sync_s))
        if child.status is None:
            self.kills += child.kill()
        else:
            self._check_end(child)

    def _check_end(self, child: Child) -> None:
        assert child.status in (*EXIT_CODES, -9), child.stderr
        assert "Traceback" not in child.stderr, child.stderr

    # -- processes ------------------------------------------------------------------------------

    def _start(self, work: object) -> Child:
        self._started += 1
        return Child(work, self._folder / f"stderr{self._started}.txt")  # type: ignore[arg-type]

    def _command(self, *arguments: str) -> Child:
        return self._start(run_command(arguments))

    def _run_to_end(self, *arguments: str) -> None:
        child = self._command(*arguments)
        assert child.ended_within(DEADLINE_S), (
            f"reunite {arguments[0]} hangs: {child.where()}\nand the hub: {self._server.where()}"
        )
        assert child.status == 0, child.stderr

    def _warm_up(self) -> None:
        """Clone the till, and import here what commands import while they run."""
        modules = self._folder / "modules.txt"
        self._server = self._serve(modules=modules)
        self._run_to_end("clone", self._url, str(self._folder / "till.db"), "--token", TOKEN)
        self._server.interrupt()
        import_all(modules)
        self._server = self._serve()
        sync = self._start(run_command(self._sync_till, modules=modules))
        assert sync.ended_within(DEADLINE_S), sync.where()
        import_all(modules)
        self._server.kill()

    def _serve(self, *, modules: Path | None = None) -> Child:
        hub = str(self._folder / "hub.db")
        arguments = ("serve", hub, "--json", "--port", str(self._port), "--token", TOKEN)
        child = self._start(run_command(arguments, modules=modules))
        line = child.first_line()
        assert line, child.stderr
        self._url = json.loads(line)["url"]
        self._port = int(self._url.rpartition(":")[2])
        return child

    # -- their work -------------------------------------------------------------------------------

    def _prepare(self) -> None:
        world = World(self._folder, who="before", has_hooks=False)
        make_hub(world)
        world.close()

    def _write_at_hub(self) -> None:
        world = World(self._folder, who=f"hub{self._started}", has_hooks=False)
        chance = random.Random(self._started)
        while True:
            world.write("hub", transfers=chance.randrange(3), sales=chance.randrange(2))
            time.sleep(chance.choice(PAUSES))

    def _write_at_till(self) -> None:
        world = World(self._folder, who=f"till{self._started}", has_hooks=False)
        chance = random.Random(self._started)
        with Replica(self._folder / "till.db", url="http://127.0.0.1:1", token="-") as till:
            while True:
                if chance.random() < 0.5:
                    world.write_group(till, sales=chance.randrange(1, 3))
                elif chance.random() < 0.9:
                    world.write("till", transfers=chance.randrange(2), sales=chance.randrange(3))
                else:
                    world.write_refused(till)
                time.sleep(chance.choice(PAUSES))

    def _read(self) -> None:
        """Every state that a program can read adds up (I5)."""
        with (
            closing(sqlite3.connect(self._folder / "hub.db", isolation_level=None)) as hub,
            closing(sqlite3.connect(self._folder / "till.db", isolation_level=None)) as till,
        ):
            while True:
                for db in (hub, till):
                    assert db.execute(ADDS_UP).fetchall() == [], "a part of a transaction shows"
                time.sleep(READ_EVERY_S)

    def _check(self) -> None:
        world = World(self._folder, who="heal", has_hooks=False)
        heal(world)
        world.close()
