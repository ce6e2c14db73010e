"""Who acts: what a request writes through the ORM, ascribed to its user in the history.

    MIDDLEWARE = [… AuthenticationMiddleware …, "reunite.contrib.django.middleware.ActingUser"]

What it is       a wrapper around statements that write, on the hubs' databases, for the length of a
                 request; each such statement and its attribution are of one transaction.
What it is not   needed for anything else: without it, capture is the same, without names.
The rule         what a push writes is the push's; nobody is asked twice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse

from reunite.contrib.django.conf import setting
from reunite.contrib.django.database import is_hubs
from reunite.core.principal import Principal
from reunite.errors import BadRequestError

_WRITES = re.compile(
    r"\s*(?:insert|update|delete|replace|merge|with|copy|truncate)\b", re.IGNORECASE
)


@contextmanager
def acting_as(user: Any) -> Iterator[None]:
    """What the block writes through Django, in this thread, was done by this user.

        with acting_as(request.user):
            Patient.objects.filter(…).update(…)

    user    a user of Django's, its name, or a function that gives one when something is written

    Raises BadRequestError for what is neither.
    """
    ascribing = _Ascribing(user)
    with ExitStack() as stack:
        for using in setting("DATABASES"):
            stack.enter_context(connections[using].execute_wrapper(ascribing))
        yield


def acting_user(using: str) -> Any:
    """The user of Django's who writes now, in this thread, as `ActingUser` or `acting_as` say; None
    if that is nobody who is known."""
    found = [one for one in connections[using].execute_wrappers if isinstance(one, _Ascribing)]
    if not found:
        return None
    return found[-1].user()


class ActingUser:
    """The middleware. Sync and async."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self._is_async:
            return self._answer(request)
        with acting_as(lambda: getattr(request, "user", None)):
            return self._get_response(request)

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        # Connections are those of the thread in which Django runs synchronous code.
        stack = ExitStack()
        acting = acting_as(lambda: getattr(request, "user", None))
        await sync_to_async(stack.enter_context, thread_sensitive=True)(acting)
        try:
            answer: HttpResponse = await self._get_response(request)
            return answer
        finally:
            await sync_to_async(stack.close, thread_sensitive=True)()


class _Ascribing:
    """Wraps the execution of statements: ascribes what those that write have left in the log."""

    def __init__(self, user: Any) -> None:
        self._user = user
        self._is_busy = False

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        connection = context["connection"]
        is_write = isinstance(sql, str) and _WRITES.match(sql) is not None
        if self._is_busy or not is_write or is_hubs(connection):
            return execute(sql, params, many, context)
        self._is_busy = True
        try:
            name = self._name()
            hub = apps.get_app_config("reunite").hub(connection.alias)
            if not name or not hub.is_installed():
                return execute(sql, params, many, context)
            now_ms = time.time_ns() // 1_000_000
            # Without a transaction of the project's, the statement and its attribution are one.
            is_open = connection.in_atomic_block
            block = nullcontext() if is_open else transaction.atomic(using=connection.alias)
            with block, hub.noting(Principal(user=name), now_ms=now_ms):
                answer = execute(sql, params, many, context)
                _fetch(context["cursor"], connection)
            return answer
        finally:
            self._is_busy = False

    def user(self) -> Any:
        """The user of Django's, or None."""
        user = self._user() if callable(self._user) else self._user
        if isinstance(user, str):
            model = get_user_model()
            return model._default_manager.filter(**{model.USERNAME_FIELD: user}).first()
        return user if getattr(user, "is_authenticated", False) else None

    def _name(self) -> str:
        user = self._user() if callable(self._user) else self._user
        if user is None or isinstance(user, str):
            return user or ""
        if not hasattr(user, "get_username"):
            raise BadRequestError(f"{type(user).__name__} is no user of Django's.")
        return str(user.get_username()) if user.is_authenticated else ""


def _fetch(wrapper: Any, connection: Any) -> None:
    """Read what `INSERT … RETURNING` gives, on SQLite: a statement that is not read to its end
    keeps the transaction from ending."""
    cursor = wrapper.cursor
    if connection.vendor == "sqlite" and cursor.description is not None:
        wrapper.cursor = _Fetched(cursor)


class _Fetched:
    """A cursor whose rows are here already; in all else the cursor itself."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._rows = iter(cursor.fetchall())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        """The next row, or None."""
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        """The next rows."""
        return list(islice(self._rows, size))

    def fetchall(self) -> list[Any]:
        """The rows that are left."""
        return list(self._rows)
