"""The README's models; `Task`, `Line` and `Country` are what it does not speak of."""

import uuid

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from reunite.contrib.django.models import Organization


class Customer(models.Model):
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    age = models.IntegerField(null=True, blank=True)
    department = models.CharField(max_length=50, blank=True, default="")
    assigned_manager = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )


class Order(models.Model):
    """Without any times."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    number = models.CharField(max_length=20, blank=True, default="")


class Line(models.Model):
    """Reaches its organization through its order."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    article = models.CharField(max_length=50)
    count = models.PositiveIntegerField(default=1)


class Report(models.Model):
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    customer_id = models.IntegerField(null=True, blank=True)
    report_type = models.CharField(max_length=50)
    results = models.JSONField(null=True, blank=True)


class Task(models.Model):
    """A key of its own, times, and values of several kinds."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    customer = models.ForeignKey(Customer, null=True, blank=True, on_delete=models.SET_NULL)
    code = models.CharField(max_length=20, unique=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, default="0.00")
    is_done = models.BooleanField(default=False)
    due = models.DateTimeField(null=True, blank=True)
    portal_password = models.CharField(max_length=50, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def clean(self) -> None:
        if self.code.startswith("bad"):
            raise ValidationError({"code": "No code begins with bad."})


class Country(models.Model):
    """Without an organization."""

    name = models.CharField(max_length=50)
