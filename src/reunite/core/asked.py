"""What expressions ask: of which columns, and of which rows of other tables.

What it is       walks over expressions, for whoever reads what decides about rows.
The rule         of each step only what its own table must have; what is asked behind it is asked of
                 the rows there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reunite.core.expression import And, ClaimTerm, Expression, IsTrue, Not, Or, Some, Term, Via
from reunite.core.schema import TableSchema


def fields_of(expression: Expression) -> tuple[str, ...]:
    """The names of the fields that decide it, each once, in order."""
    return tuple(sorted(set(_fields(expression))))


def _fields(expression: Expression) -> Iterator[str]:
    match expression:
        case Term(field):
            yield field
        case Via(columns):
            yield from columns
        case Some(key=key):
            yield from key
        case And(parts) | Or(parts):
            for part in parts:
                yield from _fields(part)
        case Not(part) | IsTrue(part):
            yield from _fields(part)
        case ClaimTerm():
            return
        case _:
            raise TypeError(f"{expression!r} has no fields.")


def steps_of(expression: Expression) -> Iterator[Via | Some]:
    """The first steps in an expression; those that go on from there are in their parts."""
    match expression:
        case Via() | Some():
            yield expression
        case And(parts) | Or(parts):
            for part in parts:
                yield from steps_of(part)
        case Not(part) | IsTrue(part):
            yield from steps_of(part)
        case _:
            return


def table_of(step: Via | Some) -> str:
    """The table that a step leads to."""
    return step.parent if isinstance(step, Via) else step.child


def reached_tables(expression: Expression | None) -> set[str]:
    """The tables to which an expression's steps lead."""
    found: set[str] = set()
    waiting = [] if expression is None else [*steps_of(expression)]
    while waiting:
        step = waiting.pop()
        found.add(table_of(step))
        waiting += steps_of(step.part)
    return found


def fits(expression: Expression, schema: TableSchema, schemas: Mapping[str, TableSchema]) -> bool:
    """Whether the tables still have what a checked expression asks for."""
    match expression:
        case Term(field):
            return field in schema.column
        case Via(columns, parent, part):
            reached = schemas.get(parent)
            has_columns = all(name in schema.column for name in columns)
            if reached is None or not has_columns or len(reached.key) != len(columns):
                return False
            return fits(part, reached, schemas)
        case Some(child, columns, key, part):
            pointing = schemas.get(child)
            if pointing is None or key != schema.key:
                return False
            has_columns = all(name in pointing.column for name in columns)
            return has_columns and fits(part, pointing, schemas)
        case And(parts) | Or(parts):
            return all(fits(part, schema, schemas) for part in parts)
        case Not(part) | IsTrue(part):
            return fits(part, schema, schemas)
        case _:
            return True
