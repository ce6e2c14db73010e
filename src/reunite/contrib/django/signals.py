"""What Django tells of its users and permissions, told to hubs.

    a password changed, a user gone  ──► the user's log-ins and tokens end
    a membership, permission, filter ──► streams are opened anew, with the rights of now;
                                         `noting_once` says so once for many

Requests need none of this: they ask the directory each time.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models.signals import post_delete, post_save

from reunite.contrib.django.conf import setting
from reunite.engine.directory import GRANTS_STAMP, MEMBERS_STAMP

# Whether rights have changed in the block of `noting_once`; None outside of one.
_NOTED: ContextVar[list[bool] | None] = ContextVar("reunite_noted", default=None)

_DIRECTORY = ("Organization", "UserOrganization", "ModelPermission", "DataFilter")


def connect() -> None:
    """Listen. Safe to repeat."""
    post_save.connect(_end_log_ins, sender=get_user_model(), dispatch_uid="reunite-password")
    post_delete.connect(_end_all, sender=get_user_model(), dispatch_uid="reunite-user-gone")
    for name in _DIRECTORY:
        model = apps.get_model("reunite", name)
        for signal in (post_save, post_delete):
            signal.connect(_note_rights, sender=model, dispatch_uid=f"reunite-{name}-{id(signal)}")


def _end_log_ins(sender: Any, instance: Any, created: bool, raw: bool, **_: Any) -> None:
    # `set_password` leaves what it was given there until the user is saved.
    if not (created or raw or getattr(instance, "_password", None) is None):
        _end_all(sender, instance)


def _end_all(sender: Any, instance: Any, **_: Any) -> None:
    config = apps.get_app_config("reunite")
    for using in setting("DATABASES"):
        hub = config.hub(using)
        if hub.is_installed():
            hub.revoke(user=instance.get_username())


@contextmanager
def noting_once() -> Iterator[None]:
    """Rights that change in the block are told when it ends, and once. Not told if it raises: let
    the block be one transaction."""
    noted: list[bool] = []
    token = _NOTED.set(noted)
    try:
        yield
    finally:
        _NOTED.reset(token)
    if noted:
        _note()


def _note_rights(sender: Any, raw: bool = False, **_: Any) -> None:
    if raw:
        return
    noted = _NOTED.get()
    if noted is None:
        _note()
    else:
        noted.append(True)


def _note() -> None:
    config = apps.get_app_config("reunite")
    for using in setting("DATABASES"):
        hub = config.hub(using)
        if hub.is_installed():
            hub.note_rights({name: secrets.token_hex(8) for name in (GRANTS_STAMP, MEMBERS_STAMP)})
