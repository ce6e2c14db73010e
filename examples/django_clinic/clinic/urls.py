"""The page of a ward, the admin, and the two doors of sync."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import TemplateView

urlpatterns = [
    path("", TemplateView.as_view(template_name="care/ward.html")),
    path("admin/", admin.site.urls),
    path("sync/", include("reunite.contrib.django.urls")),
    path("api/sync/", include("reunite.dropin.sb_sync.urls")),
]
