"""What the memory store knows at one moment.

A published state never changes. A writer branches it: mappings are replaced, tables are copied
when they are first written, and journals grow behind what the readers of the old state can see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from reunite.core.change import Op
from reunite.core.key import Key
from reunite.core.principal import Principal
from reunite.core.values import Row
from reunite.engine.ports import (
    Commit,
    Erasure,
    Head,
    Origin,
    ReplicaRecord,
    StagedPart,
    StoredOutcome,
)
from reunite.stores.memory.journal import Journal
from reunite.stores.memory.tables import Table


class Entry(msgspec.Struct, frozen=True):
    """What a trigger wrote. Its id is its number in the log's journal."""

    table: str
    key: Key
    old_key: Key | None
    op: Op
    old: Row | None
    old_columns: tuple[str, ...]
    is_erased: bool = False


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """The entries from first to last id were made in one push of this replica; None: at the hub,
    by this principal."""

    first_id: int
    last_id: int
    replica: str | None
    principal: str
    origins: Mapping[int, Origin]


def entry_index(entry: Entry) -> Iterable[tuple[str, Key]]:
    """How entries are found: by each of their keys."""
    yield entry.table, entry.key
    if entry.old_key is not None:
        yield entry.table, entry.old_key


def outcome_index(outcome: StoredOutcome) -> Iterable[tuple[str, str]]:
    """How outcomes are found: by change, and by replica."""
    yield "id", outcome.id
    yield "replica", outcome.replica


def last_id_of(run: Commit | Push) -> int:
    """What journals of runs are searched by."""
    return run.last_id


@dataclass(slots=True)
class State:
    """Everything the store knows at one moment."""

    epoch: str
    tables: dict[str, Table] = field(default_factory=dict)
    log: Journal[Entry] = field(default_factory=lambda: Journal(index_keys=entry_index))
    commits: Journal[Commit] = field(default_factory=Journal)
    pushes: Journal[Push] = field(default_factory=Journal)
    outcomes: Journal[StoredOutcome] = field(
        default_factory=lambda: Journal(index_keys=outcome_index)
    )
    trimmed: Commit | None = None  # the newest of those that are gone
    replicas: Mapping[str, ReplicaRecord] = field(default_factory=dict)
    tokens: Mapping[str, tuple[Principal, str, int]] = field(default_factory=dict)
    leased: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)  # by table
    jobs: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # until when, and whose
    views: Mapping[str, str] = field(default_factory=dict)  # texts by hash, in order of keeping
    # By replica: the parts of a group, each with its time and its body.
    staged: Mapping[str, tuple[tuple[StagedPart, int, bytes], ...]] = field(default_factory=dict)
    rules: str = ""
    erasures: tuple[Erasure, ...] = ()
    # Of the directory, by kind and key.
    records: Mapping[type[msgspec.Struct], Mapping[Key, msgspec.Struct]] = field(
        default_factory=dict
    )
    stamps: Mapping[str, str] = field(default_factory=dict)

    def copy(self) -> State:
        """The same moment in an object of its own, whose fields may be replaced."""
        return State(
            self.epoch,
            self.tables,
            self.log,
            self.commits,
            self.pushes,
            self.outcomes,
            self.trimmed,
            self.replicas,
            self.tokens,
            self.leased,
            self.jobs,
            self.views,
            self.staged,
            self.rules,
            self.erasures,
            self.records,
            self.stamps,
        )

    def branch(self) -> State:
        """A copy that a writer may go on from."""
        branch = self.copy()
        branch.tables = dict(self.tables)
        branch.log = self.log.branch()
        branch.commits = self.commits.branch()
        branch.pushes = self.pushes.branch()
        branch.outcomes = self.outcomes.branch()
        return branch

    def newest_commit(self) -> Commit | None:
        return self.commits[self.commits.last] if len(self.commits) else self.trimmed

    def head(self) -> Head:
        commit = self.newest_commit()
        if commit is None:
            return Head(epoch=self.epoch, seq=0, nonce="", last_id=0, at_ms=0)
        return Head(
            epoch=self.epoch,
            seq=commit.seq,
            nonce=commit.nonce,
            last_id=commit.last_id,
            at_ms=commit.at_ms,
        )
