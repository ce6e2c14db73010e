"""The SQL store: a hub over SQLite, and the capture that replicas share with it.

store.py       Store: transactions, numbering, tracking     database.py   sessions and errors
reading.py     Transaction                                  layout.py     reunite's tables
writing.py     WriteTransaction                             capture.py    triggers
applying.py    a step of net writes                         tables.py     statements of a table
foreign_keys.py  deferred ones, checked in time             catalogue.py  tracked tables, kept
versions.py    who may use which                            following.py  after migrations
backup.py      copies, and the way back
dialects/      what is SQLite's own: expressions, reflection, trigger texts
"""

from reunite.stores.sql.store import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]
