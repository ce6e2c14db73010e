"""dbsync's client side: `from reunite.dropin.dbsync import client`.

The functions are those of a default `Client`, whose engine is that of `dbsync.set_engine`.
"""

from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.client import net
from reunite.dropin.dbsync.client.errors import (
    BadResponseError,
    PullSuggested,
    PushRejected,
    RegisterRejected,
    ResyncNeeded,
    UniqueConstraintError,
)
from reunite.dropin.dbsync.client.node import Client, Node

default = Client()

track = default.track
register = default.register
isregistered = default.isregistered
get_node = default.get_node
save_node = default.save_node
push = default.push
pull = default.pull
unsynched_objects = default.unsynched_objects
isconnected = default.isconnected
conflicts = default.conflicts
isready = default.isready
set_authentication_callback = default.set_authentication_callback
set_default_decoder = default.set_default_decoder
set_default_encoder = default.set_default_encoder
set_default_headers = default.set_default_headers
set_default_timeout = default.set_default_timeout
set_pull_suggestion_criterion = default.set_pull_suggestion_criterion

core.set_mode("client")

__all__ = [
    "BadResponseError",
    "Client",
    "Node",
    "PullSuggested",
    "PushRejected",
    "RegisterRejected",
    "ResyncNeeded",
    "UniqueConstraintError",
    "conflicts",
    "get_node",
    "isconnected",
    "isready",
    "isregistered",
    "net",
    "pull",
    "push",
    "register",
    "save_node",
    "set_authentication_callback",
    "set_default_decoder",
    "set_default_encoder",
    "set_default_headers",
    "set_default_timeout",
    "set_pull_suggestion_criterion",
    "track",
    "unsynched_objects",
]
