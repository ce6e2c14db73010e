"""The models of the tests of SQLAlchemy: one of each kind of column, keys of each kind."""

import enum
import uuid
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Enum,
    ForeignKey,
    LargeBinary,
    Numeric,
    String,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Tags(TypeDecorator[list[str]]):
    """A custom type: a list in a text, by `process_bind_param`."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: list[str] | None, dialect: Any) -> str | None:
        return None if value is None else " ".join(value)

    def process_result_value(self, value: str | None, dialect: Any) -> list[str] | None:
        return None if value is None else value.split()


class Shelf(Base):
    __tablename__ = "shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    products: Mapped[list["Product"]] = relationship(
        back_populates="shelf", cascade="all, delete-orphan"
    )


class Product(Base):
    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelf.id"))
    label: Mapped[str] = mapped_column("name", String(40))  # the attribute has another name
    tag: Mapped[uuid.UUID | None] = mapped_column(Uuid, unique=True)
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    weight: Mapped[float | None]
    is_open: Mapped[bool | None]
    colour: Mapped[Colour | None] = mapped_column(Enum(Colour))
    made: Mapped[datetime | None]
    seen: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    day: Mapped[date | None]
    hour: Mapped[time | None]
    photo: Mapped[bytes | None] = mapped_column(LargeBinary)
    more: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    tags: Mapped[list[str] | None] = mapped_column(Tags)
    stock: Mapped[int] = mapped_column(default=0)
    shelf: Mapped[Shelf] = relationship(back_populates="products")


class Person(Base):
    __tablename__ = "person"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012


class Clerk(Person):
    """By joined inheritance: rows of two tables."""

    __tablename__ = "clerk"

    id: Mapped[str] = mapped_column(ForeignKey("person.id"), primary_key=True)
    desk: Mapped[int]
    __mapper_args__ = {"polymorphic_identity": "clerk"}  # noqa: RUF012
