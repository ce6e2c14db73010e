"""The clinics on Django, as their page says: a server, tablets of staff, and what each may see."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx2

from tests.integration.test_examples import EXAMPLES, Program
from tests.patience import DEADLINE_S

CLINIC = EXAMPLES / "django_clinic"


def test_the_clinics_on_django(tmp_path: Path) -> None:
    environment = {"CLINIC_DIR": str(tmp_path), "PYTHONPATH": str(CLINIC), "PYTHONUNBUFFERED": "1"}

    def run(*command: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def manage(*arguments: str) -> str:
        return run(CLINIC / "manage.py", *arguments)

    def server(port: int = 0) -> Program:
        command = ("-m", "uvicorn", "clinic.asgi:application", "--port", port)
        return Program(tmp_path, *command, environment=environment)

    def tablet(name: str, *words: str) -> str:
        return run(CLINIC / "tablet.py", f"{name}.db", f"{url}/sync", name, *words)

    manage("migrate", "-v0")
    assert "No changes" in manage("makemigrations", "--check")
    assert "no issues" in manage("check")
    assert "open" in manage("open_clinics")
    with ExitStack() as stack:
        serving = server()
        try:
            url = serving.until_match(r"running on (http://127.0.0.1:\d+)")
            showing = stack.enter_context(
                Program(
                    tmp_path, CLINIC / "tablet.py", "dora.db", f"{url}/sync", "dora",
                    environment=environment,
                ).running()
            )  # fmt: skip
            showing.until("Ada of the north: glucose 5.4 mmol/l (lab)")
            assert tablet("nils", "Ada of the north", "slept well") == "sent\n"
            showing.until("Ada of the north: slept well (nils)")
            # Of the other clinic there is nothing, and who is there sees nothing of this one.
            assert not [line for line in showing.lines if "south" in line]
            assert tablet("doug", "Ada of the south", "fine") == "sent\n"
            assert tablet("doug", "Ada of the north", "not mine") == "sent\n"
            page = httpx2.get(url).text
            assert '"/sync/client.js"' in page
        finally:
            serving.end()
        assert tablet("nils", "Ada of the north", "ate") == "kept for later\n"
        serving = server(int(url.rpartition(":")[2]))
        try:
            serving.until_match(r"(running) on")
            assert tablet("nils", "Ada of the north", "slept") == "sent\n"
            showing.until("Ada of the north: ate (nils)", "Ada of the north: slept (nils)")
        finally:
            serving.end()

    def ask(what: str) -> str:
        imports = (
            "from care.models import Visit\nfrom reunite.contrib.django.audit import changes_of\n"
        )
        return manage("shell", "-v0", "-c", f"{imports}print({what})").strip()

    assert ask("sorted(Visit.objects.values_list('patient__organization__slug', 'note'))") == str(
        [("north", "ate"), ("north", "slept"), ("north", "slept well"), ("south", "fine")]
    )
    assert ask("changes_of(Visit.objects.get(note='ate'))[0].user") == "nils"
    exported = manage("dynamic_permissions", "--action", "export", "--org-slug", "north")
    assert re.search(r'"Laboratory": \{\s*"care.LabResult"', exported)
    for program in (serving, showing):
        assert not [line for line in program.lines if "Traceback" in line], program.lines
