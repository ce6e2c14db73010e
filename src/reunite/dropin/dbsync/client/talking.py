"""What a client says to a server besides syncing, and what programs may set about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reunite.dropin.dbsync.client import errors, serverquery
from reunite.dropin.dbsync.client.line import is_good
from reunite.dropin.dbsync.client.net import (
    Decoder,
    Encoder,
    Headers,
    Monitor,
    Net,
    NetworkError,
    options,
)


class Talking:
    """The part of a client that needs no database."""

    def __init__(self) -> None:
        self._suggests: Callable[[int | None, str, Any], bool] = lambda code, reason, answer: False
        self.net = Net()

    def send(
        self, method: str, url: str, data: Any, options: Mapping[str, Any]
    ) -> tuple[int, str, Any]:
        """Status, reason and body of an answer. Raises NetworkError."""
        return self.net.ask(method, url, data, **options)

    def refused(self, code: int, reason: str, answer: Any) -> errors.PushRejected:
        """What a refusal of a push is."""
        suggests = isinstance(answer, Mapping) and answer.get("suggest_pull") is True
        if suggests or self._suggests(code, reason, answer):
            return errors.PullSuggested(code, reason, answer)
        return errors.PushRejected(code, reason, answer)

    def query_server(
        self,
        query_url: str,
        encode: Encoder = None,
        decode: Decoder = None,
        headers: Headers = None,
        timeout: float | None = None,
        monitor: Monitor = None,
    ) -> Callable[..., list[Any] | None]:
        """A function `query(cls, **filters)` that asks the server for objects of a class whose
        attributes equal the filters; None where it knows no such class or column. The objects
        belong to no session. It raises serverquery.BadResponseError, NetworkError."""

        def query(model: type, **filters: Any) -> list[Any] | None:
            question = serverquery.question(model, filters)
            told = {**options(encode, decode, headers, timeout), "monitor": monitor}
            code, reason, answer = self.send("GET", query_url, question, told)
            tell = monitor or (lambda status: None)
            try:
                found = serverquery.objects(model, code, reason, answer)
            except serverquery.BadResponseError as exc:
                tell({"status": "error", "reason": str(exc)})
                raise
            tell({"status": "done"})
            return found

        return query

    def isready(self, ping_url: str) -> bool:
        """Whether the server answers there with success."""
        try:
            code, _, _ = self.send("HEAD", ping_url, None, {})
        except NetworkError:
            return False
        return is_good(code)

    def isconnected(self, ping_url: str) -> bool:
        """Whether anything answers there."""
        try:
            self.send("HEAD", ping_url, None, {})
        except NetworkError:
            return False
        return True

    # -- what the original lets programs set --------------------------------------------------

    def set_pull_suggestion_criterion(self, predicate: Any) -> Any:
        """`predicate(code, reason, response)` says whether a refusal means: pull first."""
        assert callable(predicate), "criterion must be a function"
        self._suggests = predicate
        return predicate

    def set_default_encoder(self, encode: Any) -> Any:
        """What makes a body of a dictionary; `json.dumps` at first."""
        assert callable(encode), "encoder must be a function"
        self.net.encode = encode
        return encode

    def set_default_decoder(self, decode: Any) -> Any:
        """What reads an answer's body; `json.loads` at first."""
        assert callable(decode), "decoder must be a function"
        self.net.decode = decode
        return decode

    def set_default_headers(self, headers: Any) -> Any:
        """The headers of every request."""
        assert isinstance(headers, dict), "headers must be a dictionary"
        self.net.headers = headers
        return headers

    def set_default_timeout(self, timeout: Any) -> Any:
        """Seconds that an answer may take; 0 or less for ever."""
        assert isinstance(timeout, int | float), "timeout must be a number"
        self.net.timeout_s = timeout
        return timeout

    def set_authentication_callback(self, authenticate: Any) -> Any:
        """`authenticate(url)` gives an authentication object as `requests` has them, or None."""
        assert callable(authenticate), "authentication callback must be a function"
        self.net.authenticate = authenticate
        return authenticate
