"""The token of a replica, remembered beside it in `FILE-token`, for its owner's eyes only.

It is not in the replica itself: that file is copied, mailed and backed up. The order in which a
token is looked for: `--token`, the variable REUNITE_TOKEN, the file.
"""

from __future__ import annotations

import os
from pathlib import Path

from reunite.cli.options import TOKEN_VARIABLE
from reunite.errors import NotAuthenticatedError
from reunite.replica.login import Login, keep_token_text, kept_login, token_file

_OWNER_ONLY = 0o600


def token_text(replica: Path) -> str | None:
    """What is remembered for this replica, if anything is."""
    try:
        return token_file(replica).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def remembered_token(replica: Path, given: str | None) -> str | Login:
    """The token given, or else the one or the log-in remembered. Raises NotAuthenticatedError."""
    if given:
        return given
    found = token_text(replica)
    if found is None:
        raise NotAuthenticatedError(
            f"There is no token for {replica}: give one with --token or {TOKEN_VARIABLE}, or log "
            f"in with `reunite login {replica} --user NAME`."
        )
    return kept_login(replica, None) or found


def remember_token(replica: Path, token: str | None) -> None:
    """Keep the token for the next sync, unless it came from the environment."""
    if not token or token == os.environ.get(TOKEN_VARIABLE):
        return
    if token_text(replica) != token:
        keep_token_text(replica, token)


def forget_token(replica: Path, former: str | None) -> None:
    """Remember what was remembered before, or nothing."""
    if former is None:
        token_file(replica).unlink(missing_ok=True)
    else:
        remember_token(replica, former)


def protect_token(replica: Path) -> None:
    """Make the token's file its owner's alone, where files have such rights."""
    path = token_file(replica)
    if os.name == "posix" and path.exists():
        path.chmod(_OWNER_ONLY)
