"""Values of settings that are kept in the database."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Safe before and after the deploy."""

    dependencies = [("reunite", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="SyncConfiguration",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("section", models.CharField(help_text="CORE, SECURITY, …", max_length=50)),
                ("key", models.CharField(max_length=100)),
                ("value", models.JSONField(null=True)),
                ("description", models.TextField(blank=True, default="")),
                ("is_active", models.BooleanField(default=True)),
            ],
            options={
                "db_table": "sync_configuration",
                "ordering": ("section", "key"),
                "unique_together": {("section", "key")},
            },
        ),
    ]
