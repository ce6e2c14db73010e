"""Every error that reunite raises on purpose.

    ReuniteError
    ├── CallerError                 you asked for something that cannot be: change the call
    │   ├── BadRequestError         a message, value or option is malformed; carries its path
    │   ├── UnknownTableError       no such table here, or it is not tracked
    │   ├── UntrackableTableError   a table cannot be tracked as it is (no key, NULL in a key …)
    │   ├── LimitExceededError      a documented limit was passed; carries its name
    │   ├── NotAReplicaError        the file is no replica, or its clone has not finished
    │   └── KeysUsedUpError         no generated key is left to give before the next sync
    ├── RightsError                 who you are does not allow it
    │   ├── NotAuthenticatedError   no token, or one that is not valid here
    │   ├── NotAllowedError         a valid token that may not do this
    │   └── SealError               the sealed door does not open for this; carries its code
    ├── PeerError                   hub and replica do not agree on who or where they are
    │   ├── UnknownReplicaError     the hub does not know this replica: register again
    │   ├── IdentityForkedError     two files use one identity: take a new one, keep the outbox
    │   ├── HubRestoredError        the hub knows less than the replica was told
    │   ├── EpochChangedError       the hub's log is another one: new identity and a snapshot
    │   ├── NumberGapError          a push left out numbers that the hub has never seen
    │   ├── SchemaChangedError      a pushed table has another version at the hub: pull first
    │   ├── ViewChangedError        rows of another view are on their way: back to the checkpoint
    │   └── UpgradeRequiredError    the protocol versions do not overlap
    ├── ConstraintError             the database refused a write; carries code, table and columns
    ├── HubUnreachableError         the network or the hub failed: nothing is lost, try later
    ├── StorageUnavailableError     the database is locked, or does not answer: try later
    │   ├── StorageFullError        there is no room for what is to be written: make some
    │   ├── StorageReadOnlyError    the database may be read and not written: change its rights
    │   ├── StorageFaultError       the disk or the database's files fail: look after them
    │   └── NewerLayoutError        a newer reunite has been here: upgrade this one
    ├── StampOverflowError          a clock reads beyond the year 10,889: set it right
    ├── ReplicaBusyError            another process is syncing this replica file
    └── Veto                        raised by a hook to reject a change; a reason for the person

Each class has a stable `code`, which is what travels on the wire and what programs compare. The
message is for people and says what to do next. The server turns the tree into HTTP in one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class ReuniteError(Exception):
    """Something went wrong in a way that reunite knows and names. The message says what to do."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


class CallerError(ReuniteError):
    """The call itself cannot be carried out. Change it as the message says."""

    code = "caller-error"


class BadRequestError(CallerError):
    """A message or value is malformed. Correct what `path` names: `groups[0].runs[1].set[3][2]`."""

    code = "bad-request"


class UnknownTableError(CallerError):
    """The hub tracks no table of this name. `reunite doctor` lists those that it tracks."""

    code = "unknown-table"


class UntrackableTableError(CallerError):
    """The table cannot be tracked as it is. Change it as the message says, then track it again."""

    code = "untrackable-table"


class LimitExceededError(CallerError):
    """A documented limit was passed. Send less at a time; `limit` is the limit's name."""

    code = "limit-exceeded"

    def __init__(self, message: str, *, limit: str, path: str | None = None) -> None:
        super().__init__(message, path=path)
        self.limit = limit


class RightsError(ReuniteError):
    """Who is asking may not do this. Ask whoever runs the hub for the right to do it."""

    code = "rights-error"


class NotAuthenticatedError(RightsError):
    """No token came, or one that this hub did not give out. Get one: `reunite token create`."""

    code = "not-authenticated"


class NotAllowedError(RightsError):
    """The token is valid, but may not do this. Ask whoever runs the hub for the right to do it."""

    code = "not-allowed"


class SealError(RightsError):
    """The sealed door does not open for this. Say hello again, with a token that is valid.

    `code` is `key-unknown`, `key-expired`, `session-unknown`, `door-closed`, `seal-broken` or
    `replayed`.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]


class PeerError(ReuniteError):
    """Hub and replica do not agree on who or where they are. The replica mends this by itself."""

    code = "peer-error"


class UnknownReplicaError(PeerError):
    """The hub has no such replica of this principal. It registers again and keeps its outbox."""

    code = "replica-unknown"


class IdentityForkedError(PeerError):
    """The replica's file was copied or restored. It takes a new identity and keeps its outbox."""

    code = "identity-forked"


class HubRestoredError(PeerError):
    """The hub was restored from a backup. The replica sends again what the hub does not know."""

    code = "hub-restored"


class EpochChangedError(PeerError):
    """The hub's log is another one. The replica takes a snapshot and keeps its outbox."""

    code = "epoch-changed"


class NumberGapError(PeerError):
    """A push left out numbers, so nothing of it was taken. The replica sends its outbox again."""

    code = "number-gap"


class SchemaChangedError(PeerError):
    """A pushed table has another version at the hub. The replica pulls first, then pushes."""

    code = "schema-changed"


class ViewChangedError(PeerError):
    """The view changed while its rows were on their way. The replica pulls from its checkpoint."""

    code = "view-changed"


class UpgradeRequiredError(PeerError):
    """Hub and replica speak protocol versions that do not overlap. Upgrade the older one."""

    code = "upgrade-required"


class ConstraintError(ReuniteError):
    """The database refused a write. Change the values that the message names.

    `code` is `unique`, `foreign-key`, `not-null`, `check`, `constraint` or, where its own triggers
    or tables failed, `write-failed`.
    """

    def __init__(
        self, message: str, *, code: str, table: str | None = None, columns: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]
        self.table = table
        self.columns = tuple(columns)


class HubUnreachableError(ReuniteError):
    """The hub cannot be reached or failed for the moment. Nothing is lost: sync again later.

    `has_answered` says that it could be reached, and failed at what it was asked.
    """

    code = "hub-unreachable"

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, has_answered: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.has_answered = has_answered


class StorageUnavailableError(ReuniteError):
    """The database is locked, or does not answer. Nothing was half-done: try again later."""

    code = "storage-unavailable"


class StorageFullError(StorageUnavailableError):
    """There is no room for what is to be written. Nothing was half-done: make room, try again."""

    code = "storage-full"


class StorageReadOnlyError(StorageUnavailableError):
    """The database may be read and not written. Nothing was done: change the rights of the file
    and its folder, or the server's mode, and try again."""

    code = "storage-read-only"


class StorageFaultError(StorageUnavailableError):
    """The disk or the database's files fail. Nothing was half-done: look after the disk; a file
    that `reunite doctor` finds damaged is restored from a backup, a replica is cloned again."""

    code = "storage-fault"


class NewerLayoutError(StorageUnavailableError):
    """A newer reunite has changed its tables in this file. Nothing was read: upgrade reunite."""

    code = "newer-layout"


class StampOverflowError(ReuniteError):
    """A clock here, or one heard of, reads beyond the year 10,889. Set it right, and try again."""

    code = "stamp-overflow"


class ReplicaBusyError(ReuniteError):
    """Another process is syncing this replica file. Wait for it, or try again."""

    code = "replica-busy"


class NotAReplicaError(CallerError):
    """The file is no replica, or its first clone has not finished. Run `reunite clone`."""

    code = "not-a-replica"


class KeysUsedUpError(CallerError):
    """The replica has given all keys of its blocks. Sync to get more, or insert without a key:
    such a row gets one at once, which the next sync may change."""

    code = "keys-used-up"


class Veto(ReuniteError):  # noqa: N818 — a hook says no; nothing has gone wrong
    """A hook rejected the change with all of its group. Its reason says what to change."""

    code = "vetoed"
