"""The models: the service and the devices have the same."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import DateTime, ForeignKey, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Site(Base):
    __tablename__ = "site"
    id: Mapped[str] = mapped_column(primary_key=True)
    region: Mapped[str]


class Observation(Base):
    __tablename__ = "observation"
    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    site_id: Mapped[str] = mapped_column(ForeignKey("site.id"), index=True)
    collector: Mapped[str]
    birds: Mapped[int]
    seen: Mapped[datetime] = mapped_column(DateTime(timezone=True))
