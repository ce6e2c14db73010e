"""The admin; the page "History" of each object tells who changed what, and from which device."""

from django.contrib import admin

from care.models import LabResult, Patient, Visit
from reunite.contrib.django.audit import AuditedAdmin

for model in (Patient, Visit, LabResult):
    admin.site.register(model, AuditedAdmin)
