"""A node of dbsync's README: works offline, and synchronizes with its loop.

python node.py FILE [URL] [NAME ...]      adds persons of these names, synchronizes, shows all
"""

import sys

from models import Base, models
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from reunite.dropin import dbsync
from reunite.dropin.dbsync import client

City, Person = models(client.track)


def synchronize(push_url, pull_url, tries):
    for _ in range(tries):
        try:
            return client.push(push_url)
        except client.PushRejected:
            try:
                client.pull(pull_url)
            except client.UniqueConstraintError as e:
                for model, pk, columns in e.entries:
                    print(f"give {model.__name__} {pk} another {', '.join(columns)}")
    raise Exception(f"push rejected {tries} times")


def main(file, url="http://127.0.0.1:5000", *names):
    engine = create_engine(f"sqlite:///{file}")
    dbsync.set_engine(engine)
    Base.metadata.create_all(engine)
    dbsync.create_all()
    if not client.isregistered():
        client.register(f"{url}/register")
    with Session(engine) as session:
        if names:
            city = City(name=f"the city of {file}")
            session.add_all([Person(name=name, city=city) for name in names])
        session.commit()
    version = synchronize(f"{url}/push", f"{url}/pull", 3)["new_version_id"]
    client.pull(f"{url}/pull")
    with Session(engine) as session:
        for person in session.query(Person).order_by(Person.name):
            print(f"{person.name}, {person.city.name}")
    print(f"version {version}")
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
