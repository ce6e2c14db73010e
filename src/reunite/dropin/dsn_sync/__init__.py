"""dsn-sync's interface: a backend that starts its own sealed server, and pages that sync with it.

    from reunite.dropin.dsn_sync import DSNSync

    sync.py        the class: what a backend calls
    records.py     records of named fields as rows of a table, and the tables' own table
    handlers.py    what runs when a page writes
    entrance.py    the one URL: a sealed door in front of the hub

What it is       dsn-sync 0.1 as its documentation has it, over a hub: pages are replicas.
What it is not   a second way for data. A page's writes are pushed, what they read is pulled.
The rule         only declared tables are written to by pages, and only what was declared.
"""

from reunite.dropin.dsn_sync.sync import DSNSync

__all__ = ["DSNSync"]
