from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("sync/", include("reunite.contrib.django.urls")),
    path("api/sync/", include("reunite.dropin.sb_sync.urls")),
]
