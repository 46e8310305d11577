"""An endpoint reached over HTTP: the inference container, or anything that speaks the same (docs/endpoints.md)."""

import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from labelloop.endpoints.batches import batches, halves
from labelloop.endpoints.breaker import Breaker
from labelloop.endpoints.decode import decode
from labelloop.endpoints.failures import Refused, TooSlow, Unwell, WrongAnswer
from labelloop.endpoints.post import Poster
from labelloop.endpoints.request import request_of
from labelloop.errors import EndpointError
from labelloop.types import Failure, Input, Output, Target

Answers = list[Output | Failure]

DEADLINE = Failure("deadline")
CHECK_SECONDS = 5.0


class HttpEndpoint:
    """Sends pictures in batches, ``concurrency`` requests at a time over all threads of this process.

    ``timeout``: seconds one request may take. ``batch``, ``batch_bytes``: most pictures and bytes of one request.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 30.0,
        concurrency: int = 4,
        batch: int = 16,
        batch_bytes: int = 4_000_000,
        breaker: Breaker | None = None,
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._concurrency = concurrency
        self._batch = batch
        self._batch_bytes = batch_bytes
        self._shown = Poster(address, 1).shown
        self._breaker = breaker or Breaker(self._shown)
        self._processes: dict[int, _Process] = {}

    def invoke(self, inputs: Sequence[Input], target: Target, deadline: float | None = None) -> Answers:
        """Ask for one output per input; see Endpoint. Raises EndpointError when no batch at all was answered."""
        if not inputs:
            return []
        self._breaker.peek()
        parts = list(batches(inputs, self._batch, self._batch_bytes))
        threads = self._process().threads
        calls = [threads.submit(self._ask, inputs[part], target, deadline) for part in parts]
        wait(calls, timeout=self._patience(len(parts)) if deadline is None else max(0.0, deadline - time.monotonic()))
        for call in calls:
            call.cancel()
        return _gather(parts, calls)

    def check(self) -> str:
        """Ask ``/ping``, past the circuit breaker; raises EndpointError."""
        start = time.monotonic()
        self._process().poster.get("/ping", start + min(self._timeout, CHECK_SECONDS))
        return f"endpoint {self._shown} answered in {1000 * (time.monotonic() - start):.0f} ms"

    def _patience(self, parts: int) -> float:
        """Seconds after which even an endpoint that sends a byte now and then is not waited for."""
        return 2 * self._timeout * math.ceil(parts / self._concurrency)

    def _process(self) -> "_Process":
        """Threads and sockets do not survive a fork, so that every process has its own."""
        here = os.getpid()
        if here not in self._processes:
            self._processes.setdefault(here, _Process(self._address, self._concurrency))
        return self._processes[here]

    def _ask(self, inputs: Sequence[Input], target: Target, deadline: float | None) -> Answers:
        """Ask for one batch; when it is too large for the endpoint, for its halves."""
        try:
            return self._call(inputs, target, deadline)
        except Refused as refused:
            if len(inputs) == 1 and refused.status in (400, 413, 415, 422):
                return [Failure(refused.reason or str(refused))]
            if refused.status != 413:
                raise
        return [
            answer for half in halves(slice(0, len(inputs))) for answer in self._ask(inputs[half], target, deadline)
        ]

    def _call(self, inputs: Sequence[Input], target: Target, deadline: float | None) -> Answers:
        now = time.monotonic()
        until = now + self._timeout if deadline is None else min(now + self._timeout, deadline)
        if until <= now:
            return [DEADLINE] * len(inputs)
        self._breaker.admit()
        body, headers = request_of(inputs, target)
        try:
            answers = self._decoded(self._process().poster.post("/invocations", body, headers, until), len(inputs))
        except Refused:
            self._breaker.succeeded()
            raise
        except TooSlow as slow:
            if until == deadline:
                # The caller had less patience than the endpoint is given: that tells nothing about the endpoint.
                return [DEADLINE] * len(inputs)
            self._breaker.failed(str(slow))
            raise
        except Unwell as unwell:
            self._breaker.failed(str(unwell))
            raise
        self._breaker.succeeded()
        return [_of_version(answer, target.version) for answer in answers]

    def _decoded(self, content: bytes, count: int) -> Answers:
        try:
            return decode(content, count)
        except WrongAnswer as wrong:
            raise WrongAnswer(f"the answer of endpoint {self._shown} is wrong: {wrong}") from None


class _Process:
    """What belongs to one process: its sockets and its threads."""

    def __init__(self, address: str, concurrency: int) -> None:
        self.poster = Poster(address, concurrency)
        self.threads = ThreadPoolExecutor(concurrency, thread_name_prefix="endpoint")


def _gather(parts: Sequence[slice], calls: Sequence[Future[Answers]]) -> Answers:
    """Put the answers in order; what is not ready is a failure. Raises the first error when nothing was answered."""
    answers: Answers = []
    errors: list[EndpointError] = []
    answered = False
    for part, call in zip(parts, calls, strict=True):
        count = part.stop - part.start
        if call.cancelled() or not call.done():
            answers += [DEADLINE] * count
            continue
        try:
            answers += call.result()
            answered = True
        except EndpointError as error:
            errors.append(error)
            answers += [Failure(str(error))] * count
    if errors and not answered:
        raise errors[0]
    return answers


def _of_version(answer: Output | Failure, version: str | None) -> Output | Failure:
    """Refuse an answer of another version than the one that was asked for."""
    if isinstance(answer, Output) and version is not None and answer.model_version != version:
        return Failure(f"asked for version {version}, the endpoint answered with {answer.model_version}")
    return answer
