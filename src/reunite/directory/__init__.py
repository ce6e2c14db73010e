"""The hub's own directory: users, tenants, roles, stored permissions, passwords and log-ins."""

from reunite.directory.stored import StoredDirectory

__all__ = ["StoredDirectory"]
