"""Withheld: columns that look like secrets, which stay at the hub unless somebody names them.

    password_hash, api_key, refreshToken, ssn …  ──►  in no schema: in no log, page, push or export
    named: include=, merge=, columns=, tenant=   ──►  a column like any other

What it is       what a name looks like, and a table's schema without such columns.
What it is not   a right: what some may read and others not is a rule about a column.
The rule         a column of the key, or of a foreign key, holds what names a row, and is no secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

import msgspec

from reunite.core.schema import Column, ColumnType, TableSchema
from reunite.errors import UntrackableTableError

_WORDS = (
    r"passwords?|passwd|pwd|pass|passphrases?|passcodes?|secrets?|tokens?|credentials?|totp|otp|salt"
    r"|ssn|cvv|cvc|pin|social_security|card_number|pin_code|security_answer"
    r"|(?:recovery|backup)_codes?"
    r"|(?:api|auth|ssh|private|access|secret|encryption|signing|session|master)_?keys?"
)
# Databases that fold names leave nothing between the words of refreshToken.
_TOGETHER = (
    r"(?:password|passwd|pwd)_?(?:hash|digest|salt)|security_?answer"
    r"|(?:access|refresh|auth|bearer|session|csrf|id|api|reset|push|device)tokens?"
    r"|(?:client|app|shared|api|user)secrets?"
    r"|(?:user|portal|login|admin|db)(?:password|passwd|pwd)"
)
_SECRET = re.compile(rf"(?:^|_)(?:{_WORDS}|{_TOGETHER})[0-9]*(?:_|$)")

# What is said about a secret, and is none: is_secret, password_changed_at, token_count.
_ABOUT = re.compile(
    r"^(?:is|has|can|must|needs|uses|allow|allows|requires?)_"
    r"|^(?:max|min|total|prompt|completion|input|output|used)_tokens$"
    r"|_(?:at|on|id|ids|count|total|length|size|type|kind|status|expires|expired|expiry|until|ttl"
    r"|attempts|name|version|policy)$"
)
# Held by a column that is a secret whatever stands before it: has_password_hash, if it is a text.
_HELD = re.compile(r"_(?:hash|digest|salt)[0-9]*$")

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^A-Za-z0-9]+")

# Types whose values hide nothing.
_PLAIN_TYPES = frozenset(
    {ColumnType.BOOLEAN, ColumnType.DATE, ColumnType.TIME, ColumnType.DATETIME}
)

KeyOf = Callable[[str], Collection[str]]


def looks_secret(name: str) -> bool:
    """Whether this is a name for what nobody else is to see: `api_key`, `portalPassword`."""
    words = _HUMP.sub("_", name).lower()
    if _SECRET.search(words) is None:
        return False
    return _ABOUT.search(words) is None or _HELD.search(words) is not None


def without_secrets(
    schema: TableSchema, *, named: Collection[str], key_of: KeyOf
) -> tuple[TableSchema, tuple[Column, ...]]:
    """A table's schema without the columns that look like secrets and that nobody named, and
    those columns.

    named     columns that are tracked whatever they look like
    key_of    the key of another table, for foreign keys that lead to a column which looks so: a
              replica's table cannot point to what its parent does not have there
    """
    held = {name for key in schema.foreign_keys for name in key.columns} | {*schema.key, *named}
    withheld = tuple(
        column for column in schema.columns if column.name not in held and _is_secret(column)
    )
    gone = {column.name for column in withheld}
    kept = {
        "columns": tuple(column for column in schema.columns if column.name not in gone),
        "uniques": tuple(one for one in schema.uniques if gone.isdisjoint(one.columns)),
        "foreign_keys": tuple(
            key
            for key in schema.foreign_keys
            if not any(map(looks_secret, key.parent_columns))
            or set(key.parent_columns) <= set(key_of(key.parent))
        ),
    }
    return msgspec.structs.replace(schema, **kept), withheld


def check_key_tells_nothing(schema: TableSchema, named: Collection[str] = ()) -> None:
    """Refuse a table that nobody named, when its key looks like a secret: a key travels with its
    row. Raises UntrackableTableError."""
    for name in schema.key:
        points = any(name in key.columns for key in schema.foreign_keys)
        if looks_secret(name) and name not in named and not points:
            raise UntrackableTableError(
                f"The key of {schema.name!r}, {name!r}, looks like a secret: to sync the table "
                f"all the same, hub.track({schema.name!r}), or reunite serve --include "
                f"{schema.name}.{name}."
            )


def as_tracked(now: TableSchema, before: TableSchema) -> TableSchema:
    """The columns of a table as it is now, without secrets that it was tracked without."""
    return without_secrets(now, named=before.column_names, key_of=lambda parent: ())[0]


def _is_secret(column: Column) -> bool:
    return column.type not in _PLAIN_TYPES and looks_secret(column.name)


def withheld_sentence(table: str, columns: Sequence[Column]) -> str:
    """What to say to whoever tracks a table of which these columns are withheld."""
    names = [column.name for column in columns]
    said = (
        f"{table}: {', '.join(names)} "
        f"{'looks like a secret and stays' if len(names) == 1 else 'look like secrets and stay'} "
        f"at the hub. To sync: hub.track({table!r}, include={names!r}), or "
        f"reunite serve --include {table}.{names[0]}."
    )
    needed = [one.name for one in columns if not one.nullable and one.default is None]
    if needed:
        said += (
            f" Rows that replicas make are refused, since {', '.join(needed)} cannot be NULL: "
            "give it a default."
        )
    return said
