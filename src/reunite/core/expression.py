"""Expressions: which rows are meant. The one filter language, built in Python or read from JSON.

    (row.store == 7) & ~row.closed.is_null()
    {"and": [{"field": "store", "operator": "exact", "value": 7},
             {"not": {"field": "closed", "operator": "isnull", "value": true}}]}

    Python   ==     !=  <   <=   >   >=   is_in  is_null  between     &    |   ~
    JSON     exact  ne  lt  lte  gt  gte  in     isnull   range       and  or  not

    Python   contains  startswith  endswith  iexact           of texts only; the JSON words are the
                                                              same
    Python   user.teams, user.id      in rules: what the principal has, as a value and as a field
    JSON     "$user.teams"            there; a text that begins with $ gets another one
    Python   row.project.team         in rules: a column of the row that a foreign key points to
    JSON     "project.team"           there, as a field

What it is       values, checked against a table's schema before anything is asked of them.
What it is not   how Python builds them (`core/fields.py`), nor evaluation: `core/matching.py`
                 decides rows in Python, a store compiles to SQL.
The rule         logic is SQL's, with three values. A comparison with NULL is unknown, so is its
                 `not`, and a row is meant only by what is true. Texts are compared by code point,
                 whatever the collation of their column, decimals and UUIDs by what they mean.
                 What is no text contains, starts and ends with none; `iexact` takes A to Z and a
                 to z for the same, and no other letters.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from reunite.core.checks import value_faults
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.core.steps import EXPRESSION_STEPS_MAX, Step, is_step, resolve
from reunite.core.values import Value, canonical_text, order_key, wire_integer
from reunite.errors import BadRequestError, LimitExceededError

# Comparisons, ands, ors and nots in one expression.
EXPRESSION_TERMS_MAX = 200

# How deep they may be nested; neighbouring ands (and ors) are one level.
EXPRESSION_DEPTH_MAX = 20

# Values in all comparisons and lists of one expression.
EXPRESSION_VALUES_MAX = 1_000


class Operator(enum.StrEnum):
    """What a term asks of its field; the words are those of the JSON form."""

    EXACT = "exact"
    NE = "ne"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    ISNULL = "isnull"
    RANGE = "range"  # a list of two; in normal form gte and lte
    CONTAINS = "contains"
    STARTSWITH = "startswith"
    ENDSWITH = "endswith"
    IEXACT = "iexact"


# What is asked of texts, with the part or the spelling that is looked for.
TEXT_OPERATORS = frozenset(
    {Operator.CONTAINS, Operator.STARTSWITH, Operator.ENDSWITH, Operator.IEXACT}
)
_OF_LISTS = frozenset({Operator.IN, Operator.RANGE})


class Expression(msgspec.Struct, frozen=True):
    """A condition on rows: a `Term`, or `And`, `Or` and `Not` of others.

    Combine with `&`, `|` and `~`; `and`, `or`, `not` and chained comparisons are Python's own and
    raise TypeError.
    """

    def __and__(self, other: Expression) -> Expression:
        return And((*_parts(And, self), *_parts(And, _expression(other))))

    def __or__(self, other: Expression) -> Expression:
        return Or((*_parts(Or, self), *_parts(Or, _expression(other))))

    def __invert__(self) -> Expression:
        return Not(self)

    def __bool__(self) -> bool:
        raise TypeError(
            "An expression is neither true nor false by itself: combine with &, | and ~, in "
            "parentheses, and write a < b < c as (a < b) & (b < c)."
        )


class Term(Expression, frozen=True):
    """One field against one value: a list for `in` and `range`, true or false for `isnull`."""

    field: str
    operator: Operator
    value: Any


class Claim(msgspec.Struct, frozen=True):
    """What a principal has under this name, as the value of a term. Only rules know a principal;
    `core/rules.py` puts the values in their place."""

    name: str


class ClaimTerm(Expression, frozen=True):
    """What a principal has under this name against one value, whatever the row is."""

    name: str
    operator: Operator
    value: Any


class Via(Expression, frozen=True):
    """A term, or another step, about the row of `parent` that `columns` point to, in the order of
    its key. Where there is none, every value of it is NULL. Bound rules have it for a field with
    steps; people have no form of it."""

    columns: tuple[str, ...]
    parent: str
    part: Expression


class Some(Expression, frozen=True):
    """Whether any row of `child` that points here by `columns` is so; never unknown. `key` are the
    columns here that those hold, in their order. A row of `child` that `part` says nothing certain
    of does not count. People have no form of it; what keeps stored filters makes them."""

    child: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    part: Expression


class And(Expression, frozen=True):
    """Whether all parts are true."""

    parts: tuple[Expression, ...]


class Or(Expression, frozen=True):
    """Whether any part is true."""

    parts: tuple[Expression, ...]


class Not(Expression, frozen=True):
    """Whether `part` is false. Of what is unknown, this is unknown too."""

    part: Expression


class IsTrue(Expression, frozen=True):
    """Whether `part` is true; never unknown. For differences of views; it has no JSON form."""

    part: Expression


def has_some(expression: Expression) -> bool:
    """Whether rows that point to rows are asked for."""
    match expression:
        case Some():
            return True
        case And(parts) | Or(parts):
            return any(map(has_some, parts))
        case Not(part) | IsTrue(part) | Via(part=part):
            return has_some(part)
        case _:
            return False


def _parts(kind: type[And | Or], expression: Expression) -> tuple[Expression, ...]:
    return expression.parts if isinstance(expression, kind) else (expression,)


def _expression(value: object) -> Expression:
    if not isinstance(value, Expression):
        raise BadRequestError(
            f"{value!r} is no condition on a row: write (row.a == 1) & (row.b == 2), each "
            "comparison in parentheses."
        )
    return value


# --- The JSON form --------------------------------------------------------------------------------


def from_json(
    value: object, *, path: str, knows_user: bool = False, is_ours: bool = False
) -> Expression:
    """The expression that a JSON value spells.

    knows_user     for rules: "$user.x" stands for what the principal has
    is_ours        it was written by `to_json`: no limits

    Raises BadRequestError with the path of what is wrong, LimitExceededError.
    """
    return _Reader(knows_user=knows_user, is_ours=is_ours).read(value, path, 1)


def to_json(expression: Expression, *, knows_user: bool = False) -> dict[str, Any]:
    """The JSON form; `from_json`, told the same, reads it back."""
    match expression:
        case Term(field, operator, value):
            field = _escaped(field, knows_user)
            plain = _operand_json(operator, value, knows_user)
            return {"field": field, "operator": operator.value, "value": plain}
        case ClaimTerm(name, operator, value) if knows_user:
            plain = _operand_json(operator, value, knows_user)
            return {"field": _USER + name, "operator": operator.value, "value": plain}
        case Via(columns, parent, part):
            has = to_json(part, knows_user=knows_user)
            return {"via": list(columns), "to": parent, "has": has}
        case Some(child, columns, key, part):
            has = to_json(part, knows_user=knows_user)
            return {"some": child, "by": list(columns), "at": list(key), "has": has}
        case And(parts):
            return {"and": [to_json(part, knows_user=knows_user) for part in parts]}
        case Or(parts):
            return {"or": [to_json(part, knows_user=knows_user) for part in parts]}
        case Not(part):
            return {"not": to_json(part, knows_user=knows_user)}
        case _:
            raise TypeError(f"{type(expression).__name__} has no JSON form.")


# What the principal has, in the JSON form of rules.
_USER = "$user."


def _operand_json(operator: Operator, value: Any, knows_user: bool) -> Any:
    if isinstance(value, Claim):
        if not knows_user:
            raise TypeError("Only rules know a principal.")
        return _USER + value.name
    if operator in _OF_LISTS:
        return [_escaped(one, knows_user) for one in value]
    return _escaped(value, knows_user)


def _escaped(value: Any, knows_user: bool) -> Any:
    is_special = knows_user and isinstance(value, str) and value.startswith("$")
    return f"${value}" if is_special else value


def _unescaped(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and value.startswith("$$") else value


class _Reader:
    def __init__(self, *, knows_user: bool, is_ours: bool) -> None:
        self._budget = None if is_ours else _Budget()
        self._knows_user = knows_user

    def read(self, value: object, path: str, depth: int) -> Expression:
        if not isinstance(value, dict):
            raise BadRequestError("An expression is a JSON object.", path=path)
        if self._budget is not None:
            self._budget.spend(depth, path)
        match value:
            case {"and": list(parts), **rest} if not rest:
                return And(self._read_all(parts, f"{path}.and", depth))
            case {"or": list(parts), **rest} if not rest:
                return Or(self._read_all(parts, f"{path}.or", depth))
            case {"not": part, **rest} if not rest:
                return Not(self.read(part, f"{path}.not", depth + 1))
            case {"via": list(columns), "to": parent, "has": part} if self._budget is None:
                names = tuple(map(str, columns))
                return Via(names, str(parent), self.read(part, f"{path}.has", depth + 1))
            case {"some": child, "by": list(columns), "at": list(key), "has": part} if (
                self._budget is None
            ):
                by, at = tuple(map(str, columns)), tuple(map(str, key))
                return Some(str(child), by, at, self.read(part, f"{path}.has", depth + 1))
            case {"field": str(field), "operator": str(operator), "value": operand, **rest} if (
                not rest
            ):
                return self._term(field, operator, operand, path)
            case _:
                raise BadRequestError(
                    'An expression has "field", "operator" and "value", or it has one of "and", '
                    '"or" (a list) and "not".',
                    path=path,
                )

    def _read_all(self, parts: list[object], path: str, depth: int) -> tuple[Expression, ...]:
        return tuple(
            self.read(part, f"{path}[{index}]", depth + 1) for index, part in enumerate(parts)
        )

    def _term(self, field: str, operator: str, value: object, path: str) -> Expression:
        try:
            known = Operator(operator)
        except ValueError:
            raise BadRequestError(
                f"There is no operator {operator!r}: use one of {', '.join(Operator)}.",
                path=f"{path}.operator",
            ) from None
        if not self._knows_user:
            return Term(field, known, tuple(value) if isinstance(value, list) else value)
        if isinstance(value, str) and value.startswith(_USER):
            operand: Any = Claim(value.removeprefix(_USER))
        elif isinstance(value, list):
            operand = tuple(map(_unescaped, value))
        else:
            operand = _unescaped(value)
        if field.startswith(_USER):
            return ClaimTerm(field.removeprefix(_USER), known, operand)
        return Term(_unescaped(field), known, operand)


class _Budget:
    """Counts what one expression holds."""

    def __init__(self, *, values_max: int = EXPRESSION_VALUES_MAX) -> None:
        self._terms = 0
        self._values = 0
        self._values_max = values_max

    def spend(self, depth: int, path: str, *, values: int = 0) -> None:
        self._terms += 1
        self._values += values
        for limit, spent, most in (
            ("EXPRESSION_TERMS_MAX", self._terms, EXPRESSION_TERMS_MAX),
            ("EXPRESSION_DEPTH_MAX", depth, EXPRESSION_DEPTH_MAX),
            ("EXPRESSION_VALUES_MAX", self._values, self._values_max),
        ):
            if spent > most:
                raise LimitExceededError(
                    f"The expression is larger than {limit} ({most}) allows: write a smaller one.",
                    limit=limit,
                    path=path,
                )


# --- Against a schema -----------------------------------------------------------------------------


def check_expression(
    expression: Expression,
    schema: TableSchema,
    *,
    path: str,
    knows_user: bool = False,
    schemas: Mapping[str, TableSchema] | None = None,
    resolves: bool = False,
    values_max: int | None = None,
) -> Expression:
    """The expression in its normal form, if it can be decided for rows of this table.

    knows_user     for rules: what the principal has may stand in it
    schemas        for rules: all tables by name, to which fields may go in steps
    resolves       fields with steps become `Via`
    values_max     instead of EXPRESSION_VALUES_MAX

    In normal form neighbouring ands and ors are one, values stand in wire form, and those of a
    list in their order, each once. Raises BadRequestError (a field or value that the table does not
    have, a comparison that its type does not have), LimitExceededError.
    """
    budget = _Budget(values_max=values_max or EXPRESSION_VALUES_MAX)
    checker = _Checker(schema, budget, knows_user=knows_user, schemas=schemas, resolves=resolves)
    return checker.check(expression, path, 1)


class _Checker:
    def __init__(
        self,
        schema: TableSchema,
        budget: _Budget,
        *,
        knows_user: bool,
        schemas: Mapping[str, TableSchema] | None,
        resolves: bool,
        steps_left: int = EXPRESSION_STEPS_MAX,
    ) -> None:
        self._schemas = schemas
        self._steps_left = steps_left
        self._resolves = resolves
        self._schema = schema
        self._budget = budget
        self._knows_user = knows_user

    def check(self, expression: Expression, path: str, depth: int) -> Expression:
        match expression:
            case Term():
                return self._term(expression, path, depth)
            case ClaimTerm() if self._knows_user:
                return self._claim_term(expression, path, depth)
            case And(parts) | Or(parts):
                self._budget.spend(depth, path)
                kind = type(expression)
                word = "and" if kind is And else "or"
                if not parts:
                    raise BadRequestError(f'"{word}" joins one expression or more.', path=path)
                checked = [
                    self.check(part, f"{path}.{word}[{index}]", depth + 1)
                    for index, part in enumerate(parts)
                ]
                flat = tuple(inner for part in checked for inner in _parts(kind, part))
                return flat[0] if len(flat) == 1 else kind(flat)
            case Not(part):
                self._budget.spend(depth, path)
                found = self.check(part, f"{path}.not", depth + 1)
                if has_some(found):
                    raise BadRequestError("Nobody can ask for no row that points here.", path=path)
                return Not(found)
            case Via(columns, parent, part) if self._schemas is not None:
                self._check_step(columns, parent, self._schema, self._schema.name, path)
                self._budget.spend(depth, path)
                return Via(columns, parent, self._inside(parent, part, path, depth))
            case Some(child, columns, key, part) if self._schemas is not None:
                known = self._schemas.get(child)
                if known is None or key != self._schema.key:
                    raise BadRequestError(f"No row of {child!r} is known to point here.", path=path)
                self._check_step(columns, self._schema.name, known, child, path)
                self._budget.spend(depth, path)
                return Some(child, columns, key, self._inside(child, part, path, depth))
            case _:
                raise BadRequestError(f"{expression!r} is no condition on a row.", path=path)

    def _check_step(
        self, columns: Sequence[str], parent: str, schema: TableSchema, name: str, path: str
    ) -> None:
        """Raises BadRequestError unless rows of `schema` point to rows of `parent` by these."""
        assert self._schemas is not None, "steps are asked for only where tables are known"
        if self._steps_left < 1 or not is_step(columns, parent, schema, self._schemas, path):
            raise BadRequestError(f"{name!r} does not lead to {parent!r} so.", path=path)

    def _inside(self, table: str, part: Expression, path: str, depth: int) -> Expression:
        """A part about rows of another table."""
        assert self._schemas is not None, "steps are asked for only where tables are known"
        inside = _Checker(
            self._schemas[table],
            self._budget,
            knows_user=self._knows_user,
            schemas=self._schemas,
            resolves=self._resolves,
            steps_left=self._steps_left - 1,
        )
        return inside.check(part, f"{path}.has", depth + 1)

    def _term(self, term: Term, path: str, depth: int) -> Expression:
        column = self._schema.column.get(term.field)
        if column is not None:
            return self._term_of(term, column, path, depth)
        if self._schemas is None or "." not in term.field:
            hint = " Only rules go to the columns of other tables." if "." in term.field else ""
            raise BadRequestError(
                f"The table {self._schema.name!r} has no column {term.field!r}.{hint}",
                path=f"{path}.field",
            )
        steps, column = resolve(term.field, self._schema, self._schemas, path=f"{path}.field")
        found = self._term_of(term, column, path, depth)
        return _through(steps, column.name, found) if self._resolves else found

    def _term_of(self, term: Term, column: Column, path: str, depth: int) -> Expression:
        """The term in normal form, if values of the column can be asked so."""
        if isinstance(term.value, Claim) and self._knows_user:
            return self._term_of_claim(term, column, path, depth)
        is_list = isinstance(term.value, tuple)
        self._budget.spend(depth, path, values=len(term.value) if is_list else 1)
        if term.operator is Operator.ISNULL:
            if not isinstance(term.value, bool):
                raise BadRequestError("isnull is true or false.", path=f"{path}.value")
            return term
        if column.type is ColumnType.JSON:
            raise BadRequestError(
                f"{term.field!r} holds JSON, which can only be asked for NULL (isnull).",
                path=f"{path}.operator",
            )
        if term.operator in TEXT_OPERATORS and column.type is not ColumnType.TEXT:
            raise BadRequestError(
                f"{term.operator} is asked of texts, and {term.field!r} is {column.type.value}.",
                path=f"{path}.operator",
            )
        is_pair = term.operator is not Operator.RANGE or (is_list and len(term.value) == 2)
        if is_list is not (term.operator in _OF_LISTS) or not is_pair:
            wanted = {Operator.IN: "a list of values", Operator.RANGE: "a list of two values"}
            raise BadRequestError(
                f"{term.operator} takes {wanted.get(term.operator, 'one value')}.",
                path=f"{path}.value",
            )
        if not is_list:
            value = _fitting(column, term.value, f"{path}.value")
            return Term(term.field, term.operator, value)
        values = [
            _fitting(column, value, f"{path}.value[{index}]")
            for index, value in enumerate(term.value)
        ]
        if term.operator is Operator.RANGE:
            first, last = values
            return And(
                (Term(term.field, Operator.GTE, first), Term(term.field, Operator.LTE, last))
            )
        one_each = {canonical_text(column.type, value): value for value in reversed(values)}
        ordered = sorted(one_each.values(), key=lambda value: order_key(column.type, value))
        return Term(term.field, term.operator, tuple(ordered))

    def _term_of_claim(self, term: Term, column: Column, path: str, depth: int) -> Term:
        """What the principal has is checked when it is known; the rest here."""
        self._budget.spend(depth, path, values=1)
        is_known = term.operator is not Operator.ISNULL and column.type is not ColumnType.JSON
        is_of_text = term.operator in TEXT_OPERATORS and column.type is not ColumnType.TEXT
        if not is_known or is_of_text or not term.value.name:
            raise BadRequestError(
                f"{term.field!r} ({column.type.value}) cannot be asked so for what a principal "
                f"has: {term.operator}.",
                path=f"{path}.operator",
            )
        return term

    def _claim_term(self, term: ClaimTerm, path: str, depth: int) -> ClaimTerm:
        values = term.value if isinstance(term.value, tuple) else (term.value,)
        self._budget.spend(depth, path, values=len(values))
        if term.operator not in _OF_CLAIMS or not term.name:
            raise BadRequestError(
                f"What a principal has can be asked for {', '.join(sorted(_OF_CLAIMS))}, not for "
                f"{term.operator}.",
                path=f"{path}.operator",
            )
        is_list = isinstance(term.value, tuple)
        is_fitting = all(isinstance(value, bool | int | float | str) for value in values)
        if term.operator is Operator.ISNULL:
            is_fitting = isinstance(term.value, bool)
        if is_list is not (term.operator is Operator.IN) or not is_fitting:
            raise BadRequestError(
                f"{term.operator} takes a text, a number, true or false"
                f"{', or a list of them' if term.operator is Operator.IN else ''}.",
                path=f"{path}.value",
            )
        return term


def _through(steps: Sequence[Step], name: str, found: Expression) -> Expression:
    """Terms about a field with steps, as terms about the row that these lead to."""
    if isinstance(found, And):
        return And(tuple(_through(steps, name, part) for part in found.parts))
    reached: Expression = msgspec.structs.replace(found, field=name)
    for step in reversed(steps):
        reached = Via(step.columns, step.parent, reached)
    return reached


_OF_CLAIMS = frozenset(
    {Operator.EXACT, Operator.NE, Operator.IN, Operator.CONTAINS, Operator.ISNULL}
)


def _fitting(column: Column, given: Any, path: str) -> Value:
    """The value in wire form, if the column can hold it."""
    value: Value = given
    if value is None:
        raise BadRequestError("Nothing is equal to NULL: use isnull.", path=path)
    if isinstance(value, int) and not isinstance(value, bool):
        if column.type is ColumnType.DECIMAL:
            value = str(value)
        elif column.type is ColumnType.INTEGER:
            value = wire_integer(value)
    for fault in value_faults([column], [(value,)]):
        raise BadRequestError(f"Column {column.name!r}: {fault.reason}", path=path)
    if isinstance(value, str) and not _is_unicode(value):
        raise BadRequestError(f"Column {column.name!r}: a surrogate stands alone.", path=path)
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
