"""Flask: a hub beside an application's routes, with the application's own sign-in.

    reunite = Reunite(app, hub, authenticate=current_principal)      # at /sync
    reunite = Reunite(hub=hub); reunite.init_app(app)                # in an application factory

What it is       one route under a prefix; everything behind it is the hub's WSGI application.
What it is not   a way to stream: Flask is WSGI, so live replicas ask once a second.
The rule         requests pass through Flask: its context, `before_request` functions and session
                 are there when it is asked who sent one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from flask import Flask, request
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.wrappers import Response

from reunite.core.principal import Principal
from reunite.errors import CallerError
from reunite.hub import Hub

PREFIX = "/sync"

# The application's own: who sent the request under way, as a principal or the name of a user; None
# for nobody, and so is `abort(401)` or `abort(403)`. It has Flask's `request`, `session` and `g`.
Authenticate: TypeAlias = Callable[[], Principal | str | None]


class Reunite:
    """The extension. Without `authenticate`, the hub's own tokens are asked for.

    app            may be given later, with `init_app`; one application for each object
    hub            stays yours to close
    prefix         where the hub is; a replica's URL ends with it
    authenticate   who sent the request under way
    options        limits, as `Hub.wsgi` takes them
    """

    def __init__(
        self,
        app: Flask | None = None,
        hub: Hub | None = None,
        *,
        prefix: str = PREFIX,
        authenticate: Authenticate | None = None,
        **options: Any,
    ) -> None:
        self.hub = hub
        self.prefix = "/" + prefix.strip("/")
        self._authenticate = authenticate
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, hub: Hub | None = None) -> None:
        """Mount the hub. Raises CallerError if there is none, or the prefix is everything."""
        self.hub = hub or self.hub
        if self.hub is None:
            raise CallerError("Reunite needs a hub: Reunite(app, Hub(engine)).")
        if self.prefix == "/":
            raise CallerError("The hub needs a place of its own: give a prefix such as '/sync'.")
        asked = None if self._authenticate is None else self._principal
        self._wsgi = self.hub.wsgi(authenticate=asked, **self._options)
        app.add_url_rule(
            f"{self.prefix}/<path:path>",
            endpoint=f"reunite:{self.prefix}",
            view_func=self.view,
            methods=["GET", "POST"],
            provide_automatic_options=False,
        )
        app.extensions["reunite"] = self

    def view(self, path: str) -> Response:
        """The route's function; exempt it from protection of forms: `csrf.exempt(reunite.view)`."""
        environ = dict(request.environ)
        name = environ.get("SCRIPT_NAME", "")
        environ["SCRIPT_NAME"] = name + self.prefix
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(self.prefix)
        return Response.from_app(self._wsgi, environ)

    def _principal(self, environ: object) -> Principal | None:
        assert self._authenticate is not None
        try:
            found = self._authenticate()
        except (Unauthorized, Forbidden):
            return None
        return Principal(user=found) if isinstance(found, str) else found
