"""The API's routes: `path("api/sync/", include("reunite.dropin.sb_sync.urls"))`.

api/sync/push/ …             the API
api/sync/config/ …           the console, for staff, under the addresses that sb-sync's pages had
"""

from __future__ import annotations

from django.urls import include, path

from reunite.contrib.django import console_urls
from reunite.dropin.sb_sync import status_views, views

app_name = "sb_sync"

urlpatterns = [
    path("auth/token/", views.token, name="sync_auth_token"),
    path("push/", views.push, name="sync_push"),
    path("pull/", views.pull, name="sync_pull"),
    path("performance/", status_views.performance, name="sync_performance"),
    path("health/", status_views.health, name="sync_health"),
    path("config/", include(console_urls.urlpatterns)),
]
