"""The web process as gunicorn runs it: no torch, no touch on multiprocessing, real HTTP."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from labelloop.children import start_child, stop_child
from labelloop.front.standby import NAME
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings
from labelloop.web.machine import gunicorn_command
from support.clients import SECONDS
from support.servers import free_port
from support.waiting import wait_until
from support.web import CONFIG

pytestmark = pytest.mark.process

_CODE = Path(__file__).resolve().parents[3] / "my_ml_backend"
_SCRIPT = f"""
import json, multiprocessing, sys
import _wsgi
from labelloop.labelbox.signing import SHA1, VECTOR_BODY, signature
client = _wsgi.app.test_client()
config = {CONFIG!r}
answers = [
    client.get("/health"),
    client.post("/setup", json={{"project": "7.1", "schema": config}}),
    client.post("/predict", json={{"project": "7.1", "label_config": config, "tasks": [{{"id": 1}}]}}),
    client.post("/webhook", json={{"action": "START_TRAINING", "project": {{"id": 7}}}}),
    client.post("/validate", json={{"config": config}}),
    *(client.get(path) for path in ("/versions", "/status", "/metrics")),
    client.get("/labelbox/models", headers={{SHA1: signature("hush", b"")}}),
    client.post("/labelbox/model_run", data=VECTOR_BODY, headers={{SHA1: signature("hush", VECTOR_BODY)}}),
]
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(json.dumps({{
    "statuses": [answer.status_code for answer in answers],
    "heavy": sorted(loaded & {{"torch", "torchvision", "timm", "sklearn", "onnxruntime", "labelbox", "lbox"}}),
    "start_method": multiprocessing.get_start_method(allow_none=True),
}}))
"""


def environment(redis_server: RedisServer, folder: Path) -> dict[str, str]:
    own = {
        "PYTHONPATH": str(_CODE),
        "MODEL_DIR": str(folder),
        "LABELLOOP_REDIS_URL": redis_server.url,
        "LABELLOOP_ENDPOINT": "fake://?classes=cat,dog",
        "LABELLOOP_BODY_MAX_BYTES": "5000",
        "LABELLOOP_LABELBOX_SECRET": "hush",
        "LABELLOOP_WEBHOOK_SECRET": "hush",
        "LABELLOOP_LOG_FORMAT": "json",
    }
    return {**os.environ, **own}


def test_the_web_process_never_imports_torch_or_the_sdk_of_labelbox(redis_server: RedisServer, tmp_path: Path) -> None:
    assert importlib.util.find_spec("torch") is not None, "without torch installed this test proves nothing"
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        env=environment(redis_server, tmp_path),
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["statuses"] == [200, 200, 200, 201, 200, 200, 200, 200, 200, 200]
    assert told["heavy"] == []
    assert told["start_method"] is None


@pytest.fixture(scope="module")
def served(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process]]:
    """The app behind a real gunicorn: its address and its process."""
    settings = Settings(host="127.0.0.1", port=free_port(), workers=2, threads=2)
    folder = tmp_path_factory.mktemp("gunicorn")
    child = start_child(gunicorn_command(settings), environment=environment(redis_server, folder), log=folder / "log")
    url = f"http://127.0.0.1:{settings.port}"
    try:
        wait_until(lambda: up(url) or child.poll() is not None, (folder / "log").read_text)
        assert child.poll() is None, (folder / "log").read_text()
        yield url, psutil.Process(child.pid)
    finally:
        stop_child(child, grace=20)


def counted(url: str) -> dict[str, float]:
    """What is told of ``/metrics``, by the series; nothing, by whoever stands by."""
    answer = requests.get(f"{url}/metrics", timeout=SECONDS)
    families = text_string_to_metric_families(answer.text if answer.ok else "")
    samples = [one for family in families for one in family.samples]
    return {f"{one.name} {' '.join(one.labels.values())}".strip(): one.value for one in samples}


def test_whoever_is_asked_tells_what_all_processes_counted(served: tuple[str, psutil.Process]) -> None:
    url, _ = served
    before, told = counted(url), "labelloop_requests_total /validate 400"

    def sent(status: int, **body: Any) -> bool:
        """Whether it was not by chance who stands by that answered."""
        return requests.post(f"{url}/validate", timeout=SECONDS, **body).status_code == status

    for _ in range(12):
        wait_until(lambda: sent(400, json={"config": "none"}), "a worker answers")
    wait_until(lambda: sent(413, data=b"x" * 20_000), "a worker answers")
    with socket.create_connection((url.rpartition("/")[2].split(":")[0], int(url.rpartition(":")[2]))) as client:
        client.sendall(b"no HTTP\r\n\r\n")
        assert b" 400 " in client.recv(1000)

    found = [one for one in (counted(url) for _ in range(6)) if one]

    assert {one[told] - before.get(told, 0) for one in found} == {12}
    unread = "labelloop_connections_refused_total unreadable"
    assert found[0][unread] == before.get(unread, 0) + 1
    assert found[0]["labelloop_requests_total /validate 413"] == 1
    assert found[0]["labelloop_request_seconds_count /validate"] == 13 + before.get(
        "labelloop_request_seconds_count /validate", 0
    )
    assert found[0]["labelloop_redis_up"] == 1


def up(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=1).ok
    except requests.RequestException:
        return False


def test_gunicorn_workers_hold_no_torch(served: tuple[str, psutil.Process]) -> None:
    url, arbiter = served
    requests.post(f"{url}/setup", json={"project": 7}, timeout=SECONDS).raise_for_status()
    wait_until(lambda: len(arbiter.children()) == 3, "both workers are there, and the one that stands by")
    for process in [arbiter, *arbiter.children()]:
        assert not [mapped.path for mapped in process.memory_maps() if "torch" in mapped.path]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413_however_it_is_sent(served: tuple[str, psutil.Process], chunked: bool) -> None:
    url, _ = served
    content = b'{"project": "' + b"x" * 6000 + b'"}'
    pieces = iter([content[:3000], content[3000:]]) if chunked else content
    answer = requests.post(f"{url}/setup", data=pieces, timeout=SECONDS)
    assert answer.status_code == 413
    assert answer.json()["error"]


def test_a_connection_serves_on_after_a_refused_body(served: tuple[str, psutil.Process]) -> None:
    url, _ = served
    with requests.Session() as session:
        refused = session.post(f"{url}/predict", data=b"x" * 20_000, timeout=SECONDS)
        assert (refused.status_code, refused.headers["Connection"]) == (413, "close")
        assert session.get(f"{url}/health", timeout=SECONDS).json()["status"] == "UP"


def family(arbiter: psutil.Process) -> tuple[list[psutil.Process], psutil.Process]:
    """Both workers and the one that stands by, as soon as all are there."""

    def standing_by() -> list[bool]:
        return sorted(one.name() == NAME for one in arbiter.children())

    wait_until(lambda: standing_by() == [False, False, True], "both workers are there, and the one that stands by")
    workers, standby = [], None
    for one in arbiter.children():
        if one.name() == NAME:
            standby = one
        else:
            workers.append(one)
    assert standby is not None
    return workers, standby


@contextmanager
def frozen(arbiter: psutil.Process) -> Iterator[None]:
    """Stop all workers but the one that stands by."""
    workers, _ = family(arbiter)
    for worker in workers:
        worker.suspend()
    try:
        yield
    finally:
        for worker in workers:
            worker.resume()


def created(number: int) -> dict[str, object]:
    return {"action": "ANNOTATION_CREATED", "annotation": {"id": number}, "task": {"id": 5}, "project": {"id": 7}}


def test_while_all_workers_are_frozen_another_answers_for_health_and_takes_webhooks(
    served: tuple[str, psutil.Process], redis_server: RedisServer
) -> None:
    url, arbiter = served
    header = {"X-LabelLoop-Secret": "hush"}
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()
    with frozen(arbiter):
        with ThreadPoolExecutor(20) as threads:  # at once: they wait in the socket's queue
            told = [
                threads.submit(requests.post, f"{url}/webhook", json=created(number), headers=header, timeout=SECONDS)
                for number in range(1, 21)
            ]
        assert {one.result().status_code for one in told} == {200}
        with Redis.from_url(redis_server.url) as redis:
            (changed,) = redis.keys("labelloop:*:changed")
            assert redis.zcard(changed) == 20
        wait_until(lambda: up(url), "it answers within the second that Label Studio waits")
        answer = requests.get(f"{url}/health", timeout=SECONDS)
        assert (answer.status_code, answer.json()["status"], answer.headers["Connection"]) == (200, "UP", "close")
        assert requests.post(f"{url}/webhook", json=created(21), timeout=SECONDS).status_code == 401
        for path in ("/predict", "/setup", "/status"):
            refused = requests.post(f"{url}{path}", data=b"x" * 3000, timeout=SECONDS)
            assert (refused.status_code, refused.json()) == (
                503,
                {"error": "the web workers do not answer; webhooks are taken meanwhile"},
            )
    body = {"project": "7.1", "label_config": CONFIG, "tasks": [{"id": 1}]}
    wait_until(lambda: requests.post(f"{url}/predict", json=body, timeout=SECONDS).ok, "the workers answer again")

    def all_answered() -> bool:
        return all(requests.post(f"{url}/setup", json={"project": "7.1"}, timeout=SECONDS).ok for _ in range(20))

    wait_until(all_answered, "who stands by, and looks ten times a second, takes no more connections")


def test_who_stands_by_is_replaced_and_nobody_else(served: tuple[str, psutil.Process]) -> None:
    url, arbiter = served
    workers, standby = family(arbiter)
    standby.kill()
    wait_until(lambda: not standby.is_running(), "it is gone")
    assert set(family(arbiter)[0]) == set(workers)
    with frozen(arbiter):
        assert requests.get(f"{url}/health", timeout=SECONDS).ok
        assert requests.post(f"{url}/predict", timeout=SECONDS).status_code == 503


def test_what_a_killed_process_counted_stays_counted(served: tuple[str, psutil.Process]) -> None:
    url, arbiter = served
    told = "labelloop_requests_total /validate 400"

    def refused() -> bool:
        return requests.post(f"{url}/validate", json={"config": "none"}, timeout=SECONDS).status_code == 400

    wait_until(lambda: all(refused() for _ in range(6)), "the workers answer, and not who stands by")
    before, killed = counted(url)[told], min(arbiter.children(), key=psutil.Process.create_time)
    killed.kill()
    wait_until(lambda: len(set(arbiter.children()) - {killed}) == 3, "another takes its place")
    wait_until(lambda: counted(url).get(told) == before, "it tells of it")
    # What gunicorn says of it stands among the lines of our own, in their form.
    said = [json.loads(line) for line in Path(arbiter.environ()["MODEL_DIR"], "log").read_text().splitlines()]
    assert [one for one in said if one["logger"] == "gunicorn.error" and f"pid:{killed.pid}" in one["message"]]
