"""The endpoint under test, as the checks ask it."""

import time
from collections.abc import Sequence
from dataclasses import replace

from labelloop.endpoint_suite.samples import Sample
from labelloop.endpoints.address import open_endpoint, plan_of
from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.endpoints.base import Call, Endpoint
from labelloop.endpoints.requests import Body, request_format
from labelloop.endpoints.spec import EndpointSpec
from labelloop.types import Answer, Failure, Input, Target

AT_ONCE = 8
"""Calls at a time."""


class Deployed:
    """Asks by whole calls, as the loop does, or with a body that is made by hand. Safe to share between threads.

    ``formats`` are the request formats it is asked in: the one that the settings name, else those that an inference
    container of ours reads wherever it is deployed. Raises SettingsError for an impossible address.
    """

    def __init__(self, spec: EndpointSpec) -> None:
        self._plan = plan_of(spec)
        self._spec = replace(spec, concurrency=AT_ONCE)
        self._service = self._plan.service(AT_ONCE)
        self._endpoints: dict[tuple[str, int], Endpoint] = {}
        self.shown = self._plan.shown
        self.formats = ("raw", "instances") if spec.request == "auto" else (spec.request,)

    @property
    def together(self) -> str | None:
        """The request format that carries several pictures; None when there is none."""
        carrying = [name for name in self.formats if request_format(name, kind=self._plan.kind).together]
        return next(iter(carrying), None)

    def ping(self) -> str:
        """Say what answered; raises EndpointError."""
        return self._service.check(time.monotonic() + self._spec.timeout)

    def ask(self, samples: Sequence[Sample], request: str | None = None) -> list[Answer | Failure]:
        """Ask for one answer per picture, in as few calls as their size allows; raises EndpointError."""
        wanted = (request or self.formats[0], len(samples))
        if wanted not in self._endpoints:
            self._endpoints[wanted] = open_endpoint(replace(self._spec, request=wanted[0], batch=wanted[1]))
        inputs = [Input(sample.content, sample.media_type) for sample in samples]
        return self._endpoints[wanted].invoke(inputs, Target())

    def send(self, body: Body, pictures: int) -> list[Answer | Failure]:
        """Make one call with this body, once, and read its answer; raises Refused, Unwell or WrongAnswer."""
        inputs = [Input()] * pictures
        told = self._service.call(Call(inputs, body, Target(), time.monotonic() + self._spec.timeout))
        spec = self._spec
        asked = Asked(inputs, spec.version, spec.classes, told.version or self._plan.name, told.media_type)
        return read_answer(told.content, asked, response=spec.response, mapping=spec.mapping)
