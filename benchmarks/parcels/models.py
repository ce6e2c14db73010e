"""The standard row as a model: see `benchmarks/standard.py`."""

from django.db import models

from reunite.contrib.django.models import Organization


class Shop(models.Model):
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    name = models.CharField(max_length=50)


class Parcel(models.Model):
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    shop = models.ForeignKey(Shop, on_delete=models.CASCADE)
    customer = models.CharField(max_length=100)
    email = models.EmailField()
    street = models.CharField(max_length=100)
    city = models.CharField(max_length=100)
    note = models.TextField(null=True, blank=True)
    quantity = models.IntegerField()
    weight = models.FloatField()
    due = models.DateField()
