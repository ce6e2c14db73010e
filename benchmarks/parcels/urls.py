"""The routes of the API alone."""

from django.urls import include, path

urlpatterns = [path("", include("reunite.dropin.sb_sync.urls"))]
