"""A collector's device: a live replica, written to by sessions of SQLAlchemy.

$ python collector.py ann.db http://127.0.0.1:8000/sync KEY                 # shows what comes
$ python collector.py ann.db http://127.0.0.1:8000/sync KEY ann lake 12     # notes, also offline
"""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from models import Observation, Site
from sqlalchemy import select
from sqlalchemy.orm import sessionmaker

from reunite import Replica
from reunite.contrib.sqlalchemy import replica_engine


def show(replica: Replica) -> None:
    """Print each observation once, whoever made it, and keep the file live meanwhile."""
    sessions = sessionmaker(replica_engine(replica))
    with sessions() as session:
        print("sites:", *session.scalars(select(Site.id).order_by(Site.id)), flush=True)
    news = threading.Event()
    replica.watch("observation", lambda table: news.set())
    replica.start()
    shown: set[object] = set()
    while True:
        news.clear()
        with sessions() as session:
            for each in session.scalars(select(Observation)):
                if each.id not in shown:
                    print(f"{each.collector}: {each.birds} birds at {each.site_id}", flush=True)
                    shown.add(each.id)
        while not news.wait(timeout=1):  # Ctrl-C is heard in between
            pass


def note(replica: Replica, name: str, site: str, birds: int) -> None:
    """Write to the file; the program that shows it sends it, as soon as there is a network."""
    engine = replica_engine(replica)
    with sessionmaker(engine).begin() as session:
        seen = datetime.now(UTC)
        session.add(Observation(site_id=site, collector=name, birds=birds, seen=seen))
    engine.dispose()


def main(path: str, url: str, key: str, name: str = "", site: str = "", birds: str = "0") -> None:
    if not Path(path).exists():
        Replica.clone(path, url, token=key).close()
    with Replica(path, url=url, token=key) as replica:
        replica.track(Observation)
        if name:
            note(replica, name, site, int(birds))
        else:
            show(replica)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        """The file stays as it is, and goes on next time."""
