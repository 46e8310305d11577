"""What a client may cost: the web process as ``_wsgi.py`` starts it; clients that are slow, silent, large or odd."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import requests
from redis import Redis

from labelloop.children import start_child, stop_child
from labelloop.labelbox.signing import VECTOR_BODY, VECTOR_SECRET, VECTORS
from labelloop.loop.redis_server import RedisServer
from support.clients import SECONDS, dripping, silent, talk
from support.misbehaving import Exchange, answer, misbehaving
from support.servers import free_port
from support.waiting import wait_until

pytestmark = pytest.mark.process

_WSGI = Path(__file__).resolve().parents[3] / "my_ml_backend" / "_wsgi.py"
CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)
LABELS = [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]
THREADS = 8
LIMIT = 8_000_000
"""LABELLOOP_BODY_MAX_BYTES here; a body beyond it that is kept in memory shows."""
OPEN = 1_000_000
LOGIN = {"Authorization": "Basic " + b64encode(b"label:studio").decode()}
SECRET = {"X-LabelLoop-Secret": "hush-hush"}
CREATED = {
    "action": "ANNOTATION_CREATED",
    "annotation": {"id": 31, "was_cancelled": False, "task": 5},
    "task": {"id": 5},
    "project": {"id": 7},
}


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


AUTHORIZATION = f"Authorization: {LOGIN['Authorization']}"
UNFINISHED = [
    b"",
    b"POST /webhook HTT",
    head("/webhook")[:-2] + b"X-More: ",
    head("/webhook", "Content-Length: 900000") + b"{",
    head("/webhook", "Transfer-Encoding: chunked") + b"5\r\n{",
    head("/predict", AUTHORIZATION, "Content-Length: 5000000") + b"{",
    head("/predict", AUTHORIZATION, "Transfer-Encoding: chunked"),
    head("/setup", AUTHORIZATION, "Content-Length: 9", "Expect: 100-continue"),
]
"""Requests in the middle of which a client may stop."""


@dataclass
class Gate:
    """An endpoint that answers when it is told to."""

    opened: threading.Event = field(default_factory=threading.Event)
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def reply(self, exchange: Exchange) -> None:
        self.asked.release()
        while not (self.opened.wait(0.05) or exchange.ending.is_set()):
            pass
        answer(LABELS)(exchange)


@dataclass
class Machine:
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path
    gate: Gate

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def predict(self, number: int, tasks: int = 1) -> requests.Response:
        made = [{"id": one, "data": {"text": f"text {number} {one}"}} for one in range(tasks)]
        body = {"tasks": made, "project": "7.1", "label_config": CONFIG, "params": {"context": None}}
        return requests.post(f"{self.url}/predict", json=body, headers=LOGIN, timeout=100)

    def webhook(self) -> requests.Response:
        return requests.post(f"{self.url}/webhook", json=CREATED, headers=SECRET, timeout=SECONDS)

    def setup(self) -> requests.Response:
        body = {"project": "7.1", "schema": CONFIG}
        return requests.post(f"{self.url}/setup", json=body, headers=LOGIN, timeout=SECONDS)

    def health_seconds(self) -> float:
        """The longest of several looks."""
        found = []
        for _ in range(5):
            began = time.monotonic()
            assert requests.get(f"{self.url}/health", timeout=SECONDS).json()["status"] == "UP"
            found.append(time.monotonic() - began)
        return max(found)

    def web(self) -> psutil.Process:
        """The process that answers: gunicorn's worker, begun before the one that stands by."""
        (gunicorn,) = (
            one for one in psutil.Process(self.process.pid).children() if "labelloop.web.wsgi:app" in one.cmdline()
        )
        return min(gunicorn.children(), key=lambda one: one.create_time())


@pytest.fixture(scope="module")
def machine(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running(redis_server, tmp_path_factory.mktemp("machine")) as made:
        yield made


@contextmanager
def running(redis_server: RedisServer, folder: Path) -> Iterator[Machine]:
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()  # a job that an earlier test has left would fail here
    gate = Gate()
    with misbehaving(gate.reply) as endpoint:
        port = free_port()
        own = {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "THREADS": str(THREADS),
            "MODEL_DIR": str(folder),
            "LABEL_STUDIO_URL": "http://127.0.0.1:1",
            "LABELLOOP_REDIS_URL": redis_server.url,
            "LABELLOOP_ENDPOINT": f"{endpoint.address}/model",
            "LABELLOOP_CACHE_MAX_BYTES": "0",
            "LABELLOOP_BODY_MAX_BYTES": str(LIMIT),
            "LABELLOOP_WEBHOOK_MAX_BYTES": str(LIMIT // 2),
            "LABELLOOP_WEBHOOK_SECRET": SECRET["X-LabelLoop-Secret"],
            "LABELLOOP_LABELBOX_SECRET": VECTOR_SECRET,
            "BASIC_AUTH_USER": "label",
            "BASIC_AUTH_PASS": "studio",
            "LABELLOOP_TRAINER": "command:true",  # nothing is trained: the worker need not load torch
        }
        log = folder / "log"
        process = start_child([sys.executable, str(_WSGI)], environment={**os.environ, **own}, log=log)
        made = Machine(port, process, log, gate)

        def up() -> bool:
            try:
                return process.poll() is not None or requests.get(f"{made.url}/health", timeout=1).ok
            except requests.RequestException:
                return False

        try:
            wait_until(up, log.read_text, 90)
            assert process.poll() is None, log.read_text()
            yield made
        finally:
            gate.opened.set()
            stop_child(process, grace=SECONDS)


def busy(machine: Machine, threads: ThreadPoolExecutor, count: int) -> list[Future[requests.Response]]:
    """Have more predictions asked for than there are threads, and wait until all of those are taken."""
    machine.gate.opened.clear()
    asked = [threads.submit(machine.predict, number) for number in range(count)]
    for _ in range(min(count, THREADS)):
        assert machine.gate.asked.acquire(timeout=SECONDS)
    return asked


def opened(machine: Machine, asked: list[Future[requests.Response]]) -> None:
    machine.gate.opened.set()
    for one in asked:
        (found,) = one.result().json()["results"]
        assert found["result"][0]["value"]["choices"] == ["cat"]
    while machine.gate.asked.acquire(blocking=False):
        pass


def test_silent_and_dripping_clients_hold_no_thread(machine: Machine) -> None:
    machine.gate.opened.set()
    with dripping(machine.port, UNFINISHED, b"0", 40):
        for beginning in UNFINISHED:
            with silent(machine.port, beginning, 5 * THREADS):
                assert machine.health_seconds() < 1
                assert machine.webhook().status_code == 200
        assert machine.setup().status_code == 200
        assert machine.predict(0).json()["results"][0]["score"] == 0.75


def test_health_setup_and_webhook_do_not_wait_for_predictions(machine: Machine) -> None:
    with ThreadPoolExecutor(2 * THREADS) as threads:
        asked = busy(machine, threads, 2 * THREADS)
        assert machine.health_seconds() < 1
        assert machine.webhook().status_code == 200
        assert machine.setup().status_code == 200
        assert requests.get(f"{machine.url}/metrics", headers=LOGIN, timeout=SECONDS).ok
        assert not any(one.done() for one in asked)
        opened(machine, asked)


def test_clients_that_do_not_read_their_answers_hold_no_thread(machine: Machine) -> None:
    # Answers of some 2 MB: more than the kernel takes from us for one who does not read.
    config = "<View>" + "".join(
        f'<Text name="t{at}" value="$t"/><Choices name="c{at}" toName="t{at}"><Choice value="{"x" * 900}"/></Choices>'
        for at in range(2000)
    )
    body = json.dumps({"config": config + "</View>"}).encode()
    asking = head("/validate", AUTHORIZATION, f"Content-Length: {len(body)}") + body
    with silent(machine.port, asking, 6) as connections:
        for connection in connections:
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert requests.get(f"{machine.url}/status", headers=LOGIN, timeout=SECONDS).ok
        assert machine.health_seconds() < 1


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("path", "headers", "reason"),
    [
        ("/webhook", [], "carries no X-LabelLoop-Secret"),
        ("/webhook", ["X-LabelLoop-Secret: another"], "is another one"),
        ("/webhook", ["Authorization: Basic bGFiZWw6d3Jvbmc="], "carries no X-LabelLoop-Secret"),
        ("/predict", [], "Basic authentication failed"),
        ("/nowhere", [], "Basic authentication failed"),
    ],
)
def test_63_mb_without_credentials_are_refused_without_being_kept(
    machine: Machine, path: str, headers: list[str], reason: str, chunked: bool
) -> None:
    worker = machine.web()
    before = worker.memory_info().rss
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 63000000"
    piece = b"[]," * 21_000
    sent = 0
    with socket.create_connection(("127.0.0.1", machine.port), SECONDS) as connection:
        connection.sendall(head(path, *headers, framing))
        while sent < 63_000_000:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            sent += len(piece)
        answer = connection.makefile("rb")
        assert answer.readline().startswith(b"HTTP/1.1 401 ")
        assert reason in answer.read().decode()
    assert worker.memory_info().rss - before < 16_000_000
    assert machine.health_seconds() < 1


@pytest.mark.parametrize("piece", [b"[],", b'{"":0},', b"[" * 10 + b"]" * 10 + b","])
def test_json_that_would_take_many_times_its_size_is_refused_unread(machine: Machine, piece: bytes) -> None:
    worker = machine.web()
    body = b'{"tasks": [' + piece * ((LIMIT - 100) // len(piece)) + b"0]}"
    before = worker.memory_info().rss
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(requests.post, f"{machine.url}/predict", data=body, headers=LOGIN, timeout=SECONDS)
        assert machine.health_seconds() < 1
        answer = asked.result()
    assert answer.status_code == 400
    assert answer.json()["error"] == "the body holds more than 1000000 lists and objects"
    assert worker.memory_info().rss - before < 5 * LIMIT


@pytest.mark.parametrize(
    ("framing", "sent"),
    [("Content-Length: 1000000000", b""), ("Transfer-Encoding: chunked", b"ffff\r\n%s\r\n" % (b" " * 65535))],
)
def test_a_body_of_a_gigabyte_for_labelbox_is_refused_unread(machine: Machine, framing: str, sent: bytes) -> None:
    signed = f"{VECTORS[1][1]}: {VECTORS[1][2]}"
    with silent(machine.port, head("/labelbox/model_run", signed, framing) + sent, 1) as (connection,):
        assert connection.recv(100).startswith(b"HTTP/1.1 413 the body is larger than 64000 bytes")
    assert machine.health_seconds() < 1


def test_labelbox_is_answered_while_all_predictions_wait(machine: Machine) -> None:
    with ThreadPoolExecutor(2 * THREADS) as threads:
        asked = busy(machine, threads, 2 * THREADS)
        (_, name, of_get), (_, _, of_post), _ = VECTORS
        menu = requests.get(f"{machine.url}/labelbox/models", headers={name: of_get}, timeout=SECONDS)
        run = requests.post(
            f"{machine.url}/labelbox/model_run", data=VECTOR_BODY, headers={name: of_post}, timeout=SECONDS
        )
        assert (menu.status_code, run.status_code) == (200, 200)
        assert run.json()["modelType"] in menu.json()
        assert not any(one.done() for one in asked)
        opened(machine, asked)


def test_a_refusal_does_not_wait_for_the_body(machine: Machine) -> None:
    with silent(machine.port, head("/webhook", "Content-Length: 63000000"), 1) as (connection,):
        assert connection.recv(100).startswith(b"HTTP/1.1 401 the webhook carries no X-LabelLoop-Secret header")


@pytest.mark.parametrize(
    ("path", "headers", "size", "status"),
    [
        ("/webhook", {}, OPEN - 100, 200),
        ("/webhook", {}, OPEN + 100, 401),
        ("/webhook", SECRET, OPEN + 100, 200),
        ("/webhook", LOGIN, OPEN + 100, 200),
        ("/webhook", SECRET, LIMIT // 2 + 1, 413),
        ("/predict", LOGIN, LIMIT - 100, 400),
        ("/predict", LOGIN, LIMIT + 1, 413),
        ("/setup", {}, 10, 401),
    ],
)
def test_how_large_a_body_may_be(machine: Machine, path: str, headers: dict[str, str], size: int, status: int) -> None:
    # An action without use: nothing is asked of whom it comes from, and nothing done about it.
    start = b'{"action": "TASKS_DELETED", "more": "'
    body = start + b"x" * (size - len(start) - 2) + b'"}' if size > 100 else b"{}"
    for data in (body, iter([body[:9], body[9:]])):
        answer = requests.post(f"{machine.url}{path}", data=data, headers=headers, timeout=SECONDS)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json")
        assert status == 200 or answer.json()["error"]


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (head("/health", "SCRIPT_NAME: /elsewhere", method="GET"), {200}),
        (head("/health", "Script-Name: /elsewhere", method="GET"), {200}),
        (head("/setup", "SCRIPT_NAME: /setup/more", "Content-Length: 2") + b"{}", {401}),
        (head("//evil.example/../", method="GET"), {401}),
        (head("/health\xff", method="GET"), {400, 401}),
        (head("/%00%ff%2e", method="GET"), {401}),
        (head("http://elsewhere/health", method="GET"), {200}),
        (head("*", method="OPTIONS"), {401}),
        (head("elsewhere:443", method="CONNECT"), {401}),
        (head("/health", "Upgrade: websocket", "Connection: Upgrade", method="GET"), {400}),
        (head("/health", "Host: y", method="GET"), {400}),
        (b"GET /health HTTP/1.1\r\n\r\n", {400}),
        (b"GET /health HTTP/1.1\r\nHost: a b/<script>\r\n\r\n", {200}),
        (b"GET /health HTTP/1.0\r\n\r\n", {200}),
        (b"GET /health HTTP/9.9\r\nHost: x\r\n\r\n", {505}),
        (b"hello\r\n\r\n", {400}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 3, {400}),
        (b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {401, 431}),
        (head("/health", "X: " + "a" * 200_000, method="GET"), {200, 431}),
        (head("/webhook", "Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n", {400}),
        (head("/webhook", "Content-Length: 2", "Content-Length: 3") + b"{}", {400}),
        (head("/webhook", "Content-Length: -1"), {400}),
        (head("/webhook", "Content-Length: 99999999999999999999999"), {400}),
        (head("/webhook", "Transfer-Encoding: gzip"), {501}),
        (head("/webhook", "Transfer-Encoding: chunked") + b"zz\r\n", {400}),
        (head("/webhook", "Transfer-Encoding: chunked") + b"1\r\n{\r\n" * 20_000, {400}),
        (head("/webhook", " Folded: yes"), {400, 401}),
        (head("/webhook", "X-Line: a\x00b"), {400}),
        (head("/health", "Content-Length: 2", method="GET") + b"{}", {200}),
    ],
)
def test_an_odd_request_is_answered_as_json_and_tells_nothing_of_the_server(
    machine: Machine, content: bytes, statuses: set[int]
) -> None:
    with socket.create_connection(("127.0.0.1", machine.port), SECONDS) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 ")
    top, _, body = answer.partition(b"\r\n\r\n")
    assert int(top.split(b" ")[1]) in statuses, answer
    assert b"content-type: application/json" in top.lower()
    assert isinstance(json.loads(body), dict)
    assert str(_WSGI.parent).encode() not in answer
    assert b"gunicorn" not in answer
    assert machine.health_seconds() < 1


def test_a_smuggled_request_is_not_answered(machine: Machine) -> None:
    inner = head("/health", method="GET")
    both = head("/webhook", f"Content-Length: {5 + len(inner)}", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + inner
    answer = talk(machine.port, both)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"Date: ") == 1


def test_requests_that_come_together_are_answered_in_turn(machine: Machine) -> None:
    last = head("/health", "Connection: close", method="GET")
    assert talk(machine.port, head("/health", method="GET") * 20 + last).count(b"HTTP/1.1 200 ") == 21


def test_a_reason_is_the_phrase_of_the_answer(machine: Machine) -> None:
    answer = requests.post(f"{machine.url}/setup", json={"project": "x"}, headers=LOGIN, timeout=SECONDS)
    assert answer.status_code == 400
    assert answer.reason == answer.json()["error"]
    assert answer.reason.startswith("project must be")


def test_more_connections_than_there_may_be_are_taken_in_and_the_oldest_silent_ones_go(machine: Machine) -> None:
    most = 1000  # gunicorn's worker_connections
    with silent(machine.port, b"", 10) as oldest, silent(machine.port, b"POST /webhook HTTP/1.1\r\n", most + 100) as _:
        for connection in oldest:
            assert connection.recv(1) == b""
        assert machine.health_seconds() < 1
        assert machine.webhook().status_code == 200
        assert machine.web().num_fds() < most + 300


@pytest.mark.slow
def test_a_prediction_may_take_its_time_after_sigterm(redis_server: RedisServer, tmp_path: Path) -> None:
    with running(redis_server, tmp_path) as machine, ThreadPoolExecutor(1) as threads:
        asked = busy(machine, threads, 1)
        machine.process.terminate()
        assert not wait(asked, 12).done
        opened(machine, asked)
        assert machine.process.wait(SECONDS) == 0


def test_a_prediction_in_flight_is_answered_after_sigterm_and_silent_clients_hold_nothing_up(machine: Machine) -> None:
    """The last one: it ends the machine."""
    with ThreadPoolExecutor(1) as threads, silent(machine.port, UNFINISHED[3], 40):
        asked = busy(machine, threads, 1)
        machine.process.terminate()

        def refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", machine.port), 1).close()
            except OSError:
                return True
            return False

        wait_until(refused, "no new connection is accepted", SECONDS)
        opened(machine, asked)
        assert machine.process.wait(SECONDS) == 0
    assert "Traceback" not in machine.log.read_text()
