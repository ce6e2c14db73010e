"""A café's backend: FastAPI on PostgreSQL, and a hub for the tills beside its routes.

$ export DATABASE_URL=postgresql://localhost/cafe
$ python backend.py                             # makes the tables, prints a token for the tills
$ uvicorn backend:app --workers 2
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from fastapi import FastAPI, HTTPException
from psycopg.rows import dict_row
from pydantic import BaseModel

from reunite import Hub

DATABASE = os.environ["DATABASE_URL"]

TABLES = """
create table if not exists drink (
    name text primary key, price numeric(6, 2) not null, stock integer not null
);
create table if not exists orders (
    id text primary key, drink text not null references drink (name),
    amount integer not null check (amount > 0), place text not null
);
insert into drink values ('coffee', 2.80, 100), ('tea', 2.40, 100) on conflict do nothing;
"""


def hub_of_the_cafe() -> Hub:
    """Two tills that sell at the same time both count: the stock is a counter."""
    hub = Hub(DATABASE)
    hub.track("drink", merge={"stock": "counter"})
    hub.track("orders")
    return hub


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    hub = hub_of_the_cafe()
    app.mount("/sync", hub.asgi())
    yield
    hub.close()


app = FastAPI(lifespan=lifespan)


class Order(BaseModel):
    drink: str
    amount: int
    place: str


@app.get("/drinks")
def drinks() -> list[dict[str, object]]:
    with database() as db:
        return db.execute("select name, price, stock from drink order by name").fetchall()


@app.post("/orders", status_code=201)
def order(order: Order) -> dict[str, str]:
    """The backend writes as it always did; it need not know that there is a hub."""
    identity = str(uuid.uuid4())
    try:
        with database() as db:
            db.execute(
                "insert into orders values (%s, %s, %s, %s)",
                (identity, order.drink, order.amount, order.place),
            )
            db.execute(
                "update drink set stock = stock - %s where name = %s", (order.amount, order.drink)
            )
    except psycopg.IntegrityError as error:
        raise HTTPException(422, "There is no such drink, or no such amount.") from error
    return {"id": identity}


@contextmanager
def database() -> Iterator[psycopg.Connection[dict[str, object]]]:
    """A transaction."""
    with psycopg.connect(DATABASE, row_factory=dict_row) as db:
        yield db


if __name__ == "__main__":
    with psycopg.connect(DATABASE) as db:
        db.execute(TABLES)
    with hub_of_the_cafe() as hub:
        print(hub.create_token("tills"))
