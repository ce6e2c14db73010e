"""`docs/howto/multi-tenant-django.md`, line by line, on what `django-admin startproject` makes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.contrib.django.test_fresh_project import Site

HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "multi-tenant-django.md"
_BLOCK = re.compile(r"```python\n# (\S+\.py)\n(.*?)```", re.DOTALL)
_COMMAND = re.compile(r"^\$ python manage\.py (.+)$", re.MULTILINE)

# All commands of the page in one process, which starts once.
SCRIPT = """
import shlex, sys
import django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
for name in ("ann", "bob"):
    User.objects.create_user(name, password="secret")
for line in {lines!r}:
    print("$", line)
    try:
        call_command(*shlex.split(line))
    except SystemExit as stopped:
        assert not stopped.code, line
exec(open("regions.py").read())
"""

# What the devices of both have, over a wire without a network.
DEVICES = """
import django
django.setup()
from pathlib import Path
from reunite import Replica
from reunite.contrib.django import hub
from reunite.contrib.django.models import Organization
from reunite.testing import FakeWire
from shop.models import Country, Customer, Order
north, south = (Organization.objects.get(slug=slug) for slug in ("north", "south"))
for organization in (north, south):
    for region in ("coast", "hills"):
        customer = Customer.objects.create(
            organization=organization, name=f"{region} of {organization.slug}", region=region
        )
        Order.objects.create(customer=customer, total="9.50")
Country.objects.create(name="Chile")

def clone(user, tenant):
    with hub().reading() as tx:
        principal = hub().users.member(tx, user, tenant)
    transport = FakeWire(hub()).transport(hub().create_token(principal))
    return Replica.clone(Path(f"{user}.db"), transport=transport)

def rows(replica, sql):
    with replica.transaction() as db:
        return sorted(row[0] for row in db.execute(sql))

with clone("ann", "north") as ann, clone("bob", "south") as bob:
    assert rows(ann, "select name from shop_customer") == ["coast of north", "hills of north"]
    assert len(rows(ann, "select id from shop_order")) == 1
    assert rows(ann, "select name from shop_country") == []
    assert rows(bob, "select name from shop_customer") == ["coast of south", "hills of south"]
    with ann.transaction() as db:
        db.execute("update shop_customer set name = 'new'  where region = 'coast'")
    assert ann.sync().rejected == 0
    with bob.transaction() as db:
        db.execute("update shop_customer set name = 'not for analysts'")
    assert bob.sync().rejected == 2
print("both have what is theirs")
"""


@pytest.mark.slow
def test_the_how_to_works_as_it_stands(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run("-m", "django", "startproject", "mysite", ".")
    site.manage("startapp", "shop")
    text = HOWTO.read_text()
    for name, code in _BLOCK.findall(text):
        site.append(name, code)
    commands = _COMMAND.findall(text)
    assert len(commands) > 12
    first = [line for line in commands if "migrat" in line]
    for line in first:
        site.manage(*shlex.split(line))
    others = [line for line in commands if line not in first]
    told = site.run("-c", SCRIPT.format(lines=others))
    assert "can_push" in (tmp_path / "north.json").read_text()
    assert "problems: 0" in told
    assert "shop.Order: 0 changes" in told
    assert "both have what is theirs" in site.run("-c", DEVICES)
