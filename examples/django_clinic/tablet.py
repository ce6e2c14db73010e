"""A nurse's tablet: a file with the patients of one clinic, written to at the bed.

$ python tablet.py nils.db http://127.0.0.1:8000/sync nils                      # shows what comes
$ python tablet.py nils.db http://127.0.0.1:8000/sync nils "Ada of the north" "slept well"
"""

from __future__ import annotations

import sys
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path

from reunite import HubUnreachableError, Replica

SHOWN = """
    select patient.name, visit.at, visit.by, visit.note from care_visit visit
    join care_patient patient on patient.id = visit.patient_id
    union all
    select patient.name, result.at, 'lab', result.test || ' ' || result.value || ' ' || result.unit
    from care_labresult result join care_patient patient on patient.id = result.patient_id
    order by 2
"""


def show(replica: Replica) -> None:
    """Print what was seen and found, each once, whoever wrote it; live meanwhile."""
    news = threading.Event()
    for table in ("care_patient", "care_visit", "care_labresult"):
        replica.watch(table, lambda table: news.set())
    replica.start()
    shown: set[object] = set()
    while True:
        news.clear()
        with replica.transaction() as db:
            lines = [line for line in db.execute(SHOWN) if tuple(line) not in shown]
        for name, at, by, text in lines:
            print(f"{name}: {text} ({by})", flush=True)
            shown.add((name, at, by, text))
        while not news.wait(timeout=1):  # Ctrl-C is heard in between
            pass


def note(replica: Replica, user: str, name: str, text: str) -> None:
    """A visit, written into the file; sent now, or when there is a network."""
    with replica.transaction() as db:
        db.execute(
            "insert into care_visit (id, patient_id, at, by, note) "
            "select ?, id, ?, ?, ? from care_patient where name = ?",
            (uuid.uuid4().hex, datetime.now(UTC).isoformat(" ")[:26], user, text, name),
        )
    try:
        replica.sync()
    except HubUnreachableError:
        print("kept for later")
        return
    for change in replica.parked():
        print(f"refused: {change.reason}")
    print("sent")


def main(path: str, url: str, user: str, name: str = "", text: str = "") -> None:
    if not Path(path).exists():
        Replica.clone(path, url, username=user, password=user).close()
    with Replica(path, url=url) as replica:
        if name:
            note(replica, user, name, text)
        else:
            show(replica)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        """The file stays as it is, and goes on next time."""
