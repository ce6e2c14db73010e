"""A group of commands whose first one need not be named.

`reunite conflicts FILE` is `reunite conflicts list FILE`; `reunite conflicts decide …` is itself.
A file that is called like a command can be reached as `./decide`, or by naming `list`.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

DEFAULT_COMMAND = "list"


class DefaultCommandGroup(TyperGroup):
    """Puts `list` in front of arguments that name no command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args)
