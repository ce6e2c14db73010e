"""Settings as `startproject` makes them, and what reunite needs: two apps and one middleware."""

import os
from pathlib import Path

BASE_DIR = Path(os.environ.get("CLINIC_DIR", Path.cwd()))
SECRET_KEY = os.environ.get("CLINIC_SECRET", "an example has no secrets, and yours has one")
DEBUG = os.environ.get("CLINIC_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "reunite.contrib.django",
    "reunite.dropin.sb_sync",  # its commands, its log and its API beside reunite's own protocol
    "care",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "reunite.contrib.django.middleware.ActingUser",
]

# A visit and a result have no organization of their own: their patient's is theirs.
REUNITE = {
    "MODELS": {
        "care.Visit": {"tenant": "patient.organization_id"},
        "care.LabResult": {"tenant": "patient.organization_id"},
    }
}

ROOT_URLCONF = "clinic.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "clinic.db"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"
