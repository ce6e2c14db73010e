"""The Django clinic of the tests with its console, for the tests of the console in a browser.

Speaks as `console_hub.py` does: prints `{"url": …}`, the console's address, then answers lines.

    {"do": "sql", "sql": …, "values": […]}      a statement of the backend's own; its rows
    {"do": "leave", "user": name}               all that they are logged in with ends
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.contrib.django import conftest  # noqa: I001  (it has the project's settings)

from django.contrib.sessions.models import Session
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from tests.contrib.django.clinic.models import Patient

PASSWORD = "correct horse battery"
STAFF: dict[str, dict[str, bool]] = {
    "cleo": {"is_staff": True, "is_superuser": True},
    "rita": {"is_staff": True},
    "ann": {},
}


class Quiet(WSGIRequestHandler):
    """Says nothing of requests."""

    def log_message(self, *args: Any) -> None:
        pass


def build(project: conftest.Project) -> None:
    for name, more in STAFF.items():
        user = project.user(name, **more)
        user.set_password(PASSWORD)
        user.save()
    organization = project.organization("acme", ann="Nurses")
    project.permit(organization, "Nurses", "clinic.Patient", "pull", "read")
    for name in ("Ada", "Bea"):
        Patient.objects.create(organization=organization, name=name)
    project.set(CONSOLE=True)
    project.hub.number()


def answer(file: Path, command: dict[str, Any]) -> dict[str, Any]:
    if command["do"] == "leave":
        Session.objects.all().delete()
        return {}
    with closing(sqlite3.connect(file, timeout=30)) as db, db:
        return {"rows": db.execute(command["sql"], command.get("values", [])).fetchall()}


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = folder / "clinic.db"
        conftest._use({"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)})
        call_command("migrate", verbosity=0)
        build(conftest.Project(folder, stack))
        server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
        server.set_app(WSGIHandler())
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.server_address[1]
        print(json.dumps({"url": f"http://127.0.0.1:{port}/config/"}), flush=True)
        for line in sys.stdin:
            try:
                found = answer(file, json.loads(line))
            except Exception as error:  # the test says what it expected
                found = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(found), flush=True)
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    main()
