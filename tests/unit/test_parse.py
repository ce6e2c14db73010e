"""The door of a push: what is wrong with values is told change by change."""

import pytest

from reunite.core.change import Op
from reunite.core.schema import Affinity, Column, ColumnType, TableSchema
from reunite.core.sizes import looked_through
from reunite.core.stamp import Stamp
from reunite.engine.parse import ParsedPush, parse_push
from reunite.engine.tables import Tables
from reunite.protocol.codec import encode
from reunite.protocol.push import GroupMessage, PushRequest, Run

LARGEST = "1" + "0" * 308


def parsed(amounts: list[str], *, affinity: Affinity) -> ParsedPush:
    schema = TableSchema(
        name="price",
        columns=(
            Column(name="id", type=ColumnType.INTEGER, nullable=False),
            Column(name="amount", type=ColumnType.DECIMAL, affinity=affinity),
        ),
        key=("id",),
    )
    tables = Tables()
    tables.schemas = {"price": schema}
    run = Run(
        table="price",
        op=Op.INSERT,
        columns=("id", "amount"),
        mark=0,
        covered=0,
        stamps=(str(Stamp(wall_ms=1, replica="r1")),),
        ids=tuple(f"{n:032x}" for n in range(len(amounts))),
        set=tuple(enumerate(amounts)),
    )
    request = PushRequest(
        protocol=1,
        epoch="e",
        replica="r1",
        known=0,
        first_n=1,
        schemas={"price": schema.version},
        groups=(GroupMessage(runs=(run,)),),
    )
    return parse_push(request, tables, now_ms=1, look=looked_through(encode(request)))


@pytest.mark.parametrize("amount", ["1e309", "-9E308", LARGEST + "0", "-" + LARGEST + "0.5"])
def test_a_decimal_that_sqlite_would_make_infinite_is_a_fault(amount: str) -> None:
    found = parsed(["1.50", amount, LARGEST, "1e-400"], affinity=Affinity.NUMERIC)
    assert [fault.code for fault in found.faults.values()] == ["bad-value"]
    assert list(found.faults) == [f"{1:032x}"]


def test_a_column_that_keeps_text_takes_any_decimal() -> None:
    assert parsed(["1e309", LARGEST + "0"], affinity=Affinity.TEXT).faults == {}
