"""Bridges to frameworks, each an extra: `reunite.contrib.sqlalchemy`, `.flask`, `.fastapi`."""
