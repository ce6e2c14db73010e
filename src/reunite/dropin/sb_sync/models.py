"""What the API keeps about itself: its log, its counters and its measurements.

    SyncLog               a line for each push and pull
    SyncStamp             the place of a pull behind each `last_sync` that was given
    SyncMetadata          by model: when it was synced last, and how many rows have been
    UserSyncMetadata      the same by user, organization and model
    PerformanceMetrics    what each push and pull took

`history` of each tells what people did to it: what the API itself writes is its own record.

What it is not   the log of changes: that is the hub's. No value of a row stands here.

Organizations, memberships, permissions and filters are those of `reunite.contrib.django`, and can
be imported from here, too.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

from reunite.contrib.django.models import (
    DataFilter,
    ModelPermission,
    Organization,
    SyncConfiguration,
    UserOrganization,
)
from reunite.contrib.django.trail import HistoryOf

__all__ = [
    "DataFilter",
    "ModelPermission",
    "Organization",
    "PerformanceMetrics",
    "SyncConfiguration",
    "SyncLog",
    "SyncMetadata",
    "SyncStamp",
    "UserOrganization",
    "UserSyncMetadata",
]

PUSH, PULL = "PUSH", "PULL"
OPERATIONS = ((PUSH, "Push"), (PULL, "Pull"))


class SyncLog(models.Model):
    """One push or pull. `model_name` names all of its models, by commas."""

    SUCCESS, ERROR, WARNING = "SUCCESS", "ERROR", "WARNING"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="sync_logs"
    )
    organization = models.ForeignKey(
        Organization, null=True, on_delete=models.SET_NULL, related_name="sync_logs"
    )
    operation = models.CharField(max_length=10, choices=OPERATIONS)
    status = models.CharField(
        max_length=10,
        choices=((SUCCESS, "Success"), (ERROR, "Error"), (WARNING, "Warning")),
    )
    model_name = models.TextField(blank=True, default="")
    object_count = models.PositiveIntegerField(default=0)
    error_message = models.TextField(blank=True, default="")
    request_data: Any = models.JSONField(null=True, blank=True)
    timestamp = models.DateTimeField(auto_now_add=True, db_index=True)
    processing_time = models.FloatField(default=0.0, help_text="seconds")

    history = HistoryOf()

    class Meta:
        """As Django reads it."""

        db_table = "sb_sync_log"
        ordering = ("-timestamp", "-id")

    def __str__(self) -> str:
        return f"{self.operation} {self.status} at {self.timestamp:%Y-%m-%d %H:%M:%S}"


class SyncMetadata(models.Model):
    """How a model stands, whoever synced it."""

    model_name = models.CharField(max_length=255, unique=True)
    last_sync = models.DateTimeField(null=True, blank=True)
    total_synced = models.PositiveBigIntegerField(default=0)

    history = HistoryOf()

    class Meta:
        """As Django reads it."""

        db_table = "sb_sync_metadata"
        ordering = ("model_name",)
        verbose_name_plural = "sync metadata"

    def __str__(self) -> str:
        return f"{self.model_name}: {self.total_synced}"


class UserSyncMetadata(models.Model):
    """How a model stands for a user in an organization. It decides nothing about pulls: what one
    gives follows from its request alone."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sync_metadata"
    )
    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="sync_metadata"
    )
    model_name = models.CharField(max_length=255)
    last_sync = models.DateTimeField(null=True, blank=True)
    total_synced = models.PositiveBigIntegerField(default=0)
    # The hub's snapshot that the user has seen all of: what an update of its replaces.
    mark = models.PositiveBigIntegerField(default=0, editable=False)

    history = HistoryOf()

    class Meta:
        """As Django reads it."""

        db_table = "sb_sync_user_sync_metadata"
        ordering = ("user", "organization", "model_name")
        unique_together = (("user", "organization", "model_name"),)
        verbose_name_plural = "user sync metadata"

    def __str__(self) -> str:
        return f"{self.model_name} for {self.user} of {self.organization}: {self.total_synced}"


class SyncStamp(models.Model):
    """The place of a pull that a time stands for: the time that a user got as `last_sync` of a
    model. A stamp may be forgotten: then its time counts, with which nothing is passed over."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    model_name = models.CharField(max_length=255)
    stamp = models.DateTimeField()
    place = models.TextField()
    place_hash = models.CharField(max_length=32)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """As Django reads it."""

        db_table = "sb_sync_stamp"
        unique_together = (
            ("organization", "stamp"),
            ("user", "organization", "model_name", "place_hash"),
        )

    def __str__(self) -> str:
        return f"{self.model_name} at {self.stamp:%Y-%m-%d %H:%M:%S.%f}"


class PerformanceMetrics(models.Model):
    """What one push or pull took."""

    operation_type = models.CharField(max_length=50)
    model_name = models.TextField(blank=True, default="")
    batch_size = models.PositiveIntegerField(default=0)
    processing_time = models.FloatField(default=0.0, help_text="seconds")
    memory_usage = models.FloatField(default=0.0, help_text="MB")
    query_count = models.PositiveIntegerField(default=0)
    timestamp = models.DateTimeField(auto_now_add=True, db_index=True)

    history = HistoryOf()

    class Meta:
        """As Django reads it."""

        db_table = "sb_sync_performance_metrics"
        ordering = ("-timestamp", "-id")
        verbose_name_plural = "performance metrics"

    def __str__(self) -> str:
        return f"{self.operation_type} of {self.batch_size} in {self.processing_time:.3f} s"
