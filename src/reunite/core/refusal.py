"""What a database refuses, said in the words of a table's owner instead of the driver's.

    UNIQUE constraint failed: t.code        t has another row with the same code.
    null value in column "code" of ...      t.code may not be NULL.

What it is       the sentences, and whether one names a column that is not the reader's to know of.
The rule         what a trigger or a function of the user's says is passed on as it is, unless it
                 names such a column.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from reunite.core.withheld import looks_secret

_NAMES = re.compile(
    r" has another row with the same (.+)\.$|\.([^.]+) may not be NULL\.$"
    r"|A CHECK of the hub does not hold: (.+)\.$",
    re.DOTALL,
)
_WORD = re.compile(r"\w+")

# What prose does not have: names of columns and constraints in the driver's own words.
_IDENTIFIER = re.compile(r"\w*(?:_|[a-z][A-Z])\w*")


def refusal_text(
    code: str, said: str, *, table: str | None, columns: Sequence[str], check: str | None = None
) -> str:
    """The reason of a refusal with this code, for people.

    said     the driver's own words, for what has no others
    check    the CHECK that does not hold: its expression, or its name
    """
    names = ", ".join(columns)
    if code == "unique" and table and names:
        return f"{table} has another row with the same {names}."
    if code == "not-null" and table and names:
        return f"{table}.{names} may not be NULL."
    if code == "foreign-key":
        return f"A row{f' of {table}' if table else ''} points to no row, or to one that is to go."
    if code == "check" and check is not None:
        return f"A CHECK of the hub does not hold: {check}."
    return said


def names_secret(reason: str, *, known: Collection[str]) -> bool:
    """Whether a reason names something that looks like a secret and is none of the columns that
    are `known`, alone or as a part of a constraint's name. A word that plain prose may have, as
    `pin`, counts only where the sentences above name columns."""
    words = set(_IDENTIFIER.findall(reason))
    for told in _NAMES.findall(reason):
        words.update(_WORD.findall("".join(told)))
    return any(looks_secret(_without(word, known)) for word in words if word not in known)


def _without(word: str, known: Collection[str]) -> str:
    """A constraint's name without the known columns that it is made of: t_token_count_check."""
    for name in sorted(known, key=len, reverse=True):
        word = re.sub(rf"(?:^|(?<=_)){re.escape(name)}(?=_|$)", "", word)
    return word
