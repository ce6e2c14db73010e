from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("config/", include("reunite.contrib.django.console_urls")),
    path("sync/", include("reunite.contrib.django.urls")),
    path("api/sync/", include("reunite.dropin.sb_sync.urls")),
]
