"""A hub that stored permissions have closed stays closed when the last one is taken away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reunite import BadRequestError
from reunite.directory import StoredDirectory
from tests.pair.conftest import Pair

TAKEN_AWAY: dict[str, Callable[[StoredDirectory], object]] = {
    "permission": lambda directory: directory.forbid("Sales", "sale", tenant="acme"),
    "role": lambda directory: directory.remove_role("Sales"),
    "tenant": lambda directory: directory.remove_tenant("acme"),
    "all by a document": lambda directory: directory.import_document({}),
}


@pytest.mark.parametrize("way", TAKEN_AWAY)
def test_a_closed_hub_stays_closed(pair: Pair, way: str) -> None:
    directory = pair.hub.directory
    pair.at_hub("insert into note (id, title) values ('n1', 'secret')")
    laptop = pair.replica
    laptop.sync()
    assert len(pair.rows(laptop, "note")) == 1, "open to whoever has a token, to begin with"

    directory.add_tenant("acme")
    directory.add_role("Sales")
    assert not directory.is_closed()
    directory.permit("Sales", "sale", "full_access", tenant="acme")
    laptop.sync()
    assert pair.rows(laptop, "note") == []

    TAKEN_AWAY[way](directory)
    laptop.sync()
    assert directory.permissions() == []
    assert directory.is_closed()
    assert pair.rows(laptop, "note") == []
    assert pair.rows(pair.clone("other"), "sale") == []


def test_it_is_opened_in_words_of_its_own(pair: Pair) -> None:
    directory = pair.hub.directory
    laptop = pair.replica
    directory.add_role("Sales")
    directory.permit("Sales", "sale", "full_access")
    with pytest.raises(BadRequestError, match="There are permissions still"):
        directory.open_up()
    directory.forbid("Sales", "sale")
    laptop.sync()
    assert pair.rows(laptop, "sale") == []
    directory.open_up()
    laptop.sync()
    assert len(pair.rows(laptop, "sale")) == 2
    assert not directory.is_closed()
