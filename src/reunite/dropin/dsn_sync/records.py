"""Records of named fields as rows of a table.

    sync("users", "user_1", {"name": "Ada"})  ──►  users: dsn_sync_key 'user_1' · name '"Ada"'

A record may hold anything that JSON can, a field may be missing, and a missing field is not one
that is null. So each field is a column of JSON text, NULL where the field is missing.

    | column         | what it holds                                                             |
    | dsn_sync_key   | the record's key, VARCHAR(255); the primary key                             |
    | dsn_sync_made  | who made the record first: a new text for each create, so that two creates  |
    |                | of one key differ, whatever their fields                                    |
    | a field        | its value as JSON text                                                      |

The rule           what a record cannot hold is refused before anything is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec

KEY, MADE = "dsn_sync_key", "dsn_sync_made"
TABLES = "dsn_sync_tables"

KEY_LENGTH_MAX = 255
# Characters that no database keeps: NUL, and halves of others.
_UNFIT = re.compile("[\0\ud800-\udfff]")
# Bytes of a table's or field's name: what PostgreSQL takes.
NAME_BYTES_MAX = 63
FIELDS_MAX = 500

# The key field of a table that was never declared.
OPEN_KEY_FIELD = "key"


class RecordTable(msgspec.Struct):
    """One table of records.

    key_field     what handlers find the key under
    fields        in the order in which they came
    is_declared   whether pages may write to it; an open one takes any field from the backend
    """

    name: str
    key_field: str
    fields: list[str]
    is_declared: bool

    def missing(self, fields: Sequence[str]) -> list[str]:
        return [field for field in fields if field not in self.fields]


def checked_schema(schema: Any) -> tuple[str, list[str]]:
    """The key field and the other fields of a declaration. Raises ValueError."""
    if not isinstance(schema, dict):
        raise ValueError("Schema must be a dictionary")
    if "key" not in schema:
        raise ValueError("Schema must contain 'key' field")
    if "fields" not in schema:
        raise ValueError("Schema must contain 'fields' list")
    if not isinstance(schema["fields"], list):
        raise ValueError("Schema must have 'fields' as a list")
    key_field = checked_name(schema["key"], "The key field")
    fields = [checked_name(field, "A field") for field in schema["fields"]]
    return key_field, check_fields([field for field in fields if field != key_field])


def check_fields(fields: Sequence[str]) -> list[str]:
    """The fields, each once. Raises ValueError for too many, and two that differ only in case,
    which databases do not tell apart."""
    found = {field.casefold(): field for field in reversed(fields)}
    for field in fields:
        if found[field.casefold()] != field:
            other = found[field.casefold()]
            raise ValueError(f"The fields {field!r} and {other!r} differ only in upper case.")
    if len(found) > FIELDS_MAX:
        raise ValueError(f"A table has {FIELDS_MAX} fields at most.")
    return list(dict.fromkeys(fields))


def checked_name(name: Any, what: str) -> str:
    """A name that any database takes. Raises ValueError."""
    if not isinstance(name, str) or not name or not name.isprintable() or {*name} & {*'"%'}:
        raise ValueError(f'{what} needs a name: a text without " and %; {name!r} is none.')
    if len(name.encode()) > NAME_BYTES_MAX:
        raise ValueError(f"{what}'s name is longer than {NAME_BYTES_MAX} bytes: {name!r}.")
    if name.casefold().startswith(("dsn_sync_", "reunite_", "sqlite_", "pg_")):
        raise ValueError(f"{what} cannot be called {name!r}: such names are taken. Choose another.")
    return str.__str__(name)  # of a text of another class, such as a member of an enum, its text


def checked_key(key: Any) -> str:
    """Raises ValueError for what is no key."""
    if isinstance(key, str) and 0 < len(key) <= KEY_LENGTH_MAX and not _UNFIT.search(key):
        return str.__str__(key)
    shown = repr(key)[:60]
    raise ValueError(f"A key is a text of 1 to {KEY_LENGTH_MAX} characters; {shown} is none.")


def texts_of(table: RecordTable, key: str, data: Any) -> dict[str, str]:
    """A record's fields as they are stored, without its key field. Raises ValueError for what is
    no record, and for what JSON cannot hold."""
    if not isinstance(data, dict):
        raise ValueError(f"Data must be a dictionary; {type(data).__name__} is none.")
    found = {}
    for name, value in data.items():
        if name == table.key_field:
            if value != key:
                raise ValueError(f"The field {name!r} is the key: it is {key!r}, not {value!r}.")
            continue
        name = checked_name(name, "A field")
        try:
            # Whoever changes the dictionary later changes nothing here: this is a text.
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            text.encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"The field {name!r} cannot be written as JSON: {error}") from error
        found[name] = text
    return found


def value_of(field: str, text: str) -> Any:
    """The value of a field that is stored so. Raises ValueError for what is no JSON."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The field {field!r} is not JSON: {error}") from error


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON.")


# -- statements ---------------------------------------------------------------------------------


def quoted(name: str) -> str:
    """A name in a statement."""
    return f'"{name}"'


def create_table(name: str) -> str:
    """Make a table of records without fields."""
    return (
        f"create table {quoted(name)} ({KEY} varchar({KEY_LENGTH_MAX}) not null primary key, "
        f"{MADE} text not null)"
    )


def add_field(table: str, field: str) -> str:
    """Add a field, which no record has yet."""
    return f"alter table {quoted(table)} add column {quoted(field)} text"


def upsert(table: RecordTable, fields: Sequence[str], emptied: Sequence[str], mark: str) -> str:
    """Write these fields of a record, made if it is not there; `emptied` ones go. The parameters
    are the key, who made it, and the fields' texts; `mark` stands for each."""
    columns = [KEY, MADE, *fields]
    values = ", ".join([mark] * len(columns))
    sets = [f"{quoted(field)} = excluded.{quoted(field)}" for field in fields]
    sets += [f"{quoted(field)} = null" for field in emptied]
    then = f"update set {', '.join(sets)}" if sets else "nothing"
    names = ", ".join(map(quoted, columns))
    return (
        f"insert into {quoted(table.name)} ({names}) values ({values}) "
        f"on conflict ({KEY}) do {then}"
    )
