"""dbsync's server side: `from reunite.dropin.dbsync import server`.

The functions are those of a default `Server`, whose engine is that of `dbsync.set_engine`.
"""

from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.server import handlers
from reunite.dropin.dbsync.server.serving import Server

default = Server()

track = default.track
extend = default.extend
handle_register = default.handle_register
handle_push = default.handle_push
handle_pull = default.handle_pull
handle_repair = default.handle_repair
handle_query = default.handle_query
trim = default.trim
set_push_policy = default.set_push_policy
before_push = default.before_push
after_push = default.after_push
extension_errors = default.extension_errors
handle_pull_request = default.handle_pull

core.set_mode("server", default)

__all__ = [
    "Server",
    "after_push",
    "before_push",
    "extend",
    "extension_errors",
    "handle_pull",
    "handle_pull_request",
    "handle_push",
    "handle_query",
    "handle_register",
    "handle_repair",
    "handlers",
    "set_push_policy",
    "track",
    "trim",
]
