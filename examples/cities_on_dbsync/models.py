"""The models of dbsync's README, which server and nodes share; `track` is that of either."""

from sqlalchemy import Column, ForeignKey, Integer, String
from sqlalchemy.orm import declarative_base, relationship

Base = declarative_base()
Base.__table_args__ = {"sqlite_autoincrement": True}


def models(track):
    """City and Person, tracked."""

    @track
    class City(Base):
        __tablename__ = "city"

        id = Column(Integer, primary_key=True)
        name = Column(String(100))

    @track
    class Person(Base):
        __tablename__ = "person"

        id = Column(Integer, primary_key=True)
        name = Column(String(100))
        city_id = Column(Integer, ForeignKey("city.id"))

        city = relationship(City, backref="persons")

    return City, Person
