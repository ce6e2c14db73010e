"""Does our data survive bad networks, two tills selling the last one, and restored phones?

    $ python examples/simulate_your_tables.py

Runs the simulator on two tables of a shop: their SQL, two programs that write to them, and what
must hold after every transaction of the hub.
"""

from __future__ import annotations

import random
import sqlite3
import sys

from reunite import Hub
from reunite.testing import OwnTables, SimulationFailed, Simulator

SCHEMA = """
create table product (
    id integer primary key,
    name text not null,
    stock integer not null default 0,
    sold integer not null default 0
);
create table sale (
    id text primary key not null,
    product_id integer not null references product (id) on delete cascade,
    amount integer not null check (amount > 0)
);
insert into product (id, name, stock) values (1, 'Apple', 100), (2, 'Pear', 100);
"""


def track(hub: Hub) -> None:
    """As the shop's backend does it: counters add up, whoever sells."""
    hub.track("product", merge={"stock": "counter", "sold": "counter"})
    hub.track("sale")


def sell(db: sqlite3.Connection, chance: random.Random) -> None:
    """A till sells: one transaction, three rows."""
    (product,) = chance.choice(db.execute("select id from product order by id").fetchall())
    amount = chance.randrange(1, 4)
    sale = f"{chance.getrandbits(64):016x}"
    db.execute("insert into sale values (?, ?, ?)", (sale, product, amount))
    db.execute(
        "update product set stock = stock - ?, sold = sold + ? where id = ?",
        (amount, amount, product),
    )


def rename(db: sqlite3.Connection, chance: random.Random) -> None:
    """Somebody corrects a name."""
    db.execute(
        "update product set name = ? where id = ?",
        (chance.choice(["Apple", "Pear", "Quince"]), chance.choice([1, 2])),
    )


def nothing_is_lost(db: sqlite3.Connection) -> None:
    """What was there at first is on the shelf or sold, and each sale counts once."""
    for name, stock, sold, total in db.execute(
        "select name, stock, sold, (select coalesce(sum(amount), 0) from sale"
        " where product_id = product.id) from product"
    ):
        assert stock + sold == 100, f"{name}: {stock} in stock and {sold} sold"
        assert sold == total, f"{name}: {sold} sold, but the sales say {total}"


TABLES = OwnTables(
    schema=SCHEMA, track=track, stories=[sell, sell, rename], invariants=[nothing_is_lost]
)


def main(seeds: int = 20) -> int:
    """Run some seeds; the exit code."""
    checkpoints = 0
    for seed in range(seeds):
        try:
            checkpoints += Simulator(seed=seed, tables=TABLES).run(shrinks=True)["checkpoint"]
        except SimulationFailed as exc:
            print(exc)
            return 1
    print(f"{seeds} lives of a hub and three tills: {checkpoints} checkpoints, and all agree.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
