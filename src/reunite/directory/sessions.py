"""Log-ins: what a device has after a name and a password were right, until it is ended.

    log_in ──► token (15 minutes), refresh token (good once)      refresh ──► the next of both
    a refresh token that comes again, and not as the same attempt ──► the log-in ends

What it is       use cases, one transaction each beside the check of a password.
The rule         of a refresh token only its hash is kept; who a user is, and whether they may still
                 come, is looked up with each request.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Sequence

import msgspec

from reunite.core.principal import Principal
from reunite.directory.attempts import Attempts
from reunite.directory.cache import StampedCache
from reunite.directory.signing import ACCESS_S, KeyAlgorithm, Signing, looks_signed, signing_keys
from reunite.engine.directory import (
    MEMBERS_STAMP,
    Directory,
    KeyRecord,
    SessionRecord,
)
from reunite.engine.ports import Clock, Store, Transaction, WriteTransaction
from reunite.engine.register import check_protocol, check_shown
from reunite.errors import BadRequestError, NotAuthenticatedError, StorageUnavailableError
from reunite.protocol.token import RefreshRequest, TokenAnswer, TokenRequest

logger = logging.getLogger("reunite.hub")

# A log-in that is not refreshed for so long ends.
REFRESH_S = 90 * 24 * 3600

_REFRESH_LENGTH_MAX = 200
_FAMILY_BYTES, _SECRET_BYTES = 16, 32

_ALIKE = "The name or the password is not right, or nobody of this name may come."
_ENDED = "This log-in is over: log in again with name and password."


class Sessions:
    """The log-ins of one hub. Threads may share it."""

    def __init__(
        self,
        store: Store,
        directory: Directory,
        *,
        clock: Clock,
        new_id: Callable[[], str],
        wake: Callable[[], None],
        attempts: Attempts,
    ) -> None:
        self._store = store
        self._directory = directory
        self._clock = clock
        self._new_id = new_id
        self._wake = wake
        self._attempts = attempts
        self._signing = Signing()
        self._alive = StampedCache()

    # --- Coming ---------------------------------------------------------------------------------

    def log_in(self, request: TokenRequest, *, address: str) -> TokenAnswer:
        """The tokens of a new log-in. Raises NotAuthenticatedError, alike for whatever is wrong;
        BadRequestError for members of several tenants that name none, LimitExceededError."""
        check_protocol(request.protocol)
        check_shown(request.device)
        succeed = self._known(request.user, request.password, address)
        now_ms = self._clock.now_ms()
        family, secret = secrets.token_urlsafe(_FAMILY_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        with self._store.write() as tx:
            tenant = self._tenant(tx, request)
            session = SessionRecord(
                id=_id_of(family),
                user_name=request.user,
                tenant=tenant,
                device=request.device,
                current=_hash(secret),
                created_ms=now_ms,
                used_ms=now_ms,
                expires_ms=now_ms + REFRESH_S * 1_000,
            )
            for former in tx.records(SessionRecord, user_name=request.user):
                if former.expires_ms <= now_ms:
                    tx.drop_records(SessionRecord, id=former.id)
            tx.put_record(session)
            answer = self._answer(tx, session, f"{family}.{secret}", now_ms)
        succeed()
        return answer

    def check(self, user: str, password: str, *, address: str) -> None:
        """Raise NotAuthenticatedError for what is not the user's password, LimitExceededError."""
        self._known(user, password, address)()

    def _known(self, user: str, password: str, address: str) -> Callable[[], None]:
        """Count an attempt with the right password; what is called when it succeeded."""
        succeed = self._attempts.begin(user, address)
        if not self._directory.knows(user, password):
            raise NotAuthenticatedError(_ALIKE)
        return succeed

    def _tenant(self, tx: Transaction, request: TokenRequest) -> str:
        """Where the user comes to."""
        names = self._directory.tenants_of(tx, request.user)
        if request.tenant is not None:
            names = [name for name in names if name == request.tenant]
        if not names:
            raise NotAuthenticatedError(_ALIKE)
        if len(names) > 1:
            raise BadRequestError(
                "Say for which tenant: you are a member of "
                f"{', '.join(name or 'none' for name in names)}.",
                path="tenant",
            )
        return names[0]

    def refresh(self, request: RefreshRequest) -> TokenAnswer:
        """The next tokens. Raises NotAuthenticatedError: when the token was used before by another
        attempt, the log-in has ended."""
        check_protocol(request.protocol)
        family, _, secret = request.refresh.partition(".")
        if not secret or len(request.refresh) > _REFRESH_LENGTH_MAX or not request.attempt:
            raise NotAuthenticatedError(_ENDED)
        now_ms = self._clock.now_ms()
        new = secrets.token_urlsafe(_SECRET_BYTES)
        answer = None
        with self._store.write() as tx:
            for session in tx.records(SessionRecord, id=_id_of(family)):
                following = _next(session, secret, new, request.attempt, now_ms)
                # Whoever takes the old record away is the one who puts the next.
                if not tx.drop_records(SessionRecord, id=session.id, current=session.current):
                    raise StorageUnavailableError("The log-in is being refreshed: try again.")
                if following is None:
                    self._end_for_reuse(tx, session)
                    continue
                tx.put_record(following)
                if self._directory.member(tx, session.user_name, session.tenant) is not None:
                    answer = self._answer(tx, following, f"{family}.{new}", now_ms)
        if answer is None:
            self._wake()
            raise NotAuthenticatedError(_ENDED)
        return answer

    def _end_for_reuse(self, tx: WriteTransaction, session: SessionRecord) -> None:
        self._ended(tx)
        logger.warning(
            "a log-in of %s has ended: its refresh token was too old, or was used before",
            session.user_name,
        )

    def _answer(
        self, tx: WriteTransaction, session: SessionRecord, refresh: str, now_ms: int
    ) -> TokenAnswer:
        user, tenant = session.user_name, session.tenant
        return TokenAnswer(
            token=self._signing.sign(
                tx, user=user, tenant=tenant, session=session.id, now_ms=now_ms
            ),
            expires_s=ACCESS_S,
            refresh=refresh,
            refresh_expires_s=REFRESH_S,
            user=user,
            tenant=tenant,
        )

    def principal(self, tx: Transaction, token: str) -> Principal | None:
        """Who has this token, now; None for whatever is none of ours, or good no more."""
        if not looks_signed(token):
            return None
        claims = self._signing.claims(tx, token, now_ms=self._clock.now_ms())
        if claims is None:
            return None
        found = self._alive.get(
            tx.stamp(MEMBERS_STAMP),
            claims["sid"],
            lambda: next(iter(tx.records(SessionRecord, id=claims["sid"])), None),
        )
        if found is None or (found.user_name, found.tenant) != (claims["sub"], claims["ten"]):
            return None
        return self._directory.member(tx, found.user_name, found.tenant)

    # --- Going ----------------------------------------------------------------------------------

    def all(self) -> Sequence[SessionRecord]:
        """The log-ins that can be refreshed, by id."""
        now_ms = self._clock.now_ms()
        with self._store.read() as tx:
            return [one for one in tx.records(SessionRecord) if one.expires_ms > now_ms]

    def end(
        self,
        *,
        id_prefix: str = "",
        user: str | None = None,
        device: str | None = None,
        tenant: str | None = None,
    ) -> int:
        """End the log-ins of which all of this is true; how many."""
        wanted = {"user_name": user, "device": device, "tenant": tenant}
        where = {name: value for name, value in wanted.items() if value is not None}
        if not where and not id_prefix:
            return 0
        with self._store.write() as tx:
            found = [
                one for one in tx.records(SessionRecord, **where) if one.id.startswith(id_prefix)
            ]
            for session in found:
                tx.drop_records(SessionRecord, id=session.id)
            if found:
                self._ended(tx)
        self._wake()
        return len(found)

    def _ended(self, tx: WriteTransaction) -> None:
        """Have all processes look again who there is."""
        tx.keep_stamp(MEMBERS_STAMP, self._new_id())

    # --- Keys -----------------------------------------------------------------------------------

    def rotate_keys(self, algorithm: KeyAlgorithm, *, is_sudden: bool) -> str:
        """Sign with a new key; its id."""
        with self._store.write() as tx:
            record = self._signing.rotate(
                tx, algorithm, now_ms=self._clock.now_ms(), is_sudden=is_sudden
            )
            self._ended(tx)
        self._wake()
        return record.id

    def keys(self) -> Sequence[KeyRecord]:
        """The keys, without what is secret in them."""
        with self._store.read() as tx:
            return [msgspec.structs.replace(key, secret="") for key in signing_keys(tx)]


def _next(
    session: SessionRecord, secret: str, new: str, attempt: str, now_ms: int
) -> SessionRecord | None:
    """The log-in after this refresh token; None if it ends."""
    hashed, of_attempt = _hash(secret), _hash(attempt)
    if session.expires_ms <= now_ms:
        return None
    is_current = hmac.compare_digest(hashed, session.current)
    is_again = hmac.compare_digest(hashed, session.previous) and hmac.compare_digest(
        of_attempt, session.attempt
    )
    if not (is_current or is_again):
        return None
    return msgspec.structs.replace(
        session,
        current=_hash(new),
        previous=hashed,
        attempt=of_attempt,
        used_ms=now_ms,
        expires_ms=now_ms + REFRESH_S * 1_000,
    )


def _id_of(family: str) -> str:
    return _hash(family)[:32]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
