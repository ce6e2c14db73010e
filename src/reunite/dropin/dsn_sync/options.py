"""What a `DSNSync` is made with: looked at once, so that nothing odd is found only at `start`.

The rule         what can never be right raises BadRequestError, which names the argument; what may
                 be right at another time, such as a port that is in use, is `start`'s to say.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, TypeAlias

from reunite.errors import BadRequestError, CallerError

Tls: TypeAlias = str | tuple[str | Path, str | Path]

_TLS = ("auto", "self-signed", "off")


def checked_port(port: Any) -> int:
    """Raises BadRequestError for what is no port."""
    if _is_number(port, int) and 0 <= port <= 65_535:
        return int(port)
    raise _odd("port", "a number from 0 (any free one) to 65535", port)


def checked_host(host: Any) -> str:
    """Raises BadRequestError for what is no name or address."""
    if isinstance(host, str) and host:
        return host
    raise _odd("host", "a name or an address, such as '127.0.0.1'", host)


def checked_tls(tls: Any) -> Tls:
    """Raises BadRequestError for what is neither a word that `tls` knows nor two files."""
    if isinstance(tls, str) and tls in _TLS:
        return tls
    if isinstance(tls, (tuple, list)) and len(tls) == 2 and all(map(_is_path, tls)):
        return tls[0], tls[1]
    raise _odd("tls", "'auto', 'self-signed', 'off', or the files (certificate, key)", tls)


def checked_folder(data_dir: Any) -> Path:
    """Raises BadRequestError for what is no path."""
    if _is_path(data_dir):
        return Path(data_dir)
    raise _odd("data_dir", "the path of a folder", data_dir)


def private_folder(folder: Path) -> Path:
    """Make the folder, for its owner only, if it is not there. Raises CallerError if that fails."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        words = f"The folder {folder} cannot be made ({error.strerror}): give another data_dir."
        raise CallerError(words) from error
    return folder


def checked_place(place: Any) -> Any:
    """The database's address, where it was given as a path its text; `Storage` looks at texts."""
    return os.fspath(place) if isinstance(place, os.PathLike) else place


def checked_requests(requests: Any) -> int:
    """Raises BadRequestError for what is no number of requests."""
    if _is_number(requests, int) and requests >= 1:
        return int(requests)
    raise _odd("requests_per_endpoint", "a whole number from 1", requests)


def checked_life(seconds: Any) -> float:
    """Raises BadRequestError for what is no time that a token can live."""
    if _is_number(seconds, (int, float)) and 0 < seconds < math.inf:
        return float(seconds)
    raise _odd("token_life_s", "a number of seconds above 0, and not without end", seconds)


def _is_number(given: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(given, kind) and not isinstance(given, bool)


def _is_path(given: Any) -> bool:
    return isinstance(given, (str, os.PathLike)) and bool(os.fspath(given))


def _odd(name: str, wanted: str, given: Any) -> BadRequestError:
    return BadRequestError(f"{name} is {wanted}; {repr(given)[:60]} is not.", path=name)
