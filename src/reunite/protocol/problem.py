"""Problem details (RFC 9457): how an error travels, and the one table that turns errors into HTTP.

`code` is stable and what programs compare; `detail` is for people and says the next step;
`path` points into the request; `limit` names the limit that was passed.

    ReuniteError  ── problem_from ──►  Problem (JSON)  ── error_from ──►  the same ReuniteError

The rule         every class of `errors.py` has a row in `KINDS`; a class without one takes the row
                 of its base, so an error that a user derives from `Veto` travels as a `Veto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from reunite.errors import (
    BadRequestError,
    CallerError,
    ConstraintError,
    EpochChangedError,
    HubRestoredError,
    HubUnreachableError,
    IdentityForkedError,
    KeysUsedUpError,
    LimitExceededError,
    NewerLayoutError,
    NotAllowedError,
    NotAReplicaError,
    NotAuthenticatedError,
    NumberGapError,
    PeerError,
    ReplicaBusyError,
    ReuniteError,
    RightsError,
    SchemaChangedError,
    SealError,
    StampOverflowError,
    StorageFaultError,
    StorageFullError,
    StorageReadOnlyError,
    StorageUnavailableError,
    UnknownReplicaError,
    UnknownTableError,
    UntrackableTableError,
    UpgradeRequiredError,
    Veto,
    ViewChangedError,
)

TYPE_PREFIX = "urn:reunite:problem:"

# Limits on how much happens at a time rather than on one request: 429, and the same again later.
RATE_LIMITS = frozenset(
    {
        "REQUESTS_MAX",
        "BODIES_BYTES_MAX",
        "STREAMS_MAX",
        "PRINCIPAL_REQUESTS_MAX",
        "PRINCIPAL_BYTES_MAX",
        "PRINCIPAL_RATE_MAX",
        "PRINCIPAL_STREAMS_MAX",
        "LOGIN_RATE_MAX",
    }
)

# How long to wait after a temporary failure that does not say so itself.
RETRY_AFTER_S = 1.0


_IN_TROUBLE = (
    "The hub's database cannot be used for the moment: try again later. Nothing was done; the "
    "hub's log says why."
)


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every answer that is not a success, as `application/problem+json`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    path: str | None = None
    limit: str | None = None
    table: str | None = None
    columns: tuple[str, ...] = ()
    retry_after_s: float | None = None
    incident: str | None = None


class Kind(msgspec.Struct, frozen=True):
    """How a kind of error is answered: its HTTP status, and a title for people."""

    status: int
    title: str


KINDS: Mapping[type[ReuniteError], Kind] = MappingProxyType(
    {
        ReuniteError: Kind(500, "The hub could not do this"),
        CallerError: Kind(400, "The request cannot be carried out"),
        BadRequestError: Kind(400, "The request is malformed"),
        UnknownTableError: Kind(404, "The hub tracks no such table"),
        UntrackableTableError: Kind(422, "The table cannot be tracked"),
        LimitExceededError: Kind(413, "A limit was passed"),
        NotAReplicaError: Kind(400, "The file is no replica"),
        KeysUsedUpError: Kind(409, "No generated key is left"),
        RightsError: Kind(403, "The request is not allowed"),
        NotAuthenticatedError: Kind(401, "A valid token is needed"),
        NotAllowedError: Kind(403, "The request is not allowed"),
        SealError: Kind(403, "The sealed door stays shut"),
        PeerError: Kind(409, "Hub and replica do not agree"),
        UnknownReplicaError: Kind(409, "The hub does not know this replica"),
        IdentityForkedError: Kind(409, "Two files use one identity"),
        HubRestoredError: Kind(409, "The hub was restored"),
        EpochChangedError: Kind(409, "The hub's log is another one"),
        NumberGapError: Kind(409, "The push left out numbers"),
        SchemaChangedError: Kind(409, "The table has another version"),
        ViewChangedError: Kind(409, "The view changed while it was read"),
        UpgradeRequiredError: Kind(426, "The protocol versions do not overlap"),
        ConstraintError: Kind(409, "The database refused a write"),
        HubUnreachableError: Kind(503, "The hub cannot be reached"),
        StorageUnavailableError: Kind(503, "The hub's database is not available"),
        StorageFullError: Kind(503, "The hub's disk is full"),
        StorageReadOnlyError: Kind(503, "The hub's database cannot be written"),
        StorageFaultError: Kind(503, "The hub's storage fails"),
        NewerLayoutError: Kind(503, "The hub's database belongs to a newer release"),
        StampOverflowError: Kind(422, "A clock is wrong"),
        ReplicaBusyError: Kind(423, "The replica is being synced"),
        Veto: Kind(422, "A hook rejected the change"),
    }
)

CONSTRAINT_CODES = ("unique", "foreign-key", "not-null", "check", "constraint", "write-failed")

# What a sealed door says outside, without a seal: whoever hears it may only knock again.
SEAL_CODES = (
    "key-unknown",
    "key-expired",
    "session-unknown",
    "door-closed",
    "seal-broken",
    "replayed",
)

# What HTTP itself can answer before a use case is reached. Their codes have no class of their own.
HTTP_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "not-found": Kind(404, "There is nothing at this path"),
        "method-not-allowed": Kind(405, "The path does not take this method"),
        "request-timeout": Kind(408, "The request's body did not arrive in time"),
        "unsupported-media-type": Kind(415, "The body is of a type or encoding that is not taken"),
        "internal": Kind(500, "The hub failed"),
    }
)

# Classes whose instances say which of several codes they have.
CODES_OF: Mapping[type[ReuniteError], tuple[str, ...]] = MappingProxyType(
    {ConstraintError: CONSTRAINT_CODES, SealError: SEAL_CODES}
)

_CLASS_BY_CODE: Mapping[str, type[ReuniteError]] = MappingProxyType(
    {code: error for error in KINDS for code in CODES_OF.get(error, (error.code,))}
)


def codes() -> Mapping[str, Kind]:
    """Every code that an answer can carry, with its status and title."""
    return {code: KINDS[error] for code, error in _CLASS_BY_CODE.items()} | dict(HTTP_KINDS)


def problem_from(error: ReuniteError) -> Problem:
    """The problem that tells a client of `error`, with all the fields that the error has."""
    kind = next(KINDS[base] for base in type(error).__mro__ if base in KINDS)
    limit = error.limit if isinstance(error, LimitExceededError) else None
    status = 429 if limit in RATE_LIMITS else kind.status
    retry_after_s = error.retry_after_s if isinstance(error, HubUnreachableError) else None
    if retry_after_s is None and status in (429, 503):
        retry_after_s = RETRY_AFTER_S
    return Problem(
        type=TYPE_PREFIX + error.code,
        title=kind.title,
        status=status,
        code=error.code,
        detail=error.message,
        path=error.path,
        limit=limit,
        table=error.table if isinstance(error, ConstraintError) else None,
        columns=error.columns if isinstance(error, ConstraintError) else (),
        retry_after_s=retry_after_s,
    )


def told_outside(error: ReuniteError) -> ReuniteError:
    """The error as a client may hear it: the same one where it is about the request; what is the
    hub's own trouble becomes a StorageUnavailableError without a driver's words.

    Such are plain CallerErrors, whose caller is whoever runs the hub, tables that it cannot track,
    and what a database's driver caused.
    """
    is_hubs = type(error) is CallerError or isinstance(error, UntrackableTableError)
    is_drivers = error.__cause__ is not None
    if isinstance(error, StorageUnavailableError):
        return type(error)(_IN_TROUBLE) if is_drivers else error
    if is_hubs or (is_drivers and isinstance(error, UnknownTableError)):
        return StorageUnavailableError(_IN_TROUBLE)
    return error


def http_problem(code: str, detail: str, *, incident: str | None = None) -> Problem:
    """A problem of `HTTP_KINDS`; `incident` is the number under which the hub logged it."""
    kind = HTTP_KINDS[code]
    return Problem(
        type=TYPE_PREFIX + code,
        title=kind.title,
        status=kind.status,
        code=code,
        detail=detail,
        incident=incident,
    )


def error_from(problem: Problem) -> ReuniteError:
    """The error that a problem tells of; the inverse of `problem_from`.

    A code that this version does not know becomes the nearest class for its status (whose fault,
    and does it help to try again) and keeps the code, so that a newer hub is still understood.
    """
    detail = problem.detail
    if problem.incident is not None:
        detail = f"{detail} (incident {problem.incident})"
    kind = _CLASS_BY_CODE.get(problem.code) or _class_for_status(problem.status)
    error: ReuniteError
    if issubclass(kind, LimitExceededError):
        error = kind(detail, limit=problem.limit or "unknown")
    elif issubclass(kind, ConstraintError):
        error = kind(detail, code=problem.code, table=problem.table, columns=problem.columns)
    elif issubclass(kind, SealError):
        error = kind(detail, code=problem.code)
    elif issubclass(kind, HubUnreachableError):
        error = kind(detail, retry_after_s=problem.retry_after_s, has_answered=True)
    else:
        error = kind(detail)
    error.path = problem.path
    if error.code != problem.code:
        error.code = problem.code  # type: ignore[misc]
    return error


def _class_for_status(status: int) -> type[ReuniteError]:
    """Whose fault an unknown problem is."""
    if status >= 500 or status in (408, 429):
        return HubUnreachableError
    return {
        401: NotAuthenticatedError,
        403: NotAllowedError,
        404: CallerError,
        409: PeerError,
        426: UpgradeRequiredError,
    }.get(status, CallerError)
