"""Fields: `row` and `user`, with which Python builds expressions.

    row.store == 7          row["unit price"] > 2          row.team_id.is_in(user.teams)
    row.project.team_id == 7                               in rules: by the foreign key project_id

What it is not   a check: a field knows no table. `core/expression.py` checks what was built.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import uuid
from collections.abc import Iterable
from typing import ClassVar

from reunite.core.expression import Claim, ClaimTerm, Expression, Operator, Term
from reunite.core.values import Value, wire_integer
from reunite.errors import BadRequestError


class Field:
    """A column in an expression. Values are Python's own or in wire form, or `user.something`."""

    __slots__ = ("_name",)
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Field:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Field:
        """A column of the row that this one, a foreign key, points to."""
        return Field(f"{self._name}.{name}")

    def __eq__(self, value: object) -> Expression:  # type: ignore[override]
        return self._term(Operator.EXACT, value)

    def __ne__(self, value: object) -> Expression:  # type: ignore[override]
        return self._term(Operator.NE, value)

    def __lt__(self, value: object) -> Expression:
        return self._term(Operator.LT, value)

    def __le__(self, value: object) -> Expression:
        return self._term(Operator.LTE, value)

    def __gt__(self, value: object) -> Expression:
        return self._term(Operator.GT, value)

    def __ge__(self, value: object) -> Expression:
        return self._term(Operator.GTE, value)

    def is_in(self, values: Iterable[object] | UserField) -> Expression:
        """Whether the field has one of these values, or of those that the principal has. An empty
        list means no row."""
        if isinstance(values, UserField):
            return Term(self._name, Operator.IN, values.claim)
        if isinstance(values, str | bytes):
            raise BadRequestError(f"is_in takes a list of values, not the text {values!r}.")
        return Term(self._name, Operator.IN, tuple(map(self._value, values)))

    def is_null(self) -> Expression:
        """Whether the field is NULL: true or false, never unknown."""
        return Term(self._name, Operator.ISNULL, True)

    def between(self, first: object, last: object) -> Expression:
        """Whether the field lies between these two values, or is one of them."""
        return Term(self._name, Operator.RANGE, (self._value(first), self._value(last)))

    def contains(self, part: str) -> Expression:
        """Whether the text has this part. Case matters; so it does in the next two."""
        return self._term(Operator.CONTAINS, part)

    def startswith(self, part: str) -> Expression:
        """Whether the text begins so."""
        return self._term(Operator.STARTSWITH, part)

    def endswith(self, part: str) -> Expression:
        """Whether the text ends so."""
        return self._term(Operator.ENDSWITH, part)

    def iexact(self, text: str) -> Expression:
        """Whether it is this text, with A to Z and a to z for the same."""
        return self._term(Operator.IEXACT, text)

    def __repr__(self) -> str:
        return f"row[{self._name!r}]"

    def _term(self, operator: Operator, value: object) -> Expression:
        if isinstance(value, UserField):
            return Term(self._name, operator, value.claim)
        return Term(self._name, operator, self._value(value))

    def _value(self, value: object) -> Value:
        match value:
            case None:
                raise BadRequestError(
                    f"Nothing is equal to NULL: write {self!r}.is_null() or its ~."
                )
            case float() if not math.isfinite(value):
                raise BadRequestError(
                    f"{self!r} cannot be compared with {value!r}: name a finite number."
                )
            case bool() | float() | str():
                return value
            case int():
                return wire_integer(value)
            case decimal.Decimal() | uuid.UUID():
                return str(value)
            case bytes():
                return base64.b64encode(value).decode()
            case datetime.datetime():
                raise BadRequestError(
                    f"Write the time that {self!r} is compared with as text, in the spelling "
                    "that the database has."
                )
            case datetime.date():
                return value.isoformat()
            case _:
                raise BadRequestError(f"{self!r} cannot be compared with {value!r}.")


class RowFields:
    """`row.store` and `row["store"]` are the field `store`, for every name of a column."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Field:
        if name.startswith("__"):
            raise AttributeError(name)
        return Field(name)

    def __getitem__(self, name: str) -> Field:
        return Field(name)


row = RowFields()


class UserField:
    """What the principal who asks has: a value in comparisons of rows, and a field itself.

    row.team_id.is_in(user.teams)
    user.roles.contains("manager")
    """

    __slots__ = ("claim",)
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(self, name: str) -> None:
        self.claim = Claim(name)

    def __eq__(self, value: object) -> Expression:  # type: ignore[override]
        return self._term(Operator.EXACT, value)

    def __ne__(self, value: object) -> Expression:  # type: ignore[override]
        return self._term(Operator.NE, value)

    def is_in(self, values: Iterable[object]) -> Expression:
        """Whether it is one of these values."""
        if isinstance(values, str | bytes):
            raise BadRequestError(f"is_in takes a list of values, not the text {values!r}.")
        return ClaimTerm(self.claim.name, Operator.IN, tuple(map(self._plain, values)))

    def contains(self, value: object) -> Expression:
        """Whether this value is in the list."""
        return self._term(Operator.CONTAINS, value)

    def is_null(self) -> Expression:
        """Whether the principal has nothing under this name."""
        return ClaimTerm(self.claim.name, Operator.ISNULL, True)

    def __repr__(self) -> str:
        return f"user[{self.claim.name!r}]"

    def _term(self, operator: Operator, value: object) -> Expression:
        return ClaimTerm(self.claim.name, operator, self._plain(value))

    def _plain(self, value: object) -> bool | int | float | str:
        if not isinstance(value, bool | int | float | str):
            raise BadRequestError(
                f"{self!r} is compared with a text, a number, True or False, not with {value!r}."
            )
        return value


class UserFields:
    """`user.teams` and `user["teams"]` are what the principal has under the name `teams`; `id` is
    its name, `roles` its roles, `tenant` its tenant, and all else its claims."""

    __slots__ = ()

    def __getattr__(self, name: str) -> UserField:
        if name.startswith("__"):
            raise AttributeError(name)
        return UserField(name)

    def __getitem__(self, name: str) -> UserField:
        return UserField(name)


user = UserFields()
