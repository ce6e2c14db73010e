"""Periodic work inside a hub, once for all processes that serve its database."""

from reunite.jobs.runner import Jobs
from reunite.jobs.working import Working

__all__ = ["Jobs", "Working"]
