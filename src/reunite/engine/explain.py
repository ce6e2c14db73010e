"""Explain: may this principal see and change a row, and what decides it.

    no rules at all ──► everybody may        rules for other tables only ──► nobody may
    another tenant's row ──► the tenant      true or false ──► that            else the rule's parts
    stored permissions ──► the role's permission, or the filter that the row does not pass
    a user or tenant that the directory bars ──► nobody comes, whatever the rules say

What it is       the answer for whoever runs the hub: it tells of rows that the principal does not
                 see, so it is never given to the principal.
The rule         the database decides, by the very expressions that pulls and views ask it; what is
                 said of the parts is the reason, not the decision.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from reunite.core.expression import (
    And,
    Claim,
    ClaimTerm,
    Expression,
    Not,
    Operator,
    Or,
    Some,
    Term,
    Via,
    check_expression,
)
from reunite.core.grants import FLAGS
from reunite.core.key import Key
from reunite.core.principal import Principal
from reunite.core.rules import Access, Rules, bind_rule, parse_rules, tenant_rule
from reunite.core.schema import TableSchema
from reunite.core.values import Row, Value
from reunite.engine.directory import Granting, as_known
from reunite.engine.history import check_key
from reunite.engine.ports import Store, Transaction
from reunite.engine.reaching import pointers
from reunite.engine.tables import Tables
from reunite.errors import BadRequestError

_OPERATIONS = ("read", "insert", "update", "delete")

# The flags without which a permission gives nothing of an operation.
_NEEDED = {
    "read": ("pull", "read"),
    "insert": ("push", "create"),
    "update": ("push", "update"),
    "delete": ("push", "delete"),
}

_SIGNS = {
    Operator.EXACT: "==",
    Operator.NE: "!=",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.GT: ">",
    Operator.GTE: ">=",
}


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a rule, such as `row.team in user.teams`; whether it holds, and of what: what the
    row has there, or the one to which steps lead, and what the principal has, None for nothing."""

    text: str
    holds: bool
    row: Value = None
    user: Any = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the principal may do this to the row, and what decides it.

    because   `no-rules` (the hub has none), `closed` (other tables have rules, this one none),
              `no-row`, `policy` (code decides), `tenant` (the row is another's), `everybody` or
              `nobody` (the rule is True or False), `rule`, `permission` (what is stored for its
              roles), `inactive` (the directory has the user or its tenant, and they may not come),
              or `hidden` (who does not see a row cannot change it)
    reasons   the parts of the rule, where it is one that decides; of `permission` the roles, what
              each of them has, and its filters
    """

    operation: str
    is_allowed: bool
    because: str
    reasons: tuple[Reason, ...] = ()


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a principal may do with a row as it is now: whether it reads it, would insert it as it
    is, may update it (an update is judged by what it makes of the row, too), or delete it.

    tenant       who was asked about: what was given, or what the directory says of the user
    roles        likewise
    hidden       columns that it does not get
    read_only    others that it may not write in this row
    """

    user: str
    tenant: str | int | None = None
    roles: tuple[str, ...] = ()
    table: str
    key: Key
    is_there: bool
    read: Decision
    insert: Decision
    update: Decision
    delete: Decision
    hidden: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()

    @property
    def is_visible(self) -> bool:
        """Whether there is such a row and the principal reads it."""
        return self.read.is_allowed


def explain(
    store: Store, tables: Tables, principal: Principal, table: str, key: Key
) -> Explanation:
    """What the principal may do with the row, and why; of a principal that is no more than a name,
    what the directory says of it (`as_known`).

    Raises UnknownTableError, BadRequestError. A read by key for each part of the rules.
    """
    with store.read() as tx:
        tables = tables.at(tx)
        schema = tables.schema(table)
        check_key(schema, key)
        found = tx.rows(table, [key]).get(key)
        principal = as_known(tables.directory, tx, principal)
        is_barred = tables.directory.bars(tx, principal)
        asked = _Asked(tx, schema, principal, tables, key, found)
        rules = parse_rules(tables.rules_text)
        decisions: dict[str, Decision] = {}
        for operation in _OPERATIONS:
            decision = asked.decide(operation, rules.get(table), has_rules=bool(rules))
            decision = asked.within_grants(decision)
            is_of_seen = operation not in ("update", "delete") or decisions["read"].is_allowed
            if decision.is_allowed and not is_of_seen:
                decision = Decision(operation=operation, is_allowed=False, because="hidden")
            if is_barred:
                decision = Decision(operation=operation, is_allowed=False, because="inactive")
            decisions[operation] = decision
        hidden, read_only = asked.columns()
    return Explanation(
        user=principal.user,
        tenant=principal.tenant,
        roles=tuple(principal.roles),
        table=table,
        key=key,
        is_there=found is not None,
        hidden=hidden,
        read_only=read_only,
        **decisions,
    )


class _Asked:
    """A row and who is asked about."""

    def __init__(
        self,
        tx: Transaction,
        schema: TableSchema,
        principal: Principal,
        tables: Tables,
        key: Key,
        row: Row | None,
    ) -> None:
        self._tx = tx
        self._directory = tables.directory
        self._grants = tables.grants(principal)
        # Of code's rules alone; what is stored is asked after them.
        self._access = Access(
            parse_rules(tables.rules_text),
            tables.known,
            principal,
            policies=tables.policies,
            on_failure=tables.on_failure,
        )
        self._schema = schema
        self._principal = principal
        self._schemas = tx.schemas()
        self._place = dict(zip(schema.key, key, strict=True))
        self._row = row

    def decide(self, operation: str, rules: Rules | None, *, has_rules: bool) -> Decision:
        """Whether this may be done, and why."""
        if self._row is None:
            return Decision(operation=operation, is_allowed=False, because="no-row")
        if not has_rules:
            return Decision(operation=operation, is_allowed=True, because="no-rules")
        if rules is None:
            return Decision(operation=operation, is_allowed=False, because="closed")
        bound = getattr(self._access.of(self._schema.name), operation)
        is_allowed = self._is_meant(bound)
        if rules.policy is not None and self._is_denied_by_policy(operation, rules, is_allowed):
            return Decision(operation=operation, is_allowed=False, because="policy")
        own = tenant_rule(rules)
        if own is not None:
            reason = self._reason(own)
            if not reason.holds:
                return Decision(
                    operation=operation, is_allowed=is_allowed, because="tenant", reasons=(reason,)
                )
        rule = getattr(rules, operation)
        if isinstance(rule, bool):
            because = "everybody" if rule else "nobody"
            return Decision(operation=operation, is_allowed=is_allowed, because=because)
        return Decision(
            operation=operation,
            is_allowed=is_allowed,
            because="rule",
            reasons=tuple(map(self._reason, dict.fromkeys(_leaves(rule)))),
        )

    def within_grants(self, decision: Decision) -> Decision:
        """What stored permissions make of a decision that code's rules have made."""
        table, operation = self._schema.name, decision.operation
        rules = self._grants.get(table)
        if self._row is None or not self._grants:
            return decision
        if rules is None:
            # As soon as one table has permissions, those without any rights are closed.
            is_open = decision.because == "no-rules"
            return _closed(operation) if is_open else decision
        if not decision.is_allowed and decision.because != "closed":
            return decision
        bound = bind_rule(getattr(rules, operation), self._schema, self._principal, self._schemas)
        reasons: list[Reason] = []
        for granting in self._directory.granting(self._tx, self._principal, table):
            reasons += self._granting(granting, operation)
        return Decision(
            operation=operation,
            is_allowed=self._is_meant(bound),
            because="permission",
            reasons=tuple(reasons),
        )

    def _granting(self, granting: Granting, operation: str) -> Iterator[Reason]:
        """What a role has for this operation."""
        where = f" in {granting.tenant}" if granting.tenant else ""
        flags = granting.flags
        if flags is None:
            yield Reason(text=f"the role {granting.role}{where} has no permission", holds=False)
            return
        names = [name for name in FLAGS if getattr(flags, name)]
        needed = _NEEDED[operation]
        yield Reason(
            text=f"the role {granting.role}{where} may {', '.join(names) or 'nothing'}",
            holds=all(name in names for name in needed),
        )
        for name, condition in granting.filters:
            found = self._reason(condition)
            yield msgspec.structs.replace(
                found, text=f"its filter {name}: {expression_text(condition)}"
            )

    def _is_denied_by_policy(self, operation: str, rules: Rules, is_allowed: bool) -> bool:
        """Whether the rules alone would allow it. An update is asked of as one to the same row."""
        assert self._row is not None, "asked only of rows that are there"
        if operation == "read":
            plain = msgspec.structs.replace(rules, policy=None)
            alone = Access({self._schema.name: plain}, self._schemas, self._principal)
            return not is_allowed and self._is_meant(alone.of(self._schema.name).read)
        rows = (self._row, self._row) if operation == "update" else (self._row,)
        return is_allowed and not self._access.policy_allows(operation, self._schema.name, *rows)

    def columns(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The columns that are hidden, and others that may not be written in this row."""
        bound = self._access.of(self._schema.name)
        names = [name for name in self._schema.column_names if name not in bound.hidden]
        read_only = [
            name for name in names if name in bound.writes and not self._writes(bound.writes[name])
        ]
        return tuple(sorted(bound.hidden)), tuple(read_only)

    def _writes(self, bound: Expression) -> bool:
        return self._row is not None and self._is_meant(bound)

    def _is_meant(self, bound: Expression | None) -> bool:
        """Whether a bound expression means the row."""
        if bound is None:
            return True
        rows = self._tx.find(self._schema.name, self._place, after=None, limit=1, only=bound)
        return bool(rows)

    def _reason(self, leaf: Expression) -> Reason:
        holds = self._is_meant(bind_rule(leaf, self._schema, self._principal, self._schemas))
        user = None
        value = None
        match leaf:
            case Term(field, _, operand):
                value = self._value(field)
                user = self._principal.has(operand.name) if isinstance(operand, Claim) else None
            case ClaimTerm(name, _, _):
                user = self._principal.has(name)
            case _:
                pass
        return Reason(text=expression_text(leaf), holds=holds, row=value, user=user)

    def _value(self, field: str) -> Value:
        """What the row has there, or the row to which steps lead; None where they end before."""
        asking: Expression = Term(field, Operator.ISNULL, True)
        try:
            asking = check_expression(
                asking, self._schema, path="rule", schemas=self._schemas, resolves=True
            )
        except BadRequestError:
            return None  # a migration has taken away what the rule asks
        schema, row = self._schema, self._row
        while isinstance(asking, Via) and row is not None:
            keys = pointers(asking, schema.column_names, [row])
            schema = self._schemas[asking.parent]
            row = next(iter(self._tx.rows(asking.parent, keys).values()), None)
            asking = asking.part
        if row is None or not isinstance(asking, Term):
            return None
        return row[schema.position[asking.field]]


def _closed(operation: str) -> Decision:
    return Decision(operation=operation, is_allowed=False, because="closed")


def _leaves(expression: Expression) -> Iterator[Expression]:
    """The terms of an expression, in their order."""
    match expression:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _leaves(part)
        case Not(part):
            yield from _leaves(part)
        case _:
            yield expression


def expression_text(expression: Expression) -> str:
    """An expression as a person would write it in Python."""
    match expression:
        case Term(field, operator, value):
            return _term_text(f"row.{field}", operator, value)
        case ClaimTerm(name, operator, value):
            return _term_text(f"user.{name}", operator, value)
        case And(parts):
            return " & ".join(map(_inner, parts)) or "True"
        case Or(parts):
            return " | ".join(map(_inner, parts)) or "False"
        case Not(part):
            return f"~{_inner(part)}"
        case Via(columns, _, part):
            return f"row.{', '.join(columns)} ─► {_inner(part)}"
        case Some(child, columns, _, part):
            return f"some {child} by {', '.join(columns)} ─► {_inner(part)}"
        case _:
            return "an expression"


def _inner(expression: Expression) -> str:
    return f"({expression_text(expression)})"


def _term_text(left: str, operator: Operator, value: Any) -> str:
    right = f"user.{value.name}" if isinstance(value, Claim) else repr(value)
    if operator in _SIGNS:
        return f"{left} {_SIGNS[operator]} {right}"
    if operator is Operator.ISNULL:
        return f"{left}.is_null()" if value else f"~{left}.is_null()"
    if operator is Operator.IN and not isinstance(value, Claim):
        right = repr(list(value))
    name = {Operator.IN: "is_in", Operator.RANGE: "between"}.get(operator, operator.value)
    return f"{left}.{name}({right})"
