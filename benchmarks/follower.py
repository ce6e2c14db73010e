"""A reader that follows a log while others write to it: in a process of its own, which collects
garbage as a hub's does.

`Follower` starts it; run as a module, this file is it. It looks every few milliseconds, through the
hub's store, which numbers what is new, or plainly by the numbers of `plain_log`. When its standard
input is closed it looks a last time and says how many changes it has seen.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing

import msgspec

from benchmarks.hub_process import ROOT
from reunite.server.collecting import collecting_rarely

PAUSE_S = 0.005
LIMIT = 5_000


class Follower:
    """Follows the log of a hub, or `plain_log`, from its beginning until `stop`."""

    def __init__(self, url: str, *, is_plain: bool) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.follower", url, *(["--plain"] if is_plain else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("The follower did not start; its error stands above.")

    def stop(self) -> int:
        """How many changes it has seen, each once."""
        seen, _ = self._process.communicate()
        return int(msgspec.json.decode(seen))


def _follow_hub(url: str, is_over: Callable[[], bool]) -> int:
    from reunite.engine.ports import Position
    from reunite.stores.sql import open_store

    seen: set[int] = set()
    seq = 0
    with open_store(url) as store:

        def read() -> bool:
            nonlocal seq
            head = store.number(
                now_ms=time.time_ns() // 1_000_000, new_nonce=lambda: secrets.token_hex(8)
            )
            with store.read() as transaction:
                while seq < head.seq:
                    touches = transaction.touched(Position(seq=seq, id=0), limit=LIMIT)
                    numbered = [touch for touch in touches if touch.seq is not None]
                    # Transactions are small, so the last one of a full page is not the first.
                    last = numbered[-1].seq or 0
                    seq = last if len(touches) < LIMIT else last - 1
                    seen.update(touch.id for touch in numbered if (touch.seq or 0) <= seq)
            return seq < head.seq

        _loop(read, is_over)
    return len(seen)


def _follow_plainly(url: str, is_over: Callable[[], bool]) -> int:
    import psycopg

    count = last = 0
    with closing(psycopg.connect(url, autocommit=True)) as connection:

        def read() -> bool:
            nonlocal count, last
            found = connection.execute(
                "SELECT seq, table_name, key, op FROM plain_log "
                "WHERE seq > %s ORDER BY seq LIMIT %s",
                (last, LIMIT),
            ).fetchall()
            if found:
                count, (last, *_) = count + len(found), found[-1]
            return len(found) == LIMIT

        _loop(read, is_over)
    return count


def _loop(read: Callable[[], bool], is_over: Callable[[], bool]) -> None:
    """Read again and again, at once where there is more, until the end."""
    read()
    print("ready", flush=True)
    while True:
        is_last = is_over()
        while read():
            pass
        if is_last:
            return


def main() -> None:
    """Follow until standard input ends."""
    url, *options = sys.argv[1:]
    end = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        end.set()

    threading.Thread(target=wait, daemon=True).start()
    follow = _follow_plainly if options else _follow_hub
    with collecting_rarely():
        print(follow(url, lambda: end.wait(PAUSE_S)), flush=True)


if __name__ == "__main__":
    main()
