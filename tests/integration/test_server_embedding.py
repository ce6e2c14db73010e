"""The embedded server: it says where it listens, why it cannot, and it ends cleanly."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from reunite.errors import CallerError
from reunite.server import ServerThread, create_app, serve
from tests.integration.fake_hub import ANSWERS, FakeHub, Gate
from tests.integration.http_helpers import Asking, client_of, raw_request
from tests.patience import DEADLINE_S

ROOT = Path(__file__).parents[2]

SERVE = """
from reunite.server import serve
from tests.integration.fake_hub import FakeHub

serve(FakeHub(), port=0, on_listening=lambda url: print(url, flush=True))
print("ended", flush=True)
"""


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.mark.skipif(os.name != "posix", reason="signals of a POSIX terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_tells_its_url_and_ends_cleanly_at_a_signal(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with client_of(url) as client:
            assert client.get("livez").status_code == 200
            process.send_signal(number)
            out, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, err) == (0, "ended\n", "")


def test_a_server_whose_jobs_do_not_start_has_not_started(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked as if it served, and had ended."""

    def fail() -> None:
        raise LookupError("no jobs")

    monkeypatch.setattr(hub, "start_jobs", fail)
    with pytest.raises(RuntimeError, match="did not start") as caught:
        ServerThread(hub)
    assert isinstance(caught.value.__cause__, LookupError)


def test_what_a_callback_raises_ends_the_server_and_is_raised(hub: FakeHub) -> None:
    def fail(url: str) -> None:
        raise LookupError(url)

    with pytest.raises(LookupError, match="http") as caught:
        serve(hub, port=0, on_listening=fail)
    url = caught.value.args[0]
    with client_of(url) as client, pytest.raises(httpx2.ConnectError):
        client.get("livez")


def test_bytes_that_are_no_http_are_answered_with_a_problem(hub: FakeHub) -> None:
    with ServerThread(hub) as server:
        head, _, body = raw_request(server, "GET\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Type: application/problem+json" in head
    assert b"Reunite-Protocol: 1" in head
    assert json.loads(body)["code"] == "bad-request"


def test_a_request_under_way_is_answered_when_the_server_stops(hub: FakeHub) -> None:
    gate = Gate(ANSWERS["schema"])
    hub.behaviour["schema"] = gate
    server = ServerThread(hub)
    waiting = Asking(server.url, "v1/schema")
    assert gate.has_come.wait(timeout=DEADLINE_S)
    stopping = threading.Thread(target=server.close)
    stopping.start()
    gate.open()
    stopping.join()
    assert waiting.status() == 200
    with client_of(server.url) as client, pytest.raises(httpx2.ConnectError):
        client.get("livez")


def test_a_server_may_be_closed_twice_and_its_port_used_again(hub: FakeHub) -> None:
    server = ServerThread(hub)
    server.close()
    server.close()
    port = int(server.url.rpartition(":")[2])
    with ServerThread(hub, port=port) as second, client_of(second.url) as client:
        assert client.get("livez").status_code == 200


def test_a_server_dropped_open_complains_and_stops(hub: FakeHub) -> None:
    server = ServerThread(hub)
    thread = server._thread
    with pytest.warns(ResourceWarning, match="dropped"):
        server.__del__()
    thread.join(timeout=DEADLINE_S)
    assert not thread.is_alive()
    server.close()


def test_a_port_in_use_is_a_sentence_that_says_what_to_do(hub: FakeHub) -> None:
    with ServerThread(hub) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(CallerError, match=f"Port {port} on 127.0.0.1 is in use.*--port 0"):
            ServerThread(hub, port=port)


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 65_536, "There is no port 65536"),
        ("no.such.host.invalid", 0, "no address of this machine"),
        ("192.0.2.1", 0, "no address of this machine"),
    ],
)
def test_an_address_that_cannot_be_is_a_sentence(
    hub: FakeHub, host: str, port: int, message: str
) -> None:
    with pytest.raises(CallerError, match=message):
        ServerThread(hub, host, port)


def test_all_addresses_are_told_as_one_that_can_be_reached(hub: FakeHub) -> None:
    with ServerThread(hub, "0.0.0.0") as server, client_of(server.url) as client:
        assert server.url.startswith("http://127.0.0.1:")
        assert client.get("livez").status_code == 200


def test_an_unknown_limit_is_refused(hub: FakeHub) -> None:
    with pytest.raises(TypeError, match="bodi_max"):
        create_app(hub, bodi_max=3)
