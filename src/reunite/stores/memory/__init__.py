"""A hub's store in memory: for tests, for the simulator, and as the plainest reading of the port.

What it is       Store, Transaction and WriteTransaction over dicts of tuples, fast enough for
                 thousands of simulated worlds.
What it is not   durable. `backup` and `restore` stand in for files, `foreign_write` for the other
                 programs that write to a hub's database.
The rule         a published state never changes: a writer works on a branch of it.

    number ─┐
    write  ─┼─► branch of the state ──► published ──► read, read, read …
    track  ─┘   one at a time

    store.py   locks and publishing          state.py     all that is known at one moment
    read.py    Transaction                   journal.py   append-only lists with prefixes
    write.py   WriteTransaction, handles     tables.py    rows and indexes
                                             writer.py    constraints, cascades, triggers
"""

from reunite.stores.memory.store import MemoryStore
from reunite.stores.memory.write import MemoryHandle

__all__ = ["MemoryHandle", "MemoryStore"]
