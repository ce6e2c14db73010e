"""dbsync's client side: `from reunite.dropin.dbsync import client`.

The functions are those of a default `Client`, whose engine is that of `dbsync.set_engine`.
"""

from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.client import net, serverquery
from reunite.dropin.dbsync.client.errors import (
    BadResponseError,
    PullSuggested,
    PushRejected,
    RegisterRejected,
    ResyncNeeded,
    UniqueConstraintError,
)
from reunite.dropin.dbsync.client.node import Client, Node, Rescued

default = Client()

track = default.track
extend = default.extend
register = default.register
isregistered = default.isregistered
get_node = default.get_node
save_node = default.save_node
push = default.push
pull = default.pull
repair = default.repair
query_server = default.query_server
unsynched_objects = default.unsynched_objects
trim = default.trim
conflicts = default.conflicts
rescued_changes = default.rescued_changes
extension_errors = default.extension_errors
isconnected = default.isconnected
isready = default.isready
set_authentication_callback = default.set_authentication_callback
set_default_decoder = default.set_default_decoder
set_default_encoder = default.set_default_encoder
set_default_headers = default.set_default_headers
set_default_timeout = default.set_default_timeout
set_pull_suggestion_criterion = default.set_pull_suggestion_criterion

core.set_mode("client", default)

__all__ = [
    "BadResponseError",
    "Client",
    "Node",
    "PullSuggested",
    "PushRejected",
    "RegisterRejected",
    "Rescued",
    "ResyncNeeded",
    "UniqueConstraintError",
    "conflicts",
    "extend",
    "extension_errors",
    "get_node",
    "isconnected",
    "isready",
    "isregistered",
    "net",
    "pull",
    "push",
    "query_server",
    "register",
    "repair",
    "rescued_changes",
    "save_node",
    "serverquery",
    "set_authentication_callback",
    "set_default_decoder",
    "set_default_encoder",
    "set_default_headers",
    "set_default_timeout",
    "set_pull_suggestion_criterion",
    "track",
    "trim",
    "unsynched_objects",
]
