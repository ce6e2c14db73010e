"""What a server lets each principal take of it."""

from __future__ import annotations

from typing import Any

import pytest

from reunite.core.principal import Principal
from reunite.errors import LimitExceededError
from reunite.server.limits import PRINCIPAL_STREAMS_MAX, ServerLimits
from reunite.server.load import Load, Place

ANN = Principal(user="ann", tenant="acme")
BEN = Principal(user="ben", tenant="acme")


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def load_with(clock: Clock | None = None, **limits: int) -> Load:
    return Load(ServerLimits(**limits), now_s=clock or Clock())


def place_of(load: Load, principal: Principal) -> Place:
    place = load.place()
    try:
        place.admit(principal)
    except LimitExceededError:
        place.close()
        raise
    return place


def limit_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(LimitExceededError) as caught:
        call(*arguments)
    return caught.value.limit


def test_requests_of_one_principal_leave_room_for_others() -> None:
    load = load_with(requests_max=10, principal_requests_max=3)
    places = [place_of(load, ANN) for _ in range(3)]
    assert limit_of(place_of, load, ANN) == "PRINCIPAL_REQUESTS_MAX"
    place_of(load, BEN).close()
    places[0].close()
    places[0].close()
    place_of(load, ANN)
    assert limit_of(place_of, load, ANN) == "PRINCIPAL_REQUESTS_MAX"
    assert load.requests == 3


def test_a_server_that_is_full_refuses_everybody() -> None:
    load = load_with(requests_max=2)
    places = [load.place(), load.place()]
    assert limit_of(load.place) == "REQUESTS_MAX"
    for place in places:
        place.close()
    assert load.requests == 0


def test_bytes_are_bounded_for_each_principal_and_for_all() -> None:
    load = load_with(bodies_bytes_max=100, principal_bytes_max=60)
    first, second = place_of(load, ANN), place_of(load, ANN)
    first.hold(40)
    assert limit_of(second.hold, 30) == "PRINCIPAL_BYTES_MAX"
    second.hold(20)
    other = place_of(load, BEN)
    assert limit_of(other.hold, 50) == "BODIES_BYTES_MAX"
    first.close()
    other.hold(50)
    second.close()
    other.close()
    assert load.held == 0


def test_bytes_that_came_before_it_was_known_whose_they_are_count_too() -> None:
    load = load_with(principal_bytes_max=60)
    early = load.place()
    early.hold(50)
    early.admit(ANN)
    assert limit_of(place_of(load, ANN).hold, 20) == "PRINCIPAL_BYTES_MAX"
    early.close()
    late = load.place()
    late.hold(70)
    assert limit_of(late.admit, ANN) == "PRINCIPAL_BYTES_MAX"
    late.close()


def test_after_a_burst_a_principal_goes_on_at_its_rate() -> None:
    clock = Clock()
    load = load_with(clock, principal_rate_max=10, principal_burst_max=5)
    for _ in range(5):
        place_of(load, ANN).close()
    assert limit_of(place_of, load, ANN) == "PRINCIPAL_RATE_MAX"
    place_of(load, BEN).close()
    clock.s += 0.25
    for _ in range(2):
        place_of(load, ANN).close()
    assert limit_of(place_of, load, ANN) == "PRINCIPAL_RATE_MAX"
    clock.s += 1_000
    for _ in range(5):
        place_of(load, ANN).close()
    assert limit_of(place_of, load, ANN) == "PRINCIPAL_RATE_MAX"


def test_streams_of_one_principal_are_bounded_in_each_tenant() -> None:
    load = load_with(principal_streams_max=2)
    ends = [load.open_stream(ANN), load.open_stream(ANN)]
    assert limit_of(load.open_stream, ANN) == "PRINCIPAL_STREAMS_MAX"
    load.open_stream(Principal(user="ann", tenant="umbrella"))
    load.open_stream(Principal(user="ann"))
    ends[0]()
    ends[0]()
    load.open_stream(ANN)
    assert limit_of(load.open_stream, ANN) == "PRINCIPAL_STREAMS_MAX"


def test_principals_that_are_idle_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reunite.server.load._SHARES_KEPT", 10)
    clock = Clock()
    load = load_with(clock, principal_rate_max=1, principal_burst_max=3)
    busy, streaming = place_of(load, ANN), load.open_stream(BEN)
    for number in range(100):
        clock.s += 1
        place_of(load, Principal(user=f"visitor {number}")).close()
        assert len(load._shares) <= 12
    assert {"ann", "ben"} <= {user for user, _ in load._shares}
    busy.close()
    streaming()


def test_thousands_of_streams_of_one_principal_end_at_their_share() -> None:
    load = load_with()
    leaves = [load.open_stream(ANN) for _ in range(PRINCIPAL_STREAMS_MAX)]
    for _ in range(2_000):
        assert limit_of(load.open_stream, ANN) == "PRINCIPAL_STREAMS_MAX"
    load.open_stream(BEN)
    leaves.pop()()
    load.open_stream(ANN)
