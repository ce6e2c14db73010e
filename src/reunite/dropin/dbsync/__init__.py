"""dbsync's calls over reunite, made correct: `from reunite.dropin import dbsync`.

dbsync.set_engine(engine)      from reunite.dropin.dbsync import client, server
"""

from reunite.dropin.dbsync import core
from reunite.dropin.dbsync.core import get_engine, set_engine

__version__ = "0.7.0"
__version_info__ = (0, 7, 0)

__all__ = ["core", "get_engine", "set_engine"]
