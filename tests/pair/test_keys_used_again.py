"""Generated keys that meet: no two rows become one, no child changes its parent."""

from __future__ import annotations

import pytest

from tests.pair.conftest import Pair


def test_implicit_ids_of_two_replicas_and_the_hub_stay_apart(pair: Pair) -> None:
    """Everybody's SQLite gives the same next id; each product keeps its name and its sale."""
    for name in ("till1", "till2"):
        pair.in_file(
            pair.clone(name),
            f"insert into product (name) values ('of {name}')",
            "insert into sale (product_id, amount) values (last_insert_rowid(), 5)",
        )
    pair.at_hub("insert into product (name) values ('of the hub')")
    pair.at_hub("insert into sale (product_id, amount) select max(id), 5 from product")

    pair.assert_agreed()

    born = "select name from product join sale on product_id = product.id where amount = 5"
    assert sorted(pair.at_hub(born)) == [("of the hub",), ("of till1",), ("of till2",)]


def test_child_of_a_row_whose_key_was_given_again_is_rejected(pair: Pair) -> None:
    """The hub deletes a product and gives its id to another; a sale of the first must not move."""
    pair.write(pair.replica, "insert into sale (product_id, amount) values (2, 7)")
    pair.at_hub("delete from product where id = 2")
    pair.at_hub("insert into product (id, name) values (2, 'Plum')")

    pair.assert_agreed()

    assert pair.at_hub("select count(*) from sale where product_id = 2") == [(0,)]
    assert [parked.code for parked in pair.replica.parked()] == ["parent-deleted"]


def test_hub_row_inside_a_leased_block_moves_the_pending_insert(pair: Pair) -> None:
    """The hub's row keeps its key; the replica's row gets another one, with its child."""
    key = pair.replica.new_key("product")
    pair.write(
        pair.replica,
        f"insert into product (id, name) values ({key}, 'of the replica')",
        f"insert into sale (product_id, amount) values ({key}, 5)",
    )
    pair.at_hub("insert into product (id, name) values (?, 'of the hub')", key)

    pair.assert_agreed()

    assert pair.at_hub("select name from product where id = ?", key) == [("of the hub",)]
    born = "select name from product join sale on product_id = product.id where amount = 5"
    assert pair.at_hub(born) == [("of the replica",)]


def test_swapped_unique_values_leave_children_alone(pair: Pair) -> None:
    """Codes of two products are exchanged; their sales, ON DELETE CASCADE, survive everywhere."""
    other = pair.clone("other")
    pair.write(
        pair.replica,
        "update product set code = null where id = 1",
        "update product set code = 'A' where id = 2",
        "update product set code = 'B' where id = 1",
    )

    pair.assert_agreed()

    assert pair.at_hub("select id, code from product order by id") == [(1, "B"), (2, "A")]
    assert pair.rows(other, "sale") == [(1, 1, 3), (2, 2, 4)]


@pytest.mark.slow
def test_many_implicit_keys_at_hub_and_replica_move_in_a_few_rounds(pair: Pair) -> None:
    """The hub continues inside the replica's block, as SQLite does; nobody counts to a thousand."""
    replica = pair.replica
    pair.in_file(replica, "insert into sale (product_id, amount) values (1, 0)")
    replica.sync()
    for i in range(300):
        pair.at_hub("insert into sale (product_id, amount) values (1, ?)", 1000 + i)
    pair.in_file(
        replica, *(f"insert into sale (product_id, amount) values (2, {i})" for i in range(300))
    )
    before = len(pair.wire.requests)
    replica.sync()
    assert len(pair.wire.requests) - before < 12
    assert pair.at_hub("select count(*) from sale where product_id = 2 and amount < 300") == [
        (301,)
    ]
    pair.assert_agreed()


def test_a_row_with_the_largest_key_leaves_keys_for_others(pair: Pair) -> None:
    pair.at_hub("insert into sale (id, product_id, amount) values (9223372036854775807, 1, 1)")
    pair.replica.sync()
    pair.in_file(pair.replica, "insert into sale (product_id, amount) values (1, 2)")
    other = pair.clone("tablet")
    pair.in_file(other, "insert into sale (product_id, amount) values (1, 3)")
    pair.assert_agreed()
    assert pair.at_hub("select count(*) from sale") == [(5,)]


def test_new_key_is_not_given_to_another_program(pair: Pair) -> None:
    with pair.replica.transaction() as db:
        key = pair.replica.new_key("sale")
        db.execute("insert into product (name) values ('by the way')")
        db.execute("insert into sale (id, product_id, amount) values (?, 1, 1)", (key,))
    later = pair.replica.new_key("sale")
    pair.in_file(pair.replica, "insert into sale (product_id, amount) values (1, 2)")
    pair.write(pair.replica, f"insert into sale (id, product_id, amount) values ({later}, 1, 3)")
    pair.assert_agreed()
    assert pair.at_hub("select id from sale where amount = 1") == [(key,)]
    assert pair.at_hub("select id from sale where amount = 3 and id > 2") == [(later,)]


def test_a_deleted_row_does_not_come_back_under_a_key_that_was_given_again(pair: Pair) -> None:
    """Its successor steps aside for a unique value of the hub's; what a program writes under the
    key meanwhile would be the successor's in the end, and a child would change its parent."""
    replica = pair.replica
    pair.in_file(
        replica,
        "delete from product where id = 2",
        "insert into product (name, code) values ('Plum', 'X')",
    )
    assert pair.in_file(replica, "select id from product where name = 'Plum'") == [(2,)]
    pair.at_hub("update product set name = 'Green pear' where id = 2")
    pair.at_hub("update product set code = 'X' where id = 1")
    replica.pull()
    assert pair.in_file(replica, "select id, name from product") == [(1, "Apple")]
    pair.at_hub("update product set code = 'A' where id = 1")
    pair.assert_agreed()
    assert pair.at_hub("select name from product where code = 'X'") == [("Plum",)]
