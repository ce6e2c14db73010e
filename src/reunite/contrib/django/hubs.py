"""The hub of one of a project's databases, over Django's connections, with Django's users.

What it is       `Hub`, told by the settings and the models what to track.
The rule         a process that serves changes nothing in a database: it offers what is tracked.
                 `install` tracks, called by `migrate` and `manage.py reunite triggers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from reunite.contrib.django.conf import setting
from reunite.contrib.django.database import DjangoDatabase
from reunite.contrib.django.discovery import TrackedModel, tables_there, tracked_models
from reunite.contrib.django.store import DjangoStore
from reunite.core.principal import Principal
from reunite.engine.feed import FeedPage, Place, feed
from reunite.engine.ports import Transaction
from reunite.engine.tables import Tables
from reunite.errors import ReuniteError
from reunite.hub import Hub, SystemClock
from reunite.stores.sql.acting import attribute, last_change_id

if TYPE_CHECKING:
    from reunite.contrib.django.directory import DjangoDirectory


class Installed(NamedTuple):
    """What `install` did, by table."""

    tracked: Sequence[str]
    untracked: Sequence[str]
    refused: Mapping[str, str]
    unchanged: int

    @property
    def has_changed(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.tracked or self.untracked or self.refused)

    def in_words(self) -> str:
        """A line for each thing that was done."""
        lines = [f"  Sync: {table} is tracked." for table in self.tracked]
        lines += [f"  Sync: {table} is tracked no more." for table in self.untracked]
        lines += [f"  Sync: {table} is left out: {why}" for table, why in self.refused.items()]
        return "\n".join(lines)


class DjangoHub(Hub):
    """The hub of the database `using`. Made by the app: `reunite.contrib.django.hub()`."""

    def __init__(self, using: str) -> None:
        from reunite.contrib.django.directory import DjangoDirectory

        self.using = using
        self.database = DjangoDatabase(using)
        self.users: DjangoDirectory = DjangoDirectory(using)
        days = setting("KEEP_DAYS")
        super().__init__(
            DjangoStore(self.database),
            keep=None if days is None else timedelta(days=days),
            clock=SystemClock(),
            directory=self.users,
        )
        # Connections of a project belong to its requests.
        self._meter.has_thread = False
        if setting("CONSOLE"):
            self._meter.begin()
        self._declare()

    def models(self) -> Mapping[str, TrackedModel]:
        """The models that are to be tracked, by table."""
        return tracked_models(self.using)

    def install(self) -> Installed:
        """Track the models as they are now, and give up what is no model to track any more.

        Tables that are not there yet are passed over. Safe to repeat.
        """
        there = set(tables_there(self.using))
        wanted = {name: one for name, one in self.models().items() if name in there}
        before = self.tracked_tables()
        tracked, refused = [], {}
        # Rules that go on to other rows need those tables to be known.
        for table, one in sorted(wanted.items(), key=lambda item: "." in (item[1].tenant or "")):
            try:
                self.track(table, **one.track_options())
            except ReuniteError as error:
                refused[table] = error.message
                continue
            if table not in before:
                tracked.append(table)
        gone = [table for table in before if table not in wanted]
        for table in gone:
            self.untrack(table)
        self._declare()
        return Installed(
            tracked=sorted(tracked),
            untracked=gone,
            refused=refused,
            unchanged=len(wanted) - len(tracked) - len(refused),
        )

    def tracked_tables(self) -> Sequence[str]:
        """The tables that the database tracks; none if it is no hub yet. Mends nothing."""
        assert isinstance(self._store, DjangoStore)
        return self._store.tracked_names() if self._store.is_hub() else []

    def is_installed(self) -> bool:
        """Whether reunite's tables are in the database."""
        assert isinstance(self._store, DjangoStore)
        return self._store.is_hub()

    def uncaptured(self) -> Sequence[str]:
        """Tracked tables whose triggers are missing, or not as they should be. Mends nothing."""
        assert isinstance(self._store, DjangoStore)
        return self._store.uncaptured()

    def reading(self) -> AbstractContextManager[Transaction]:
        """A transaction that reads, for who asks the directory."""
        return self._store.read()

    def read_on(
        self, principal: Principal, table: str, place: Place | int | None, *, limit: int
    ) -> FeedPage:
        """The next rows of a table for a program that keeps a place: see `engine/feed.py`."""
        page = feed(self._numbered, self._tables, principal, table, place, limit=limit)
        self.keep_up()
        return page

    def now_ms(self) -> int:
        """The hub's time, in milliseconds since the Unix epoch."""
        return self._clock.now_ms()

    def tables_at(self, tx: Transaction) -> Tables:
        """What this hub offers, as it is in a transaction."""
        return self._tables.at(tx)

    @contextmanager
    def noting(self, principal: Principal, *, now_ms: int) -> Iterator[None]:
        """What the project writes in the block, in its open transaction, was done by this one."""
        with self.database.aside() as session:
            after_id = last_change_id(session)
        yield
        with self.database.aside() as session:
            attribute(session, principal.user, now_ms=now_ms, after_id=after_id)

    def note_rights(self, stamps: Mapping[str, str]) -> None:
        """Let everybody know that rights are others than before."""
        with self._store.write() as tx:
            for name, text in stamps.items():
                tx.keep_stamp(name, text)
        self._feed.wake()

    def uninstall(self) -> None:
        super().uninstall()
        self._declare()

    def _declare(self) -> None:
        """Offer all that the database tracks, with what only code can say of it."""
        tables: Tables = self._declared
        tables.has_all = True
        for table, one in self.models().items():
            merge = one.options.get("merge") or {}
            tables.functions[table] = {name: how for name, how in merge.items() if callable(how)}
            policy = one.options.get("policy")
            if policy is not None:
                tables.policies[table] = policy
