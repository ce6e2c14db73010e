"""A layout does not change by accident: a sum of its statements is pinned to each version.

A database that was laid out by an older version is brought up to date only where the version says
that there is something to do. When this test fails, raise LAYOUT_VERSION, say in LAYOUT_STEPS what
leads to it (new tables and indexes need nothing), and add the sum that the test prints.
"""

import hashlib
from collections.abc import Sequence

import pytest

from reunite.replica import layout as replica_layout
from reunite.stores.sql import layout
from reunite.stores.sql.dialects.postgresql_layout import POSTGRESQL_LAYOUT
from reunite.stores.sql.layout import hub_layout, outbox_layout

LAYOUTS = {
    "sqlite": (layout.LAYOUT_VERSION, hub_layout()),
    "postgresql": (layout.LAYOUT_VERSION, POSTGRESQL_LAYOUT),
    "replica": (replica_layout.LAYOUT_VERSION, (*outbox_layout(), *replica_layout.LAYOUT)),
}
PINS = {
    "sqlite": {
        2: "d94e77bb5607386f",
        3: "6db709f5b708c269",
        4: "6db709f5b708c269",
        5: "6db709f5b708c269",
    },
    "postgresql": {
        2: "0dd045e1e8c059f9",
        3: "07fe5ab0981c1524",
        4: "ebe7f478c85a2526",
        5: "ebe7f478c85a2526",
    },
    "replica": {1: "ba71072fce362746", 2: "e8ef31c8b7b85eac"},
}


def layout_sum(statements: Sequence[str]) -> str:
    """A sum of what they say, however their lines are broken."""
    text = ";".join(" ".join(statement.split()) for statement in statements)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_that_changes_is_another_version(name: str) -> None:
    version, statements = LAYOUTS[name]
    found = layout_sum(statements)
    assert PINS[name].get(version) == found, f"{name} {version} is {found} now. {__doc__}"
    assert max(PINS[name]) == version
