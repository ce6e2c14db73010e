"""The transport over HTTP: one request, one answer, and an error that says whose turn it is.

    answered by a hub, 200                           the body
    answered by a hub, a problem                     the error that it names
    429, 5xx, 408, no answer, cut answer             HubUnreachableError: try later
    answered by something that is no hub, redirect   CallerError: check the URL; once this transport
                                                     has reached its hub: HubUnreachableError, as
                                                     a hotel's login page passes

What it is not   a place that retries (the driver does), except once with a new token after a 401.
The rule         the token goes to the hub's own URL only, and into no error, repr or log.
"""

from __future__ import annotations

import email.utils
import ipaddress
import re
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Self, TypeVar
from urllib.parse import quote

import httpx2
import msgspec

from reunite.errors import (
    BadRequestError,
    CallerError,
    HubUnreachableError,
    LimitExceededError,
    NotAuthenticatedError,
)
from reunite.protocol.codec import decode
from reunite.protocol.encoding import ACCEPT_ENCODING, ENCODINGS, compress
from reunite.protocol.live import EVENT_TYPE, LAST_EVENT_HEADER, LiveRequest
from reunite.protocol.pack import PACK_TYPE
from reunite.protocol.problem import Problem, error_from
from reunite.protocol.query import QueryRequest
from reunite.protocol.routes import JSON_TYPE, PROBLEM_TYPE, PROTOCOL_HEADER, ROUTES, TOKEN_ROUTES
from reunite.replica.transport import LiveEvent

# How long the hub may take to begin an answer, or to go on with one.
TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10.0

# A stream that is silent for longer is dead: hubs give a sign of life every 15 seconds.
SILENCE_S = 45.0

# Servers and proxies take URLs of 8,000 bytes, headers included.
URL_LENGTH_MAX = 6_000

# Shorter requests travel as they are.
COMPRESS_BYTES_MIN = 4 * 1024

# An answer may be larger than a page (a row is never cut), but not without end.
ANSWER_BYTES_MAX = 512 * 1024 * 1024

# Shorter than the hub keeps an idle connection, so that none is closed while a request travels.
_KEEP_ALIVE_S = 30.0
_CONNECTIONS_MAX = 4
# The status of a hub that has no streams, behind a server that could not hold them.
NO_STREAMS = 204
_TRY_LATER = frozenset({408, 429})
Result = TypeVar("Result")

# The largest number that TCP has for a port.
PORT_MAX = 65_535

_VISIBLE_ASCII = re.compile(r"[!-~]+")


class HttpTransport:
    """Carries requests to the hub mounted at `url`, with connections that are kept open.

    url          http or https, up to and with the hub's mount point
    token        the bearer token, or a function that gives one; it is asked again after a 401
    timeout_s    how long the hub may take to begin an answer, or to go on with one
    tls          how to check certificates, where the system's own way does not do
    compression  whether bodies are compressed; by default except on the loopback interface,
                 where it costs more than it saves

    May be used from several threads, and `close()` be called twice.
    """

    is_remote = True

    def __init__(
        self,
        url: str,
        *,
        token: str | Callable[[], str],
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        compression: bool | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        parsed = _parsed(url)
        self.url = str(parsed)
        is_loopback = _is_loopback(parsed.host)
        self._base = self.url.rstrip("/") + "/"
        self._ask_token = None if isinstance(token, str) else token
        self._token = token if isinstance(token, str) else None
        self._compresses = not is_loopback if compression is None else compression
        self._request_encoding = "gzip"  # until the hub says that it takes a better one
        self._silence_s = silence_s
        self._has_reached_hub = False
        self._is_closed = False
        verify: ssl.SSLContext | bool = tls if tls is not None else parsed.scheme == "https"
        self._client = httpx2.Client(
            # Certificates are loaded only where they are needed: it takes a tenth of a second.
            verify=verify,
            trust_env=not is_loopback,  # a proxy is not asked for this very machine
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
            limits=httpx2.Limits(max_connections=_CONNECTIONS_MAX, keepalive_expiry=_KEEP_ALIVE_S),
            headers={
                "Accept": f"{JSON_TYPE}, {PACK_TYPE}, {PROBLEM_TYPE}",
                "Accept-Encoding": ACCEPT_ENCODING if self._compresses else "identity",
                "User-Agent": "reunite",
            },
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"<HttpTransport {self.url}>"

    def call(self, operation: str, body: bytes) -> bytes:
        method, url, parameters = self._address(operation, body)
        content, headers = self._packed(body) if method == "POST" else (None, {})

        def exchange(authorization: dict[str, str]) -> bytes:
            return self._exchange(method, url, parameters, content, headers | authorization)

        return self._with_token(exchange)

    def call_without_token(self, operation: str, body: bytes) -> bytes:
        """An operation of `protocol.routes.TOKEN_ROUTES`."""
        url = self._base + TOKEN_ROUTES[operation].path
        return self._exchange("POST", url, {}, body, {"Content-Type": JSON_TYPE})

    def live(self, request: LiveRequest) -> HttpEvents | None:
        parameters = {"protocol": str(request.protocol), "replica": request.replica}
        if request.tables is not None:
            parameters["tables"] = msgspec.json.encode(request.tables).decode()
        if request.where:
            parameters["where"] = msgspec.json.encode(request.where).decode()
        url = httpx2.URL(self._base + ROUTES["live"].path, params=parameters)
        if len(str(url)) > URL_LENGTH_MAX:
            return None

        def open_stream(authorization: dict[str, str]) -> HttpEvents | None:
            wanted = {
                "Accept": f"{EVENT_TYPE}, {PROBLEM_TYPE}",
                "Accept-Encoding": "identity",
                LAST_EVENT_HEADER: request.cursor,
            }
            timeout = httpx2.Timeout(self._silence_s, connect=CONNECT_TIMEOUT_S)
            with self._translated():
                response = self._client.send(
                    self._client.build_request(
                        "GET", url, headers=wanted | authorization, timeout=timeout
                    ),
                    stream=True,
                )
                is_stream = response.status_code == 200 and _media_type(response) == EVENT_TYPE
                if self._is_of_hub(response) and is_stream:
                    return HttpEvents(response, self._translated)
                if self._is_of_hub(response) and response.status_code == NO_STREAMS:
                    response.close()
                    return None
                try:
                    answer = _read(response)
                finally:
                    response.close()
            self._judged(response, answer)
            raise self._no_hub(response, _media_type(response))

        return self._with_token(open_stream)

    def _with_token(self, ask: Callable[[dict[str, str]], Result]) -> Result:
        """Ask with the token at hand, and once more with a new one if it is refused."""
        token = self._current_token()
        try:
            return ask({"Authorization": f"Bearer {token}"})
        except NotAuthenticatedError:
            renewed = self._renewed_token(token)
            if renewed is None:
                raise
        return ask({"Authorization": f"Bearer {renewed}"})

    def close(self) -> None:
        self._is_closed = True
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_is_closed", True):
            warnings.warn(f"{self!r} was dropped open: close it", ResourceWarning, stacklevel=2)
            self.close()

    # --- The request --------------------------------------------------------------------------

    def _address(self, operation: str, body: bytes) -> tuple[str, str, dict[str, str]]:
        """Method, URL and parameters; a GET says in them what its body would say."""
        route = ROUTES[operation]
        path, parameters = route.path, {}
        if operation == "query":
            query = decode(body, QueryRequest)
            path = path.replace("{table}", quote(query.table, safe=""))
            asked = {"where": query.where or None, "after": query.after, "limit": query.limit}
            parameters = {
                name: msgspec.json.encode(value).decode()
                for name, value in asked.items()
                if value is not None
            }
        return route.method, self._base + path, parameters

    def _packed(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        headers = {"Content-Type": JSON_TYPE}
        if self._compresses and len(body) > COMPRESS_BYTES_MIN:
            headers["Content-Encoding"] = self._request_encoding
            body = compress(body, self._request_encoding)
        return body, headers

    def _current_token(self) -> str:
        if self._token is None:
            assert self._ask_token is not None
            self._token = self._ask_token()
        return _checked(self._token)

    def _renewed_token(self, refused: str) -> str | None:
        """Another token than the one refused, if there is a function that has one."""
        if self._ask_token is None:
            return None
        if self._token == refused:  # else another thread has asked meanwhile
            self._token = self._ask_token()
        return _checked(self._token) if self._token not in (None, refused) else None

    # --- The answer ---------------------------------------------------------------------------

    def _exchange(
        self,
        method: str,
        url: str,
        parameters: Mapping[str, str],
        content: bytes | None,
        headers: Mapping[str, str],
    ) -> bytes:
        with (
            self._translated(),
            self._client.stream(
                method, url, params=parameters or None, content=content, headers=dict(headers)
            ) as response,
        ):
            answer = _read(response)
        return self._judged(response, answer)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the driver's errors into ours."""
        try:
            yield
        except httpx2.TimeoutException as exc:
            raise HubUnreachableError(
                f"{self.url} does not answer in time: sync again when it does."
            ) from exc
        except httpx2.RequestError as exc:
            raise HubUnreachableError(
                f"{self.url} cannot be reached ({_reason(exc)}): sync again when it can."
            ) from exc

    def _judged(self, response: httpx2.Response, answer: bytes) -> bytes:
        """The body of a success. Raises what any other answer means."""
        status = response.status_code
        media_type = _media_type(response)
        is_hub = self._is_of_hub(response)
        if is_hub:
            taken = response.headers.get("accept-encoding", "")
            self._request_encoding = next((e for e in ENCODINGS if e in taken), "gzip")
            if status == 200 and media_type in (JSON_TYPE, PACK_TYPE):
                return answer
        problem = _problem_in(answer) if is_hub and media_type == PROBLEM_TYPE else None
        if status in _TRY_LATER or status >= 500:
            raise HubUnreachableError(
                str(error_from(problem)) if problem else f"{self.url} answers {status}: try later.",
                retry_after_s=_retry_after_s(response, problem),
                has_answered=is_hub,
            )
        if problem is not None:
            raise error_from(problem)
        raise self._no_hub(response, media_type)

    def _is_of_hub(self, response: httpx2.Response) -> bool:
        is_hub = PROTOCOL_HEADER in response.headers
        self._has_reached_hub = self._has_reached_hub or is_hub
        return is_hub

    def _no_hub(
        self, response: httpx2.Response, media_type: str
    ) -> CallerError | HubUnreachableError:
        if self._has_reached_hub:
            return HubUnreachableError(
                f"Something else than the hub answers at {self.url}, perhaps the login page of "
                "this network: sync again when the hub can be reached."
            )
        if response.is_redirect:
            return CallerError(
                f"{self.url} redirects to {_without_query(response)}: if you trust it, use the "
                "URL it leads to, without the part that begins with v1."
            )
        what = media_type or "nothing"
        return CallerError(
            f"There is no hub at {self.url} (it answers {response.status_code} with {what}): "
            "check host, port and path. The path is the one that the hub is mounted under; "
            "`reunite serve` prints the whole URL."
        )


class HttpEvents:
    """A stream of events over HTTP."""

    def __init__(
        self,
        response: httpx2.Response,
        translated: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._response = response
        self._translated = translated
        self._is_closed = False

    def __iter__(self) -> Iterator[LiveEvent]:
        try:
            with self._translated():
                for found in httpx2.EventSource(self._response, max_event_size=ANSWER_BYTES_MAX):
                    yield LiveEvent(name=found.event, data=found.data)
        except (HubUnreachableError, httpx2.StreamError):
            if not self._is_closed:
                raise
        finally:
            self._response.close()

    def close(self) -> None:
        self._is_closed = True
        stream = self._response.extensions.get("network_stream")
        found = None if stream is None else stream.get_extra_info("socket")
        if found is not None:
            # Whoever waits in a read is woken; closing the socket alone would not do that.
            with suppress(OSError):
                socket.socket.shutdown(found, socket.SHUT_RDWR)


def _media_type(response: httpx2.Response) -> str:
    text: str = response.headers.get("content-type", "")
    return text.partition(";")[0].strip().lower()


def _parsed(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError) as exc:
        raise BadRequestError("The hub's URL cannot be read.", path="url") from exc
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadRequestError(
            "The hub's URL must begin with http:// or https:// and a host.", path="url"
        )
    if parsed.port is not None and not 0 < parsed.port <= PORT_MAX:
        raise BadRequestError(f"A port lies between 1 and {PORT_MAX}.", path="url")
    if parsed.userinfo or parsed.query or parsed.fragment:
        # Not repeated in the message: it may hold a secret.
        raise BadRequestError(
            "The hub's URL is host, port and path only: no user, no query, no fragment. "
            "Give the token as `token`.",
            path="url",
        )
    return parsed


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _checked(token: str) -> str:
    """The token, if it can stand in a header. It is not repeated in the error."""
    if not _VISIBLE_ASCII.fullmatch(token):
        raise NotAuthenticatedError(
            "The token is empty or has characters that no token has: copy it again, whole and "
            "without spaces or line ends."
        )
    return token


def _read(response: httpx2.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise LimitExceededError(
                f"The hub's answer is longer than {ANSWER_BYTES_MAX} bytes.",
                limit="ANSWER_BYTES_MAX",
            )
        parts.append(part)
    return b"".join(parts)


def _problem_in(answer: bytes) -> Problem | None:
    try:
        return decode(answer, Problem)
    except (BadRequestError, LimitExceededError):
        return None


def _retry_after_s(response: httpx2.Response, problem: Problem | None) -> float | None:
    """What the problem or the header says: seconds, or a date (RFC 9110)."""
    if problem is not None and problem.retry_after_s is not None:
        return problem.retry_after_s
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _reason(error: httpx2.RequestError) -> str:
    """What the driver says, in one line; it knows addresses and errors, not headers."""
    if "WRONG_VERSION_NUMBER" in str(error):
        return "what answers there speaks no TLS: perhaps its URL begins with http://"
    return " ".join(str(error).split()) or type(error).__name__


def _without_query(response: httpx2.Response) -> str:
    """Where a redirection leads, without what may be secret in it."""
    return response.headers.get("location", "").partition("?")[0].partition("#")[0]
