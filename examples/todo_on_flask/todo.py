"""The to-do list on a device: a replica that works without a network.

$ python todo.py ann.db http://127.0.0.1:5000 login ann PASSWORD
$ python todo.py ann.db http://127.0.0.1:5000 add ann "Buy milk"
$ python todo.py ann.db http://127.0.0.1:5000 done "Buy milk"
$ python todo.py ann.db http://127.0.0.1:5000 sync
"""

from __future__ import annotations

import sys
from pathlib import Path

import httpx2

from reunite import HubUnreachableError, Replica


def login(path: Path, url: str, name: str, password: str) -> None:
    answer = httpx2.post(f"{url}/login", json={"name": name, "password": password})
    answer.raise_for_status()
    token = answer.json()["token"]
    path.with_suffix(".token").write_text(token)
    Replica.clone(path, f"{url}/sync", token=token).close()


def show(replica: Replica) -> None:
    with replica.transaction() as db:
        for title, is_done in db.execute("select title, is_done from task order by title"):
            print("[x]" if is_done else "[ ]", title)


def main(file: str, url: str, command: str, *words: str) -> None:
    path = Path(file)
    if command == "login":
        login(path, url, *words)
        return
    token = path.with_suffix(".token").read_text()
    with Replica(path, url=f"{url}/sync", token=token) as replica:
        with replica.transaction() as db:
            if command == "add":
                db.execute("insert into task (owner, title, is_done) values (?, ?, 0)", words)
            elif command == "done":
                db.execute("update task set is_done = 1 where title = ?", words)
        try:
            replica.sync()
        except HubUnreachableError:
            print("no network: it is kept and sent later")
        for parked in replica.parked():
            print(f"refused ({parked.code}): {parked.set}")
        show(replica)


if __name__ == "__main__":
    main(*sys.argv[1:])
