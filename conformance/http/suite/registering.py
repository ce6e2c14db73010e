"""Registering: identities, blocks of keys, and the schema."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from suite.cases import case, must, same
from suite.peer import PROTOCOL, Peer
from suite.wire import TABLES, Hub

KEYS = {
    "note": ["id"],
    "product": ["id"],
    "sale": ["id"],
    "seat": ["hall", "number"],
    "item": ["id"],
}
ITEM_TYPES = {
    "id": "text",
    "an_integer": "integer",
    "a_real": "real",
    "a_decimal": "decimal",
    "a_boolean": "boolean",
    "a_text": "text",
    "a_blob": "blob",
    "a_date": "date",
    "a_time": "time",
    "a_datetime": "datetime",
    "a_uuid": "uuid",
    "a_json": "json",
}


@case("A file becomes a replica by asking for an identity.")
def each_registration_gives_another_identity(hub: Hub) -> None:
    first, second = Peer(hub, pulls=False), Peer(hub, pulls=False)
    must(first.replica != second.replica, "two files were given one identity")
    same(first.epoch, second.epoch, "the epoch of the second registration")


@case("of each table with generated keys a block that is this replica's alone")
def blocks_of_keys_do_not_overlap(hub: Hub) -> None:
    blocks: list[dict[str, Any]] = []
    for _ in range(3):
        answer = hub.call("register", {"protocol": PROTOCOL, "tables": TABLES})
        same(
            sorted(b["table"] for b in answer["blocks"]), ["product", "sale"], "tables with blocks"
        )
        blocks += answer["blocks"]
    for name in ("product", "sale"):
        bounds = sorted((b["first"], b["last"]) for b in blocks if b["table"] == name)
        for (first, last), (following, _) in pairwise(bounds):
            must(first <= last < following, f"blocks of {name} overlap: {bounds}")


@case("A table's schema is its `name`, its `version` (default 1, it rises when columns change)")
def the_schema_is_that_of_the_tables(hub: Hub) -> None:
    tables = Peer(hub, pulls=False).schemas
    same(sorted(tables), TABLES, "the tables")
    for name, key in KEYS.items():
        same(tables[name]["key"], key, f"the key of {name}")
    types = {column["name"]: column["type"] for column in tables["item"]["columns"]}
    same(types, ITEM_TYPES, "the types of item's columns")
    same(tables["product"].get("generated_key", False), True, "product's generated_key")
    same(tables["note"].get("generated_key", False), False, "note's generated_key")
    nullable = {c["name"]: c.get("nullable", True) for c in tables["product"]["columns"]}
    same((nullable["name"], nullable["code"]), (False, True), "whether name and code are nullable")
    (unique,) = tables["product"].get("uniques", [])
    same(unique["columns"], ["code"], "the columns of product's unique index")
    (foreign,) = tables["sale"].get("foreign_keys", [])
    same(
        {name: foreign.get(name) for name in ("columns", "parent", "parent_columns", "on_delete")},
        {
            "columns": ["product_id"],
            "parent": "product",
            "parent_columns": ["id"],
            "on_delete": "cascade",
        },
        "sale's foreign key",
    )


@case("the tables that the client wants, or null for all that its principal may read")
def only_the_tables_that_were_asked_for_are_told(hub: Hub) -> None:
    same(list(Peer(hub, tables=["note"], pulls=False).schemas), ["note"], "the tables told")
    everything = Peer(hub, tables=None, pulls=False).schemas
    must(set(TABLES) <= set(everything), f"null stands for all tables, not for {list(everything)}")


@case(
    "`GET v1/schema` answers what the principal may ask for now, in the form that registering "
    "gives it."
)
def the_schema_route_says_what_registering_says(hub: Hub) -> None:
    response = hub.ask("GET", "v1/schema")
    answer = response.body
    peer = Peer(hub, pulls=False)
    found = {table["name"]: table for table in answer["tables"]}
    same({name: found.get(name) for name in TABLES}, peer.schemas, "the schema")
    same(answer["epoch"], peer.epoch, "the epoch")
    same(str(answer["protocol"]), response.headers["reunite-protocol"], "the hub's protocol")
