"""The one URL of a DSNSync: a sealed door in front of its hub, and the client for pages.

    POST /sync/001         what pages say, sealed
    GET  /sync/client.js   the module that says it
    anything else          404

The rule         pages of any origin may knock: what opens the door is a token, never a cookie.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from reunite.core.principal import Principal
from reunite.server.browser import client, module_response
from reunite.server.sealed import DoorKeys, SealedDoor
from reunite.server.sealed.keys import Vault

PATH = "/sync"
SECRET_VARIABLE = "DSN_SYNC_SECRET"

# Whoever holds a token is a page of this backend; the door does not know one from another.
PAGE = Principal(user="page")


def page(request: Request) -> Principal:
    """Who asks: the door has opened, so it is a page."""
    return PAGE


def open_keys(folder: Path, vault: Vault, life_s: float) -> DoorKeys:
    """The door's tokens, encrypted under the environment's secret, or one of its own in `folder`.
    Raises CallerError when they were written under another one."""
    secret = os.environ.get(SECRET_VARIABLE)
    return DoorKeys(folder, secret=secret, vault=vault, life_s=life_s, clock=time.time)


class Entrance:
    """The application that a DSNSync serves."""

    def __init__(self, app: ASGIApp, keys: DoorKeys, *, requests_per_door: int) -> None:
        self.door = SealedDoor(app, keys, path=PATH, requests_per_door=requests_per_door)
        self._door_for_pages = CORSMiddleware(
            self.door, allow_origins=["*"], allow_methods=["POST"], allow_headers=["Content-Type"]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        is_inside = scope["type"] == "http" and path.startswith(PATH + "/")
        if is_inside and path == f"{PATH}/client.js" and scope["method"] == "GET":
            module = client("reunite.dropin.dsn_sync")
            await module_response(Request(scope), module)(scope, receive, send)
        elif is_inside:
            await self._door_for_pages(scope, receive, send)
        else:
            await self.door(scope, receive, send)
