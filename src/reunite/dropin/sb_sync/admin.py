"""The app's own models in Django's admin, to be read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from reunite.dropin.sb_sync.models import (
    PerformanceMetrics,
    SyncLog,
    SyncMetadata,
    UserSyncMetadata,
)


class ReadOnlyAdmin(admin.ModelAdmin):
    """What the API writes; an administrator may delete it, and neither make nor change it."""

    def has_add_permission(self, request: Any) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Nobody may."""
        return False


@admin.register(SyncLog)
class SyncLogAdmin(ReadOnlyAdmin):
    """Pushes and pulls."""

    list_display = (
        "timestamp", "user", "organization", "operation", "status", "model_name", "object_count",
        "processing_time",
    )  # fmt: skip
    list_filter = ("operation", "status", "organization", "timestamp")
    search_fields = ("user__username", "model_name", "error_message")
    date_hierarchy = "timestamp"
    list_select_related = ("user", "organization")


@admin.register(SyncMetadata)
class SyncMetadataAdmin(ReadOnlyAdmin):
    """How models stand."""

    list_display = ("model_name", "last_sync", "total_synced")
    search_fields = ("model_name",)


@admin.register(UserSyncMetadata)
class UserSyncMetadataAdmin(ReadOnlyAdmin):
    """How models stand for users."""

    list_display = ("user", "organization", "model_name", "last_sync", "total_synced")
    list_filter = ("organization",)
    search_fields = ("user__username", "model_name")
    list_select_related = ("user", "organization")


@admin.register(PerformanceMetrics)
class PerformanceMetricsAdmin(ReadOnlyAdmin):
    """What pushes and pulls took."""

    list_display = (
        "timestamp", "operation_type", "model_name", "batch_size", "processing_time",
        "memory_usage", "query_count",
    )  # fmt: skip
    list_filter = ("operation_type", "timestamp")
    date_hierarchy = "timestamp"
