"""Patients of an organization, who visits them, and what the laboratory found."""

import uuid

from django.db import models

from reunite.contrib.django.models import Organization


class Patient(models.Model):
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    name = models.CharField(max_length=100)
    born = models.DateField(null=True, blank=True)
    allergies = models.TextField(blank=True, default="")

    def __str__(self) -> str:
        return str(self.name)


class Visit(models.Model):
    """Made at a bed, often without a network: its key is made there, too."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    patient = models.ForeignKey(Patient, on_delete=models.CASCADE, related_name="visits")
    at = models.DateTimeField()
    by = models.CharField(max_length=150)
    note = models.TextField()


class LabResult(models.Model):
    patient = models.ForeignKey(Patient, on_delete=models.CASCADE, related_name="results")
    at = models.DateTimeField()
    test = models.CharField(max_length=50)
    value = models.DecimalField(max_digits=10, decimal_places=3)
    unit = models.CharField(max_length=20)
