"""Sessions at the hub: who acts in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from reunite.core.principal import Principal
from reunite.errors import BadRequestError
from reunite.hub import Hub


@contextmanager
def acting_as(hub: Hub, session: Session, user: str | Principal) -> Iterator[Session]:
    """What the session writes in the block was done by this user, and the history says so.

        with Session(engine) as session:
            with acting_as(hub, session, "ann"):
                session.get(Product, 1).price = 9
            session.commit()

    The session is flushed when the block ends; commit after it. For the drivers sqlite3 and
    psycopg. Raises BadRequestError for others, and if the block itself has committed or rolled
    back: what it committed stays, and is nobody's.
    """
    if not session.in_transaction():
        hub.number()  # tables that were awaited, and have come, are captured from here on
    connection = session.connection().connection.driver_connection
    transaction = session.get_transaction()
    with hub.acting_as(user, connection):
        yield session
        if session.get_transaction() is not transaction:
            raise BadRequestError(
                "The transaction ended inside the block, so that nobody is known to have acted in "
                "it: commit after the block."
            )
        session.flush()
