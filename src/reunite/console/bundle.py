"""The built page, as the hub serves it: files beside this one, and for all other paths the page
itself, which reads its path.

What it is       `static/`, which `make console` builds from `js/console`, so that a hub needs no
                 Node.
The rule         nothing but files of the bundle is ever read: a path is looked up, never opened.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import mimetypes
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

INDEX = "index.html"

# What a page may load: what comes from where it came from, and nothing that stands in it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'self'; form-action 'none'; "
    "frame-ancestors 'none'"
)

# What the page has where it is to learn under which path it was served.
_BASE = '<base href="/">'

_NAMED_BY_CONTENT = re.compile(r"[-.][\w-]{8,}\.[a-z0-9]+$", re.IGNORECASE)
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html; charset=utf-8"}


class File(NamedTuple):
    """A file of the bundle, as it is and compressed."""

    plain: bytes
    packed: bytes
    media_type: str
    tag: str


@cache
def bundle() -> Mapping[str, File]:
    """The files by their paths, read once."""
    root = files("reunite.console").joinpath("static")
    return {path: _file(path, content) for path, content in _walk(root, "")}


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_bytes()


def _file(path: str, content: bytes) -> File:
    suffix = path[path.rfind(".") :]
    guessed = _TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    return File(
        content,
        gzip.compress(content, mtime=0),
        guessed,
        f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    )


def answer_file(request: Request, path: str, base: str) -> Response:
    """The file of this path, or the page for one that is none. `base` is the console's own path,
    such as `/sync/console/`."""
    found = bundle().get(path)
    if found is None or path == INDEX:
        return _page(base)
    headers = {
        "ETag": found.tag,
        "Cache-Control": "public, max-age=31536000, immutable"
        if _NAMED_BY_CONTENT.search(path)
        else "no-cache",
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": POLICY,
    }
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = found.plain
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"], content = "gzip", found.packed
    return Response(content, headers=headers, media_type=found.media_type)


def _page(base: str) -> Response:
    page = bundle()[INDEX].plain.decode()
    place = f'<base href="{html.escape(base, quote=True)}">'
    return Response(
        page.replace(_BASE, place, 1),
        headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"},
        media_type="text/html; charset=utf-8",
    )
