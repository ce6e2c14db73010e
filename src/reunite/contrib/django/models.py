"""The directory of a project: organizations, who is in them, and what their groups may do.

    Organization ◄── UserOrganization ──► user, group
         ▲
         └── ModelPermission, DataFilter ──► group        by model, "app.Model"

A project without organizations needs none of this: there, Django's own permissions decide.
SyncConfiguration keeps values of settings that are set while the project runs. DirectoryHistory
tells what became of all of these: `.history` of each.

The rule         denied unless allowed. A change is true with the next request of everybody.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from reunite.contrib.django import roles
from reunite.contrib.django.roles import HasRole
from reunite.contrib.django.trail import CHANGED, CREATED, DELETED, HistoryOf
from reunite.core.grants import FLAGS


class Organization(models.Model):
    """A tenant: rows of models with a foreign key to it are its members' alone."""

    name = models.CharField(max_length=255, unique=True)
    slug = models.SlugField(max_length=255, unique=True)
    description = models.TextField(blank=True, default="")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = HistoryOf()

    class Meta:
        """As Django reads it."""

        db_table = "sync_organization"
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)


class UserOrganization(HasRole):
    """That a user is in an organization, in one of Django's groups."""

    ADMIN = roles.ADMIN
    MANAGER = roles.MANAGER
    USER = roles.USER
    ANALYST = roles.ANALYST
    SALES = roles.SALES
    SUPPORT = roles.SUPPORT
    READ_ONLY = roles.READ_ONLY

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="user_organizations"
    )
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="user_organizations"
    )
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="user_organizations")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    history = HistoryOf()

    class Meta:
        """As Django reads it."""

        db_table = "sync_user_organization"
        unique_together = (("user", "organization"),)

    def __str__(self) -> str:
        return f"{self.user} in {self.organization} ({self.group})"


class ModelPermission(HasRole):
    """What a group of an organization may do with a model."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="model_permissions"
    )
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="model_permissions")
    model_name = models.CharField(max_length=255, help_text="app.Model")
    can_push = models.BooleanField(default=False)
    can_pull = models.BooleanField(default=False)
    can_create = models.BooleanField(default=False)
    can_update = models.BooleanField(default=False)
    can_delete = models.BooleanField(default=False)
    can_read = models.BooleanField(default=True)
    filters = models.JSONField(null=True, blank=True, default=None)
    created_at = models.DateTimeField(auto_now_add=True)

    history = HistoryOf()

    class Meta:
        """As Django reads it."""

        db_table = "sync_model_permission"
        unique_together = (("organization", "group", "model_name"),)
        ordering = ("organization", "group", "model_name")

    # Model field → flag of `reunite.core.grants.Flags`.
    FLAGS: ClassVar[tuple[str, ...]] = tuple(f"can_{name}" for name in FLAGS)

    def __str__(self) -> str:
        flags = " ".join(name for name in FLAGS if getattr(self, f"can_{name}")) or "nothing"
        return f"{self.group} of {self.organization}: {flags} {self.model_name}"

    def flags(self) -> dict[str, bool]:
        """The six flags by the names that files have: can_push and so on."""
        return {name: bool(getattr(self, name)) for name in self.FLAGS}


class DataFilter(HasRole):
    """Which rows of a model a group's permission is about: `{"field", "operator", "value"}`, a list
    of such, or an expression of reunite. Of several active ones, all must hold."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="data_filters"
    )
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="data_filters")
    model_name = models.CharField(max_length=255, help_text="app.Model")
    filter_name = models.CharField(max_length=255)
    filter_condition: Any = models.JSONField()
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    history = HistoryOf()

    class Meta:
        """As Django reads it."""

        db_table = "sync_data_filter"
        ordering = ("organization", "group", "model_name", "filter_name")

    def __str__(self) -> str:
        return f"{self.filter_name}: {self.model_name} for {self.group} of {self.organization}"


class SyncConfiguration(models.Model):
    """A value that was set while the project runs: it goes before that of the settings."""

    section = models.CharField(max_length=50, help_text="CORE, SECURITY, …")
    key = models.CharField(max_length=100)
    value: Any = models.JSONField(null=True)
    description = models.TextField(blank=True, default="")
    is_active = models.BooleanField(default=True)

    history = HistoryOf()

    class Meta:
        """As Django reads it."""

        db_table = "sync_configuration"
        unique_together = (("section", "key"),)
        ordering = ("section", "key")

    def __str__(self) -> str:
        return f"{self.section}.{self.key}"


class DirectoryHistory(models.Model):
    """What somebody did to an object of the models above.

    history_type   "+" created, "~" changed, "-" deleted
    changes        {field: [before, after]}; None before it was made and after it was deleted
    """

    VERBS: ClassVar[dict[str, str]] = {
        CREATED: "Created", CHANGED: "Modified", DELETED: "Deleted"
    }  # fmt: skip

    model_name = models.CharField(max_length=100)
    object_id = models.CharField(max_length=100)
    object_repr = models.CharField(max_length=200)
    history_date = models.DateTimeField(auto_now_add=True, db_index=True)
    history_type = models.CharField(max_length=1, choices=list(VERBS.items()))
    history_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    changes: Any = models.JSONField(encoder=DjangoJSONEncoder)

    class Meta:
        """As Django reads it."""

        db_table = "sync_directory_history"
        ordering = ("-history_date", "-id")
        indexes = (models.Index(fields=["model_name", "object_id"], name="sync_history_object"),)
        verbose_name_plural = "directory history"

    def __str__(self) -> str:
        return f"{self.VERBS[self.history_type]} {self.model_name} {self.object_repr}"
