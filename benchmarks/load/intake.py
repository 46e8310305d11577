"""What the web process takes in, and how fast: webhooks by the clock, large requests, slow clients."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from redis import Redis

from benchmarks.load.surroundings import PREDICTED, TEXT_CONFIG, WebFamily, most_memory
from benchmarks.load.traffic import Answers, ask, captured, post, predicting, slow_clients, webhooks
from labelloop.settings import Settings
from labelloop.studio.backends import SECRET_HEADER
from labelloop.webhook_secrets import WebhookSecrets

PROJECTS = range(901, 905)
"""Whose annotations the webhooks tell of."""

CLIENTS = 20
CREATED = 5_000
SILENT, DRIPPING = 200, 50
_GAP = 10_000_000


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    sent: int
    told: Answers
    lost: int | None = None
    more: str = ""

    def __str__(self) -> str:
        failed = ", ".join(f"{count} {how}" for how, count in self.told.failed.items()) or "0"
        lost = "" if self.lost is None else f"{self.lost}"
        times = [f"{self.told.ms(share):,.0f}" for share in (50, 99, 100)]
        return f"| {self.what} | {self.sent:,} | {' | '.join(times)} | {failed} | {lost} | {self.more} |"


HEADING = """| | requests | p50, ms | p99, ms | longest, ms | failed | lost | |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


class Intake:
    """Measures one web process that has the machine for itself, but for what is begun beside it."""

    def __init__(self, settings: Settings, family: WebFamily, per_second: float, seconds: float, at_once: int) -> None:
        self._settings, self._family, self._at_once = settings, family, at_once
        self._per_second, self._seconds = per_second, seconds
        self._first = _GAP

    def idle(self) -> list[Row]:
        """Webhooks and nothing else."""
        return asyncio.run(self._idle())

    def busy(self) -> list[Row]:
        """Webhooks and predictions; whoever calls it trains beside."""
        return asyncio.run(self._busy())

    def large(self) -> list[Row]:
        """One import and one Retrieve Predictions, each with webhooks beside it; then slow clients."""
        return asyncio.run(self._large())

    @asynccontextmanager
    async def load(self) -> AsyncIterator[None]:
        """Webhooks and predictions for as long as the block lasts."""
        async with predicting(self._settings.port, PREDICTED, TEXT_CONFIG, CLIENTS):
            task = asyncio.create_task(self._webhooks(3600.0))
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _idle(self) -> list[Row]:
        await self._webhooks(min(2.0, self._seconds), per_second=20)  # imports, connections
        return [await self._row(f"webhooks, {self._per_second:g}/s, nothing else", self._seconds / 4)]

    async def _busy(self) -> list[Row]:
        memory = asyncio.create_task(most_memory(self._family))
        async with predicting(self._settings.port, PREDICTED, TEXT_CONFIG, CLIENTS) as predictions:
            row = await self._row(f"webhooks, {self._per_second:g}/s beside a training and predictions", self._seconds)
        memory.cancel()
        asked = len(predictions.seconds) + sum(predictions.failed.values())
        beside = Row(f"`/predict` of one task, {CLIENTS} at a time beside them", asked, predictions)
        return [
            Row(row.what, row.sent, row.told, row.lost, f"{await memory:.0f} MB at most"),
            beside,
        ]

    async def _large(self) -> list[Row]:
        created = captured("TASKS_CREATED")
        tasks = created["tasks"]
        assert isinstance(tasks, list)
        new = [{**tasks[0], "id": number + 1, "project": PREDICTED} for number in range(CREATED)]
        imported = {**created, "tasks": new, "project": {"id": PREDICTED}}
        header = {SECRET_HEADER: WebhookSecrets(self._settings).of(PREDICTED)}
        rows = await self._one(
            f"one `TASKS_CREATED` of {CREATED:,} tasks", post(self._port, "/webhook", imported, header)
        )
        new = [
            {"id": number, "project": PREDICTED, "data": {"text": f"new {number}"}} for number in range(self._at_once)
        ]
        body = {"project": f"{PREDICTED}.1", "label_config": TEXT_CONFIG, "tasks": new, "params": {"context": None}}
        rows += await self._one(f"one `/predict` of {self._at_once:,} tasks", post(self._port, "/predict", body))
        async with slow_clients(self._port, SILENT, DRIPPING):
            rows.append(
                await self._row(f"webhooks beside {SILENT} silent and {DRIPPING} dripping clients", self._seconds / 6)
            )
        return rows

    async def _one(self, what: str, request: bytes) -> list[Row]:
        """Send a large request, and webhooks until it is answered."""
        answers, first = Answers(), self._next()
        beside = asyncio.create_task(
            webhooks(self._settings, PROJECTS, first, self._per_second / 4, max(2.0, self._seconds / 20))
        )
        await asyncio.sleep(0.5)
        began = time.perf_counter()
        answer = await ask(self._port, request, 100.0)
        answers.seconds.append(time.perf_counter() - began)
        head, _, body = answer.partition(b"\r\n\r\n")
        results = json.loads(body).get("results") if b" 200 " in head[:20] else None
        if b" 200 " not in head[:20]:
            answers.fail(head[9:12].decode())
        told = "" if results is None else f"{sum(bool(one) for one in results):,} predicted"
        meanwhile = await beside
        sent = len(meanwhile.seconds) + sum(meanwhile.failed.values())
        lost = self._lost(first, sent)
        return [
            Row(what, 1, answers, more=f"{len(request) / 1e6:.1f} MB; {told}".rstrip("; ")),
            Row("webhooks meanwhile", sent, meanwhile, lost),
        ]

    async def _row(self, what: str, seconds: float) -> Row:
        first = self._next()
        told = await webhooks(self._settings, PROJECTS, first, self._per_second, seconds)
        sent = len(told.seconds) + sum(told.failed.values())
        return Row(what, sent, told, self._lost(first, sent), f"{told.late} later than 1 s")

    async def _webhooks(self, seconds: float, per_second: float = 0.0) -> Answers:
        return await webhooks(self._settings, PROJECTS, self._next(), per_second or self._per_second, seconds)

    def _next(self) -> int:
        """Numbers of annotations that nobody has told of."""
        self._first += _GAP
        return self._first

    def _lost(self, first: int, sent: int) -> int:
        """How many of the annotations ``first`` and so on are not noted in Redis as changed."""
        with Redis.from_url(self._settings.redis_url) as redis:
            noted = {name for key in redis.keys("labelloop:*:changed") for name in redis.zrange(key, 0, -1)}
        return sum(f"a{first + number}".encode() not in noted for number in range(sent))

    @property
    def _port(self) -> int:
        return self._settings.port


def table(rows: Sequence[Row]) -> str:
    """Write the rows as they stand in docs/reliability.md."""
    return "\n".join([HEADING, *map(str, rows)])
