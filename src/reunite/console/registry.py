"""All operations, declared by the modules that are imported here."""

from __future__ import annotations

from reunite.console import overview, performance, replicas, synclog
from reunite.console.operations import OPERATIONS
from reunite.console.overview import pulse

__all__ = ["OPERATIONS", "overview", "performance", "pulse", "replicas", "synclog"]
