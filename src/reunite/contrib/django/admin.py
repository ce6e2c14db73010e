"""The directory in Django's admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from reunite.contrib.django.models import (
    DataFilter,
    DirectoryHistory,
    ModelPermission,
    Organization,
    SyncConfiguration,
    UserOrganization,
)


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin):
    """Organizations."""

    list_display = ("name", "slug", "is_active", "created_at")
    list_filter = ("is_active",)
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}  # noqa: RUF012 - as Django's admin has it
    actions = ("activate", "deactivate")

    @admin.action(description="Activate selected organizations")
    def activate(self, request: Any, chosen: Any) -> None:
        """Let their members in again."""
        self._set(request, chosen, is_active=True)

    @admin.action(description="Deactivate selected organizations")
    def deactivate(self, request: Any, chosen: Any) -> None:
        """Keep their members out."""
        self._set(request, chosen, is_active=False)

    def _set(self, request: Any, chosen: Any, *, is_active: bool) -> None:
        for organization in chosen:  # one by one, so that streams hear of it
            organization.is_active = is_active
            organization.save(update_fields=["is_active", "updated_at"])
        self.message_user(request, f"{len(chosen)} organizations changed.")


@admin.register(UserOrganization)
class UserOrganizationAdmin(admin.ModelAdmin):
    """Who is in which organization."""

    list_display = ("user", "organization", "group", "is_active")
    list_filter = ("organization", "group", "is_active")
    autocomplete_fields = ("organization",)


@admin.register(ModelPermission)
class ModelPermissionAdmin(admin.ModelAdmin):
    """What groups may do; the flags can be changed in the list."""

    list_display = ("organization", "group", "model_name", *ModelPermission.FLAGS)
    list_display_links = ("model_name",)
    list_editable = ModelPermission.FLAGS
    list_filter = ("organization", "group", "model_name")


@admin.register(DataFilter)
class DataFilterAdmin(admin.ModelAdmin):
    """Which rows permissions are about."""

    list_display = ("filter_name", "organization", "group", "model_name", "is_active")
    list_filter = ("organization", "group", "is_active")


@admin.register(SyncConfiguration)
class SyncConfigurationAdmin(admin.ModelAdmin):
    """Values of settings that are kept in the database."""

    list_display = ("section", "key", "value", "is_active")
    list_display_links = ("key",)
    list_filter = ("section", "is_active")


@admin.register(DirectoryHistory)
class DirectoryHistoryAdmin(admin.ModelAdmin):
    """What became of all of these; to be read."""

    list_display = ("history_date", "history_user", "history_type", "model_name", "object_repr")
    list_filter = ("model_name", "history_type")
    list_select_related = ("history_user",)
    search_fields = ("object_repr", "history_user__username")
    date_hierarchy = "history_date"

    def has_add_permission(self, request: Any) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Nobody may."""
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Nobody may: `setup_audit_trails --action cleanup` trims it."""
        return False
