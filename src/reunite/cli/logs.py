"""What `reunite serve --log` writes: a line for each request and each trouble, on standard error.

    json      one object a line
    logfmt    name=value, for people and for grep

The rule         the records come from `reunite.access` and `reunite.server`; nothing is added here
                 that they do not say, and they say nothing of values and tokens.
"""

from __future__ import annotations

import enum
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

from reunite.errors import CallerError

_PREFIX = "reunite_"
_FIRST = ["timestamp", "level", "logger", "event"]


class LogForm(enum.StrEnum):
    """How lines are written."""

    JSON = "json"
    LOGFMT = "logfmt"


def start_log(form: LogForm) -> None:
    """Write the records of this process's server from now on. Raises CallerError without the
    extra `logs`."""
    try:
        from structlog import stdlib
        from structlog.processors import (
            JSONRenderer,
            LogfmtRenderer,
            TimeStamper,
            format_exc_info,
        )
    except ImportError as exc:
        raise CallerError(
            "--log needs the package structlog: pip install 'reunite[logs]'."
        ) from exc

    renderer: Any = JSONRenderer() if form is LogForm.JSON else LogfmtRenderer(key_order=_FIRST)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        stdlib.ProcessorFormatter(
            processors=[stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[
                stdlib.add_log_level,
                stdlib.add_logger_name,
                TimeStamper(fmt="iso", utc=True),
                _add_fields,
                format_exc_info,
            ],
        )
    )
    logger = logging.getLogger("reunite")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _add_fields(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The fields that a record brings along, under their own names."""
    record = event.get("_record")
    for name, value in vars(record).items() if record is not None else ():
        if name.startswith(_PREFIX):
            event[name.removeprefix(_PREFIX)] = value
    return event
