"""The client for browsers, as the hub serves it: a module of JavaScript, built from `js/`.

    <script type="module">import {connect} from "/sync/client.js"</script>

What it is       `client.js` beside this file, and in `client/` what most visits never need and it
                 loads by itself. `make client` builds them and a test compares them with a fresh
                 build; so a hub needs no Node.
What it is not   a secret: it is served without a token, to pages of any origin.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.exceptions import HTTPException
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
    return _read(files(package).joinpath("client.js"))


@cache
def parts() -> Mapping[str, Client]:
    """What the module loads when it is needed, by file name, read once."""
    folder = files("reunite.server").joinpath("client")
    return {file.name: _read(file) for file in folder.iterdir() if file.name.endswith(".js")}


def _read(file: Traversable) -> Client:
    plain = file.read_bytes()
    tag = f'"{hashlib.sha256(plain).hexdigest()[:32]}"'
    return Client(plain, gzip.compress(plain, mtime=0), tag)


async def answer_client(request: Request) -> Response:
    """The module; nothing but its tag for a browser that has it."""
    visit_of(request.scope).operation = "client"
    return module_response(request, client())


async def answer_part(request: Request) -> Response:
    """A part of the module. Its name tells what is in it: a part of another release is not here."""
    visit_of(request.scope).operation = "client"
    part = parts().get(request.path_params["name"])
    if part is None:
        raise HTTPException(404)
    return module_response(request, part, keep="public, max-age=31536000, immutable")


def module_response(request: Request, module: Client, keep: str = "no-cache") -> Response:
    """A module; nothing but its tag for a browser that has it. `keep`: for how long it may; unless
    said otherwise it asks each time whether it is still the one."""
    headers = {
        "ETag": module.tag,
        "Cache-Control": keep,
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
