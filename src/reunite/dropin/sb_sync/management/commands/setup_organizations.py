"""`manage.py setup_organizations`: organizations, who is in them, what their groups may do.

create_org        an organization                      --org-name --org-slug
create_groups     the seven groups
add_user          a user in an organization            --username --org-slug --group-name
set_permissions   what a file says, beside what is     --org-slug --config-file
auto_setup        groups, and permissions on all models that are offered     --org-slug
discover_models   which models those are
setup_example     three organizations to look at

Everything is made once: to say it again changes nothing, but for the group of a member.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import CommandParser
from django.db import transaction

from reunite.contrib.django import roles
from reunite.contrib.django.models import DataFilter, Organization, UserOrganization
from reunite.contrib.django.signals import noting_once
from reunite.dropin.sb_sync import conf, permissions
from reunite.dropin.sb_sync.management.telling import SyncCommand, action, names
from reunite.errors import BadRequestError

_EXAMPLES = {
    "acme-corp": "Acme Corporation",
    "global-retail": "Global Retail",
    "city-university": "City University",
}
_EXAMPLE_MODELS = ("auth.User", "auth.Group", "contenttypes.ContentType", "sessions.Session")
# Off, because no model of Django's has these fields: a filter on what there is not denies all.
_EXAMPLE_FILTERS = (
    ("department", roles.MANAGER, "department", "TECHNOLOGY"),
    ("assigned_sales", roles.SALES, "assigned_sales_id", 1),
)


class Command(SyncCommand):
    """The command."""

    help = "Organizations, who is in them, and what their groups may do."

    def add_flags(self, parser: CommandParser) -> None:
        action(
            parser, "create_org", "add_user", "set_permissions", "setup_example", "create_groups",
            "discover_models", "auto_setup",
        )  # fmt: skip
        parser.add_argument("--org-name")
        parser.add_argument("--org-slug")
        parser.add_argument("--username")
        parser.add_argument("--group-name")
        parser.add_argument("--config-file", help="JSON: {group: {model: flags}}")
        parser.add_argument("--app-label", help="only the models of this app")
        parser.add_argument("--exclude-models", help="a,b: models to leave out")
        parser.add_argument(
            "--permission-template",
            choices=["full_access", "read_write", "read_only", "custom"],
            help="DEFAULT_PERMISSION_TEMPLATE, read_write, if it is not said",
        )
        parser.add_argument("--dry-run", action="store_true", help="only tell")

    def answer(self, options: Mapping[str, Any]) -> Any:
        with transaction.atomic():
            answer = getattr(self, f"_{options['action']}")(options)
            if options["dry_run"]:
                transaction.set_rollback(True)
        return {"dry_run": True, **answer} if options["dry_run"] else answer

    def _create_org(self, options: Mapping[str, Any]) -> dict[str, Any]:
        name, slug = options["org_name"], options["org_slug"]
        if not (name and slug):
            raise BadRequestError("An organization needs --org-name and --org-slug.")
        found, is_new = _organization(name, slug)
        return {"organization": found.slug, "name": found.name, "created": is_new}

    def _create_groups(self, options: Mapping[str, Any]) -> dict[str, Any]:
        made = permissions.make_groups()
        return {"groups": list(permissions.GROUPS), "created": made}

    def _add_user(self, options: Mapping[str, Any]) -> dict[str, Any]:
        if not (options["username"] and options["group_name"]):
            raise BadRequestError("A member needs --username, --org-slug and --group-name.")
        organization = permissions.organization_of(options["org_slug"])
        model = get_user_model()
        user = model._default_manager.filter(**{model.USERNAME_FIELD: options["username"]}).first()
        if user is None:
            raise BadRequestError(f"There is no user {options['username']!r}.")
        group = Group.objects.filter(name=options["group_name"]).first()
        if group is None:
            raise BadRequestError(
                f"There is no group {options['group_name']!r}: --action create_groups makes "
                f"{', '.join(permissions.GROUPS)}."
            )
        _, is_new = UserOrganization.objects.update_or_create(
            user=user, organization=organization, defaults={"group": group, "is_active": True}
        )
        return {
            "user": user.get_username(),
            "organization": organization.slug,
            "group": group.name,
            "created": is_new,
        }

    def _set_permissions(self, options: Mapping[str, Any]) -> dict[str, Any]:
        organization = permissions.organization_of(options["org_slug"])
        file = permissions.read(options["config_file"])
        done = permissions.apply(organization, file, whole=False)
        return {"organization": organization.slug, **done}

    def _discover_models(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"models": self._labels(options)}

    def _auto_setup(self, options: Mapping[str, Any]) -> dict[str, Any]:
        organization = permissions.organization_of(options["org_slug"])
        made = permissions.make_groups()
        models = self._labels(options)
        template = options["permission_template"] or conf.value(
            "PERMISSIONS", "DEFAULT_PERMISSION_TEMPLATE"
        )
        file = permissions.generate(
            models, permissions.groups_of(organization), template, exactly=False
        )
        done = permissions.apply(organization, file, whole=False)
        return {"organization": organization.slug, "groups": made, "models": models, **done}

    def _setup_example(self, options: Mapping[str, Any]) -> dict[str, Any]:
        permissions.make_groups()
        made, rows = [], 0
        with noting_once():
            for slug, name in _EXAMPLES.items():
                organization, is_new = _organization(name, slug)
                made += [slug] if is_new else []
                file = {
                    group: {
                        model: dict(permissions.TEMPLATES[template]) for model in _EXAMPLE_MODELS
                    }
                    for group, template in permissions.GROUPS.items()
                }
                rows += permissions.apply(organization, file, whole=False)["created"]
            acme = Organization.objects.get(slug="acme-corp")
            filters = sum(
                DataFilter.objects.get_or_create(
                    organization=acme,
                    group=Group.objects.get(name=group),
                    model_name="auth.User",
                    filter_name=name,
                    defaults={
                        "filter_condition": {"field": field, "operator": "exact", "value": value},
                        "is_active": False,
                    },
                )[1]
                for name, group, field, value in _EXAMPLE_FILTERS
            )
        return {
            "organizations": list(_EXAMPLES),
            "created": made,
            "permissions_created": rows,
            "filters_created": filters,
            "note": "the filters are off: switch them on where models have their fields",
        }

    def _labels(self, options: Mapping[str, Any]) -> list[str]:
        return permissions.labels(options["app_label"], names(options["exclude_models"]))


def _organization(name: str, slug: str) -> tuple[Organization, bool]:
    other = Organization.objects.filter(name=name).exclude(slug=slug).first()
    if other is not None:
        raise BadRequestError(f"{name!r} is the name of {other.slug!r} already.")
    return Organization.objects.get_or_create(slug=slug, defaults={"name": name})
