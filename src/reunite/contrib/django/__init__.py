"""Django: a project's models sync, with its users, groups and permissions.

    INSTALLED_APPS += ["reunite.contrib.django"]
    path("sync/", include("reunite.contrib.django.urls"))
    manage.py migrate                      tracks the models; `manage.py reunite status` tells

What it is       an app over the hub: the SQL store on Django's own connections, triggers kept by
                 `migrate`, a directory of Django's users. `hub()` is the `Hub` of a database.
What it is not   another engine: what is pushed, pulled and merged is `reunite`'s own.
The rule         nothing happens at import, and nothing is installed when a server starts: only
                 `migrate` and `manage.py reunite triggers` change a database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reunite.contrib.django.hubs import DjangoHub

__all__ = ["hub"]


def hub(using: str = "default") -> DjangoHub:
    """The hub of a database of the project: hooks, history, tokens and all else that `Hub` has.

    Raises CallerError for a database that `REUNITE["DATABASES"]` does not name.
    """
    from django.apps import apps

    found: DjangoHub = apps.get_app_config("reunite").hub(using)
    return found
