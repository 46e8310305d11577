"""Asking an endpoint once and keeping what went over the wire, for whoever connects one."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.proposal import Proposal
from labelloop.endpoints.answers.read import propose_mapping
from labelloop.endpoints.base import Call, Service, Told
from labelloop.endpoints.caller import Caller
from labelloop.endpoints.requests.format import Body
from labelloop.endpoints.spec import EndpointSpec, endpoint_plan
from labelloop.errors import EndpointError, SettingsError
from labelloop.types import Answer, Failure, Input, Target

_LONGEST_TEXT = 100
_LONGEST_WORDS = 2000
"""Of a text with blanks in it, such as an LLM's question; base64 has none."""

_LONGEST_LIST = 6
_LONGEST_BODY = 2000


@dataclass(frozen=True, slots=True)
class Probed:
    """What one question brought: the body sent, the answer's body, and what was read from it, or why nothing was.

    ``request`` is None when nothing was sent, ``told`` when nothing came back. ``proposal`` is how an answer of unknown
    shape could be read.
    """

    request: Body | None
    told: Told | None
    answer: Answer | Failure
    proposal: Proposal | None = None


def probe_endpoint(spec: EndpointSpec, item: Input, target: Target) -> Probed:
    """Ask for one input. Raises SettingsError for an impossible endpoint; all else is in the answer."""
    if spec.address.lower().startswith("fake://"):
        raise SettingsError(
            "a fake endpoint has no wire to look at: probe one with an address, such as http://host/path"
        )
    heard: list[tuple[Body, Told | None]] = []
    plan = endpoint_plan(spec)
    caller = Caller(replace(plan, service=_recording(plan.service, heard)), spec)
    answer: Answer | Failure
    try:
        (answer,) = caller.invoke([item], target)
    except EndpointError as error:
        answer = Failure(str(error))
    request, told = heard[-1] if heard else (None, None)
    proposal = None
    if told is not None and isinstance(answer, Failure) and not spec.mapping and spec.response == "auto":
        asked = Asked((item,), spec.version, spec.classes, told.version or plan.name, told.media_type)
        proposal = propose_mapping(told.content, asked)
    return Probed(request, told, answer, proposal)


def excerpt(content: bytes) -> str:
    """Show a body to a person: JSON with what is long shortened, else the beginning of a text, else the size."""
    try:
        return json.dumps(_short(json.loads(content)), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return f"({len(content)} bytes)"
    return text if len(text) <= _LONGEST_BODY else f"{text[:_LONGEST_BODY]}... ({len(content)} bytes)"


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _short(inner) for name, inner in value.items()}
    if isinstance(value, list):
        more = [f"... {len(value) - _LONGEST_LIST} more"] if len(value) > _LONGEST_LIST else []
        return [*(_short(inner) for inner in value[:_LONGEST_LIST]), *more]
    longest = _LONGEST_WORDS if isinstance(value, str) and " " in value[:_LONGEST_TEXT] else _LONGEST_TEXT
    if isinstance(value, str) and len(value) > longest:
        return f"{value[:longest]}... ({len(value)} characters)"
    return value


def _recording(make: Callable[[int], Service], heard: list[tuple[Body, Told | None]]) -> Callable[[int], Service]:
    return lambda connections: _Recording(make(connections), heard)


class _Recording:
    """A Service that keeps what another one sends and is told."""

    def __init__(self, inner: Service, heard: list[tuple[Body, Told | None]]) -> None:
        self._inner, self._heard = inner, heard

    def call(self, call: Call) -> Told:
        self._heard.append((call.body, None))
        told = self._inner.call(call)
        self._heard[-1] = (call.body, told)
        return told

    def check(self, until: float) -> str:
        return self._inner.check(until)
