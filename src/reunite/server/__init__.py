"""The server: an ASGI application over a hub, and a server that embeds it.

    request ─► app (token, body, limits) ─► worker thread: hub.answer ─► JSON or a problem

The rule         this package knows HTTP and the few methods of `HubDoor`; it decides nothing
                 about data. Importing it needs the extra `server`.
"""

from reunite.server.app import create_app
from reunite.server.door import HubDoor
from reunite.server.embedding import ServerThread, serve
from reunite.server.workers import serve_in_workers

__all__ = ["HubDoor", "ServerThread", "create_app", "serve", "serve_in_workers"]
