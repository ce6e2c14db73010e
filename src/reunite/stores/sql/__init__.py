"""The SQL store: a hub over SQLite or PostgreSQL, and the capture that replicas share with it.

store.py       Store: transactions, numbering, tracking     ports.py      sessions, databases
reading.py     Transaction                                  layout.py     reunite's tables
writing.py     WriteTransaction                             tables.py     statements of a table
applying.py    a step of net writes                         catalogue.py  tracked tables, kept
versions.py    who may use which                            following.py  after migrations
backup.py      copies, and the way back                     capture.py    SQLite's triggers
dialect.py     what differs between databases; dialects/ hold it
database.py    connections to SQLite files; postgresql.py to PostgreSQL, postgresql_line.py between
               the processes of one database
"""

from reunite.stores.sql.store import SqlStore, open_store

__all__ = ["SqlStore", "open_store"]
