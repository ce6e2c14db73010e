"""The hub's own directory: users, tenants, roles, stored permissions, passwords and log-ins."""

from reunite.directory.attempts import Attempts
from reunite.directory.sessions import Sessions
from reunite.directory.stored import StoredDirectory

__all__ = ["Attempts", "Sessions", "StoredDirectory"]
