"""Rules: what it costs a hub to give a principal only the rows that it may read.

The same rows in two files, once open and once with a tenant and an equality rule that all of them
fulfil, pulled by a new replica from the first page to its checkpoint. Without HTTP, which costs
both the same; the pages are encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import standard
from benchmarks.figures import Figure, Pairs, Settings, Spent, in_turn, timed
from reunite import Hub, Principal, Rules, row, user
from reunite.protocol.codec import encode
from reunite.protocol.pull import PullRequest
from reunite.protocol.register import RegisterRequest
from reunite.protocol.version import PROTOCOL_VERSION

ROWS = 100_000
AIM = 0.80


def run(settings: Settings) -> Iterator[Figure]:
    """A snapshot of all rows, and the commits that follow it."""
    count = settings.scaled(ROWS, 5_000)
    with (
        _hub(settings.folder / "open.db", count) as plain,
        _hub(settings.folder / "ruled.db", count) as ruled,
    ):
        principal = Principal(user="ann", tenant=int(standard.row(1)[1]), claims={"least": 0})
        # Every row is read and judged: all of them are of this tenant, and all pass.
        rule = Rules(read=row.quantity >= user.least)
        ruled.track(standard.TABLE, generated_key=False, rules=rule, tenant="shop")
        pairs = Pairs()
        for number in range(settings.rounds):
            settings.wait_until_idle()
            limit, measured = in_turn(number, _puller(plain, principal), _puller(ruled, principal))
            pairs.add(measured=measured, limit=limit)
    yield pairs.speed("rules", f"pull {count:,} rows", limit="no rules", aim=AIM)


def _hub(path: Path, count: int) -> Hub:
    standard.build(path, count)
    connection = standard.connect(path)
    connection.execute(f"UPDATE {standard.TABLE} SET shop = ?", (standard.row(1)[1],))
    connection.close()
    hub = Hub(path)
    hub.track(standard.TABLE, generated_key=False)
    return hub


def _puller(hub: Hub, principal: Principal) -> Callable[[], Spent]:
    """What pulls all rows as a new replica does, and says how long it took."""

    def pull() -> None:
        asked = RegisterRequest(protocol=PROTOCOL_VERSION, name="bench")
        replica = hub.register(asked, principal).replica
        cursor, has_more = None, True
        while has_more:
            request = PullRequest(
                protocol=PROTOCOL_VERSION, replica=replica, cursor=cursor, known=0
            )
            page = hub.pull(request, principal)
            encode(page)
            cursor, has_more = page.cursor, page.more

    return lambda: timed(pull)
