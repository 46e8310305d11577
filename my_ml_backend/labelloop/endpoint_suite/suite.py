"""What the checks share: the endpoint, its bundle, the samples, and what the bundle answers to them here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from labelloop.bundle_info import BundleInfo
from labelloop.endpoint_suite.comparison import Answers
from labelloop.endpoint_suite.samples import Sample
from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.endpoints.base import Call, Endpoint
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.requests.format import Body
from labelloop.endpoints.requests.registry import request_format
from labelloop.endpoints.spec import EndpointSpec, endpoint_plan
from labelloop.types import Answer, Failure, Input, Json, Target

AT_ONCE = 8
"""Calls at a time."""


class Subject:
    """The endpoint under test, asked by whole calls, as the loop does, or with a body that is made by hand.

    ``formats`` are the request formats it is asked in: the one that the settings name, else those that an inference
    container of ours reads wherever it is deployed. Safe to share between threads. Raises SettingsError for an
    impossible address.
    """

    def __init__(self, spec: EndpointSpec) -> None:
        self._plan = endpoint_plan(spec)
        self._spec = replace(spec, concurrency=AT_ONCE)
        self._service = self._plan.service(AT_ONCE)
        self._endpoints: dict[tuple[str, int], Endpoint] = {}
        self.shown = self._plan.shown
        self.formats = ("raw", "instances") if spec.request == "auto" else (spec.request,)

    @property
    def together(self) -> str | None:
        """The request format that carries several inputs; None when there is none."""
        carrying = [name for name in self.formats if request_format(name, kind=self._plan.kind).together]
        return next(iter(carrying), None)

    def ping(self) -> str:
        """Say what answered; raises EndpointError."""
        return self._service.check(time.monotonic() + self._spec.timeout)

    def ask(self, samples: Sequence[Sample], request: str | None = None) -> list[Answer | Failure]:
        """Ask for one answer per sample, in as few calls as their size allows; raises EndpointError."""
        wanted = (request or self.formats[0], len(samples))
        if wanted not in self._endpoints:
            self._endpoints[wanted] = open_endpoint(replace(self._spec, request=wanted[0], batch=wanted[1]))
        return self._endpoints[wanted].invoke([sample.input for sample in samples], Target())

    def send(self, body: Body, count: int) -> list[Answer | Failure]:
        """Make one call with this body, once, and read its answer; raises Refused, Unwell or WrongAnswer."""
        inputs = [Input()] * count
        told = self._service.call(Call(inputs, body, Target(), time.monotonic() + self._spec.timeout))
        spec = self._spec
        asked = Asked(inputs, spec.version, spec.classes, told.version or self._plan.name, told.media_type)
        return read_answer(told.content, asked, response=spec.response, mapping=spec.mapping)


@dataclass(slots=True)
class Suite:
    """One test of one endpoint.

    ``item`` is what the bundle's kind calls an input. ``tolerance`` is how far a score may be off, ``latency_ms`` what
    a request may take (None: as long as it likes).
    ``version``, ``latency`` and ``answers`` are filled in by the checks.
    """

    deployed: Subject
    info: BundleInfo
    item: str
    samples: tuple[Sample, ...]
    expected: Answers
    tolerance: float = 1e-3
    latency_ms: float | None = None
    version: str = ""
    latency: Json = field(default_factory=dict)
    answers: Answers = field(default_factory=dict)

    def singles(self) -> Answers:
        """Give the endpoint's answer to every sample by itself, asked for once; raises EndpointError."""
        if not self.answers:
            self.answers = {one.name: self.deployed.ask([one])[0] for one in self.samples}
        return self.answers
