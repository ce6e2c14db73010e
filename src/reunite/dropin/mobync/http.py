"""The `/sync` endpoint for Flask, ready made.

    200     the result of `apply`
    400     what was asked cannot be done: `success` is false, `code` and `message` say why, and
            `diff` is the id of the diff that is to blame, if it is one
    401     `authenticate` knows nobody of this token

The rule         what is not an error of ours is logged here, and its text stays here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from reunite.dropin.mobync.errors import MobyncError, diff_of
from reunite.errors import ReuniteError

if TYPE_CHECKING:
    from flask import Blueprint

    from reunite.dropin.mobync.apply import Mobync

logger = logging.getLogger("reunite.mobync")

# What a device may ask beside the three keys of mobync.
_OPTIONS = ("limit", "version")


def flask_blueprint(
    mobync: Mobync,
    authenticate: Callable[[str], str | None],
    *,
    path: str = "/sync",
    name: str = "mobync",
) -> Blueprint:
    """A blueprint with `POST /sync`, which takes `auth_token`, `logical_clock` and `diffs`.

    authenticate   gives the owner's id for an `auth_token`, None for one that it does not know
    path           where the route is
    name           the blueprint's, for applications with several
    """
    from flask import Blueprint, jsonify, request

    blueprint = Blueprint(name, __name__)

    @blueprint.post(path)
    def sync() -> Any:
        status, body = answer_of(mobync, authenticate, request.get_json(silent=True))
        return jsonify(body), status

    return blueprint


def answer_of(
    mobync: Mobync, authenticate: Callable[[str], str | None], asked: Any
) -> tuple[int, dict[str, Any]]:
    """Status and body for a request's body; what every framework's endpoint can use."""
    try:
        if not isinstance(asked, dict):
            raise MobyncError("The body is no JSON object.")
        for key in ("auth_token", "logical_clock", "diffs"):
            if key not in asked:
                raise MobyncError(f"The body has no {key!r}.")
        if not isinstance(asked["diffs"], list):
            raise MobyncError("`diffs` is no array.")
        owner = authenticate(asked["auth_token"])
        if owner is None:
            return 401, _refusal("not-authenticated", "Nobody is known by this token.")
        return 200, mobync.apply(asked["logical_clock"], asked["diffs"], owner, **_options(asked))
    except ReuniteError as exc:
        return 400, _refusal(exc.code, exc.message, diff_of(exc))
    except Exception as exc:
        # The application's validators and storage may raise anything; mobync's endpoint answers
        # 400 to all of it, and devices are told no more than that.
        logger.exception("A sync failed.")
        message = "The sync failed. Nothing of it was stored: try later."
        return 400, _refusal("error", message, diff_of(exc))


def _options(asked: Mapping[str, Any]) -> dict[str, int]:
    options = {name: asked[name] for name in _OPTIONS if asked.get(name) is not None}
    for name, value in options.items():
        if type(value) is not int:
            raise MobyncError(f"`{name}` is no integer.")
    return options


def _refusal(code: str, message: str, diff_id: str | None = None) -> dict[str, Any]:
    blamed = {} if diff_id is None else {"diff": diff_id}
    return {"success": False, "code": code, "message": message, **blamed}
