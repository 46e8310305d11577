"""Requests as Label Studio sends them, many at a time, from one event loop: it costs little beside what is measured.

Webhooks come by a clock and do not wait for each other: a slow answer delays nothing but itself, and the time that is
told begins when the webhook was due. Each has a connection of its own, as Label Studio's have.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from labelloop.settings import Settings
from labelloop.studio.backends import SECRET_HEADER
from labelloop.webhook_secrets import WebhookSecrets

PATIENCE = 5.0
"""Seconds after which a request has failed. Label Studio waits 1 s for a webhook: later ones are counted apart."""
_STUDIO_SECONDS = 1.0

_CAPTURED = Path(__file__).parents[2] / "tests/fixtures/label_studio/requests"


@dataclass
class Answers:
    """Seconds of the requests that were answered 2xx, and how many were not."""

    seconds: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)

    @property
    def late(self) -> int:
        """How many of the answers Label Studio would not have waited for."""
        return sum(second > _STUDIO_SECONDS for second in self.seconds)

    def ms(self, percentile: float) -> float:
        """A percentile in milliseconds; NaN without answers."""
        return 1000 * float(np.percentile(self.seconds, percentile)) if self.seconds else float("nan")

    def fail(self, how: str) -> None:
        """Count one that failed."""
        self.failed[how] = self.failed.get(how, 0) + 1


def captured(action: str) -> dict[str, object]:
    """A webhook's body as Label Studio 1.23.2 sent it."""
    body: dict[str, object] = json.loads((_CAPTURED / f"webhook_{action}.json").read_text())["body"]
    return body


def post(port: int, path: str, body: object, headers: Mapping[str, str] | None = None) -> bytes:
    """Write a request."""
    content = json.dumps(body).encode()
    named = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", **(headers or {})}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(content)}", "Connection: close", "", ""])
    return head.encode() + content


async def ask(port: int, request: bytes, patience: float = PATIENCE) -> bytes:
    """Send a request and give the whole answer; raises OSError and TimeoutError."""
    async with asyncio.timeout(patience):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.transport.abort()


async def _timed(port: int, request: bytes, began: float, told: Answers, patience: float = PATIENCE) -> None:
    try:
        answer = await ask(port, request, patience)
    except TimeoutError:
        told.fail("no answer")
    except OSError as error:
        told.fail(type(error).__name__)
    else:
        status = answer[9:12].decode() or "hung up on"
        if status.startswith("2"):
            told.seconds.append(time.perf_counter() - began)
        else:
            told.fail(status)


async def webhooks(settings: Settings, projects: range, first: int, per_second: float, seconds: float) -> Answers:
    """Tell of one new annotation after the other, numbered from ``first``, of these projects in turn."""
    body, told = captured("ANNOTATION_CREATED"), Answers()
    headers = {project: {SECRET_HEADER: WebhookSecrets(settings).of(project)} for project in projects}
    running: set[asyncio.Task[None]] = set()
    began = time.perf_counter()
    for number in range(int(per_second * seconds)):
        due = began + number / per_second
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        project = projects[number % len(projects)]
        annotation = {**_object(body, "annotation"), "id": first + number, "project": project}
        named = {**body, "annotation": annotation, "project": {**_object(body, "project"), "id": project}}
        request = post(settings.port, "/webhook", named, headers[project])
        task = asyncio.create_task(_timed(settings.port, request, due, told))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return told


def _object(body: dict[str, object], name: str) -> dict[str, object]:
    found = body[name]
    assert isinstance(found, dict)
    return found


@asynccontextmanager
async def predicting(port: int, project: int, config: str, clients: int) -> AsyncIterator[Answers]:
    """Have so many clients ask for the prediction of one task after the other, none of them twice.

    They begin one after the other, within a second: nobody orders annotators to ask all at once.
    """
    told = Answers()

    async def client(number: int) -> None:
        await asyncio.sleep(number / clients)
        asked = 0
        while True:
            asked += 1
            task = {"id": asked, "project": project, "data": {"text": f"text {asked} of client {number}"}}
            body = {"project": f"{project}.1", "label_config": config, "tasks": [task], "params": {"context": None}}
            await _timed(port, post(port, "/predict", body), time.perf_counter(), told, 100.0)

    running = [asyncio.create_task(client(number)) for number in range(clients)]
    try:
        yield told
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@asynccontextmanager
async def slow_clients(port: int, silent: int, dripping: int) -> AsyncIterator[None]:
    """Hold connections of clients that say half a request and no more, or go on by a byte each 50 ms."""
    half = b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(silent + dripping)]
    for _, writer in held:
        writer.write(half)

    async def drip() -> None:
        while True:
            await asyncio.sleep(0.05)
            for _, writer in held[silent:]:
                writer.write(b" ")

    task = asyncio.create_task(drip())
    try:
        yield
    finally:
        task.cancel()
        for _, writer in held:
            writer.transport.abort()
