"""PgBouncer in transaction mode, for tests: from Debian's packages, unpacked under `.venv`.

`python -m tests.pgbouncer` fetches it, which `make setup` does where there is `apt-get`: nothing is
installed, so no service begins to run. Where it is missing, the tests that need it are skipped and
say why.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.patience import DEADLINE_S

UNPACKED = Path(__file__).parent.parent / ".venv" / "pgbouncer"

# With what it needs beyond what every Debian has.
PACKAGES = ("pgbouncer", "libevent-2.1-7", "libc-ares2")

# Connections to the server, fewer than the tests have clients: so each is lent to many.
SIZE = 4

_SETTINGS = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
"""


def why_missing() -> str | None:
    """Why there can be no PgBouncer here; None if there can."""
    if _program() is None:
        return "there is no PgBouncer: install it, or run `make setup` where there is apt-get"
    return None


def _program() -> Path | None:
    unpacked = UNPACKED / "usr" / "sbin" / "pgbouncer"
    if unpacked.exists():
        return unpacked
    found = shutil.which("pgbouncer")
    return None if found is None else Path(found)


@contextmanager
def running_pgbouncer(url: str) -> Iterator[str]:
    """A PgBouncer in front of a server, for as long as the block runs: the URL through it."""
    program = _program()
    assert program is not None, "`why_missing` has looked"
    parts = urlsplit(url)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        listen_port = found.getsockname()[1]
    # Not pytest's folder: its parents are closed to other users, and it refuses to be root.
    folder = Path(tempfile.mkdtemp(prefix="reunite-pgbouncer-"))
    process = None
    try:
        settings = _SETTINGS.format(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            listen_port=listen_port,
            size=SIZE,
        )
        (folder / "pgbouncer.ini").write_text(settings, encoding="utf-8")
        for file in (program, *UNPACKED.glob("usr/lib/*/lib*.so.*")):
            shutil.copy(file, folder)
        user = "nobody" if os.geteuid() == 0 else None
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
            folder.chmod(0o755)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [folder / "pgbouncer", "pgbouncer.ini"],
                cwd=folder,
                user=user,
                env={**os.environ, "LD_LIBRARY_PATH": str(folder)},
                stdout=log,
                stderr=log,
            )
        _wait_until_it_listens(process, listen_port, folder / "log")
        yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{listen_port}").geturl()
    finally:
        if process is not None:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.02)
        else:
            if process.poll() is not None:
                raise RuntimeError(log.read_text())  # who answers is somebody else
            return


def main() -> None:
    """Fetch it, if that is possible and it is not there; else say why tests will be skipped."""
    if _program() is not None:
        return
    try:
        _fetch()
    except (OSError, subprocess.SubprocessError) as exc:
        said = getattr(exc, "stderr", None) or str(exc)
        print(f"PgBouncer was not fetched, and its tests will be skipped: {said}", file=sys.stderr)


def _fetch() -> None:
    with tempfile.TemporaryDirectory(prefix="reunite-packages-") as folder:

        def run(*command: str) -> None:
            subprocess.run(
                command, cwd=folder, check=True, capture_output=True, text=True, timeout=60
            )

        apt_get = ("apt-get", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10")
        try:
            run(*apt_get, "download", *PACKAGES)
        except subprocess.CalledProcessError:
            run(*apt_get, "update")  # an image that is new has no lists
            run(*apt_get, "download", *PACKAGES)
        unpacked = Path(folder) / "unpacked"
        for package in Path(folder).glob("*.deb"):
            run("dpkg", "-x", str(package), str(unpacked))
        shutil.rmtree(UNPACKED, ignore_errors=True)
        shutil.move(unpacked, UNPACKED)


if __name__ == "__main__":
    main()
