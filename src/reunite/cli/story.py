"""The story that the demo tells: cloned, edited apart, reunited.

    1 a hub over the database      4 without a network          7 the value that lost
    2 two devices clone it         5 sync, sync, sync           8 who did what
    3 both edit, the hub is off    6 what everyone sees now     9 is all well

Everything shown is read back from the three files; nothing is told that did not happen. The edits
are made with Python's `sqlite3` and nothing of reunite, as any program would make them.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import msgspec
from rich import box
from rich.panel import Panel
from rich.text import Text

from reunite.cli import conflicts as conflicts_command
from reunite.cli import history as history_command
from reunite.cli.checks import checks_of
from reunite.cli.doctor import show as show_findings
from reunite.cli.filters import replica_names
from reunite.cli.progress import Stopwatch, progress_bars
from reunite.cli.screen import out, readable, say, show_table
from reunite.cli.sync import sentences
from reunite.cli.token_file import remember_token
from reunite.cli.tracking import Tracked
from reunite.errors import CallerError, HubUnreachableError
from reunite.hub import Hub
from reunite.replica import Replica

if TYPE_CHECKING:
    from reunite.server import ServerThread

_NEW_FLIGHT = (
    "insert into flights (carrier, flight, origin, dest, year, month, day, hour, minute, "
    "sched_dep_time, sched_arr_time, distance, time_hour) values "
    "('AA', {number}, 'JFK', 'BOS', 2013, 12, 31, 23, 0, 2300, 2359, 187, '2014-01-01T04:00:00Z')"
)
LAPTOP_EDITS = (
    "update airlines set name = 'Laptop Air' where carrier = 'AA'",
    "update planes set seats = 60 where tailnum = 'N102UW'",
    _NEW_FLIGHT.format(number=9001),
)
TABLET_EDITS = (
    "update airlines set name = 'Tablet Air' where carrier = 'AA'",
    "update planes set engine = 'Turbo-prop' where tailnum = 'N102UW'",
    "delete from planes where tailnum = 'N10156'",
    _NEW_FLIGHT.format(number=9002),
)

# What is looked at in each of the three files: a question for people, and one for the database.
FACTS = (
    ("airline AA is called", "select name from airlines where carrier = 'AA'"),
    ("plane N102UW has seats", "select seats from planes where tailnum = 'N102UW'"),
    ("… and an engine", "select engine from planes where tailnum = 'N102UW'"),
    ("plane N10156 is", "select 'there' from planes where tailnum = 'N10156'"),
    ("flight AA 9001 has id", "select id from flights where carrier = 'AA' and flight = 9001"),
    ("flight AA 9002 has id", "select id from flights where carrier = 'AA' and flight = 9002"),
    ("flights in all", "select count(*) from flights"),
)
_NOTHING = "–"


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The files of the story, and how the reader calls this program."""

    hub: Path
    laptop: Path
    tablet: Path
    command: str


class Story:
    """Tells the story; holds the server, which goes on until `close()`."""

    def __init__(self, hub: Hub, places: Places, *, port: int) -> None:
        self._hub = hub
        self._places = places
        self._server = self._serve(port)
        self._url = self._server.url
        self._token = hub.create_token(label="demo")
        self._step = 0

    def tell(self, tracked: Tracked) -> None:
        """All nine steps."""
        self._introduce(tracked)
        self._clone()
        self._edit_apart()
        self._try_without_hub()
        self._reunite()
        self._show_what_all_see()
        self._show_conflict()
        self._show_history()
        self._examine()

    def close(self) -> None:
        """Stop the server. May be called twice."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- steps --------------------------------------------------------------------------------

    def _introduce(self, tracked: Tracked) -> None:
        self._title("A hub over an ordinary database")
        with closing(sqlite3.connect(self._places.hub)) as db:
            counts = [
                (table, f"{db.execute(f'select count(*) from {table}').fetchone()[0]:,}")
                for table in tracked.tables
            ]
        show_table(("table", "rows"), counts)
        say(f"Triggers capture every write to these tables. The hub listens at {self._url}")

    def _clone(self) -> None:
        self._title("Two devices clone it")
        for path in (self._places.laptop, self._places.tablet):
            watch = Stopwatch()
            with (
                progress_bars(path.name) as on_progress,
                Replica.clone(
                    path, self._url, token=self._token, on_progress=on_progress
                ) as replica,
            ):
                rows = sum(replica.status().tables.values())
            remember_token(path, self._token)
            say(f"{path.name}: {watch.rate(rows)}.")

    def _edit_apart(self) -> None:
        self._title("The hub goes away, and both devices are edited by a plain SQLite program")
        self._server.close()
        for path, edits in (
            (self._places.laptop, LAPTOP_EDITS),
            (self._places.tablet, TABLET_EDITS),
        ):
            with closing(sqlite3.connect(path)) as db, db:
                for statement in edits:
                    db.execute(statement)
            text = Text(";\n".join(edits) + ";")
            out().print(
                Panel(text, title=f"sqlite3 {path.name}", title_align="left", box=box.SQUARE)
            )
        self._show_facts()
        say(
            "Both renamed the same airline, and both files gave their new flight the same id, as "
            "SQLite does."
        )

    def _try_without_hub(self) -> None:
        self._title("A sync without a network loses nothing")
        with Replica(self._places.laptop, token=self._token) as laptop:
            try:
                laptop.sync()
            except HubUnreachableError as error:
                say(f"{error.code}: {error.message}", style="yellow")
            say(f"laptop.db: {' '.join(laptop.status().sentences[1:2])}")

    def _reunite(self) -> None:
        self._title("The hub is back: laptop, tablet, laptop")
        self._server = self._serve(urlsplit(self._url).port or 0)
        for path in (self._places.laptop, self._places.tablet, self._places.laptop):
            with (
                Replica(path, token=self._token, url=self._server.url) as replica,
                progress_bars(path.name) as on_progress,
            ):
                report = replica.sync(on_progress=on_progress)
            for sentence in sentences(report, path):
                say(sentence)

    def _show_what_all_see(self) -> None:
        self._title("Everyone sees the same")
        self._show_facts()
        say(
            "Edits of different columns are both there, the deleted plane is gone everywhere, and "
            "each new flight has an id of its own."
        )

    def _show_conflict(self) -> None:
        self._title("One airline, two names: the conflict is on record, with the value that lost")
        with Replica(self._places.tablet, token=self._token) as tablet:
            found = tablet.conflicts()
        show_table(
            conflicts_command.COLUMNS, [conflicts_command.cells(conflict) for conflict in found]
        )
        say("The later edit won, which is the policy unless you choose another one.")

    def _show_history(self) -> None:
        self._title("Who did what, and when")
        entries = self._hub.history("airlines", ("AA",))
        names = replica_names(self._hub)
        show_table(
            history_command.COLUMNS,
            [row for entry in entries for row in history_command.rows_of(entry, names)],
        )

    def _examine(self) -> None:
        self._title("Is all well?")
        _, findings = checks_of(self._places.hub)
        show_findings(findings)

    def say_what_to_try(self, elsewhere: str = "") -> None:
        """Print commands that work in another terminal while this one goes on, and what else there
        is."""
        hub, laptop, tablet = self._places.hub, self._places.laptop, self._places.tablet
        reunite = self._places.command
        commands = (
            f"sqlite3 {laptop} \"update airlines set name = 'My Air' where carrier = 'AA'\"",
            f"{reunite} status {laptop}",
            f"{reunite} sync {laptop}",
            f"{reunite} sync {tablet}",
            f"sqlite3 {tablet} \"select * from airlines where carrier = 'AA'\"",
            f"{reunite} history {hub} airlines '[\"AA\"]'",
            f"{reunite} conflicts {tablet}",
            f"{reunite} doctor {laptop}",
        )
        out().print()
        out().print(
            Panel(
                Text("\n".join(commands)),
                title="Now you, in another terminal",
                subtitle=f"The hub runs at {self._url} · Ctrl-C stops it",
                title_align="left",
                subtitle_align="left",
                border_style="green",
                box=box.SQUARE,
            )
        )
        if elsewhere:
            say(elsewhere, style="bold green")

    # -- telling ------------------------------------------------------------------------------

    def _serve(self, port: int) -> ServerThread:
        from reunite.server import ServerThread

        try:
            return ServerThread(self._hub, port=port)
        except CallerError:
            return ServerThread(self._hub, port=0)

    def _title(self, text: str) -> None:
        self._step += 1
        console = out()
        console.print()
        console.print(Text(f"{self._step}. {text}", style="bold cyan"))

    def _show_facts(self) -> None:
        """What the three files say, side by side; a cell is bold where the files differ."""
        files = (self._places.hub, self._places.laptop, self._places.tablet)
        answers = [_answers(path) for path in files]
        rows = []
        for number, (question, _) in enumerate(FACTS):
            cells = [given[number] for given in answers]
            style = "bold yellow" if len(set(cells)) > 1 else ""
            rows.append([Text(question), *(Text(cell, style=style) for cell in cells)])
        show_table(("", *(path.name for path in files)), rows)


def _answers(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        found = [db.execute(question).fetchone() for _, question in FACTS]
    return [_NOTHING if row is None else readable(row[0]) for row in found]
