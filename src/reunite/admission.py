"""Who may come to a hub: its directory, and the tokens that it gives out.

What it is       the part of the public `Hub` that knows principals.
What it is not   the place where rights are judged: that is `core/rules.py`, for every principal.
The rule         of a token the hub keeps nothing from which it could be made.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from abc import ABC
from collections.abc import Iterable, Mapping, Sequence

from reunite.core.principal import Principal, check_principal
from reunite.directory import StoredDirectory
from reunite.engine.directory import Directory
from reunite.engine.news import Feed
from reunite.engine.ports import Clock, Store
from reunite.engine.register import check_shown
from reunite.errors import BadRequestError, CallerError, NotAuthenticatedError

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

    @property
    def directory(self) -> StoredDirectory:
        """Users, tenants, roles, permissions and filters that the hub keeps in its database.
        Raises CallerError where the host brought a directory of its own."""
        if not isinstance(self._directory, StoredDirectory):
            raise CallerError("This hub's users are the host's: change them there.")
        return self._directory

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
            tx.add_token(
                _hash(token), principal=principal, label=label, now_ms=self._clock.now_ms()
            )
        return token

    def tokens(self) -> Sequence[tuple[str, Principal, str, int]]:
        """(hash, principal, label, created_ms) of each token."""
        with self._store.write() as tx:
            return tx.tokens()

    def revoke_token(self, label_or_prefix: str) -> int:
        """Remove the tokens of this label or whose hash begins so; how many. Live streams that
        were opened with them end."""
        with self._store.write() as tx:
            revoked = tx.revoke_token(label_or_prefix)
        self._feed.wake()
        return revoked

    def authenticate(self, token: str) -> Principal:
        """Who a token belongs to. Raises NotAuthenticatedError."""
        token_hash = _hash(token)
        with self._store.read() as tx:
            principal = tx.principal_of(token_hash)
        # The look-up is by hash, so its time tells nothing of the token.
        if principal is None or not hmac.compare_digest(token_hash, _hash(token)):
            raise NotAuthenticatedError(
                "Not a token of this hub: `reunite token create` makes one."
            )
        return principal

    def holders(self, tokens: Iterable[str]) -> Mapping[str, Principal]:
        """Who these tokens belong to, without those that open nothing. One transaction."""
        with self._store.read() as tx:
            found = ((token, tx.principal_of(_hash(token))) for token in tokens)
            return {token: owner for token, owner in found if owner is not None}


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
