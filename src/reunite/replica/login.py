"""A device's log-in: the refresh token beside the replica, in `FILE-token`, and what it becomes.

    log_in (name, password) ──► FILE-token ──► a token, for some minutes ──► the next

What it is       for `token=`: a function that gives a token which is good now, by what is kept.
The rule         a refresh token is good once. What is about to be sent is written down before, so
                 that it can be sent again when its answer is lost; one process does it at a time.

The file is its owner's alone. It may also hold a token that does not expire, which a person wrote
there; then there is nothing to refresh (`cli/token_file.py`).
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from reunite.errors import CallerError, NotAuthenticatedError, StorageUnavailableError
from reunite.protocol.codec import decode, encode
from reunite.protocol.token import RefreshRequest, TokenAnswer, TokenRequest
from reunite.protocol.version import PROTOCOL_VERSION
from reunite.replica.transport import Transport
from reunite.stores.sql.database import file_lock

_OWNER_ONLY = 0o600

# A token that is good for less is not used any more.
_MARGIN_S = 30

_LOCK_TIMEOUT_S = 60.0


def token_file(replica: Path) -> Path:
    """Where the token of this replica is kept."""
    return replica.with_name(replica.name + "-token")


def keep_token_text(replica: Path, text: str) -> None:
    """Write the file anew. It is made aside, with its rights from the start, so that nobody else
    can ever read it."""
    path = token_file(replica)
    unfinished = path.with_name(path.name + ".part")
    unfinished.unlink(missing_ok=True)
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 — a descriptor, not a path
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the file holds. `attempt` is there while an answer is missing."""

    url: str
    user: str
    tenant: str
    refresh: str
    token: str
    good_until_s: float
    attempt: str = ""


class Login:
    """The log-in that is kept beside a replica; calling it gives a token.

    The first call gives the one that is kept, if it is still good; a call after that, and one for
    which it is too old, gets the next from the hub. Raises NotAuthenticatedError when the log-in
    has ended, HubUnreachableError. Threads and processes may share the file.
    """

    def __init__(self, replica: Path, url: str, *, now_s: Callable[[], float] = time.time) -> None:
        self._replica = replica
        self._url = url
        self._now_s = now_s
        self._given: str | None = None

    def __repr__(self) -> str:
        return f"<Login {self._replica.name}>"

    def __call__(self) -> str:
        lock = token_file(self._replica)
        busy = StorageUnavailableError("Another process is refreshing the log-in: try again.")
        with file_lock(lock.with_name(lock.name + "-lock"), busy=busy, timeout_s=_LOCK_TIMEOUT_S):
            kept = _read(self._replica)
            if kept is None or kept.url.rstrip("/") != self._url.rstrip("/"):
                raise NotAuthenticatedError("Nobody is logged in to this hub here: log in.")
            if kept.token == self._given or kept.good_until_s - _MARGIN_S <= self._now_s():
                kept = self._refreshed(kept)
        self._given = kept.token
        return kept.token

    def _refreshed(self, kept: _Kept) -> _Kept:
        if not kept.attempt:
            kept = msgspec.structs.replace(kept, attempt=secrets.token_urlsafe(16))
            _write(self._replica, kept)
        request = RefreshRequest(
            protocol=PROTOCOL_VERSION, refresh=kept.refresh, attempt=kept.attempt
        )
        answer = _ask(self._url, "refresh", encode(request))
        return _keep(self._replica, self._url, answer, self._now_s())


def log_in(
    replica: Path,
    url: str | None,
    user: str,
    password: str,
    *,
    tenant: str | None = None,
    now_s: Callable[[], float] = time.time,
) -> Login:
    """Log in to a hub, and keep that beside a replica. Raises NotAuthenticatedError,
    BadRequestError (several tenants, and none was named), HubUnreachableError, CallerError."""
    if not url:
        raise CallerError("The replica does not know its hub: give `url`.")
    request = TokenRequest(
        protocol=PROTOCOL_VERSION,
        user=user,
        password=password,
        tenant=tenant,
        device=replica.name,
    )
    _keep(replica, url, _ask(url, "token", encode(request)), now_s())
    return Login(replica, url, now_s=now_s)


def kept_login(replica: Path, url: str | None) -> Login | None:
    """The log-in that is kept beside this replica, if there is one."""
    kept = _read(replica)
    return None if kept is None else Login(replica, url or kept.url)


def hub_at(url: str | None, token: str | Callable[[], str] | None) -> Transport:
    """The hub at this URL, over HTTP. Raises CallerError without one."""
    if not url:
        raise CallerError("The replica does not know its hub: give `url` and `token`.")
    from reunite.replica.http import HttpTransport

    return HttpTransport(url, token=token or "")


def is_login(text: str) -> bool:
    """Whether this is what a log-in left in the file, and no token."""
    return text.startswith("{")


def _ask(url: str, operation: str, body: bytes) -> TokenAnswer:
    from reunite.replica.http import HttpTransport

    with HttpTransport(url, token="-") as transport:
        return decode(transport.call_without_token(operation, body), TokenAnswer)


def _keep(replica: Path, url: str, answer: TokenAnswer, now_s: float) -> _Kept:
    kept = _Kept(
        url=url,
        user=answer.user,
        tenant=answer.tenant,
        refresh=answer.refresh,
        token=answer.token,
        good_until_s=now_s + answer.expires_s,
    )
    _write(replica, kept)
    return kept


def _write(replica: Path, kept: _Kept) -> None:
    keep_token_text(replica, msgspec.json.encode(kept).decode())


def _read(replica: Path) -> _Kept | None:
    try:
        text = token_file(replica).read_text(encoding="utf-8")
        return msgspec.json.decode(text, type=_Kept) if is_login(text) else None
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None
