"""The app's log, counters and measurements."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """The first one."""

    initial = True

    dependencies = [
        ("reunite", "0002_syncconfiguration"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PerformanceMetrics",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("operation_type", models.CharField(max_length=50)),
                ("model_name", models.TextField(blank=True, default="")),
                ("batch_size", models.PositiveIntegerField(default=0)),
                ("processing_time", models.FloatField(default=0.0, help_text="seconds")),
                ("memory_usage", models.FloatField(default=0.0, help_text="MB")),
                ("query_count", models.PositiveIntegerField(default=0)),
                ("timestamp", models.DateTimeField(auto_now_add=True, db_index=True)),
            ],
            options={
                "verbose_name_plural": "performance metrics",
                "db_table": "sb_sync_performance_metrics",
                "ordering": ("-timestamp", "-id"),
            },
        ),
        migrations.CreateModel(
            name="SyncMetadata",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("model_name", models.CharField(max_length=255, unique=True)),
                ("last_sync", models.DateTimeField(blank=True, null=True)),
                ("total_synced", models.PositiveBigIntegerField(default=0)),
            ],
            options={
                "verbose_name_plural": "sync metadata",
                "db_table": "sb_sync_metadata",
                "ordering": ("model_name",),
            },
        ),
        migrations.CreateModel(
            name="SyncLog",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "operation",
                    models.CharField(choices=[("PUSH", "Push"), ("PULL", "Pull")], max_length=10),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("SUCCESS", "Success"),
                            ("ERROR", "Error"),
                            ("WARNING", "Warning"),
                        ],
                        max_length=10,
                    ),
                ),
                ("model_name", models.TextField(blank=True, default="")),
                ("object_count", models.PositiveIntegerField(default=0)),
                ("error_message", models.TextField(blank=True, default="")),
                ("request_data", models.JSONField(blank=True, null=True)),
                ("timestamp", models.DateTimeField(auto_now_add=True, db_index=True)),
                ("processing_time", models.FloatField(default=0.0, help_text="seconds")),
                (
                    "organization",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="sync_logs",
                        to="reunite.organization",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="sync_logs",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "sb_sync_log",
                "ordering": ("-timestamp", "-id"),
            },
        ),
        migrations.CreateModel(
            name="UserSyncMetadata",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("model_name", models.CharField(max_length=255)),
                ("last_sync", models.DateTimeField(blank=True, null=True)),
                ("total_synced", models.PositiveBigIntegerField(default=0)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sync_metadata",
                        to="reunite.organization",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sync_metadata",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "user sync metadata",
                "db_table": "sb_sync_user_sync_metadata",
                "ordering": ("user", "organization", "model_name"),
                "unique_together": {("user", "organization", "model_name")},
            },
        ),
    ]
