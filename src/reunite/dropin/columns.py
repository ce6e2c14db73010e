"""What columns of SQLAlchemy hold, for the drop-ins that read and write them.

What it is not   an import of SQLAlchemy: columns come from a program that has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Column


def python_type(column: Column[Any]) -> type | None:
    """The Python type of a column's values, None where its type does not say."""
    try:
        return column.type.python_type
    except NotImplementedError:
        return None
