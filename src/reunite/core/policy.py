"""Policies: code that decides, where no expression can say who may do what.

    class Ward(Policy):
        def read(self, principal):            return row.ward.is_in(wards_on_duty(principal.user))
        def update(self, principal, old, new): return new["state"] in next_states(old["state"])

What it is       the port that an application implements, and what asks it.
The rule         a policy narrows: what a table's rules and tenant forbid stays forbidden. What it
                 does not define is denied, and so is what it raises at.

Code cannot be asked row by row what a replica may see: pages, differences of views and old images
need an expression. So `read` is asked once for each principal and answers with one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from reunite.core.expression import Expression
from reunite.core.principal import Principal
from reunite.core.values import Value

Named: TypeAlias = Mapping[str, Value]
# Told what of the team's own code raised what: replicas learn no more than that it did.
OnFailure: TypeAlias = Callable[[str, Exception], None]


class Policy:
    """Decides about the rows of one table. Derive from it, and define what is to be allowed.

    Rows are mappings by column, of values in wire form. Each method is called in the middle of a
    transaction, `read` with each request: answer from memory.
    """

    def read(self, principal: Principal) -> Expression | bool:
        """Which rows the principal sees: an expression over `row` and `user`, True for all."""
        return False

    def insert(self, principal: Principal, row: Named) -> bool:
        """Whether it may make this row."""
        return False

    def update(self, principal: Principal, old: Named, new: Named) -> bool:
        """Whether it may make the one row out of the other."""
        return False

    def delete(self, principal: Principal, row: Named) -> bool:
        """Whether it may delete this row."""
        return False


def read_rule(
    policy: Policy, principal: Principal, table: str, on_failure: OnFailure
) -> Expression | bool:
    """What a policy says about reading; False if it fails."""
    try:
        rule: Any = policy.read(principal)
    except Exception as exc:
        on_failure(f"the policy of {table!r}", exc)
        return False
    if isinstance(rule, Expression | bool):
        return rule
    on_failure(
        f"the policy of {table!r}", TypeError(f"read() gives an expression or a bool, not {rule!r}")
    )
    return False


def allows(
    policy: Policy,
    operation: str,
    principal: Principal,
    table: str,
    rows: Sequence[Named],
    on_failure: OnFailure,
) -> bool:
    """Whether a policy lets the principal insert, update or delete; of an update the rows before
    and after it."""
    try:
        return getattr(policy, operation)(principal, *rows) is True
    except Exception as exc:
        on_failure(f"the policy of {table!r}", exc)
        return False
