"""Permissions as files and templates: what `setup_organizations` and `dynamic_permissions` do.

    {group: {"app.Model": {"can_push": true, … six flags}}}      a file
    GROUPS    the seven groups, each with its template            TEMPLATES    a template's flags

The rule         an organization's permissions change in one transaction or not at all, and a row
                 that stays keeps its filters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from django.apps import apps
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Q

from reunite.contrib.django import roles
from reunite.contrib.django.models import ModelPermission, Organization
from reunite.contrib.django.signals import noting_once
from reunite.dropin.sb_sync import discovery
from reunite.errors import BadRequestError

FLAGS = ModelPermission.FLAGS
CUSTOM = "custom"

Flags: TypeAlias = Mapping[str, bool]
File: TypeAlias = Mapping[str, Mapping[str, Flags]]


def _flags(*given: str) -> Flags:
    return MappingProxyType({flag: flag.removeprefix("can_") in given for flag in FLAGS})


TEMPLATES: Mapping[str, Flags] = MappingProxyType(
    {
        "full_access": _flags("push", "pull", "create", "update", "delete", "read"),
        "read_write": _flags("push", "pull", "create", "update", "read"),
        "read_only": _flags("pull", "read"),
        "write_only": _flags("push", "create", "update"),
        CUSTOM: _flags(),
    }
)

GROUPS: Mapping[str, str] = MappingProxyType(
    {
        roles.ADMIN: "full_access",
        roles.MANAGER: "read_write",
        roles.USER: "read_write",
        roles.ANALYST: "read_only",
        roles.SALES: "read_write",
        roles.SUPPORT: "read_write",
        roles.READ_ONLY: "read_only",
    }
)


def organization_of(slug: str | None) -> Organization:
    """The organization that somebody names. Raises BadRequestError."""
    if not slug:
        raise BadRequestError("Say which organization: --org-slug.")
    found = Organization.objects.filter(slug=slug).first()
    if found is None:
        raise BadRequestError(f"There is no organization {slug!r}.")
    return found


def make_groups() -> list[str]:
    """Make those of the seven groups that are missing; their names."""
    return [name for name in GROUPS if Group.objects.get_or_create(name=name)[1]]


def labels(app_label: str | None = None, without: Iterable[str] = ()) -> list[str]:
    """The models that the API offers, of one app, without some that are named as `app.Model` or
    `Model`. Raises BadRequestError for an app that there is not."""
    if app_label is not None and app_label not in {one.label for one in apps.get_app_configs()}:
        raise BadRequestError(f"There is no app {app_label!r}.")
    left_out = {name.strip().lower() for name in without}
    return [
        label
        for label in discovery.enabled()
        if app_label in (None, label.partition(".")[0])
        and left_out.isdisjoint({label.lower(), label.lower().rpartition(".")[2]})
    ]


def groups_of(organization: Organization | None) -> list[str]:
    """The seven groups that there are, and those that an organization has members in.

    Raises BadRequestError if there is none.
    """
    wanted = Q(name__in=GROUPS)
    if organization is not None:
        wanted |= Q(user_organizations__organization=organization)
    found = list(Group.objects.filter(wanted).distinct().values_list("name", flat=True))
    if not found:
        raise BadRequestError(
            "There are no groups: `manage.py setup_organizations --action create_groups`."
        )
    return sorted(found)


def generate(models: Sequence[str], groups: Sequence[str], template: str, *, exactly: bool) -> Any:
    """A file that gives these groups a template on these models.

    exactly    every group has the whole template; otherwise the seven groups have of it what their
               own gives, so that nobody who only reads is made to write by a template for all
    """
    flags = TEMPLATES[template]
    found = {}
    for group in groups:
        most = flags if exactly or group not in GROUPS else TEMPLATES[GROUPS[group]]
        own = {flag: flags[flag] and most[flag] for flag in FLAGS}
        found[group] = {model: dict(own) for model in models}
    return found


def export(organization: Organization) -> dict[str, dict[str, dict[str, bool]]]:
    """What an organization's groups may do, as a file has it."""
    found: dict[str, dict[str, dict[str, bool]]] = {}
    rows = ModelPermission.objects.filter(organization=organization).select_related("group")
    for row in rows.order_by("group__name", "model_name"):
        found.setdefault(row.group.name, {})[row.model_name] = row.flags()
    return found


def read(path: str | None) -> Any:
    """What a file holds. Raises BadRequestError for one that is not there, or no JSON."""
    if not path:
        raise BadRequestError("Say which file: --config-file.")
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRequestError(f"The file {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise BadRequestError(f"The file {path} is no JSON: {error}.") from error


def problems(found: Any) -> list[str]:
    """What is wrong with a file; nothing for one that can be applied."""
    if not isinstance(found, dict):
        return ['It is no object: {group: {"app.Model": {"can_push": true, …}}}.']
    known = set(Group.objects.values_list("name", flat=True))
    told = [f"There is no group {group!r}." for group in found if group not in known]
    for group, models in found.items():
        if not isinstance(models, dict):
            told.append(f"{group}: that is no object of models.")
            continue
        for model, flags in models.items():
            place = f"{group}, {model}"
            if not _is_model(model):
                told.append(f"{place}: there is no such model.")
            if not isinstance(flags, dict) or set(flags) != set(FLAGS):
                told.append(f"{place}: it needs the six flags {', '.join(FLAGS)}.")
            elif not all(isinstance(value, bool) for value in flags.values()):
                told.append(f"{place}: flags are true or false.")
    return told


def counted(file: File) -> str:
    """`2 groups, 3 models, 6 permissions`."""
    models = {model for of_group in file.values() for model in of_group}
    rows = sum(len(of_group) for of_group in file.values())
    return f"{len(file)} groups, {len(models)} models, {rows} permissions"


def apply(
    organization: Organization, file: File, *, whole: bool, dry_run: bool = False
) -> dict[str, int]:
    """Give an organization's groups what a file says: `{"created", "updated", "deleted"}`.

    whole      permissions that the file does not name go

    One transaction. Raises BadRequestError for a file with `problems`; then nothing has changed.
    """
    told = problems(file)
    if told:
        raise BadRequestError(" ".join(told))
    done = {"created": 0, "updated": 0, "deleted": 0}
    with transaction.atomic(), noting_once():
        # Two who apply files one after the other, and not into one another.
        Organization.objects.select_for_update().get(pk=organization.pk)
        rows = ModelPermission.objects.filter(organization=organization).select_related("group")
        there = {(row.group.name, row.model_name): row for row in rows}
        groups = {group.name: group for group in Group.objects.filter(name__in=file)}
        for group, models in file.items():
            for model, flags in models.items():
                row = there.pop((group, model), None)
                if row is not None and row.flags() == dict(flags):
                    continue
                done["created" if row is None else "updated"] += 1
                if not dry_run:
                    _save(row, organization, groups[group], model, flags)
        for row in there.values() if whole else ():
            done["deleted"] += 1
            if not dry_run:
                row.delete()
    return done


def _save(
    row: ModelPermission | None, organization: Organization, group: Any, model: str, flags: Flags
) -> None:
    row = row or ModelPermission(organization=organization, group=group, model_name=model)
    for flag, value in flags.items():
        setattr(row, flag, value)
    row.save()


def _is_model(label: Any) -> bool:
    return isinstance(label, str) and label.count(".") == 1 and discovery.find(label) is not None
