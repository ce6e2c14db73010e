"""MO-S8: whatever devices do, and whatever is lost on the way, all end with the server's rows."""

from collections.abc import Callable

import pytest

from reunite.dropin.mobync import InMemorySynchronizer, Synchronizer
from tests.dropin.mobync_world import MODEL, Implementation, live, rows


@pytest.mark.parametrize(
    ("make", "seeds"),
    [(lambda: InMemorySynchronizer([MODEL]), 200), (Implementation, 40)],
    ids=["in memory", "plain"],
)
def test_all_devices_end_with_the_rows_of_the_server(
    make: Callable[[], Synchronizer], seeds: int
) -> None:
    for seed in range(seeds):
        synchronizer = make()
        devices = live(seed, synchronizer)
        for number, device in enumerate(devices):
            assert device.rows == rows(synchronizer), f"seed {seed}, device {number}"
