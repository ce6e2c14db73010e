"""Pull: a cursor goes to the hub, a page comes back.

A page says for each table which rows are now so (`puts`) and which are gone (`deletes`) or no
longer this replica's to see (`evicts`). Pages gather in the inbox; one with `checkpoint` reveals
them, together with its cursor. `reset` on a page says: forget what you gathered and what you show,
this page begins a snapshot (the outbox stays).
"""

from __future__ import annotations

from typing import Any

import msgspec

from reunite.protocol.numbers import Count, Number
from reunite.protocol.push import OutcomeMessage


class PullRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tables` None asks for all; `where` has an expression for each table of which only some rows
    are wanted. `known`: the last number whose outcome this replica has; `known_id`: the id of that
    change, if it waits for its checkpoint.

    `repaired` is the cursor of the last answer of a repair since the checkpoint.
    """

    protocol: int
    replica: str
    known: Number
    known_id: str = ""
    cursor: str | None = None
    tables: tuple[str, ...] | None = None
    where: dict[str, Any] = {}
    limit: Count | None = None  # rows; the hub may send fewer, and a few more to end a step
    repaired: str | None = None
    wait_s: Count | None = None  # seconds to wait for news, if there is none
    packed: bool = False  # rows of a snapshot may come as a pack (`protocol/pack.py`)


class TablePage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rows of one table as arrays in the order of `columns`.

    `erases` are keys of rows that were erased: what else a replica keeps of them goes, too, before
    its puts. Those that it may still have stand in `deletes` or `evicts` as well.

    `reset`, in an inbox only: forget all rows of the table, what follows is all of it.

    `packed`: the table of the page's pack that has more of its puts.
    """

    table: str
    columns: tuple[str, ...]
    puts: list[tuple[Any, ...]] = []
    deletes: list[tuple[Any, ...]] = []
    evicts: list[tuple[Any, ...]] = []
    erases: list[tuple[Any, ...]] = []
    reset: bool = False
    packed: str = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of the snapshot under way: how many there were when it began."""

    rows_total: int


class Page(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer of a pull. `answered`, `mark` and `outcomes` come with a checkpoint only.

    `answered` is the last number of this replica that the page's snapshot includes, `mark` the
    last change id in it. `schemas` are the table versions that the rows are written in; `revision`
    is another text whenever anything in the schemas of these tables is another, policies included.
    A table whose `generations` is not the one that the replica has (left out: "") may have rows
    that no log tells of: the replica compares it. `pack` is in no JSON: it follows the page.
    """

    cursor: str
    stamp: str
    schemas: dict[str, int]
    revision: str = ""
    generations: dict[str, str] = {}
    tables: tuple[TablePage, ...] = ()
    more: bool = False
    checkpoint: bool = False
    reset: bool = False
    answered: int | None = None
    mark: int | None = None
    outcomes: tuple[OutcomeMessage, ...] = ()
    progress: Progress | None = None
    pack: bytes = b""
