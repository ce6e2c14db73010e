"""The client for browsers, as the hub serves it: one module of JavaScript, built from `js/`.

    <script type="module">import {connect} from "/sync/client.js"</script>

What it is       `client.js` beside this file, which `make client` builds and a test compares with a
                 fresh build; so a hub needs no Node.
What it is not   a secret: it is served without a token, to pages of any origin.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from reunite.errors import BadRequestError
from reunite.protocol.live import LAST_EVENT_HEADER
from reunite.protocol.routes import PROTOCOL_HEADER
from reunite.server.visits import visit_of

JAVASCRIPT_TYPE = "text/javascript"

# How long a browser may remember which origins were allowed.
PREFLIGHT_S = 600


class Client(NamedTuple):
    """The module, as it is and compressed, and the tag by which a browser knows it."""

    plain: bytes
    packed: bytes
    tag: str


@cache
def client(package: str = "reunite.server") -> Client:
    """The module of a package, read once."""
    plain = files(package).joinpath("client.js").read_bytes()
    tag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
    return Client(plain, gzip.compress(plain, mtime=0), tag)


async def answer_client(request: Request) -> Response:
    """The module; nothing but its tag for a browser that has it."""
    visit_of(request.scope).operation = "client"
    return module_response(request, client())


def module_response(request: Request, module: Client) -> Response:
    """A module; nothing but its tag for a browser that has it."""
    headers = {
        "ETag": module.tag,
        # Keep it, and ask each time whether it is still the one.
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",
    }
    if module.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(module.packed, headers=headers, media_type=JAVASCRIPT_TYPE)
    return Response(module.plain, headers=headers, media_type=JAVASCRIPT_TYPE)


def for_pages_of(origins: tuple[str, ...]) -> list[Middleware]:
    """What lets pages of other origins talk to the hub: `https://shop.example`, or `*` for all.
    They send their token themselves, never cookies. Raises BadRequestError."""
    for origin in origins:
        if origin != "*" and (origin.count("/") != 2 or "://" not in origin):
            raise BadRequestError(
                f"{origin!r} is no origin: write scheme, host and port, such as "
                "https://shop.example, without a path."
            )
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type", "Content-Encoding", LAST_EVENT_HEADER),
            expose_headers=(PROTOCOL_HEADER, "Retry-After"),
            max_age=PREFLIGHT_S,
        )
    ]
