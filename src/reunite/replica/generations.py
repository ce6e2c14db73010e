"""Generations: up to which gap in the hub's log of a table the rows of this file are healed.

    page.generations        what the hub says now; another text after each gap in capture
    state.generations       what is shown is healed up to here
    next_generations        what gathers in the inbox is healed up to here

What it is       pure bookkeeping over the state; comparing is `repair.py`, when is the driver's.
The rule         rows count as healed only up to what the hub said before the first of them was
                 read: a gap that came later may be in them.
"""

from __future__ import annotations

from reunite.protocol.pull import Page
from reunite.replica.reshaping import is_kept
from reunite.replica.state import State


def said(page: Page) -> dict[str, str]:
    """The hub's generation of each table of the page."""
    return {name: page.generations.get(name, "") for name in page.schemas}


def begin(state: State, page: Page) -> None:
    """Note the tables whose rows begin to come whole with this page."""
    if page.reset:
        state.next_generations = said(page)
    elif state.next_schemas is not None:
        before = {schema.name: schema for schema in state.schemas}
        begun = {
            schema.name
            for schema in state.next_schemas
            if schema.name not in before or not is_kept(before[schema.name], schema)
        }
        now = {name: generation for name, generation in said(page).items() if name in begun}
        state.next_generations = now | state.next_generations


def show(state: State, page: Page) -> None:
    """The checkpoint `page` shows what gathered."""
    known = state.generations | state.next_generations
    state.generations = {name: known.get(name, "") for name in page.schemas}
    state.next_generations = {}


def gaps(state: State, page: Page) -> dict[str, str]:
    """The tables of which rows are shown that a gap may have spoilt, with what the hub says."""
    return {
        name: generation
        for name, generation in said(page).items()
        if state.generations.get(name, "") != generation
    }


def heal(state: State, compared: dict[str, str], *, has_rows: bool) -> None:
    """These tables were compared; if rows of them wait in the inbox, the next checkpoint counts."""
    if has_rows:
        state.next_generations = state.next_generations | compared
    else:
        state.generations = state.generations | compared
