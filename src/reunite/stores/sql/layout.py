"""reunite's own tables, in the hub's database and in a replica's file.

    reunite_change        the log: one row a change, written by triggers alone
    reunite_change_key    its index by key, old keys included
    reunite_commit        runs of it that have a number
    reunite_push          runs of it that a push made, with replica and principal
    reunite_origin        which pushed changes entries go back to; ids and numbers side by side
    reunite_outcome       the hub's answers, kept so that a change takes effect once; some hundred
                          in a row, as JSON, since a push writes many and seldom reads one
    reunite_outcome_slot  where the answer for a change id is: by the time that the id begins with
    reunite_staged        parts of large groups whose rest is still to come
    reunite_replica       who has registered
    reunite_block         generated keys leased to replicas; reunite_token: who may come
    reunite_user, reunite_tenant, reunite_role, reunite_member, reunite_permission, reunite_filter,
    reunite_session, reunite_key      the directory (`engine/directory.py`)
    reunite_erased        that something was erased, and what views had shown of it
    reunite_view          views that replicas were sent rows of, by hash: what changes of them mean
    reunite_schema        every version of every tracked table, so that old images can be read
    reunite_meta          epoch, layout version, where the log begins

An entry of the log that was erased has the negative of its schema's version, and no image.

A hub's `reunite_change` also has columns c0, c1, c2 …, as many as the widest tracked table: the
row before the change, value by value in the order of its schema's columns. Copying values costs
a bulk update or delete half of what JSON would.

`reunite_change.id` ascends and is never used again: SQLite gives the largest id plus one, and a
trim always leaves the largest. (AUTOINCREMENT would cost each captured row a tenth more.) A
replica's outbox does lose its newest rows, so there it is AUTOINCREMENT. Commits need no `txid` on
SQLite: there is one writer at a time.

The index by key is filled when changes are numbered, or before a writer of ours looks into it, not
by the triggers: other programs' writes would pay a fifth more for it, and in bulk it costs half.
`reunite_meta.indexed_id` says how far it goes; what is behind that is read from the log itself.

The random id of a change in an outbox begins with its time, in milliseconds, so that ids of one
time share a slot in the hub's `reunite_outcome_slot`; 80 random bits remain.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from reunite.stores.sql.directory import record_layout

# Raised when a statement below or the text of a trigger changes; tests/unit/test_layout_guard.py
# notices the former.
LAYOUT_VERSION = 5

# The oldest version whose code still works on tables of this one, so that two releases may serve
# one database while a fleet of hubs is upgraded. New tables and columns with defaults leave it as
# it is; what older code would misread, and triggers with other texts, raise it.
LAYOUT_VERSION_MIN = 5

# What leads from a version to the next, run once by the first hub that finds the older one
# (`versions.py`). Every version but the first has an entry, if only an empty one: tables and
# indexes that are new are made without it.
LAYOUT_STEPS: Mapping[int, tuple[str, ...]] = MappingProxyType({1: (), 2: (), 3: (), 4: ()})

HUB_LAYOUT = (
    """
    CREATE TABLE IF NOT EXISTS reunite_meta (
        name TEXT PRIMARY KEY, value NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_schema (
        table_name TEXT NOT NULL, version INTEGER NOT NULL, schema TEXT NOT NULL,
        is_tracked INTEGER NOT NULL, PRIMARY KEY (table_name, version)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_change (
        id INTEGER PRIMARY KEY, table_name TEXT NOT NULL, key TEXT NOT NULL, old_key TEXT,
        op TEXT NOT NULL, schema INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_change_key (
        key TEXT NOT NULL, table_name TEXT NOT NULL, id INTEGER NOT NULL,
        PRIMARY KEY (key, table_name, id)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_commit (
        seq INTEGER PRIMARY KEY, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL,
        at_ms INTEGER NOT NULL, nonce TEXT NOT NULL
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS reunite_commit_first_id ON reunite_commit (first_id)
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_replica (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, principal TEXT NOT NULL,
        name TEXT NOT NULL, last_n INTEGER NOT NULL, known_n INTEGER NOT NULL,
        created_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL, seen_seq INTEGER NOT NULL,
        tenant TEXT NOT NULL DEFAULT '', views TEXT NOT NULL DEFAULT ''
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_push (
        id INTEGER PRIMARY KEY, replica INTEGER NOT NULL, principal TEXT NOT NULL,
        last_n INTEGER NOT NULL, at_ms INTEGER NOT NULL, first_id INTEGER, last_id INTEGER
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS reunite_push_first_id ON reunite_push (first_id)
    WHERE first_id IS NOT NULL
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_origin (
        first_id INTEGER PRIMARY KEY, last_id INTEGER NOT NULL, first_n INTEGER NOT NULL,
        op TEXT NOT NULL, stamp TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_outcome (
        id INTEGER PRIMARY KEY, replica INTEGER NOT NULL, last_n INTEGER NOT NULL,
        outcomes TEXT NOT NULL
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS reunite_outcome_last_n ON reunite_outcome (replica, last_n)
    """,
    """
    CREATE INDEX IF NOT EXISTS reunite_outcome_rejected ON reunite_outcome (replica, last_n)
    WHERE instr(outcomes, '"rejected"') > 0
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_outcome_slot (
        slot INTEGER NOT NULL, outcome INTEGER NOT NULL, PRIMARY KEY (slot, outcome)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_staged (
        id INTEGER PRIMARY KEY, replica TEXT NOT NULL, first_n INTEGER NOT NULL,
        last_n INTEGER NOT NULL, begins_n INTEGER NOT NULL, of TEXT NOT NULL,
        size INTEGER NOT NULL, at_ms INTEGER NOT NULL, body BLOB NOT NULL,
        UNIQUE (replica, first_n)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_block (
        table_name TEXT NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL,
        replica TEXT NOT NULL, PRIMARY KEY (table_name, last)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_view (
        id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, text TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_erased (
        id INTEGER PRIMARY KEY, table_name TEXT NOT NULL, key TEXT NOT NULL,
        change_id INTEGER NOT NULL, changes INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        principal TEXT, seen_by TEXT NOT NULL, unseen_by TEXT NOT NULL
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS reunite_erased_key ON reunite_erased (key, table_name)
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_token (
        hash TEXT PRIMARY KEY, principal TEXT NOT NULL, rights TEXT NOT NULL, label TEXT NOT NULL,
        created_ms INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    *record_layout(text="TEXT", integer="INTEGER"),
)

OUTBOX_LAYOUT = (
    """
    CREATE TABLE IF NOT EXISTS reunite_change (
        id INTEGER PRIMARY KEY AUTOINCREMENT, table_name TEXT NOT NULL, key TEXT NOT NULL,
        old_key TEXT, op TEXT NOT NULL, old TEXT, schema INTEGER NOT NULL, row TEXT,
        uid TEXT NOT NULL DEFAULT (
            printf('%012x', CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
            || lower(hex(randomblob(10)))),
        at_ms INTEGER NOT NULL
            DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
        n INTEGER, grp INTEGER, stamp TEXT, mark INTEGER, covered INTEGER, outcome TEXT
    )
    """,
    """
    CREATE INDEX IF NOT EXISTS reunite_change_n ON reunite_change (n)
    """,
    """
    CREATE TABLE IF NOT EXISTS reunite_guard (suspended INTEGER NOT NULL)
    """,
    """
    INSERT INTO reunite_guard (suspended)
    SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM reunite_guard)
    """,
)


def hub_layout() -> tuple[str, ...]:
    """The statements that make a hub's tables where they are missing."""
    return HUB_LAYOUT


def outbox_layout() -> tuple[str, ...]:
    """The statements that make a replica's `reunite_change` and `reunite_guard`."""
    return OUTBOX_LAYOUT
