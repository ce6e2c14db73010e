"""The example data is the package's, complete, typed, and its declared keys hold."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reunite.cli.flights import build_flights

pytestmark = pytest.mark.slow

ROWS_BY_TABLE = {
    "airlines": 16,
    "airports": 1_458,
    "planes": 3_322,
    "weather": 26_115,
    "flights": 336_776,
}


class Built:
    """The file, an open connection to it, and the progress that was reported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.progress: list[tuple[str, int]] = []
        build_flights(path, on_progress=lambda table, rows: self.progress.append((table, rows)))
        self.db = sqlite3.connect(path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    built = Built(tmp_path_factory.mktemp("flights") / "flights.db")
    with closing(built.db):
        yield built


def test_every_table_has_all_its_rows(built: Built) -> None:
    tables = built.db.execute("select name from sqlite_schema where type = 'table'").fetchall()
    counted = {
        table: built.db.execute(f"select count(*) from {table}").fetchone()[0]
        for (table,) in tables
    }
    assert counted == ROWS_BY_TABLE


def test_declared_keys_hold(built: Built) -> None:
    assert built.db.execute("pragma foreign_key_check").fetchall() == []
    assert built.db.execute("pragma integrity_check").fetchall() == [("ok",)]


def test_keys_left_undeclared_would_not_hold(built: Built) -> None:
    """The numbers that the module's docstring names."""
    orphans = "select count(*), count(distinct {0}) from flights where {0} not in (select {1})"
    dest = built.db.execute(orphans.format("dest", "faa from airports")).fetchone()
    assert dest == (7_602, 4)
    tailnum = built.db.execute(orphans.format("tailnum", "tailnum from planes")).fetchone()
    assert tailnum[1] == 721
    assert (
        built.db.execute(
            "select month, day, hour, count(*) from weather"
            " group by origin, year, month, day, hour having count(*) > 1"
        ).fetchall()
        == [(11, 3, 1, 2)] * 3
    )
    assert built.db.execute(
        "select count(*) from flights where (origin, time_hour) not in"
        " (select origin, time_hour from weather)"
    ).fetchone() == (1_556,)


def test_values_have_their_columns_type_and_na_is_null(built: Built) -> None:
    wrong = []
    for table in ROWS_BY_TABLE:
        for _, column, declared, not_null, _, key in built.db.execute(
            f"pragma table_info({table})"
        ).fetchall():
            found = {
                kind
                for (kind,) in built.db.execute(f"select distinct typeof({column}) from {table}")
            }
            expected = {declared.lower()} | (set() if not_null or key else {"null"})
            text_na = built.db.execute(
                f"select count(*) from {table} where {column} = 'NA'"
            ).fetchone()[0]
            if found != expected or text_na:
                wrong.append((table, column, found, text_na))
    assert wrong == []


def test_flights_keep_the_order_of_the_file(built: Built) -> None:
    assert built.db.execute(
        "select id, carrier, flight, tailnum, dest, dep_time, time_hour from flights"
        " where id in (1, 336776)"
    ).fetchall() == [
        (1, "UA", 1545, "N14228", "IAH", 517, "2013-01-01T10:00:00Z"),
        (336_776, "MQ", 3531, "N839MQ", "RDU", None, "2013-09-30T12:00:00Z"),
    ]


def test_progress_ends_at_each_tables_row_count(built: Built) -> None:
    assert dict(built.progress) == ROWS_BY_TABLE
    assert [rows for table, rows in built.progress if table == "weather"] == [20_000, 26_115]


def test_an_existing_file_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "flights.db"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"):
        build_flights(path)
    assert path.read_text() == "mine"


def test_a_failed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "airlines.csv").write_text("carrier,name\nAA,American Airlines Inc.\n")
    (source / "airports.csv").write_text("code,name\nJFK,John F Kennedy Intl\n")
    with pytest.raises(ValueError, match=r"airports\.csv has the columns"):
        build_flights(tmp_path / "flights.db", source=source)
    (source / "airports.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no airports\.csv"):
        build_flights(tmp_path / "flights.db", source=source)
    assert [file.name for file in tmp_path.iterdir()] == ["source"]


def test_command_refuses_an_existing_file_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "flights.db"
    path.touch()
    done = subprocess.run(
        [sys.executable, "-m", "reunite.cli.flights", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Remove it, or choose another name." in done.stderr
    assert "Traceback" not in done.stderr
