"""The protocol's routes: `path("sync/", include("reunite.contrib.django.urls"))`.

sync/v1/…               the database "default"
sync/db/archive/v1/…    another one of `REUNITE["DATABASES"]`
"""

from __future__ import annotations

from django.urls import re_path

from reunite.contrib.django.views import protocol

app_name = "reunite"

_ROUTES = r"(?P<route>v1/.+|livez|readyz|openapi\.json|client\.js|client/[^/]+\.js)$"

urlpatterns = [
    re_path(rf"^{_ROUTES}", protocol, name="protocol"),
    re_path(rf"^db/(?P<using>[\w-]+)/{_ROUTES}", protocol, name="protocol-of"),
]
