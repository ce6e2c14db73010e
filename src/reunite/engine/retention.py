"""Retention: how much of the log may go, and trimming it."""

from __future__ import annotations

from reunite.engine.ports import Store

# Commits a trim looks at in one step.
_COMMITS_PER_STEP = 1_000


def trim(store: Store, *, older_than_ms: int) -> int:
    """Remove the commits before `older_than_ms` that every replica seen since then has read.

    How many changes went. A replica that has not been seen for longer does not hold the log back:
    it gets a snapshot when it comes again, and keeps its outbox.
    """
    with store.write() as tx:
        readers = [record.seen_seq for record in tx.replicas() if record.seen_ms >= older_than_ms]
        until = tx.trimmed_seq()
        is_done = False
        while not is_done:
            commits = tx.commits(after=until, limit=_COMMITS_PER_STEP)
            old = [commit for commit in commits if commit.at_ms < older_than_ms]
            until = old[-1].seq if old else until
            is_done = len(old) < _COMMITS_PER_STEP
        until = min([until, *readers])
        if until <= tx.trimmed_seq():
            return 0
        return tx.trim(until_seq=until)
