"""A serving process asks the garbage collector for less, and gives it back as it was."""

from __future__ import annotations

import gc
import weakref

from reunite.server.collecting import OBJECTS_MAX, collecting_rarely


class Node:
    """Something that can be in a cycle."""

    other: Node


def test_the_collector_is_as_it_was_afterwards() -> None:
    before = (gc.get_threshold(), gc.get_freeze_count())
    with collecting_rarely():
        assert gc.get_threshold()[0] >= OBJECTS_MAX
        assert gc.get_freeze_count() > before[1]
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_who_has_turned_it_off_keeps_it_off() -> None:
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        with collecting_rarely():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)


def test_cycles_are_found_all_the_same() -> None:
    with collecting_rarely():
        node = Node()
        node.other = node
        gone = weakref.ref(node)
        del node
        kept = []
        while gone() is not None:
            kept.append([])
            assert len(kept) < 100 * OBJECTS_MAX, "the collector never looked"
