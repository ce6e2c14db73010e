"""reunite: clone the tables of a database to any device, write there offline, and sync."""

__all__: list[str] = []
