"""`manage.py open_clinics`: two clinics with a patient each, staff in groups, what these may do.

Every name is also the password: this is an example.
"""

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand
from django.db import transaction

from care.models import LabResult, Patient
from reunite.contrib.django.models import ModelPermission, Organization, UserOrganization

READ = ("pull", "read")
STAFF = {
    "Doctors": {
        "care.Patient": (*READ, "push", "create", "update"),
        "care.Visit": (*READ, "push", "create", "update", "delete"),
        "care.LabResult": READ,
    },
    "Nurses": {
        "care.Patient": READ,
        "care.Visit": (*READ, "push", "create"),
        "care.LabResult": READ,
    },
    "Laboratory": {
        "care.Patient": READ,
        "care.LabResult": (*READ, "push", "create"),
    },
}
CLINICS = {
    "north": {"dora": "Doctors", "nils": "Nurses", "lara": "Laboratory"},
    "south": {"doug": "Doctors"},
}


class Command(BaseCommand):
    help = "Open the clinics of the example."

    @transaction.atomic
    def handle(self, *arguments: Any, **options: Any) -> None:
        users = get_user_model().objects
        users.create_superuser("root", password="root")
        for slug, staff in CLINICS.items():
            clinic = Organization.objects.create(name=f"{slug.title()} Clinic", slug=slug)
            for name, group in staff.items():
                UserOrganization.objects.create(
                    user=users.create_user(name, password=name),
                    organization=clinic,
                    group=Group.objects.get_or_create(name=group)[0],
                )
            for group, models in STAFF.items():
                for model, flags in models.items():
                    ModelPermission.objects.create(
                        organization=clinic,
                        group=Group.objects.get_or_create(name=group)[0],
                        model_name=model,
                        **{
                            flag: flag.removeprefix("can_") in flags
                            for flag in ModelPermission.FLAGS
                        },
                    )
            patient = Patient.objects.create(organization=clinic, name=f"Ada of the {slug}")
            LabResult.objects.create(
                patient=patient, at=datetime.now(UTC), test="glucose", value="5.4", unit="mmol/l"
            )
        self.stdout.write("Two clinics are open.")
