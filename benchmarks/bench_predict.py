"""``/predict`` against an endpoint that takes 30 ms and gives 32 answers at a time, beside what it could do at best.

Everything is real and on this machine: gunicorn's web process, Redis, boto3, and the endpoint behind SageMaker's URL.
Three do the same work in turn, on texts, on pictures that have to be fetched first, and on pictures by reference, which
the endpoint would fetch itself; none of them is seen twice:

- LabelLoop: one POST of 100 tasks to ``/predict``, as Label Studio sends it.
- a loop: task by task with ``requests`` and boto3, as the examples of Label Studio's ML SDK do it.
- boto3 with as many threads as LabelLoop asks at a time, the pictures in memory, nothing else.

What the endpoint can give is known: of 100 tasks the last four have to wait for three rounds of 32, which makes 833 a
second, and 1,067 of many more. It is asked 40 at a time, so that the next question is there before an answer has left.
One task, and hits of the cache, are asked for by http.client, which costs less than what is measured.
"""

import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import numpy as np
import requests
from botocore.config import Config

from benchmarks.slow_endpoint import AT_ONCE, SECONDS, picture
from benchmarks.web_process import address, free_port, wait_for, web_process
from labelloop.children import start_child, stop_child

TASKS = 100
MANY_TASKS = 960
ROUNDS = 7
SINGLE = 200
ASKED = AT_ONCE * 5 // 4
"""Calls at a time."""
OF_ENDPOINT, TIMES_THE_LOOP, ADDED_MS, HIT_MS = 0.9, 20.0, 2.0, 1.0

IMAGE_CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)
TEXT_CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)


def run() -> dict[str, Any]:
    """Measure throughput, added latency and cache hits in one run."""
    with tempfile.TemporaryDirectory() as folder, slow_endpoint() as (where, aws):
        given: dict[str, Any] = {
            "endpoint": "sagemaker://bench",
            "endpoint_concurrency": ASKED,
            "allow_private_addresses": True,
        }
        with web_process(Path(folder) / "a", aws, cache_max_bytes=0, **given) as settings:
            bench = _Bench(where, f"{address(settings)}/predict")
            throughput = bench.throughput("text") | bench.throughput("pictures") | bench.many("text")
            latency = bench.added_latency()
        with web_process(Path(folder) / "c", aws, cache_max_bytes=0, request_format="reference", **given) as settings:
            throughput |= _Bench(where, f"{address(settings)}/predict").throughput("references")
        with web_process(Path(folder) / "b", aws, **given) as settings:
            hits = _Bench(where, f"{address(settings)}/predict").cache_hits()
    return {**throughput, **latency, **hits, "CPU cores": os.cpu_count()}


@contextmanager
def slow_endpoint() -> Iterator[tuple[str, dict[str, str]]]:
    """Run the endpoint; gives its address, and the environment in which boto3 takes it for SageMaker."""
    import sys

    port = free_port()
    child = start_child([sys.executable, "-m", "benchmarks.slow_endpoint", str(port)], environment=dict(os.environ))
    where = f"http://127.0.0.1:{port}"
    aws = {
        "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": where,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        wait_for(f"{where}/", child)
        yield where, aws
    finally:
        stop_child(child, 5)


class _Bench:
    def __init__(self, where: str, predict: str) -> None:
        self._where, self._predict = where, predict
        self._lean = {base: HTTPConnection(urlsplit(base).netloc, timeout=100) for base in (where, predict)}
        self._picture = picture()
        self._numbers = count()
        self._http = requests.Session()
        self._boto = boto3.session.Session(
            aws_access_key_id="bench", aws_secret_access_key="bench", region_name="eu-west-1"
        ).client("sagemaker-runtime", endpoint_url=where, config=Config(max_pool_connections=ASKED))

    def throughput(self, kind: str) -> dict[str, Any]:
        """Tasks per second of the three, alternating; medians over the rounds."""
        self._ours(kind, TASKS)
        with ThreadPoolExecutor(ASKED) as threads:
            self._maximum(kind, threads)
            seconds: dict[str, list[float]] = {"ours": [], "maximum": []}
            for _ in range(ROUNDS):
                seconds["ours"].append(_timed(lambda: self._ours(kind, TASKS)))
                seconds["maximum"].append(_timed(lambda: self._maximum(kind, threads)))
        loop = _timed(lambda: self._loop(kind))
        rate = {name: TASKS / statistics.median(found) for name, found in seconds.items()} | {"loop": TASKS / loop}
        share, times = rate["ours"] / _most(TASKS), rate["ours"] / rate["loop"]
        return {
            f"{kind}: one /predict of {TASKS} tasks, tasks/s": round(rate["ours"]),
            f"{kind}: a loop with boto3, tasks/s": round(rate["loop"], 1),
            f"{kind}: boto3 with {ASKED} threads and nothing else, tasks/s": round(rate["maximum"]),
            f"{kind}: share of what the endpoint can give, {_most(TASKS):.0f}/s (goal {OF_ENDPOINT:g})": _judged(
                share, share >= OF_ENDPOINT
            ),
            f"{kind}: times the loop (goal {TIMES_THE_LOOP:g})": _judged(times, times >= TIMES_THE_LOOP),
        }

    def many(self, kind: str) -> dict[str, Any]:
        """Tasks per second of one ``/predict`` that is long enough for the endpoint's rounds to be all."""
        rate = MANY_TASKS / statistics.median(_timed(lambda: self._ours(kind, MANY_TASKS)) for _ in range(3))
        share = rate / _most(MANY_TASKS)
        return {
            f"{kind}: one /predict of {MANY_TASKS} tasks, tasks/s": round(rate),
            f"{kind}: share of {_most(MANY_TASKS):.0f}/s (goal {OF_ENDPOINT:g})": _judged(share, share >= OF_ENDPOINT),
        }

    def added_latency(self) -> dict[str, Any]:
        """One task by ``/predict`` against the bare call of the endpoint, alternating."""
        bare, ours = [], []
        for _ in range(SINGLE):
            body = json.dumps(self._body("text", 1)).encode()
            bare.append(1000 * _timed(self._bare))
            ours.append(1000 * _timed(partial(self._send, self._predict, body)))
        added = np.asarray(ours) - statistics.median(bare)
        p50, p95 = (float(np.percentile(added, share)) for share in (50, 95))
        return {
            "one task: bare call of the endpoint, p50, p95 in ms": _percentiles(bare),
            "one task: /predict, p50, p95 in ms": _percentiles(ours),
            f"one task: added, p50, p95 in ms (goal p95 {ADDED_MS:g})": f"{p50:.1f}, {_judged(p95, p95 < ADDED_MS)}",
        }

    def cache_hits(self) -> dict[str, Any]:
        """The same tasks again and again, at once and after a rest: no call of the endpoint."""
        one, many = (json.dumps(self._body("text", tasks)).encode() for tasks in (1, TASKS))
        for body in (one, many):
            self._send(self._predict, body)
        hits = [1000 * _timed(lambda: self._send(self._predict, one)) for _ in range(SINGLE)]
        p50 = statistics.median(hits)
        rested = []
        for _ in range(SINGLE):
            time.sleep(SECONDS)  # as long as an endpoint takes: by then, the processor's caches hold other things
            rested.append(1000 * _timed(lambda: self._send(self._predict, one)))
        return {
            f"cache hit: one task, p50, p95 in ms (goal p50 {HIT_MS:g})": f"{_judged(p50, p50 <= HIT_MS)}, "
            f"{np.percentile(hits, 95):.1f}",
            f"cache hit: one task after {1000 * SECONDS:.0f} ms of rest, p50, p95 in ms": _percentiles(rested),
            f"cache hits: {TASKS} tasks, p50, p95 in ms": _percentiles(
                [1000 * _timed(lambda: self._send(self._predict, many)) for _ in range(20)]
            ),
        }

    def _ours(self, kind: str, tasks: int) -> None:
        self._post(self._body(kind, tasks))

    def _post(self, body: dict[str, Any]) -> None:
        results = self._http.post(self._predict, json=body, timeout=100).json()["results"]
        if not all(results):
            raise RuntimeError("some tasks have no prediction; the log of the web process says why")

    def _body(self, kind: str, tasks: int) -> dict[str, Any]:
        config = TEXT_CONFIG if kind == "text" else IMAGE_CONFIG
        made = [
            {"id": number, "data": self._data(kind, number)}
            for number, _ in zip(self._numbers, range(tasks), strict=False)
        ]
        return {"tasks": made, "project": "1.1", "label_config": config, "params": {"context": None}}

    def _data(self, kind: str, number: int) -> dict[str, str]:
        return {"text": f"text {number}"} if kind == "text" else {"image": f"{self._where}/picture/{number}.jpg"}

    def _loop(self, kind: str) -> None:
        for number in range(TASKS):
            fetched = requests.get(self._data(kind, number)["image"], timeout=5).content if kind == "pictures" else b""
            self._invoke(fetched or f"text {number}".encode())

    def _maximum(self, kind: str, threads: ThreadPoolExecutor) -> None:
        bodies = [self._picture if kind == "pictures" else f"text {number}".encode() for number in range(TASKS)]
        list(threads.map(self._invoke, bodies))

    def _invoke(self, body: bytes) -> None:
        self._boto.invoke_endpoint(EndpointName="bench", Body=body, ContentType="application/octet-stream")[
            "Body"
        ].read()

    def _bare(self) -> None:
        self._send(f"{self._where}/endpoints/bench/invocations", b'{"inputs": "text"}')

    def _send(self, url: str, body: bytes) -> None:
        """POST one request of JSON with as little around it as Python can."""
        connection = self._lean[self._predict if url == self._predict else self._where]
        connection.request("POST", urlsplit(url).path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200 or content.startswith(b'{"results":[[]'):
            raise RuntimeError("some tasks have no prediction; the log of the web process says why")


def _most(tasks: int) -> float:
    """Tasks per second that the endpoint can give, of that many."""
    return tasks / (math.ceil(tasks / AT_ONCE) * SECONDS)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _percentiles(values: list[float]) -> str:
    return f"{np.percentile(values, 50):.1f}, {np.percentile(values, 95):.1f}"


def _judged(value: float, kept: bool) -> str:
    return f"{value:.2f} {'kept' if kept else 'MISSED'}"
