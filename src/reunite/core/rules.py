"""Rules: who may read, insert, update and delete which rows of a table.

    Rules(read=row.team_id.is_in(user.teams), update=user.roles.contains("manager"))

    declared ──► checked against the schema ──► bound to a principal: a plain expression on rows

What it is       values, and the binding. A bound rule is part of a view, or judges a write.
The rule         denied unless allowed. What is not declared is denied; so is what cannot be
                 decided, because the principal has nothing under a name, or nothing that fits.

Binding takes the principal's part out of an expression. Nots are moved inwards on the way, to the
terms: without nots above it, what is unknown can be replaced by what is false, and no row is meant
that was not meant before (Kleene's logic is monotone in and and or).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from reunite.core.asked import fields_of, reached_tables
from reunite.core.columns import (
    Column,
    check_columns,
    columns_json,
    columns_of_json,
    narrowed_schemas,
)
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
    from_json,
    to_json,
)
from reunite.core.matching import Judge, Reach, row_judge
from reunite.core.policy import OnFailure, Policy, allows, read_rule
from reunite.core.principal import CLAIM_VALUES_MAX, Principal
from reunite.core.schema import TableSchema
from reunite.core.values import Row
from reunite.errors import BadRequestError, LimitExceededError

Rule: TypeAlias = Expression | bool

NEVER: Expression = Or(())
_ALWAYS: Expression = And(())
_NO_TABLES: Mapping[str, TableSchema] = MappingProxyType({})
_OPERATIONS = ("read", "insert", "update", "delete")
_OTHERS = ("tenant", "columns", "policy")
_NO_POLICIES: Mapping[str, Policy] = MappingProxyType({})


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What may be done with the rows of one table: expressions over `row` and `user`, or True for
    everything, False for nothing.

    read      which rows are seen; nobody writes to a row that is hidden
    insert    which rows may be made, as they are then
    update    which rows may be changed; the row must be meant before and after
    delete    which rows may go
    tenant    the column that says whose compartment a row is in: all of the above is about rows of
              the principal's tenant only, and new rows without one get it. It may be a column of a
              row that foreign keys lead to, "project.organization"; then there is none to get.
    columns   who may read and write single columns, by name; of the rows that all of the above is
              about
    policy    the name of the `Policy` that decides, too; a process that was not given it decides
              that nobody may do anything
    """

    read: Rule = False
    insert: Rule = False
    update: Rule = False
    delete: Rule = False
    tenant: str | None = None
    columns: Mapping[str, Column] = MappingProxyType({})
    policy: str | None = None

    @classmethod
    def none(cls) -> Rules:
        """Everybody who has a token may do everything with the table."""
        return cls(read=True, insert=True, update=True, delete=True)

    def within(self, tenant: str | None) -> Rules:
        """These rules, about rows of the principal's own tenant in this column."""
        return msgspec.structs.replace(self, tenant=tenant)

    def after(self, before: Rules | None) -> Rules:
        """These rules in the place of others, of which tenant and policy stay."""
        if before is None:
            return self
        return msgspec.structs.replace(
            self, tenant=self.tenant or before.tenant, policy=self.policy or before.policy
        )


def check_rules(
    rules: Rules, schema: TableSchema, schemas: Mapping[str, TableSchema] = _NO_TABLES
) -> Rules:
    """The rules with their expressions in normal form. Raises BadRequestError with the path of
    what the table's schema, and those that steps lead to, do not have, LimitExceededError."""
    schemas = {**schemas, schema.name: schema}
    checked: dict[str, Rule] = {}
    for name in _OPERATIONS:
        checked[name] = _checked(getattr(rules, name), schema, schemas, f"rules.{name}")
    check_columns(rules.columns, schema)
    columns = {
        name: Column(
            read=_checked(column.read, schema, schemas, f"rules.columns.{name}.read"),
            write=_checked(column.write, schema, schemas, f"rules.columns.{name}.write"),
        )
        for name, column in rules.columns.items()
    }
    if rules.tenant is not None:
        of_tenant = _of_tenant(rules.tenant)
        check_expression(of_tenant, schema, path="rules.tenant", knows_user=True, schemas=schemas)
    return Rules(**checked, tenant=rules.tenant, columns=columns, policy=rules.policy)


def _checked(
    rule: Rule, schema: TableSchema, schemas: Mapping[str, TableSchema], path: str
) -> Rule:
    given: Any = rule  # programs call this without our types being checked
    if isinstance(given, Expression):
        return check_expression(given, schema, path=path, knows_user=True, schemas=schemas)
    if isinstance(given, bool):
        return given
    instead = f"not {given!r}. Compare it, as in row.owner == user.id"
    if callable(given):
        instead = "not a function. Code that decides is a Policy: hub.track(…, policy=…)"
    raise BadRequestError(
        f"A rule is an expression over row and user, or True or False, {instead}.", path=path
    )


def asked_by(rules: Rules) -> frozenset[str]:
    """The columns of the table itself that its rules ask."""
    asking = [getattr(rules, name) for name in _OPERATIONS]
    asking += [column.write for column in rules.columns.values()]
    return frozenset(
        name for rule in asking if isinstance(rule, Expression) for name in fields_of(rule)
    )


def _of_tenant(column: str) -> Expression:
    """The rows of the principal's tenant."""
    return Term(column, Operator.EXACT, Claim("tenant"))


def rules_json(rules: Rules) -> dict[str, Any]:
    """Rules as JSON; `rules_of_json` reads it back."""
    found: dict[str, Any] = {
        name: rule if isinstance(rule, bool) else to_json(rule, knows_user=True)
        for name in _OPERATIONS
        if (rule := getattr(rules, name)) is not False
    }
    if rules.tenant is not None:
        found["tenant"] = rules.tenant
    if rules.columns:
        found["columns"] = columns_json(rules.columns)
    if rules.policy is not None:
        found["policy"] = rules.policy
    return found


def rules_of_json(value: object, *, path: str, is_ours: bool = False) -> Rules:
    """The rules that a JSON object spells. Raises BadRequestError, LimitExceededError."""
    if not isinstance(value, dict):
        raise BadRequestError("Rules are a JSON object.", path=path)
    for name in value:
        if name not in (*_OPERATIONS, *_OTHERS):
            raise BadRequestError(
                f"There is no rule {name!r}: there are {', '.join((*_OPERATIONS, *_OTHERS))}.",
                path=path,
            )
    tenant = value.get("tenant")
    if not isinstance(tenant, str | None):
        raise BadRequestError("The tenant is the name of a column.", path=f"{path}.tenant")
    policy = value.get("policy")
    if not isinstance(policy, str | None):
        raise BadRequestError("The policy is the name of one.", path=f"{path}.policy")
    return Rules(
        tenant=tenant,
        policy=policy,
        columns=columns_of_json(value.get("columns", {}), path=f"{path}.columns", is_ours=is_ours),
        **{
            name: rule
            if isinstance(rule, bool)
            else from_json(rule, path=f"{path}.{name}", knows_user=True, is_ours=is_ours)
            for name, rule in value.items()
            if name in _OPERATIONS
        },
    )


# --- Binding --------------------------------------------------------------------------------------


class BoundRules(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of a table for one principal: which rows, None for all of them; which columns it
    does not get, and of which rows it writes those that it does not write of all."""

    read: Expression | None
    insert: Expression | None
    update: Expression | None
    delete: Expression | None
    hidden: frozenset[str] = frozenset()
    writes: Mapping[str, Expression] = MappingProxyType({})


ALL_ROWS = BoundRules(read=None, insert=None, update=None, delete=None)
NO_ROWS = BoundRules(read=NEVER, insert=NEVER, update=NEVER, delete=NEVER)


def bind_rules(
    rules: Rules,
    schema: TableSchema,
    principal: Principal,
    schemas: Mapping[str, TableSchema] = _NO_TABLES,
) -> BoundRules:
    """Checked rules for this principal. A rule that does not fit the schemas any more, after a
    migration, means no row; where the column of one is gone, nobody knows what hides under which
    name now."""
    binder = _Binder(schema, principal, {**schemas, schema.name: schema})
    hidden = frozenset(
        name for name, column in rules.columns.items() if binder.bound(column.read) is not None
    )
    if not rules.columns.keys() <= schema.column.keys():
        return msgspec.structs.replace(NO_ROWS, hidden=hidden)
    bound = {name: binder.bound(getattr(rules, name)) for name in _OPERATIONS}
    if rules.tenant is not None:
        own = binder.bound(_of_tenant(rules.tenant))
        bound = {name: narrowed(rule, own) for name, rule in bound.items()}
    writes = {name: binder.bound(column.write) for name, column in rules.columns.items()}
    return BoundRules(
        **bound,
        hidden=hidden,
        writes={name: rule for name, rule in writes.items() if rule is not None},
    )


def bind_rule(
    rule: Rule, schema: TableSchema, principal: Principal, schemas: Mapping[str, TableSchema]
) -> Expression | None:
    """The rows that one rule, or a part of one, means for this principal; None for all."""
    return _Binder(schema, principal, schemas).bound(rule)


def tenant_rule(rules: Rules) -> Expression | None:
    """What seals a table's rows by tenant, as a rule; None if nothing does."""
    return None if rules.tenant is None else _of_tenant(rules.tenant)


class _Binder:
    def __init__(
        self, schema: TableSchema, principal: Principal, schemas: Mapping[str, TableSchema]
    ) -> None:
        self._schema = schema
        self._principal = principal
        self._schemas = schemas

    def bound(self, rule: Rule) -> Expression | None:
        """A rule as an expression on rows, None for all of them."""
        if isinstance(rule, bool):
            return None if rule else NEVER
        try:
            rule = check_expression(
                rule, self._schema, path="rule", knows_user=True, schemas=self._schemas
            )
        except (BadRequestError, LimitExceededError):
            return NEVER
        found = self.bind(rule, is_wanted=True)
        return None if found == _ALWAYS else found

    def bind(self, expression: Expression, *, is_wanted: bool) -> Expression:
        """What means the rows for which the expression is true; without `is_wanted`, false."""
        match expression:
            case Term(value=Claim()):
                term = self._term(expression)
                return NEVER if term is None else self.bind(term, is_wanted=is_wanted)
            case Term(operator=Operator.IN, value=()):
                return NEVER if is_wanted else _ALWAYS
            case Term(field) if field not in self._schema.column:
                found = check_expression(
                    expression,
                    self._schema,
                    path="rule",
                    schemas=self._schemas,
                    resolves=True,
                    values_max=CLAIM_VALUES_MAX,
                )
                return found if is_wanted else Not(found)
            case Term():
                return expression if is_wanted else Not(expression)
            case ClaimTerm():
                return _ALWAYS if self._holds(expression) is is_wanted else NEVER
            case Via(columns, parent, part):
                found = self._inside(parent).bind(part, is_wanted=is_wanted)
                return Via(columns, parent, found)
            case Some(child, columns, key, part) if is_wanted:
                found = self._inside(child).bind(part, is_wanted=True)
                return Some(child, columns, key, found)
            case Some():
                return NEVER  # nobody can ask for it, and nobody is shown what it would mean
            case Not(part):
                return self.bind(part, is_wanted=not is_wanted)
            case And(parts) | Or(parts):
                bound = [self.bind(part, is_wanted=is_wanted) for part in parts]
                is_and = isinstance(expression, And) is is_wanted
                return all_of(bound) if is_and else any_of(bound)
            case _:
                raise TypeError(f"{expression!r} is no part of a rule.")

    def _inside(self, table: str) -> _Binder:
        return _Binder(self._schemas[table], self._principal, self._schemas)

    def _term(self, term: Term) -> Expression | None:
        """The term with what the principal has; None if it cannot be decided."""
        value = self._principal.has(term.value.name)
        if value is None:
            return None
        if isinstance(value, list | tuple):
            value = tuple(value)
        try:
            return check_expression(
                Term(term.field, term.operator, value),
                self._schema,
                path="user",
                schemas=self._schemas,
                values_max=CLAIM_VALUES_MAX,
            )
        except (BadRequestError, LimitExceededError):
            return None

    def _holds(self, term: ClaimTerm) -> bool | None:
        """Whether it holds of the principal; None if it cannot be decided."""
        value = self._principal.has(term.name)
        if term.operator is Operator.ISNULL:
            return (value is None) is term.value
        if value is None:
            return None
        if term.operator is Operator.CONTAINS:
            if not isinstance(value, list | tuple):
                return None
            return any(_alike(one, term.value) for one in value)
        if isinstance(value, list | tuple):
            return None
        if term.operator is Operator.IN:
            return any(_alike(value, one) for one in term.value)
        return _alike(value, term.value) is (term.operator is Operator.EXACT)


def _alike(value: Any, other: Any) -> bool:
    """JSON's sameness: true is not 1."""
    return isinstance(value, bool) is isinstance(other, bool) and bool(value == other)


def all_of(parts: Sequence[Expression]) -> Expression:
    """The rows that all of these normal forms mean, in normal form."""
    return _joined(And, parts, neutral=_ALWAYS, decisive=NEVER)


def any_of(parts: Sequence[Expression]) -> Expression:
    """The rows that any of these means."""
    return _joined(Or, parts, neutral=NEVER, decisive=_ALWAYS)


def _joined(
    kind: type[And | Or], parts: Sequence[Expression], *, neutral: Expression, decisive: Expression
) -> Expression:
    flat: dict[Expression, None] = {}
    for part in parts:
        if part == decisive:
            return decisive
        if part != neutral:
            flat.update(dict.fromkeys(part.parts if isinstance(part, kind) else (part,)))
    if not flat:
        return neutral
    return next(iter(flat)) if len(flat) == 1 else kind(tuple(flat))


def narrowed(where: Expression | None, rule: Expression | None) -> Expression | None:
    """The rows of a choice that a bound rule means too."""
    if where is None or rule is None:
        return rule if where is None else where
    return all_of([where, rule])


# --- As a hub keeps them --------------------------------------------------------------------------


@lru_cache(maxsize=16)
def parse_rules(text: str) -> Mapping[str, Rules]:
    """The rules of a hub's tables by name, from `rules_text`; of "" none."""
    if not text:
        return MappingProxyType({})
    return MappingProxyType(
        {
            name: rules_of_json(value, path=name, is_ours=True)
            for name, value in msgspec.json.decode(text).items()
        }
    )


def rules_text(rules: Mapping[str, Rules]) -> str:
    """Rules by table as text that a hub keeps in its database; "" for none."""
    if not rules:
        return ""
    found = {name: rules_json(of_table) for name, of_table in rules.items()}
    return msgspec.json.encode(found, order="sorted").decode()


# --- All tables of a hub --------------------------------------------------------------------------


class Access:
    """What one principal may do with the tables of a hub.

    With no rules for any table, everything; as soon as one has some, nothing with those that have
    none. `grants` are what stored permissions say (`core/grants.py`); both must allow.
    """

    def __init__(
        self,
        rules: Mapping[str, Rules],
        schemas: Mapping[str, TableSchema],
        principal: Principal,
        grants: Mapping[str, Rules] = MappingProxyType({}),
        *,
        policies: Mapping[str, Policy] = _NO_POLICIES,
        on_failure: OnFailure = lambda what, failure: None,
    ) -> None:
        self._rules = rules
        self._grants = grants
        self._is_open = not rules and not grants
        self._policies, self._on_failure = policies, on_failure
        self.schemas = self._schemas = schemas
        self._principal = principal
        self._steps: dict[str, list[Expression]] = {}
        self._bound: dict[str, BoundRules] = {}
        self._judges: dict[tuple[str, str], Judge | None] = {}
        self._column_judges: dict[tuple[str, str], Judge] = {}
        self._shown: Mapping[str, TableSchema] | None = None
        self.reach: Reach | None = None  # where steps lead, once it is known; then rows are judged

    def of(self, table: str) -> BoundRules:
        """The rules of a table, bound."""
        if self._is_open:
            return ALL_ROWS
        found = self._bound.get(table)
        if found is None:
            found = self._bound[table] = self._bind(table)
        return found

    def _bind(self, table: str) -> BoundRules:
        schema, found = self._schemas.get(table), None
        if schema is not None:
            for source in (self._rules, self._grants):
                rules = source.get(table)
                if rules is not None:
                    bound = bind_rules(rules, schema, self._principal, self._schemas)
                    if rules.policy is not None:
                        bound = self._narrowed_by_policy(bound, schema)
                    found = bound if found is None else _both(found, bound)
        return NO_ROWS if found is None else found

    def _narrowed_by_policy(self, bound: BoundRules, schema: TableSchema) -> BoundRules:
        """What a policy lets the principal read, of what the rules do."""
        policy = self._policies.get(schema.name)
        if policy is None:
            return msgspec.structs.replace(NO_ROWS, hidden=bound.hidden)
        rule = read_rule(policy, self._principal, schema.name, self._on_failure)
        if isinstance(rule, Expression):
            try:
                check_rules(Rules(read=rule), schema, self._schemas)
            except (BadRequestError, LimitExceededError) as exc:
                self._on_failure(f"the policy of {schema.name!r}", exc)
        read = narrowed(bound.read, bind_rule(rule, schema, self._principal, self._schemas))
        return msgspec.structs.replace(bound, read=read)

    def policy_allows(self, operation: str, table: str, *rows: Row) -> bool:
        """Whether the policy of a table, if it has one, lets the principal do this: of an update
        with the row as it was and as it is to be."""
        policy = self._policy_of(table)
        if policy is None:
            return True
        names = self._schemas[table].column_names
        named = [dict(zip(names, row, strict=True)) for row in rows]
        return allows(policy, operation, self._principal, table, named, self._on_failure)

    def _policy_of(self, table: str) -> Policy | None:
        rules = self._rules.get(table)
        return None if rules is None or rules.policy is None else self._policies.get(table)

    def steps(self, table: str) -> Sequence[Expression]:
        """The bound rules of a table that go on to rows of other tables."""
        if table not in self._steps:
            bound = self.of(table)
            rules = (bound.read, bound.insert, bound.update, bound.delete, *bound.writes.values())
            self._steps[table] = [
                rule for rule in rules if rule is not None and reached_tables(rule)
            ]
        return self._steps[table]

    def may(self, operation: str, table: str, row: Row) -> bool:
        """Whether the principal may do this to a row: `read`, `insert`, `update` or `delete`."""
        if self._is_open:
            return True
        judge = self._judge(operation, table)
        return judge is None or judge(row) is True

    def shown(self) -> Mapping[str, TableSchema]:
        """The schemas as the principal knows them, without the columns that it may not read."""
        if self._shown is None:
            found = {name: self.of(name).hidden for name in self._rules if name in self._schemas}
            hidden = {name: columns for name, columns in found.items() if columns}
            self._shown = narrowed_schemas(self._schemas, hidden)
        return self._shown

    def may_write(self, table: str, column: str, row: Row) -> bool:
        """Whether the principal may write this column, of a row that is, or is to be, like this."""
        bound = self.of(table)
        if column in bound.hidden:
            return False
        rule = bound.writes.get(column)
        if rule is None:
            return True
        if (table, column) not in self._column_judges:
            judge = row_judge(rule, self._schemas[table], self.reach)
            self._column_judges[table, column] = judge
        return self._column_judges[table, column](row) is True

    def limited_columns(self, table: str) -> Collection[str]:
        """The columns of a table that the principal may not write of all rows."""
        bound = self.of(table)
        return bound.hidden.union(bound.writes)

    def limits(self, operation: str, table: str) -> bool:
        """Whether there are rows of the table to which the principal may not do this."""
        if self._is_open:
            return False
        is_asked = operation != "read" and self._policy_of(table) is not None
        return is_asked or self._judge(operation, table) is not None

    def filled(self, table: str, rows: Sequence[Row]) -> Sequence[Row]:
        """New rows, those without a tenant with the principal's."""
        rules = self._rules.get(table)
        if rules is None or rules.tenant is None:
            return rows
        schema = self._schemas[table]
        own = _Binder(schema, self._principal, self._schemas).bound(_of_tenant(rules.tenant))
        if not isinstance(own, Term):
            return rows  # it has none, and makes no row
        place = schema.position[rules.tenant]
        return [
            (*row[:place], own.value, *row[place + 1 :]) if row[place] is None else row
            for row in rows
        ]

    def _judge(self, operation: str, table: str) -> Judge | None:
        known = (operation, table)
        if known not in self._judges:
            rule: Expression | None = getattr(self.of(table), operation)
            judge: Judge | None
            schema = self._schemas.get(table)
            if rule is None:
                judge = None
            elif schema is None:
                judge = _no_row
            else:
                judge = row_judge(rule, schema, self.reach)
            self._judges[known] = judge
        return self._judges[known]


def _both(bound: BoundRules, other: BoundRules) -> BoundRules:
    """The rows that both mean, of each operation."""
    parts = {name: narrowed(getattr(bound, name), getattr(other, name)) for name in _OPERATIONS}
    return msgspec.structs.replace(bound, **parts)


def _no_row(row: Sequence[Any]) -> bool | None:
    return False


OPEN = Access(MappingProxyType({}), MappingProxyType({}), Principal(user="anybody"))
