"""Preview: what other rules would change for a principal, counted by the database.

The rule         the counts are of the very expressions that views would be made of, so what is
                 counted here is what the next sync would bring and take away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from reunite.core.expression import And, Expression, IsTrue, Not
from reunite.core.principal import Principal
from reunite.core.rules import NEVER, Access, Rules, check_rules, parse_rules
from reunite.engine.directory import as_known
from reunite.engine.ports import Store, Transaction
from reunite.engine.tables import Tables
from reunite.errors import BadRequestError


class TablePreview(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows of a table a principal reads now and would read then; how many of them would
    appear, and how many vanish. The columns are those that it would get, or get no more, in the
    rows that it reads; replicas then make the table anew."""

    table: str
    now: int
    then: int
    appear: int
    vanish: int
    columns_appear: tuple[str, ...] = ()
    columns_vanish: tuple[str, ...] = ()


def preview(
    store: Store, tables: Tables, principal: Principal, new_rules: Mapping[str, Rules | None]
) -> tuple[TablePreview, ...]:
    """What would become of what the principal reads, by tracked table, if these tables had these
    rules (None: no longer any) and the others stayed as they are; of a principal that is no more
    than a name, what the directory says of it. Nothing is changed.

    Raises UnknownTableError, BadRequestError for rules that a table cannot have, or for somebody
    who may not come at all,
    LimitExceededError. All counts are of one moment; each reads the table through, unless an
    index serves its rule.
    """
    _check_given(new_rules)
    with store.read() as tx:
        tables = tables.at(tx)
        principal = as_known(tables.directory, tx, principal)
        if tables.directory.bars(tx, principal):
            raise BadRequestError(
                f"{principal.user!r}, or the tenant, is not active in the directory: no rules let "
                "them come."
            )
        now = parse_rules(tables.rules_text)
        then = {name: rules for name, rules in now.items() if name not in new_rules}
        for name, rules in new_rules.items():
            schema = tables.schema(name, path="rules")
            if rules is not None:
                # As `track` has it: a table stays sealed, and has its policy, unless its rules go.
                kept = rules.after(now.get(name))
                then[name] = check_rules(kept, schema, tables.schemas)
        today = tables.access(principal)
        after = tables.access_by(then, principal)
        return tuple(compared(tx, name, today, after) for name in sorted(tables.schemas))


def _check_given(new_rules: Any) -> None:
    # Programs call this without our types being checked.
    if not isinstance(new_rules, Mapping) or not all(
        isinstance(rules, Rules | None) for rules in new_rules.values()
    ):
        raise BadRequestError('A preview takes rules by table: {"task": Rules(read=…)}.')


def compared(tx: Transaction, table: str, today: Access, after: Access) -> TablePreview:
    """What would become of what is read of one table, with other rights."""
    now, then = today.of(table).read, after.of(table).read
    count = _count(tx, table, now)
    appear = vanish = 0
    if now != then:
        appear, vanish = (_count(tx, table, _only(a, b)) for a, b in ((then, now), (now, then)))
    return TablePreview(
        table=table,
        now=count,
        then=count + appear - vanish,
        appear=appear,
        vanish=vanish,
        columns_appear=_columns(table, after, today),
        columns_vanish=_columns(table, today, after),
    )


def _columns(table: str, access: Access, other: Access) -> tuple[str, ...]:
    """The columns that are read by some rights and not by others; of no row, none is."""
    if access.of(table).read == NEVER:
        return ()
    names = other.of(table).hidden - access.of(table).hidden
    return tuple(name for name in access.schemas[table].column_names if name in names)


def _count(tx: Transaction, table: str, where: Expression | None) -> int:
    return 0 if where == NEVER else tx.row_count(table, where=where)


def _only(rule: Expression | None, other: Expression | None) -> Expression | None:
    """The rows that a bound rule means and another one does not."""
    if other is None or rule == NEVER:
        return NEVER
    if other == NEVER:
        return rule
    rest = Not(IsTrue(other))
    return rest if rule is None else And((rule, rest))
