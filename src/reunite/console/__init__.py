"""The console: a page and an API for whoever runs a hub."""

from reunite.console.app import console_routes, create_console_app
from reunite.console.visitors import READ, WRITE, one_time_code

__all__ = ["READ", "WRITE", "console_routes", "create_console_app", "one_time_code"]
