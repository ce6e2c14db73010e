"""Two firms on one hub: users who log in, roles, permissions and a filter, and what each sees.

$ python examples/two_tenants.py
"""

import sqlite3
import tempfile
from pathlib import Path

from reunite import Hub, Replica, row, user
from reunite.errors import NotAuthenticatedError
from reunite.server import ServerThread

PASSWORD = "only for this example"

LEADS = """
create table lead (
    id text not null, firm text not null, owner text, note text, primary key (firm, id)
);
insert into lead values
    ('l1', 'acme', 'ann', 'call on Monday'), ('l2', 'acme', 'uma', 'send an offer'),
    ('l3', 'umbrella', 'joe', 'is on holiday');
"""


def show(name: str, path: Path) -> None:
    with sqlite3.connect(path) as db:
        leads = [key for (key,) in db.execute("select id from lead order by id")]
    db.close()
    print(f"{name} has {', '.join(leads) or 'nothing'}")


def main(folder: Path) -> None:
    db = sqlite3.connect(folder / "crm.db")
    db.executescript(LEADS)
    db.close()
    with Hub(folder / "crm.db") as hub:
        hub.track("lead", tenant="firm")

        directory = hub.directory
        directory.add_groups()
        for tenant, members in (
            ("acme", {"ann": "Sales", "max": "Managers"}),
            ("umbrella", {"joe": "Sales"}),
        ):
            directory.add_tenant(tenant)
            for role in ("Sales", "Managers"):
                directory.permit(role, "lead", tenant=tenant)
            for name, role in members.items():
                directory.add_user(name, password=PASSWORD)
                directory.add_member(name, role, tenant=tenant)
        # At Acme, sales people have their own leads alone.
        directory.add_filter("Sales", "lead", "own", row.owner == user.id, tenant="acme")

        with ServerThread(hub) as server:
            for name in ("ann", "max", "joe"):
                path = folder / f"{name}.db"
                Replica.clone(path, server.url, username=name, password=PASSWORD).close()
                show(name, path)

            directory.remove_filter("Sales", "lead", "own", tenant="acme")
            with Replica(folder / "ann.db") as replica:
                replica.sync()
            show("ann, without the filter,", folder / "ann.db")

            directory.set_user_active("joe", False)
            with Replica(folder / "joe.db") as replica:
                try:
                    replica.sync()
                except NotAuthenticatedError as exc:
                    print(f"joe may not come any more: {type(exc).__name__}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
