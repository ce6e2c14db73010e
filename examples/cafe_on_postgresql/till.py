"""A till of the café: a live replica in an SQLite file.

$ python till.py bar.db http://127.0.0.1:8000/sync TOKEN          # shows all orders as they come
$ python till.py bar.db http://127.0.0.1:8000/sync TOKEN tea 2    # orders, also offline
"""

from __future__ import annotations

import sys
import threading
import uuid
from pathlib import Path

from reunite import Replica


def show(till: Replica) -> None:
    """Print each order once, whoever made it, and keep the file live meanwhile."""
    news = threading.Event()
    till.watch("orders", lambda table: news.set())
    till.start()
    shown: set[str] = set()
    while True:
        news.clear()
        with till.transaction() as db:
            orders = db.execute("select id, drink, amount, place from orders").fetchall()
        for identity, drink, amount, place in orders:
            if identity not in shown:
                print(f"{amount} {drink} for {place}", flush=True)
                shown.add(identity)
        while not news.wait(timeout=1):  # Ctrl-C is heard in between
            pass


def order(till: Replica, drink: str, amount: int) -> None:
    """Write to the file; the till that shows it sends it, as soon as there is a network."""
    with till.transaction() as db:
        db.execute(
            "insert into orders values (?, ?, ?, ?)",
            (str(uuid.uuid4()), drink, amount, till.path.stem),
        )
        db.execute("update drink set stock = stock - ? where name = ?", (amount, drink))


def main(path: str, url: str, token: str, drink: str = "", amount: str = "1") -> None:
    if not Path(path).exists():
        Replica.clone(path, url, token=token).close()
    with Replica(path, url=url, token=token) as till:
        if drink:
            order(till, drink, int(amount))
        else:
            show(till)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        """The file stays as it is, and goes on next time."""
