"""Rules: checked when they are declared, kept as text, and bound to who asks (I6, I7)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reunite.core.expression import (
    And,
    Claim,
    ClaimTerm,
    Expression,
    Not,
    Operator,
    Or,
    Term,
    check_expression,
)
from reunite.core.fields import row, user
from reunite.core.matching import row_judge
from reunite.core.principal import (
    CLAIM_VALUES_MAX,
    Principal,
    check_principal,
    principal_of_text,
    principal_text,
)
from reunite.core.rules import (
    ALL_ROWS,
    NEVER,
    NO_ROWS,
    Access,
    Rules,
    all_of,
    bind_rules,
    check_rules,
    narrowed,
    parse_rules,
    rules_of_json,
    rules_text,
)
from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.errors import BadRequestError, LimitExceededError
from tests.unit.strategies import expressions

TASK = TableSchema(
    name="task",
    columns=(
        Column(name="id", type=ColumnType.INTEGER),
        Column(name="team", type=ColumnType.INTEGER),
        Column(name="owner", type=ColumnType.TEXT),
        Column(name="done", type=ColumnType.BOOLEAN),
    ),
    key=("id",),
)
ANNA = Principal(user="anna", tenant="north", roles=("boss",), claims={"teams": [1, 2], "level": 3})


def read_of(rule: Expression | bool, principal: Principal = ANNA) -> Expression | None:
    return bind_rules(check_rules(Rules(read=rule), TASK), TASK, principal).read


# --- Binding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "bound"),
    [
        (True, None),
        (False, NEVER),
        (row.owner == user.id, Term("owner", Operator.EXACT, "anna")),
        (row.team.is_in(user.teams), Term("team", Operator.IN, (1, 2))),
        (row.owner == user.tenant, Term("owner", Operator.EXACT, "north")),
        (row.team > user.level, Term("team", Operator.GT, 3)),
        (user.roles.contains("boss"), None),
        (user.roles.contains("clerk"), NEVER),
        (user.level == 3, None),
        (user.level != 3, NEVER),
        (user.level.is_in([1, 3]), None),
        (user.phone.is_null(), None),
        (user.level.is_null(), NEVER),
        (user.roles.contains("boss") & (row.team == 1), Term("team", Operator.EXACT, 1)),
        (user.roles.contains("boss") | (row.team == 1), None),
        (~user.roles.contains("clerk"), None),
        (~(row.team == 1), Not(Term("team", Operator.EXACT, 1))),
    ],
)
def test_a_rule_says_what_it_means_for_who_asks(
    rule: Expression | bool, bound: Expression | None
) -> None:
    assert read_of(rule) == bound


@pytest.mark.parametrize(
    "rule",
    [
        row.team == user.nothing,
        ~(row.team == user.nothing),
        row.team != user.nothing,
        row.team == user.id,  # a text
        ~(row.team == user.id),
        row.team == user.teams,  # a list
        row.team.is_in(user.level),  # no list
        user.nothing == "x",
        ~(user.nothing == "x"),
        user.level.contains(3),
        ~user.level.contains(3),
        user.teams == 1,
    ],
)
def test_what_cannot_be_decided_denies(rule: Expression) -> None:
    assert read_of(rule) == NEVER


def test_an_empty_list_means_no_row_and_its_opposite_all() -> None:
    nobody = Principal(user="nobody", claims={"teams": []})
    assert read_of(row.team.is_in(user.teams), nobody) == NEVER
    assert read_of(~row.team.is_in(user.teams), nobody) is None


CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "number": st.integers(-3, 3),
        "text": st.sampled_from(["a", "A", "", "1"]),
        "flag": st.booleans(),
        "numbers": st.lists(st.integers(-3, 3), max_size=2),
        "texts": st.lists(st.sampled_from(["a", "b"]), max_size=2),
    },
)
NAMES = st.sampled_from(["number", "text", "flag", "numbers", "texts", "id", "roles", "missing"])
SCALARS = st.one_of(st.integers(-3, 3), st.booleans(), st.sampled_from(["a", "A", "boss"]))
LEAVES = st.one_of(
    expressions(TASK),
    st.builds(
        Term,
        st.sampled_from(["id", "team", "owner", "done"]),
        st.sampled_from([Operator.EXACT, Operator.NE, Operator.LT, Operator.GTE, Operator.IN]),
        NAMES.map(Claim),
    ),
    st.builds(
        ClaimTerm,
        NAMES,
        st.sampled_from([Operator.EXACT, Operator.NE, Operator.CONTAINS]),
        SCALARS,
    ),
    st.builds(ClaimTerm, NAMES, st.just(Operator.IN), st.lists(SCALARS, max_size=2).map(tuple)),
    st.builds(ClaimTerm, NAMES, st.just(Operator.ISNULL), st.booleans()),
)
RULES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=6,
)
ROWS = st.tuples(
    st.integers(-3, 3),
    st.none() | st.integers(-3, 3),
    st.none() | st.sampled_from(["a", "A", "anna", "1"]),
    st.none() | st.booleans(),
)


def plainly(rule: Expression, principal: Principal, values: Any) -> bool | None:
    """What a rule says of a row, decided without binding: three-valued, term by term."""
    match rule:
        case Term(field, operator, Claim(name)):
            has = principal.has(name)
            if has is None:
                return None
            given_value = tuple(has) if isinstance(has, list | tuple) else has
            try:
                term = check_expression(Term(field, operator, given_value), TASK, path="x")
            except BadRequestError:
                return None
            return row_judge(term, TASK)(values)
        case ClaimTerm(name, operator, value):
            has = principal.has(name)
            if operator is Operator.ISNULL:
                return (has is None) is value
            is_list = isinstance(has, list | tuple)
            if has is None or is_list is not (operator is Operator.CONTAINS):
                return None
            wanted = value if operator is Operator.IN else [value]
            found = any(
                type(one) is type(other) and one == other
                for one in (has if is_list else [has])
                for other in wanted
            )
            return not found if operator is Operator.NE else found
        case Not(part):
            inside = plainly(part, principal, values)
            return None if inside is None else not inside
        case And(parts) | Or(parts):
            decisive = isinstance(rule, Or)
            found_all = [plainly(part, principal, values) for part in parts]
            if decisive in found_all:
                return decisive
            return None if None in found_all else not decisive
        case _:
            return row_judge(rule, TASK)(values)


@given(rule=RULES, claims=CLAIMS, rows=st.lists(ROWS, min_size=1, max_size=4))
def test_binding_keeps_what_a_rule_means(rule: Expression, claims: Any, rows: list[Any]) -> None:
    principal = Principal(user="anna", roles=("boss",), claims=claims)
    checked = check_expression(rule, TASK, path="rule", knows_user=True)
    access = Access({"task": Rules(read=checked)}, {"task": TASK}, principal)
    for values in rows:
        assert access.may("read", "task", values) is (plainly(checked, principal, values) is True)
    assert parse_rules(rules_text({"task": Rules(read=checked)})) == {"task": Rules(read=checked)}


# --- Declaring ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        (Rules(read=row.teem == 1), "rules.read.field"),
        (Rules(insert=row.team == "x"), "rules.insert.value"),
        (Rules(update=(row.id == 1) & (row.team.contains("x"))), "rules.update.and[1].operator"),
        (Rules(delete="everyone"), "rules.delete"),  # type: ignore[arg-type]
        (Rules(read=row.team.startswith(user.id)), "rules.read.operator"),  # type: ignore[arg-type]
        (Rules(read=ClaimTerm("level", Operator.LT, 3)), "rules.read.operator"),
        (Rules(read=ClaimTerm("level", Operator.EXACT, None)), "rules.read.value"),
        (Rules(read=Term("team", Operator.ISNULL, Claim("x"))), "rules.read.operator"),
    ],
)
def test_what_cannot_be_decided_is_refused_when_it_is_declared(rules: Rules, path: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        check_rules(rules, TASK)
    assert caught.value.path == path


def test_only_rules_know_a_user() -> None:
    """A replica's choice of rows is of rows alone."""
    for expression in (row.owner == user.id, user.id == "anna", And((user.id == "anna",))):
        with pytest.raises(BadRequestError):
            check_expression(expression, TASK, path="where")


@pytest.mark.parametrize(
    "value",
    [5, {"look": True}, {"tenant": 5}, {"read": 1}, {"read": {"field": "x"}}, {"read": "$user.id"}],
)
def test_json_that_spells_no_rules_is_refused(value: object) -> None:
    with pytest.raises(BadRequestError):
        rules_of_json(value, path="rules")


def test_a_text_that_looks_like_a_user_stays_a_text() -> None:
    rules = check_rules(
        Rules(
            read=(row.owner == "$user.id") | row.owner.is_in(["$x", "y"]),
            insert=row.owner == user["$odd"],
        ),
        TASK,
    )
    assert parse_rules(rules_text({"task": rules})) == {"task": rules}
    assert read_of(row.owner == "$user.id") == Term("owner", Operator.EXACT, "$user.id")


def test_a_tenant_seals_every_rule() -> None:
    rules = check_rules(Rules(read=True, insert=row.team == 1).within("owner"), TASK)
    own = Term("owner", Operator.EXACT, "north")
    bound = bind_rules(rules, TASK, ANNA)
    assert (bound.read, bound.update) == (own, NEVER)
    assert bound.insert == And((Term("team", Operator.EXACT, 1), own))
    assert bind_rules(rules, TASK, Principal(user="stranger")) == NO_ROWS
    assert parse_rules(rules_text({"task": rules})) == {"task": rules}
    access = Access({"task": rules}, {"task": TASK}, ANNA)
    rows = [(1, 1, None, True), (2, 1, "south", True)]
    assert list(access.filled("task", rows)) == [(1, 1, "north", True), (2, 1, "south", True)]
    assert access.filled("note", rows) == rows
    stranger = Access({"task": rules}, {"task": TASK}, Principal(user="stranger"))
    assert stranger.filled("task", rows) == rows
    for wrong in ("nowhere", ""):
        with pytest.raises(BadRequestError):
            check_rules(Rules().within(wrong), TASK)


def test_without_rules_all_is_open_and_with_some_the_rest_is_closed() -> None:
    schemas = {"task": TASK, "note": TASK}
    assert Access({}, schemas, ANNA).of("note") is ALL_ROWS
    access = Access({"task": Rules(read=True)}, schemas, ANNA)
    assert access.of("note") is NO_ROWS
    assert access.of("task") == bind_rules(Rules(read=True), TASK, ANNA)
    assert access.may("read", "task", (1, 1, "x", True))
    assert not access.may("insert", "task", (1, 1, "x", True))
    assert not access.may("read", "note", (1, 1, "x", True))


def test_a_rule_that_a_migration_broke_denies() -> None:
    changed = TableSchema(name="task", columns=TASK.columns[:1], key=("id",))
    rules = check_rules(Rules(read=row.team == 1, insert=True), TASK)
    bound = bind_rules(rules, changed, ANNA)
    assert (bound.read, bound.insert) == (NEVER, None)


def test_choices_are_narrowed_by_rules() -> None:
    one, two = Term("id", Operator.EXACT, 1), Term("team", Operator.EXACT, 2)
    assert narrowed(None, None) is None
    assert narrowed(one, None) == one
    assert narrowed(None, two) == two
    assert narrowed(one, two) == And((one, two))
    assert narrowed(one, NEVER) == NEVER
    assert all_of([one, one]) == one


# --- Principals -----------------------------------------------------------------------------------


def test_a_principal_is_kept_as_text() -> None:
    others = [Principal(user="d", tenant=0), Principal(user="e", tenant="")]
    claimed = Principal(user="c", claims={"x": True, "y": []})
    for principal in (ANNA, Principal(user="bert"), claimed, *others):
        assert principal_of_text(principal.user, principal_text(principal)) == principal
    assert principal_text(Principal(user="bert")) == ""


class _Name(str):
    pass


class _Amount(float):
    pass


class _Number(int):
    pass


def test_a_hosts_own_kinds_of_claims_are_kept_as_what_they_hold() -> None:
    own = {"teams": [_Name("red")], "limit": _Amount(1.5), "level": _Number(3)}
    text = principal_text(Principal(user="ann", claims=MappingProxyType(own)))
    kept = {"teams": ["red"], "limit": 1.5, "level": 3}
    assert principal_of_text("ann", text) == Principal(user="ann", claims=kept)
    with pytest.raises(TypeError):
        principal_text(Principal(user="ann", claims={"x": object()}))


@pytest.mark.parametrize(
    "principal",
    [
        Principal(user=""),
        Principal(user="a", claims={"id": "b"}),
        Principal(user="a", claims={"": "b"}),
        Principal(user="a", claims={"x": None}),
        Principal(user="a", claims={"x": {"y": 1}}),
        Principal(user="a", claims={"x": [[1]]}),
        Principal(user="a", claims={"x": float("nan")}),
        Principal(user="a", claims={5: "b"}),  # type: ignore[dict-item]
        Principal(user="a", claims=["x"]),  # type: ignore[arg-type]
        Principal(user="a", claims=None),  # type: ignore[arg-type]
        Principal(user="a", roles="boss"),  # type: ignore[arg-type]
        Principal(user="a", roles=(1,)),  # type: ignore[arg-type]
        Principal(user="a", tenant=True),
        Principal(user="a", tenant=["x"]),  # type: ignore[arg-type]
        Principal(user=5),  # type: ignore[arg-type]
        Principal(user="a\ud800"),
        "anna",
    ],
)
def test_claims_that_no_rule_could_ask_for_are_refused(principal: Principal) -> None:
    with pytest.raises(BadRequestError):
        check_principal(principal)


def test_claims_are_bounded() -> None:
    most = Principal(user="a", claims={"teams": list(range(CLAIM_VALUES_MAX))})
    found = read_of(row.team.is_in(user.teams), check_principal(most))
    assert isinstance(found, Term)
    with pytest.raises(LimitExceededError):
        check_principal(Principal(user="a", roles=("x",), claims=most.claims))


@pytest.mark.parametrize(
    ("rule", "instead"),
    [(lambda row: True, "hub.track"), (row.id, "Compare it"), ("all", "Compare it")],
)
def test_what_is_no_rule_is_refused_with_what_to_write_instead(rule: Any, instead: str) -> None:
    with pytest.raises(BadRequestError, match=instead) as caught:
        check_rules(Rules(read=rule), TASK)
    assert caught.value.path == "rules.read"
