from django.apps import AppConfig


class MyAppConfig(AppConfig):
    name = "tests.contrib.django.myapp"
    label = "myapp"
    default_auto_field = "django.db.models.BigAutoField"
