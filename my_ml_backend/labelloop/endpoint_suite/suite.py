"""What the checks share: the endpoint, its bundle, the pictures, and how the bundle's answers and its own compare."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from labelloop.bundle_info import BundleInfo
from labelloop.endpoint_suite.samples import SamplePicture
from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.endpoints.base import Call, Endpoint
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.requests.format import Body
from labelloop.endpoints.requests.registry import request_format
from labelloop.endpoints.spec import EndpointSpec, endpoint_plan
from labelloop.types import Answer, Failure, Input, Json, Output, Target

AT_ONCE = 8
"""Calls at a time."""

Answers = Mapping[str, Answer | Failure]
"""The answers to pictures, by name."""


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
        """The request format that carries several pictures; None when there is none."""
        carrying = [name for name in self.formats if request_format(name, kind=self._plan.kind).together]
        return next(iter(carrying), None)

    def ping(self) -> str:
        """Say what answered; raises EndpointError."""
        return self._service.check(time.monotonic() + self._spec.timeout)

    def ask(self, samples: Sequence[SamplePicture], request: str | None = None) -> list[Answer | Failure]:
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


@dataclass(slots=True)
class Suite:
    """One test of one endpoint.

    ``tolerance`` is how far a score may be off, ``latency_ms`` what a request may take (None: as long as it likes).
    ``version``, ``latency`` and ``answers`` are filled in by the checks.
    """

    deployed: Subject
    info: BundleInfo
    samples: tuple[SamplePicture, ...]
    expected: Answers
    tolerance: float = 1e-3
    latency_ms: float | None = None
    version: str = ""
    latency: Json = field(default_factory=dict)
    answers: Answers = field(default_factory=dict)

    def singles(self) -> Answers:
        """Give the endpoint's answer to every picture by itself, asked for once; raises EndpointError."""
        if not self.answers:
            self.answers = {one.name: self.deployed.ask([one])[0] for one in self.samples}
        return self.answers


_SHOWN = 5


class Wrong(Exception):
    """What an endpoint answered is not what it should be; the text says how."""


def require_output(name: str, answer: Answer | Failure) -> Output:
    """Take an answer that must be a classification; raises Wrong."""
    if isinstance(answer, Output):
        return answer
    said = answer.reason if isinstance(answer, Failure) else "regions instead of a classification"
    raise Wrong(f"{name}: {said}")


def require_equal(expected: Answers, given: Answers, tolerance: float) -> float:
    """Give the largest difference of a score between answers to the same pictures; raises Wrong beyond ``tolerance``.

    A picture that has no answer must have none on both sides.
    """
    largest, wrong = 0.0, []
    for name, one in expected.items():
        try:
            difference = _difference(name, one, given[name])
        except Wrong as error:
            wrong.append(str(error))
            continue
        largest = max(largest, difference)
        if not difference <= tolerance:
            wrong.append(f"{name}: {_said(given[name])} instead of {_said(one)}")
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise Wrong("; ".join([f"{len(wrong)} of {len(expected)} pictures differ", *wrong[:_SHOWN], *more]))
    return largest


def is_renamed(expected: Answers, given: Answers, tolerance: float) -> bool:
    """Whether the scores are right, but under other classes."""
    pairs = [(one, given[name]) for name, one in expected.items()]
    return bool(pairs) and all(
        isinstance(one, Output)
        and isinstance(other, Output)
        and len(one.scores) == len(other.scores)
        and _furthest(sorted(one.scores.values()), sorted(other.scores.values())) <= tolerance
        for one, other in pairs
    )


def _difference(name: str, expected: Answer | Failure, given: Answer | Failure) -> float:
    if isinstance(expected, Failure):
        if isinstance(given, Failure):
            return 0.0
        raise Wrong(f"{name}: {_said(given)}, though it cannot be read here: {expected.reason}")
    one, other = require_output(name, expected), require_output(name, given)
    if one.scores.keys() != other.scores.keys():
        raise Wrong(f"{name}: the classes are {_listed(other.scores)} instead of {_listed(one.scores)}")
    return _furthest(list(one.scores.values()), [other.scores[label] for label in one.scores])


def _furthest(ones: list[float], others: list[float]) -> float:
    return max(abs(one - other) for one, other in zip(ones, others, strict=True))


def _said(answer: Answer | Failure) -> str:
    return f"{answer.label!r} {answer.score:.4f}" if isinstance(answer, Output) else "no classification"


def _listed(scores: Mapping[str, float]) -> str:
    names = list(scores)
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
