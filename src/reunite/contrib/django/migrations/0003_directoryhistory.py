"""What became of the directory."""

from __future__ import annotations

import django.core.serializers.json
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """Safe before and after the deploy."""

    dependencies = [
        ("reunite", "0002_syncconfiguration"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DirectoryHistory",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("model_name", models.CharField(max_length=100)),
                ("object_id", models.CharField(max_length=100)),
                ("object_repr", models.CharField(max_length=200)),
                ("history_date", models.DateTimeField(auto_now_add=True, db_index=True)),
                (
                    "history_type",
                    models.CharField(
                        choices=[("+", "Created"), ("~", "Modified"), ("-", "Deleted")],
                        max_length=1,
                    ),
                ),
                (
                    "changes",
                    models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder),
                ),
                (
                    "history_user",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "directory history",
                "db_table": "sync_directory_history",
                "ordering": ("-history_date", "-id"),
                "indexes": [
                    models.Index(fields=["model_name", "object_id"], name="sync_history_object")
                ],
            },
        ),
    ]
