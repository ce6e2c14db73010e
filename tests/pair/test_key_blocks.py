"""Key blocks: used up without a network, near the end of what a column holds, and used up for good.

Keys that reunite gives lie between 1 and 2^53 - 1, or what the column can hold.
"""

from __future__ import annotations

import pytest

from reunite import KeysUsedUpError, Replica
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.protocol.register import block_size
from reunite.replica.keys import keys_left_min
from tests.pair.conftest import Pair

LARGEST = 2**63 - 1


def insert_sales(replica: Replica, count: int) -> None:
    with replica.transaction() as db:
        db.executemany(
            "insert into sale (product_id, amount) values (1, ?)", [(n,) for n in range(count)]
        )


def use_up(replica: Replica, table: str) -> list[int]:
    """All keys of the block."""
    keys = []
    try:
        while True:
            keys.append(replica.new_key(table))
    except KeysUsedUpError:
        return keys


@pytest.mark.slow
def test_a_replica_goes_on_beyond_its_block_and_its_rows_move_at_the_next_sync(pair: Pair) -> None:
    """Two replicas make more rows offline than their blocks hold: none is lost, none meets."""
    other = pair.clone("other")
    for replica in (pair.replica, other):
        insert_sales(replica, 2_500)
    before = len(pair.wire.requests)
    pair.assert_agreed()
    assert pair.at_hub("select count(*) from sale") == [(5_002,)]
    assert len(pair.wire.requests) - before < 15


def test_keys_that_were_given_stay_while_others_move(pair: Pair) -> None:
    keys = use_up(pair.replica, "sale")
    assert len(keys) == len(set(keys)) == 1_000
    pair.write(
        pair.replica,
        *(f"insert into sale (id, product_id, amount) values ({key}, 1, 7)" for key in keys[:3]),
        "insert into sale (product_id, amount) values (1, 8)",
    )
    pair.assert_agreed()
    kept = pair.at_hub("select id from sale where amount = 7 order by id")
    assert kept == sorted((key,) for key in keys[:3])
    assert pair.replica.new_key("sale") not in keys


@pytest.mark.parametrize("is_together", [True, False])
def test_a_key_that_the_file_gave_twice_is_none_of_another_replicas(
    pair: Pair, is_together: bool
) -> None:
    """A program deletes its new row and puts another one under its key: both get keys of the
    block, for the one that SQLite gave lies in somebody else's (I4)."""
    other = pair.clone("other")
    first = use_up(other, "sale")[-1]
    statements = (
        f"insert into sale (id, product_id, amount) values ({first}, 1, 7)",
        f"delete from sale where id = {first}",
        f"insert into sale (id, product_id, amount) values ({first}, 1, 8)",
    )
    if is_together:
        with pair.replica.transaction() as db:
            for statement in statements:
                db.execute(statement)
    else:
        pair.write(pair.replica, *statements)
    pair.write(other, f"insert into sale (id, product_id, amount) values ({first}, 1, 9)")
    pair.assert_agreed()
    keys = {amount: key for key, amount in pair.at_hub("select id, amount from sale")}
    assert (keys[9], 7 in keys, keys[8] != first) == (first, False, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "top", [LARGEST, LARGEST - 1, 2**62, 2**62 - 1_500, 2**53, 2**53 - 1, 2**53 - 1_500]
)
def test_a_row_near_the_end_of_the_range_is_in_nobodys_way(pair: Pair, top: int) -> None:
    """SQLite continues after it, or anywhere; after a sync such rows have keys that JSON keeps."""
    pair.at_hub("insert into sale (id, product_id, amount) values (?, 1, 1)", top)
    replicas = [pair.replica, pair.clone("other")]
    for replica in replicas:
        replica.sync()
        key = replica.new_key("sale")
        pair.write(replica, f"insert into sale (id, product_id, amount) values ({key}, 1, 9)")
        insert_sales(replica, 1_200)
    pair.assert_agreed()
    assert pair.at_hub("select count(*) from sale") == [(2 + 1 + 2 * 1_201,)]
    (largest,) = pair.at_hub("select max(id) from sale where id <> ?", top)[0]
    assert largest < 2**53


def test_a_row_in_the_way_moves_aside_also_without_keys_and_beside_the_largest_key(
    pair: Pair,
) -> None:
    """No key of the block is left, and none above all: the row waits under one below."""
    keys = use_up(pair.replica, "sale")
    pair.write(
        pair.replica,
        *(f"insert into sale (id, product_id, amount) values ({key}, 1, 7)" for key in keys[:3]),
    )
    pair.at_hub("insert into sale (id, product_id, amount) values (?, 1, 1)", LARGEST)
    pair.at_hub("insert into sale (id, product_id, amount) values (?, 2, 9)", keys[0])
    pair.replica.pull()
    assert (keys[0], 2, 9) in pair.rows(pair.replica, "sale")
    assert len(pair.rows(pair.replica, "sale")) == 2 + 3 + 2
    pair.assert_agreed()


@pytest.mark.hubs("sqlite", "postgresql")
def test_a_hub_without_keys_parks_what_needs_one_and_takes_the_rest(pair: Pair) -> None:
    """The reason says what to do, and nobody asks for keys for ever (I9, I10)."""
    block = ("sale", 2**53 - 1, 3, "other")
    pair.at_hub("insert into reunite_block values (?, ?, ?, ?)", *block)
    late = pair.clone("late")
    with pytest.raises(KeysUsedUpError, match="sync to get another"):
        late.new_key("sale")
    insert_sales(late, 20)
    pair.write(
        late,
        "insert into product (name) values ('Fig')",
        "insert into sale (product_id, amount) select max(id), 30 from product",
    )
    pair.write(late, "update sale set amount = 31 where amount = 30")
    pair.write(late, "insert into note values ('n1', 'x')")
    pair.write(late, "update product set stock = 3 where id = 1")
    before = len(pair.wire.requests)
    pair.assert_agreed()
    assert len(pair.wire.requests) - before < 12

    assert pair.at_hub("select id from note") == [("n1",)]
    assert pair.at_hub("select id, stock from product order by id") == [(1, 3), (2, 10)]
    parked = late.parked()
    assert len(parked) == 20 + 3
    assert {change.code for change in parked} == {"no-keys-left", "depends-on-rejected"}
    assert "64 bits" in parked[0].reason

    pair.at_hub("delete from reunite_block where replica = 'other'")
    for change in parked[:20]:
        late.retry(change.id)
    pair.assert_agreed()
    assert pair.at_hub("select count(*) from sale") == [(22,)]


def test_a_table_whose_keys_are_not_generated_any_more_is_pulled_before_keys_are_asked_for(
    pair: Pair,
) -> None:
    pair.replica.sync()
    insert_sales(pair.replica, 1_500)
    pair.hub.track("sale", generated_key=False)
    pair.replica.sync()
    pair.replica.sync()
    pair.assert_agreed()
    assert pair.at_hub("select count(*) from sale") == [(1_502,)]


@pytest.mark.parametrize(
    ("bits", "largest", "block"),
    [(16, 2**15 - 1, 31), (32, 2**31 - 1, 1_000), (64, 2**53 - 1, 1_000)],
)
def test_blocks_fit_the_width_of_the_key(bits: int, largest: int, block: int) -> None:
    schema = TableSchema(
        name="narrow",
        columns=(Column(name="id", type=ColumnType.INTEGER),),
        key=("id",),
        generated_key=True,
        key_bits=bits,
    )
    assert (schema.generated_key_max, block_size(schema)) == (largest, block)
    assert 0 < keys_left_min(schema) < block
