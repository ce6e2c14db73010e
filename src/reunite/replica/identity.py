"""Identity: how a file takes another one.

The rule: the outbox outlives every identity. Its changes keep their random ids, by which the hub
recognises what took effect before; only their numbers begin again.
"""

from __future__ import annotations

from reunite.protocol.limits import FORMERS_MAX
from reunite.protocol.push import Former
from reunite.protocol.register import RegisterAnswer
from reunite.replica.conversation import adopt
from reunite.replica.outbox import Outbox
from reunite.replica.reshaping import is_kept
from reunite.replica.state import State


def begin_again(state: State, outbox: Outbox, answer: RegisterAnswer, *, is_log_lost: bool) -> bool:
    """Take a new identity, and have the whole outbox sent again. All that was captured must be
    numbered. Whether the hub's tables have other shapes than this file's.

    is_log_lost   nothing that was read of the hub's log can be relied on
    """
    is_first = not state.replica
    if state.epoch != answer.epoch or is_log_lost:
        # Marks are change ids of a log that is gone; from here on this one counts.
        state.mark, state.formers = answer.mark, ()
        state.cursor = state.checkpoint = None
        outbox.set_marks(answer.mark)
    else:
        former = Former(replica=state.replica, n=state.known_n)
        state.formers = (former, *state.formers)[:FORMERS_MAX]
    state.next_n = 1 + outbox.renumber_all()
    adopt(state, answer)
    state.known_n = state.sent_n = state.covered_n = 0
    state.known_id = ""
    # What nobody was ever sent, nobody has.
    state.resend_n = 0 if is_first else state.next_n - 1
    state.has_misplaced = True
    names = [schema.name for schema in state.schemas]
    differs = names != [schema.name for schema in answer.tables] or not all(
        map(is_kept, state.schemas, answer.tables)
    )
    if differs:
        state.next_schemas, state.next_revision = answer.tables, ""
    return differs
