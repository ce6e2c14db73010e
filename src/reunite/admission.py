"""Who may come to a hub: its directory, and the tokens that it gives out.

    a token that was made here ──► its hash ──► Principal
    a name and a password ──► a log-in ──► a signed token ──► the directory ──► Principal

What it is       the part of the public `Hub` that knows principals.
What it is not   the place where rights are judged: that is `core/rules.py`, for every principal.
The rule         of a token the hub keeps nothing from which it could be made.
"""

from __future__ import annotations

import hashlib
import secrets
from abc import ABC
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from reunite.core.principal import Principal, check_principal, principal_text
from reunite.directory import StoredDirectory
from reunite.directory.noting import Act, keep_acts
from reunite.directory.sessions import Sessions
from reunite.directory.signing import KeyAlgorithm
from reunite.engine.directory import Directory, KeyRecord, SessionRecord, TenantRecord
from reunite.engine.news import Feed
from reunite.engine.ports import Clock, Store, Transaction, WriteTransaction
from reunite.engine.register import check_shown
from reunite.engine.remembered import VisitRecord
from reunite.errors import BadRequestError, CallerError, NotAuthenticatedError
from reunite.protocol.codec import decode, encode
from reunite.protocol.token import RefreshRequest, TokenRequest

# Random bytes in a token.
TOKEN_BYTES = 32

# Characters of a token that someone chose; fewer could be guessed.
TOKEN_LENGTH_MIN = 16


class Admission(ABC):
    """The hub's directory and tokens. `Hub` is one."""

    _store: Store
    _clock: Clock
    _feed: Feed
    _directory: Directory
    _sessions: Sessions

    @property
    def directory(self) -> StoredDirectory:
        """Users, tenants, roles, permissions and filters that the hub keeps in its database.
        Raises CallerError where the host brought a directory of its own."""
        if not isinstance(self._directory, StoredDirectory):
            raise CallerError("This hub's users are the host's: change them there.")
        return self._directory

    # -- log-ins ------------------------------------------------------------------------------

    def admit(self, operation: str, body: bytes, *, address: str) -> bytes:
        """The door for those who have no token yet: an operation of `protocol.routes.TOKEN_ROUTES`
        from this address, as JSON.

        Raises NotAuthenticatedError, LimitExceededError, BadRequestError.
        """
        match operation:
            case "token":
                request = decode(body, TokenRequest)
                return encode(self._sessions.log_in(request, address=address))
            case "refresh":
                return encode(self._sessions.refresh(decode(body, RefreshRequest)))
            case _:
                raise BadRequestError(f"There is no operation {operation!r}.")

    def log_ins(self) -> Sequence[SessionRecord]:
        """The log-ins that are there: whose, where, of what device, and when it came last."""
        return self._sessions.all()

    def revoke(
        self,
        *,
        user: str | None = None,
        device: str | None = None,
        tenant: str | None = None,
    ) -> int:
        """End the log-ins of which all of this is true, and remove the tokens: of this user, with
        this label, of this tenant. How many; live streams that were opened with them end. Of a
        user alone, the sessions of the console too, and codes for one.

        It keeps nobody from logging in again: `directory.set_user_active` does. Raises
        BadRequestError when nothing is said.
        """
        if user is None and device is None and tenant is None:
            raise BadRequestError("Say whose tokens: of which user, device or tenant.")
        count = self._sessions.end(user=user, device=device, tenant=tenant)
        with self._store.write() as tx:
            for token_hash, principal, label, _ in tx.tokens():
                if (
                    user in (None, principal.user)
                    and device in (None, label)
                    and (tenant is None or self._is_of(tx, principal, tenant))
                ):
                    count += tx.revoke_token(token_hash)
            if user is not None and device is None and tenant is None:
                count += tx.drop_records(VisitRecord, user_name=user)
            if count:
                said = (("user", user), ("device", device), ("tenant", tenant))
                self._note_revoked(tx, " · ".join(f"{n} {v}" for n, v in said if v is not None))
        self._feed.wake()
        return count

    def _note_revoked(self, tx: WriteTransaction, about: str) -> None:
        at_ms, ended = self._clock.now_ms(), Act("token.revoked", about)
        keep_acts(tx, [ended], at_ms=at_ms, new_id=secrets.token_hex(16))

    def _is_of(self, tx: Transaction, principal: Principal, tenant: str) -> bool:
        """Whether a principal is of the tenant of this name."""
        found = tx.records(TenantRecord, name=tenant)
        value = msgspec.json.decode(found[0].value) if found else tenant
        return type(principal.tenant) is type(value) and principal.tenant == value

    def rotate_keys(self, algorithm: KeyAlgorithm = "EdDSA", *, is_sudden: bool = False) -> str:
        """Sign log-ins' tokens with a new key; its id. Those of the former key are good until they
        expire, within 15 minutes; with `is_sudden`, for a key that is known to others, no more.
        Devices stay logged in. Raises BadRequestError for another algorithm than EdDSA, HS256."""
        return self._sessions.rotate_keys(algorithm, is_sudden=is_sudden)

    def signing_keys(self) -> Sequence[KeyRecord]:
        """The keys of log-ins' tokens, without their secrets."""
        return self._sessions.keys()

    # -- tokens -------------------------------------------------------------------------------

    def create_token(
        self,
        principal: str | Principal = "owner",
        *,
        label: str = "",
        token: str | None = None,
    ) -> str:
        """A new token for a principal. It is shown only here; the hub keeps its hash.

        principal    a name, or a `Principal` with the tenant, roles and claims that rules ask for
        token        one that you chose, of `TOKEN_LENGTH_MIN` visible ASCII characters or more

        Its roles and claims are its own, whatever the directory says of the user. It opens nothing
        while the directory has such a user, or the tenant, and they are not active; when they are
        removed there, it is gone.

        Raises BadRequestError (also: a name or label that cannot be shown), LimitExceededError.
        """
        if isinstance(principal, str):
            principal = Principal(user=principal)
        check_principal(principal)
        check_shown(principal.user, label)
        if token is None:
            token = secrets.token_urlsafe(TOKEN_BYTES)
        elif len(token) < TOKEN_LENGTH_MIN or not all("!" <= sign <= "~" for sign in token):
            raise BadRequestError(
                f"A token needs {TOKEN_LENGTH_MIN} characters or more, visible and ASCII: choose "
                "another one, or let the hub make one."
            )
        with self._store.write() as tx:
            now_ms = self._clock.now_ms()
            tx.add_token(hashed_token(token), principal=principal, label=label, now_ms=now_ms)
            about = f"{principal.user} · {label}" if label else principal.user
            given = {"id": hashed_token(token)[:12], "principal": principal_text(principal)}
            made = Act("token.created", about, now=given)
            keep_acts(tx, [made], at_ms=now_ms, new_id=secrets.token_hex(16))
        return token

    def tokens(self) -> Sequence[tuple[str, Principal, str, int]]:
        """(hash, principal, label, created_ms) of each token."""
        with self._store.write() as tx:
            return tx.tokens()

    def revoke_token(self, label_or_prefix: str) -> int:
        """Remove the tokens of this label or whose hash begins so, and end the log-ins whose id
        does; how many. Live streams that were opened with them end."""
        with self._store.write() as tx:
            revoked = tx.revoke_token(label_or_prefix)
            if revoked:
                self._note_revoked(tx, label_or_prefix)
        revoked += self._sessions.end(id_prefix=label_or_prefix)
        self._feed.wake()
        return revoked

    def authenticate(self, token: str) -> Principal:
        """Who a token belongs to. Raises NotAuthenticatedError."""
        with self._store.read() as tx:
            principal = self._holder(tx, token)
        if principal is None:
            raise NotAuthenticatedError(
                "Not a token of this hub, or one that has expired: log in again, or "
                "`reunite token create` makes one."
            )
        return principal

    def holders(self, tokens: Iterable[str]) -> Mapping[str, Principal]:
        """Who these tokens belong to, without those that open nothing. One transaction."""
        with self._store.read() as tx:
            found = ((token, self._holder(tx, token)) for token in tokens)
            return {token: owner for token, owner in found if owner is not None}

    def _holder(self, tx: Transaction, token: str) -> Principal | None:
        found = self._sessions.principal(tx, token)
        if found is not None:
            return found
        # A look-up is by hash, so its time tells nothing of the token.
        found = tx.principal_of(hashed_token(token))
        return None if found is None or self._directory.bars(tx, found) else found


def hashed_token(token: str) -> str:
    """By which the hub knows a token; its first signs are the id that is shown."""
    return hashlib.sha256(token.encode()).hexdigest()
