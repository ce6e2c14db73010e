from django.apps import AppConfig


class ClinicConfig(AppConfig):
    name = "tests.contrib.django.clinic"
    label = "clinic"
    default_auto_field = "django.db.models.BigAutoField"
