"""Feeds: "there may be something new in the log". Adapters of the engine's `Feed` port.

ListeningFeed whatever any process of the database is told, and one of them looks for all
LocalFeed     the threads of this process
LookingFeed   and whatever other programs commit: it looks, often while there is something
"""

from reunite.feeds.listening import ListeningFeed
from reunite.feeds.local import LocalFeed
from reunite.feeds.looking import LookingFeed

__all__ = ["ListeningFeed", "LocalFeed", "LookingFeed"]
