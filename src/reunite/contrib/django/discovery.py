"""Which models of a project are tracked, and what is tracked of them.

    named in MODELS ──► tracked
    its app is Django's own, or one for log-ins; EXCLUDE_…; proxy, swapped, unmanaged;
    a name like a secret's ──► not tracked, with the reason
    everything else ──► tracked, parents and many-to-many tables with it

What it is       reading of `_meta`: tables, keys, tenants, columns that look like secrets.
What it is not   a schema of its own: what a column is, the database says.
The rule         columns that look like secrets travel in neither direction unless they are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.apps import apps
from django.db import connections, models, router

from reunite.contrib.django.conf import BULK, setting
from reunite.core.columns import Column
from reunite.core.rules import Rules
from reunite.core.withheld import looks_secret

# Django's own, ours, and what keeps log-ins.
OWN_APPS = frozenset(
    {"admin", "auth", "contenttypes", "messages", "sessions", "sites", "staticfiles", "reunite",
     "sb_sync", "authtoken", "rest_framework", "simple_history", "account", "socialaccount", "mfa",
     "axes", "knox", "oauth2_provider", "otp_static", "otp_totp", "token_blacklist",
     "django_celery_beat", "django_celery_results"}
)  # fmt: skip

_SECRET_MODEL = re.compile(
    r"(?:Password|Secret|Token|Credential|Session|ApiKey|APIKey|PrivateKey|AccessKey)s?(?![a-z])"
)


class TrackedModel(NamedTuple):
    """A model and how it is tracked."""

    model: Any
    options: Mapping[str, Any]  # what MODELS says of it
    tenant: str | None  # the column of its organization, or a path to one
    secrets: tuple[str, ...]  # columns that do not travel

    @property
    def label(self) -> str:
        """`app.Model`, as the project writes it."""
        return label_of(self.model)

    @property
    def table(self) -> str:
        """The name under which it syncs."""
        return str(self.model._meta.db_table)

    @property
    def applies(self) -> str:
        """How pushed rows reach it: BULK or SAVE."""
        return str(self.options.get("apply", BULK))

    def track_options(self) -> dict[str, Any]:
        """What `Hub.track` is told."""
        rules = self.options.get("rules") or Rules.none()
        columns = {**{name: Column(read=False, write=False) for name in self.secrets}}
        rules = Rules(
            read=rules.read,
            insert=rules.insert,
            update=rules.update,
            delete=rules.delete,
            tenant=rules.tenant,
            policy=rules.policy,
            columns={**columns, **rules.columns},
        )
        found = {
            "merge": self.options.get("merge"),
            "rows": self.options.get("rows"),
            "policy": self.options.get("policy"),
            "tenant": self.tenant,
        }
        key = self.model._meta.pk
        return {
            **{name: value for name, value in found.items() if value is not None},
            "rules": rules,
            # What looks like a secret is hidden by a rule, so that the admin can tell its changes.
            "include": [field.column for field in self.model._meta.local_concrete_fields],
            "generated_key": isinstance(key, models.AutoField),
        }


def label_of(model: Any) -> str:
    """`app.Model`."""
    return f"{model._meta.app_label}.{model._meta.object_name}"


def tracked_models(using: str) -> Mapping[str, TrackedModel]:
    """The models that are tracked in a database, by table."""
    found: dict[str, TrackedModel] = {}
    for model in apps.get_models(include_auto_created=True):
        if reason_against(model, using) is None:
            for one in (*_parents(model), model):
                tracked = _described(one)
                found[tracked.table] = tracked
    return found


def reason_against(model: Any, using: str = "default") -> str | None:
    """Why a model is not tracked; None for one that is."""
    meta = model._meta
    if meta.auto_created:  # a many-to-many table goes with the model that declares it
        other = next(f.related_model for f in meta.fields if _leads_away(f, meta.auto_created))
        reason = reason_against(meta.auto_created, using)
        return reason or (reason_against(other, using) and f"{label_of(other)} is not tracked")
    label = label_of(model)
    if meta.proxy:
        return "a proxy: its rows are those of the model behind it"
    if meta.swapped:
        return f"swapped for {meta.swapped}"
    if not router.allow_migrate_model(using, model):
        return f"not in the database {using!r}"
    if label in setting("EXCLUDE_MODELS"):
        return "in EXCLUDE_MODELS"
    if label in setting("MODELS"):
        return None
    if not meta.managed:
        return "unmanaged: name it in MODELS to track it"
    if meta.app_label in OWN_APPS or meta.app_label in setting("EXCLUDE_APPS"):
        return f"the app {meta.app_label} is left out"
    only = setting("INCLUDE_APPS")
    if not (setting("AUTO_DISCOVER_MODELS") or meta.app_label in only):
        return "AUTO_DISCOVER_MODELS is off: name it in MODELS"
    if only and meta.app_label not in only:
        return "its app is not in INCLUDE_APPS"
    if meta.object_name.startswith("Historical"):
        return "a history: reunite keeps one itself"
    if _SECRET_MODEL.search(meta.object_name):
        return "its name is like that of a secret: name it in MODELS to track it"
    return None


def secret_columns(model: Any) -> tuple[str, ...]:
    """The columns of a model that look like secrets and that nobody named."""
    shown = set(setting("SHOW_FIELDS").get(label_of(model), ()))
    return tuple(
        field.column
        for field in model._meta.local_concrete_fields
        if not field.primary_key and field.name not in shown and is_secret(field)
    )


def is_secret(field: Any) -> bool:
    """Whether a field's name is like that of a secret. A foreign key holds a key, no secret."""
    return not field.is_relation and looks_secret(field.name)


def tables_there(using: str) -> Sequence[str]:
    """The tables of a database."""
    connection = connections[using]
    with connection.cursor() as cursor:
        return connection.introspection.table_names(cursor)


def _described(model: Any) -> TrackedModel:
    options = setting("MODELS").get(label_of(model), {})
    return TrackedModel(
        model=model,
        options=options,
        tenant=options.get("tenant") or _tenant(model),
        secrets=secret_columns(model),
    )


def owner_column(model: Any) -> str:
    """The column by which a many-to-many table leads to the model that declares it."""
    owner = model._meta.auto_created
    return next(
        str(field.column)
        for field in model._meta.fields
        if field.is_relation and field.related_model is owner
    )


def _tenant(model: Any) -> str | None:
    """The column of the model's own foreign key to Organization; of a many-to-many table, that of
    the row that it belongs to."""
    owner = model._meta.auto_created
    if owner:
        of_owner = _described(owner).tenant
        return of_owner and f"{owner_column(model)}.{of_owner}"
    organization = apps.get_model("reunite", "Organization")
    found = [
        field.column
        for field in model._meta.local_concrete_fields
        if field.is_relation and field.related_model is organization
    ]
    return found[0] if len(found) == 1 else None


def _parents(model: Any) -> Iterator[Any]:
    """The models whose tables hold the rest of its rows."""
    for parent in model._meta.all_parents:
        if not parent._meta.proxy:
            yield parent


def _leads_away(field: Any, owner: Any) -> bool:
    """Whether a field of a many-to-many table leads to the other side, or back to the same."""
    return field.is_relation and (field.related_model is not owner or _is_to_itself(field, owner))


def _is_to_itself(field: Any, owner: Any) -> bool:
    relations = [f.related_model for f in field.model._meta.fields if f.is_relation]
    return all(model is owner for model in relations)
