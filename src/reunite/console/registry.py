"""All operations, declared by the modules that are imported here."""

from __future__ import annotations

from reunite.console import filters, overview, people, performance, permissions, replicas, synclog
from reunite.console.operations import OPERATIONS
from reunite.console.overview import pulse

__all__ = [
    "OPERATIONS",
    "filters",
    "overview",
    "people",
    "performance",
    "permissions",
    "pulse",
    "replicas",
    "synclog",
]
