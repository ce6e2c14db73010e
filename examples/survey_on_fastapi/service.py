"""A field survey: FastAPI and SQLAlchemy, and a hub for the collectors' devices.

$ uvicorn service:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from models import Base, Observation, Site
from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import Session

from reunite import Hub, Principal, Rules, row, user
from reunite.contrib.fastapi import mount

# Who may collect, and in which regions: your own users, in this place for brevity.
COLLECTORS = {"key-of-ann-000": ("ann", ["north"]), "key-of-bob-000": ("bob", ["north", "south"])}

engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///survey.db"))


def collector(authorization: Annotated[str, Header()] = "") -> Principal:
    """The dependency that the routes have anyway."""
    found = COLLECTORS.get(authorization.removeprefix("Bearer "))
    if found is None:
        raise HTTPException(401, "Unknown key.")
    name, regions = found
    return Principal(user=name, claims={"regions": regions})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The hub lives as long as the application."""
    Base.metadata.create_all(engine)
    with Session(engine) as db:
        if db.scalar(select(func.count()).select_from(Site)) == 0:
            db.add_all([Site(id="lake", region="north"), Site(id="hill", region="south")])
            db.commit()
    in_region = row.region.is_in(user.regions)
    of_site = row.site.region.is_in(user.regions)
    with Hub(engine) as hub:
        hub.track(Site, rules=Rules(read=in_region))
        hub.track(
            Observation,
            rules=Rules(
                read=of_site,
                insert=of_site & (row.collector == user.id),
                update=row.collector == user.id,
            ),
        )
        mount(app, hub, principal=collector)
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/summary")
def summary(who: Annotated[Principal, Depends(collector)]) -> dict[str, int]:
    """How many birds were counted at each site."""
    with Session(engine) as db:
        found = db.execute(
            select(Observation.site_id, func.sum(Observation.birds)).group_by(Observation.site_id)
        )
        return {site: int(birds) for site, birds in found}
