"""Every error that reunite raises on purpose.

    ReuniteError
    ├── CallerError                 you asked for something that cannot be: change the call
    │   ├── BadRequestError         a message, value or option is malformed; carries its path
    │   ├── UnknownTableError       no such table here, or it is not tracked
    │   ├── UntrackableTableError   a table cannot be tracked as it is (no key, NULL in a key …)
    │   └── LimitExceededError      a documented limit was passed; carries its name
    ├── RightsError                 who you are does not allow it
    │   ├── NotAuthenticatedError   no token, or one that is not valid here
    │   └── NotAllowedError         a valid token that may not do this
    ├── PeerError                   hub and replica do not agree on who or where they are
    │   ├── UnknownReplicaError     the hub does not know this replica: register again
    │   ├── IdentityForkedError     two files use one identity: take a new one, keep the outbox
    │   ├── HubRestoredError        the hub knows less than the replica was told
    │   ├── EpochChangedError       the hub's log is another one: new identity and a snapshot
    │   ├── NumberGapError          a push left out numbers that the hub has never seen
    │   ├── SchemaChangedError      a pushed table has another version at the hub: pull first
    │   └── UpgradeRequiredError    the protocol versions do not overlap
    ├── ConstraintError             the database refused a write; carries code, table and columns
    ├── HubUnreachableError         the network or the hub failed: nothing is lost, try later
    ├── StorageUnavailableError     the database is locked, full or read-only: try later
    ├── StampOverflowError          a clock reads beyond the year 10,889: set it right
    ├── ReplicaBusyError            another process is syncing this replica file
    ├── NotAReplicaError            the file is no replica, or its clone has not finished
    └── Veto                        raised by a hook to reject a change; a reason for the person

Each class has a stable `code`, which is what travels on the wire and what programs compare. The
message is for people and says what to do next. The server turns the tree into HTTP in one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class ReuniteError(Exception):
    """Something went wrong in a way that reunite knows and names."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


class CallerError(ReuniteError):
    """The call itself cannot be carried out: change it."""

    code = "caller-error"


class BadRequestError(CallerError):
    """A message or value is malformed; `path` says which, e.g. `groups[0].runs[1].set[3][2]`."""

    code = "bad-request"


class UnknownTableError(CallerError):
    """No table of this name is tracked by the hub; `reunite doctor` lists those that are."""

    code = "unknown-table"


class UntrackableTableError(CallerError):
    """The table cannot be tracked as it is; the message says what to change."""

    code = "untrackable-table"


class LimitExceededError(CallerError):
    """A documented limit was passed: send less at a time. `limit` is the limit's name."""

    code = "limit-exceeded"

    def __init__(self, message: str, *, limit: str, path: str | None = None) -> None:
        super().__init__(message, path=path)
        self.limit = limit


class RightsError(ReuniteError):
    """Who is asking may not do this."""

    code = "rights-error"


class NotAuthenticatedError(RightsError):
    """No token came with the request, or one that this hub did not give out."""

    code = "not-authenticated"


class NotAllowedError(RightsError):
    """The token is valid, but may not do this."""

    code = "not-allowed"


class PeerError(ReuniteError):
    """Hub and replica do not agree on who or where they are. The replica mends this by itself."""

    code = "peer-error"


class UnknownReplicaError(PeerError):
    """The hub has no replica of this id for this principal: register again, keep the outbox."""

    code = "replica-unknown"


class IdentityForkedError(PeerError):
    """A number of this replica belongs to another change: its file was copied or restored."""

    code = "identity-forked"


class HubRestoredError(PeerError):
    """The hub knows less than this replica was told: the hub was restored from a backup."""

    code = "hub-restored"


class EpochChangedError(PeerError):
    """The hub's log is not the one this replica has read: take a snapshot, keep the outbox."""

    code = "epoch-changed"


class NumberGapError(PeerError):
    """A push began later than the hub's last number of this replica; nothing of it was taken."""

    code = "number-gap"


class SchemaChangedError(PeerError):
    """A pushed table has another version at the hub. Pull first; the outbox is kept."""

    code = "schema-changed"


class UpgradeRequiredError(PeerError):
    """Hub and replica speak protocol versions that do not overlap: upgrade the older one."""

    code = "upgrade-required"


class ConstraintError(ReuniteError):
    """The database refused a write.

    `code` is `unique`, `foreign-key`, `not-null`, `check` or `constraint`.
    """

    def __init__(
        self, message: str, *, code: str, table: str | None = None, columns: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]
        self.table = table
        self.columns = tuple(columns)


class HubUnreachableError(ReuniteError):
    """The hub could not be reached or failed for the moment. Nothing is lost: sync again later."""

    code = "hub-unreachable"

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StorageUnavailableError(ReuniteError):
    """The database is locked, full or read-only. Nothing was half-done: try again later."""

    code = "storage-unavailable"


class StampOverflowError(ReuniteError):
    """No later stamp exists: a clock here, or one heard of, reads beyond the year 10,889."""

    code = "stamp-overflow"


class ReplicaBusyError(ReuniteError):
    """Another process is syncing this replica file: wait for it, or try again."""

    code = "replica-busy"


class NotAReplicaError(CallerError):
    """The file is no replica, or its first clone has not finished: run `reunite clone`."""

    code = "not-a-replica"


class Veto(ReuniteError):  # noqa: N818 — a hook says no; nothing has gone wrong
    """Raise it in a hook to reject the change's group; the reason reaches the person."""

    code = "vetoed"
