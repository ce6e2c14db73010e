"""Models of every shape that a project has."""

import uuid

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from simple_history.models import HistoricalRecords

from reunite.contrib.django.models import Organization


class Patient(models.Model):
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    born = models.DateField(null=True)
    doctor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    tags = models.ManyToManyField("Tag", blank=True)
    portal_password = models.CharField(max_length=100, default="")


class Visit(models.Model):
    patient = models.ForeignKey(Patient, on_delete=models.CASCADE, related_name="visits")
    at = models.DateTimeField()
    note = models.TextField(default="")


class Tag(models.Model):
    name = models.CharField(max_length=50, unique=True)


class Everything(models.Model):
    """A field of every kind."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    big = models.BigIntegerField(null=True)
    small = models.PositiveSmallIntegerField(null=True)
    flag = models.BooleanField(default=False)
    maybe = models.BooleanField(null=True)
    price = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    ratio = models.FloatField(null=True)
    text = models.TextField(default="")
    email = models.EmailField(default="")
    day = models.DateField(null=True)
    moment = models.DateTimeField(null=True)
    clock = models.TimeField(null=True)
    lasting = models.DurationField(null=True)
    data = models.JSONField(null=True)
    raw = models.BinaryField(null=True)
    file = models.FileField(upload_to="files", null=True)
    address = models.GenericIPAddressField(null=True)


class Place(models.Model):
    name = models.CharField(max_length=50)


class Ward(Place):
    """In two tables."""

    beds = models.IntegerField(default=0)


class LargeWard(Ward):
    """A proxy."""

    class Meta:
        proxy = True


class Booking(models.Model):
    """Rows that replicas push go through `full_clean` and `save`."""

    room = models.CharField(max_length=10)
    guests = models.IntegerField(default=1)
    shouted = models.CharField(max_length=10, default="", blank=True)

    def clean(self) -> None:
        if self.guests > 4:
            raise ValidationError({"guests": "Four at most."})

    def save(self, *arguments: object, **options: object) -> None:
        self.shouted = self.room.upper()
        super().save(*arguments, **options)


class Bed(models.Model):
    """With a history of django-simple-history's."""

    name = models.CharField(max_length=20)
    door_password = models.CharField(max_length=20, default="")
    history = HistoricalRecords()


class ApiToken(models.Model):
    """Looks like a secret: it stays at home."""

    value = models.CharField(max_length=50)
