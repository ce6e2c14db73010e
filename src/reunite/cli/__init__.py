"""The `reunite` command: one file a command, joined in `app.py`.

The rule         a command opens a hub or a replica, calls its public methods and shows what they
                 return; it decides nothing about data.
"""

from __future__ import annotations

import io
import os
import sys

_INTERRUPTED = 130  # what shells make of Ctrl-C


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    _make_streams_writable()
    try:
        _run()
    except KeyboardInterrupt:  # before typer was there to end quietly
        sys.exit(_INTERRUPTED)


def _make_streams_writable() -> None:
    """Let nothing that is printed end the command: a letter that the terminal's encoding lacks is
    spelled out, and a stream that was closed takes everything."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _run() -> None:
    try:
        from reunite.cli.app import app
    except ModuleNotFoundError as exc:
        # This module must import without the extra, to be able to say how to get it.
        if exc.name not in ("rich", "typer"):
            raise
        sys.exit("The `reunite` command needs the extra `cli`: pip install 'reunite[cli]'")
    app(prog_name="reunite")
