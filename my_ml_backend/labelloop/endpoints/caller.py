"""The caller of every kind of endpoint: cuts inputs into calls, makes them, and puts the answers in order."""

import itertools
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from typing import Any, Generic, TypeVar

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import check_response, read_answer
from labelloop.endpoints.base import CHECK_SECONDS, Endpoint, Told
from labelloop.endpoints.breaker import Breaker, Guarded
from labelloop.endpoints.failures import INPUT_AT_FAULT, Late, Refused, Unwell, WrongAnswer
from labelloop.endpoints.fake import FakeEndpoint
from labelloop.endpoints.requests.format import Body
from labelloop.endpoints.requests.registry import request_format
from labelloop.endpoints.spec import EndpointPlan, EndpointSpec, Limits, endpoint_plan, limits_of, request_parameters
from labelloop.errors import EndpointError, Unreadable
from labelloop.pictures import shrink
from labelloop.types import Answer, Failure, Input, Target, from_both_ends

Answers = list[Answer | Failure]

DEADLINE = Failure("deadline")


def open_endpoint(spec: EndpointSpec) -> Endpoint:
    """Open an endpoint; nothing is sent yet. Raises SettingsError saying what is wrong and what is possible.

    Opening a SageMaker endpoint takes half a second: botocore is loaded.
    """
    if spec.address.lower().startswith("fake://"):
        return FakeEndpoint.at(spec.address)
    return Caller(endpoint_plan(spec), spec)


T = TypeVar("T")


class Calls(ABC, Generic[T]):
    """Asks over one Service per process, for threads and sockets do not survive a fork; ``read`` reads what comes back.

    Raises SettingsError where the spec names what is not there, or contradicts itself.
    """

    def __init__(self, plan: EndpointPlan, spec: EndpointSpec, *, breaker: Breaker | None = None) -> None:
        self._plan = plan
        self._spec = spec
        self._format = plan.form or request_format(spec.request, kind=plan.kind, address=spec.address)
        self._parameters = request_parameters(spec, self._format)
        self._limits: Limits = limits_of(plan, spec, self._format)
        check_response(spec.response, spec.mapping, spec.features)
        self._breaker = breaker or Breaker(plan.shown)
        self._processes: dict[int, _Process] = {}
        self._turns = itertools.count()

    @property
    def name(self) -> str:
        """A short name without secrets."""
        return self._plan.name

    @property
    def follows(self) -> bool:
        """Whether it serves the versions that the loop publishes."""
        return self._plan.kind == "loop"

    @property
    def batch(self) -> int:
        """Most inputs that one call takes."""
        return self._limits.batch

    @property
    def concurrency(self) -> int:
        """Most calls at a time, over all threads of a process."""
        return self._limits.concurrency

    def invoke(self, inputs: Sequence[Input], target: Target, deadline: float | None = None) -> list[T | Failure]:
        """Ask for one answer per input; see Endpoint. Raises EndpointError when no call at all was answered."""
        if not inputs:
            return []
        self._breaker.peek()
        parts = list(batches(inputs, self.batch, self._limits.batch_bytes))
        if len(parts) == 1:
            return self._ask(inputs, target, deadline)
        threads = self._process().threads
        # Each in a copy of this context, which says to what the call belongs.
        calls = [threads.submit(copy_context().run, self._ask, inputs[part], target, deadline) for part in parts]
        # Without a deadline every call still ends, by its own timeout.
        wait(calls, timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        for call in calls:
            call.cancel()
        return _gather(parts, calls)

    def check(self) -> str:
        """Look whether it is there, past the circuit breaker; raises EndpointError."""
        return self._process().guarded.service.check(time.monotonic() + min(self._spec.timeout, CHECK_SECONDS))

    def _process(self) -> "_Process":
        here = os.getpid()
        if here not in self._processes:
            service = self._plan.service(self.concurrency)
            guarded = Guarded(service, self._breaker, self.concurrency, self._spec.timeout)
            self._processes.setdefault(here, _Process(guarded, self.concurrency))
        return self._processes[here]

    def _ask(self, inputs: Sequence[Input], target: Target, deadline: float | None) -> list[T | Failure]:
        """Ask for what the request format can carry, in one call if the endpoint takes it."""
        refusals = [self._format.refusal(item) for item in inputs]
        good = [item for item, refusal in zip(inputs, refusals, strict=True) if not refusal]
        answers = iter(self._call(good, target, deadline) if good else [])
        return [Failure(refusal) if refusal else next(answers) for refusal in refusals]

    def _call(self, inputs: Sequence[Input], target: Target, deadline: float | None) -> list[T | Failure]:
        """Make one call if it is as large as the endpoint takes; else scale its input down, or make two."""
        body = self._format.write(inputs, self._parameters)
        if len(body.content) <= self._limits.payload:
            return self._sent(inputs, body, target, deadline)
        if len(inputs) > 1:
            return self._halved(inputs, target, deadline)
        with self._process().fitting:
            if deadline is not None and time.monotonic() >= deadline:
                return [DEADLINE]
            fitting = scaled_down(inputs[0], body, self._written, self._limits.payload, self._plan.shown)
        return [fitting] if isinstance(fitting, Failure) else self._sent([fitting[0]], fitting[1], target, deadline)

    def _sent(self, inputs: Sequence[Input], body: Body, target: Target, deadline: float | None) -> list[T | Failure]:
        """Make one call; one for each half when it is too large, one for each input when any may be at fault."""
        try:
            return self._answers(inputs, body, target, deadline)
        except Refused as refused:
            if len(inputs) == 1 and refused.status in INPUT_AT_FAULT:
                return [Failure(refused.reason or str(refused))]
            if refused.status != 413:
                raise
        except Unwell as unwell:
            if len(inputs) == 1 or not unwell.by_input:
                raise
            return self._apart(inputs, target, deadline, unwell)
        return self._halved(inputs, target, deadline)

    def _halved(self, inputs: Sequence[Input], target: Target, deadline: float | None) -> list[T | Failure]:
        parts = halves(slice(0, len(inputs)))
        return [answer for half in parts for answer in self._call(inputs[half], target, deadline)]

    def _apart(
        self, inputs: Sequence[Input], target: Target, deadline: float | None, unwell: Unwell
    ) -> list[T | Failure]:
        """Ask for each input alone, from both ends in turn; raises ``unwell``, which they met together, for an outage.

        Of an endpoint that has answered nothing yet, one input has to be answered first: another one each time.
        """
        guarded = self._process().guarded
        order = from_both_ends(len(inputs))
        answers: dict[int, T | Failure] = {}
        if not guarded.has_answered:
            first = order.pop(next(self._turns) % len(order))
            try:
                answers[first] = self._call([inputs[first]], target, deadline)[0]
            except EndpointError:
                raise unwell from None
        stumbled = False
        for at in order:
            try:
                answers[at] = self._call([inputs[at]], target, deadline)[0]
            except EndpointError as error:
                answers[at], stumbled = _failure(error), True
        if stumbled and all(isinstance(one, Failure) for one in answers.values()) and not guarded.is_well(deadline):
            raise unwell
        return [answers[at] for at in range(len(inputs))]

    def _written(self, item: Input) -> Body:
        return self._format.write([item], self._parameters)

    def _answers(
        self, inputs: Sequence[Input], body: Body, target: Target, deadline: float | None
    ) -> list[T | Failure]:
        try:
            return self._process().guarded.call(
                inputs, body, target, deadline, lambda told: self._told(told, inputs, target)
            )
        except Late:
            return [DEADLINE] * len(inputs)

    def _told(self, told: Told, inputs: Sequence[Input], target: Target) -> list[T | Failure]:
        """Read an answer; one of an inference container must name its version itself."""
        spec = self._spec
        version, name = ("", "") if self.follows else (spec.version, told.version or self._plan.name)
        if target.deployed and not self.follows:
            version, name = ("", told.version or target.deployed) if target.between else (target.deployed, "")
        try:
            return self.read(told, Asked(inputs, version, spec.classes, name, told.media_type), target)
        except WrongAnswer as wrong:
            raise type(wrong)(f"the answer of endpoint {self._plan.shown} is wrong: {wrong}") from None

    @abstractmethod
    def read(self, told: Told, asked: Asked, target: Target) -> list[T | Failure]:
        """Read one answer per input; raises WrongAnswer."""

    def own_answers(self, told: Told, asked: Asked) -> Answers:
        """Read what the endpoint's model says of each input; raises WrongAnswer."""
        spec = self._spec
        response = "labelloop" if self.follows and spec.response == "auto" and not spec.mapping else spec.response
        return read_answer(told.content, asked, response=response, mapping=spec.mapping)


class Caller(Calls[Answer]):
    """Implements Endpoint by the endpoint's own answers."""

    def read(self, told: Told, asked: Asked, target: Target) -> Answers:
        """Read one answer per input; an inference container answers with the version it was asked for."""
        answers = self.own_answers(told, asked)
        return [_of_version(answer, target.version) for answer in answers] if self.follows else answers


class _Process:
    """What belongs to one process: its sockets and its threads.

    ``fitting`` bounds how many pictures are scaled down at a time: one takes hundreds of megabytes.
    """

    def __init__(self, guarded: Guarded, concurrency: int) -> None:
        self.guarded = guarded
        self.fitting = threading.BoundedSemaphore(os.cpu_count() or 1)
        self.threads = ThreadPoolExecutor(concurrency, thread_name_prefix="endpoint")


def _gather(parts: Sequence[slice], calls: Sequence[Future[Any]]) -> list[Any]:
    """Put the answers in order; what is not ready is a failure. Raises the first error when nothing was answered."""
    answers: list[Any] = []
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
            answers += [_failure(error)] * count
    if errors and not answered:
        raise errors[0]
    return answers


def _failure(error: EndpointError) -> Failure:
    """Give the failure of an input among others of which some were answered."""
    return Failure(str(error), endpoint=not error.by_input)


def _of_version(answer: Answer | Failure, version: str | None) -> Answer | Failure:
    """Refuse an answer of another version than the one that was asked for."""
    if not isinstance(answer, Failure) and version is not None and answer.model_version != version:
        return Failure(f"asked for version {version}, the endpoint answered with {answer.model_version}")
    return answer


def batches(inputs: Sequence[Input], most: int, most_bytes: int) -> Iterator[slice]:
    """Cut into consecutive slices of at most ``most`` inputs and ``most_bytes`` bytes as sent (base64: 4/3).

    An input that is larger by itself gets a slice of its own.
    """
    start, size = 0, 0
    for index, item in enumerate(inputs):
        sent = len(item.content) * 4 // 3 + len(item.text or "") + 64
        if index > start and (index - start == most or size + sent > most_bytes):
            yield slice(start, index)
            start, size = index, 0
        size += sent
    if inputs:
        yield slice(start, len(inputs))


def halves(part: slice) -> tuple[slice, slice]:
    """Cut a slice of two or more in two."""
    middle = (part.start + part.stop) // 2
    return slice(part.start, middle), slice(middle, part.stop)


_SHARES = (0.97, 0.85, 0.6)
"""How much of the room a picture is scaled to, one try after the other: what stands around it takes some, too."""


def scaled_down(
    item: Input, body: Body, write: Callable[[Input], Body], most: int, shown: str
) -> tuple[Input, Body] | Failure:
    """Make one input whose ``body`` is too large fit ``most`` bytes, or say why it cannot be sent."""
    length = len(body.content)
    for share in _SHARES:
        try:
            content = shrink(item.content, int(len(item.content) * most / length * share))
        except Unreadable:
            break
        smaller = replace(item, content=content, media_type="image/jpeg")
        if len((again := write(smaller)).content) <= most:
            return smaller, again
    return Failure(
        f"it is {length} bytes as sent, endpoint {shown} takes at most {most}: raise payload_bytes if the endpoint "
        "takes more, or use request format reference, with which it fetches files by itself"
    )
