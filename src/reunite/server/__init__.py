"""The server: an ASGI application over a hub, and a server that embeds it.

    request ─► app (token, body, limits) ─► worker thread: hub.answer ─► JSON or a problem

The rule         this package knows HTTP and the few methods of `HubDoor`; it decides nothing
                 about data. Importing it needs the extra `server`.
"""

from typing import TYPE_CHECKING, Any

from reunite.server.app import create_app
from reunite.server.door import HubDoor
from reunite.server.embedding import ServerThread, serve
from reunite.server.workers import serve_in_workers
from reunite.server.wsgi import create_wsgi_app

if TYPE_CHECKING:
    from reunite.server.signed import SignedTokens

__all__ = [
    "HubDoor",
    "ServerThread",
    "SignedTokens",
    "create_app",
    "create_wsgi_app",
    "serve",
    "serve_in_workers",
]


def __getattr__(name: str) -> Any:
    # What reads signed tokens takes longer to import than the server.
    if name == "SignedTokens":
        from reunite.server.signed import SignedTokens

        return SignedTokens
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
