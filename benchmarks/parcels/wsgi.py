"""The project for gunicorn: `gunicorn benchmarks.parcels.wsgi`, with `PARCELS` in the environment.

Run as a module, this file makes the tables and users that the server's clients need.
"""

import sys

from benchmarks.parcels.project import configure_by_environment, prepare

configure_by_environment()

if __name__ == "__main__":
    prepare(*sys.argv[1:])
else:
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
