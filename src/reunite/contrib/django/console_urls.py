"""The console's addresses: `path("config/", include("reunite.contrib.django.console_urls"))`.

config/                              the console of the database "default"
config/permissions/, config/logs/ …  the pages that sb-sync had under these names
config/permissions/update/ …         what its pages changed permissions by
"""

from __future__ import annotations

from django.urls import path, re_path

from reunite.contrib.django.console import console, page
from reunite.contrib.django.matrix import bulk_update_permissions, update_permission

app_name = "reunite-console"

urlpatterns = [
    path("", console, name="config_dashboard"),
    path("permissions/", page, {"to": "permissions"}, name="permission_matrix"),
    path("permissions/update/", update_permission, name="update_permission"),
    path("permissions/bulk-update/", bulk_update_permissions, name="bulk_update_permissions"),
    path(
        "permissions/<int:organization>/",
        page,
        {"to": "permissions"},
        name="permission_matrix_org",
    ),
    path("model-discovery/", page, {"to": "discovery"}, name="model_discovery_config"),
    path("logs/", page, {"to": "sync"}, name="sync_logs"),
    path("metrics/", page, {"to": "performance"}, name="performance_metrics"),
    path("audit-trails/", page, {"to": "audit"}, name="audit_trails"),
    re_path(r"^(?P<path>.*)$", console, name="console"),
]
