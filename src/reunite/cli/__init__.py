"""The `reunite` command: one file a command, joined in `app.py`.

The rule         a command opens a hub or a replica, calls its public methods and shows what they
                 return; it decides nothing about data.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    try:
        from reunite.cli.app import app
    except ModuleNotFoundError as exc:
        # This module must import without the extra, to be able to say how to get it.
        if exc.name not in ("rich", "typer"):
            raise
        sys.exit("The `reunite` command needs the extra `cli`: pip install 'reunite[cli]'")
    app(prog_name="reunite")
