"""A password as it is typed: never on the command line, where others can read it."""

from __future__ import annotations

import os
import sys

import typer

PASSWORD_VARIABLE = "REUNITE_PASSWORD"


def typed_password(prompt: str, *, is_new: bool = False) -> str:
    """The variable REUNITE_PASSWORD, what is typed unseen, or a line of stdin."""
    if found := os.environ.get(PASSWORD_VARIABLE):
        return found
    if sys.stdin.isatty():
        typed: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=is_new, err=True)
        return typed
    return sys.stdin.readline().rstrip("\r\n")
