"""All operations, declared by the modules that are imported here."""

from __future__ import annotations

from reunite.console import (
    acts,
    audit,
    filters,
    looking,
    overview,
    people,
    performance,
    permissions,
    replicas,
    rows,
    synclog,
    tables,
    troubles,
    working,
)
from reunite.console.operations import OPERATIONS
from reunite.console.overview import pulse

__all__ = [
    "OPERATIONS",
    "acts",
    "audit",
    "filters",
    "looking",
    "overview",
    "people",
    "performance",
    "permissions",
    "pulse",
    "replicas",
    "rows",
    "synclog",
    "tables",
    "troubles",
    "working",
]
