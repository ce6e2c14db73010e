"""MO-S8: whatever devices do, and whatever is lost on the way, all end with the server's rows."""

from collections.abc import Callable

import pytest

from reunite.dropin.mobync import InMemorySynchronizer, Synchronizer
from tests.dropin.mobync_world import MODEL, Implementation, live, rows

SEEDS = 200


@pytest.mark.parametrize(
    "make", [lambda: InMemorySynchronizer([MODEL]), Implementation], ids=["in memory", "plain"]
)
def test_all_devices_end_with_the_rows_of_the_server(make: Callable[[], Synchronizer]) -> None:
    for seed in range(SEEDS):
        synchronizer = make()
        devices = live(seed, synchronizer)
        for number, device in enumerate(devices):
            assert device.rows == rows(synchronizer), f"seed {seed}, device {number}"
