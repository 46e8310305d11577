"""What one machine runs for its settings."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from labelloop.errors import ServiceError
from labelloop.serve.server import GRACE_SECONDS
from labelloop.settings import Settings
from labelloop.web.machine import gunicorn_command, machine_services
from support.servers import free_port


def names(folder: Path, **given: object) -> list[str]:
    usual: dict[str, object] = {
        "host": "127.0.0.1",
        "port": free_port(),
        "endpoint": f"http://127.0.0.1:{free_port()}",
        "model_dir": str(folder),
    }
    return [service.name for service in machine_services(Settings(**{**usual, **given}), {})]  # type: ignore[arg-type]


def test_by_default_everything_in_the_order_of_need(tmp_path: Path) -> None:
    assert names(tmp_path) == ["redis", "inference", "worker", "web"]


def test_what_is_in_flight_has_its_deadline_before_it_is_killed(tmp_path: Path) -> None:
    settings = Settings(
        host="127.0.0.1",
        port=free_port(),
        endpoint=f"http://127.0.0.1:{free_port()}",
        model_dir=str(tmp_path),
        predict_deadline=60.5,
        interactive_deadline=70.5,
    )
    command = gunicorn_command(settings)
    graceful = int(command[command.index("--graceful-timeout") + 1])
    grace = {service.name: service.grace_seconds for service in machine_services(settings, {})}
    assert 70.5 < graceful < grace["web"]
    assert grace["inference"] > GRACE_SECONDS


def test_a_redis_elsewhere_is_not_started_here(tmp_path: Path) -> None:
    assert names(tmp_path, redis_url="redis://redis:6379/0") == ["inference", "worker", "web"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://inference:9091",
        "http://10.0.0.7:9091",
        "https://127.0.0.1:9091",
        "http://127.0.0.1:9091/v1",
        "fake://?classes=a",
    ],
)
def test_an_endpoint_elsewhere_is_not_started_here(tmp_path: Path, endpoint: str) -> None:
    assert names(tmp_path, endpoint=endpoint) == ["redis", "worker", "web"]


class _Handler(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/ping" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(params=[200, 404])
def listening(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """A server whose ``/ping`` answers as an endpoint's does, or as something else's: its port and that status."""
    handler = type("Handler", (_Handler,), {"status": request.param})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_port, request.param
        server.shutdown()


def test_a_local_endpoint_that_runs_is_used_and_anything_else_at_its_port_is_told(
    tmp_path: Path, listening: tuple[int, int]
) -> None:
    port, status = listening
    if status == 200:
        assert names(tmp_path, endpoint=f"http://127.0.0.1:{port}") == ["redis", "worker", "web"]
        return
    with pytest.raises(ServiceError, match=rf"port {port} of 127\.0\.0\.1 cannot be had .*LABELLOOP_ENDPOINT"):
        names(tmp_path, endpoint=f"http://127.0.0.1:{port}")


def test_a_taken_port_of_the_web_process_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"port {port} .*choose another port with -p or PORT"):
            names(tmp_path, port=port)
