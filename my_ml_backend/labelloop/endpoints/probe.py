"""Asking an endpoint once and keeping what went over the wire, for whoever connects one."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.proposal import Proposal
from labelloop.endpoints.answers.read import propose_mapping
from labelloop.endpoints.base import Call, Service, Told
from labelloop.endpoints.caller import Caller, Calls
from labelloop.endpoints.failures import WrongAnswer
from labelloop.endpoints.features import FeatureCaller, Featured, Row, candidates, parsed, rows_in
from labelloop.endpoints.requests.format import Body
from labelloop.endpoints.spec import EndpointSpec, endpoint_plan
from labelloop.errors import EndpointError, SettingsError
from labelloop.types import Answer, Failure, Input, Target

_LONGEST_TEXT = 100
_LONGEST_WORDS = 2000
"""Of a text with blanks in it, such as an LLM's question; base64 has none."""

_NARROWEST, _MOST_FEATURES = 8, 3
"""Numbers that a list must have to pass for features where nobody says that it holds some, and how many are shown."""

_LONGEST_LIST = 6
_LONGEST_BODY = 2000


@dataclass(frozen=True, slots=True)
class Probed:
    """What one question brought: the body sent, the answer's body, and what was read from it, or why nothing was.

    ``request`` is None when nothing was sent, ``told`` when nothing came back. ``proposal`` is how an answer of unknown
    shape could be read, ``features`` what in it may be features, the likeliest first.
    """

    request: Body | None
    told: Told | None
    answer: Answer | Failure
    proposal: Proposal | None = None
    features: Sequence["FeatureCandidate"] = ()


@dataclass(frozen=True, slots=True)
class FeatureCandidate:
    """A list of ``width`` numbers that an answer holds where a JMESPath ``expression`` says, and what it is worth.

    ``steady``: it is the same when the same input is sent again; ``telling``: it is another one, as long, of another
    input. None: that could not be asked.
    """

    expression: str
    width: int
    steady: bool | None = None
    telling: bool | None = None

    @property
    def serve(self) -> bool:
        """Whether a head can learn from it."""
        return bool(self.steady and self.telling)


def probe_endpoint(spec: EndpointSpec, item: Input, target: Target) -> Probed:
    """Ask for one input. Raises SettingsError for an impossible endpoint; all else is in the answer."""
    if spec.address.lower().startswith("fake://"):
        raise SettingsError(
            "a fake endpoint has no wire to look at: probe one with an address, such as http://host/path"
        )
    heard: list[tuple[Body, Told | None]] = []
    plan = endpoint_plan(spec)
    recorded = replace(plan, service=_recording(plan.service, heard))
    caller = FeatureCaller(recorded, spec) if spec.features else Caller(recorded, spec)
    target = replace(target, features=bool(spec.features))
    answer: Answer | Failure
    try:
        (found,) = caller.invoke([item], target)
        answer = found.own if isinstance(found, Featured) else found
    except EndpointError as error:
        answer = Failure(str(error))
    request, told = heard[-1] if heard else (None, None)
    proposal = None
    if told is not None and isinstance(answer, Failure) and not spec.mapping and spec.response == "auto":
        asked = Asked((item,), spec.version, spec.classes, told.version or plan.name, told.media_type)
        proposal = propose_mapping(told.content, asked)
    features = () if told is None else _features(spec, told, item, _asking(caller, target, heard))
    return Probed(request, told, answer, proposal, features)


_Asks = Callable[[Input], Told | None]
"""Sends one more input; None where nothing comes back."""


def _asking(caller: Calls[Any], target: Target, heard: list[tuple[Body, Told | None]]) -> _Asks:
    def ask(item: Input) -> Told | None:
        before = len(heard)
        with suppress(EndpointError):
            caller.invoke([item], target)
        return heard[-1][1] if len(heard) > before else None

    return ask


def _features(spec: EndpointSpec, told: Told, item: Input, ask: _Asks) -> list[FeatureCandidate]:
    """Look for features in an answer; where there are some, two more inputs are sent: the same, and another one."""
    found = _rows(spec, told, item)
    if not found:
        return []
    again = _rows(spec, ask(item), item)
    other = _other(item)
    another = {} if other is None else _rows(spec, ask(other), other)
    return [_judged(expression, row, again, another) for expression, row in found.items()]


def _rows(spec: EndpointSpec, told: Told | None, item: Input) -> dict[str, Row]:
    """Give what may be features in an answer, by the expression that finds it."""
    if told is None:
        return {}
    asked = Asked((item,), media_type=told.media_type)
    try:
        value = parsed(told.content, asked)
        if spec.features:
            (row,) = rows_in(value, 1, spec.features)
            return {} if isinstance(row, Failure) else {spec.features: row}
    except WrongAnswer:
        return {}
    wide = ((expression, rows[0]) for expression, rows in candidates(value, 1) if len(rows[0]) >= _NARROWEST)
    return dict(islice(wide, _MOST_FEATURES))


def _judged(expression: str, row: Row, again: Mapping[str, Row], another: Mapping[str, Row]) -> FeatureCandidate:
    same, other = again.get(expression), another.get(expression)
    steady = None if same is None else len(same) == len(row) and bool(np.allclose(same, row, rtol=1e-3, atol=1e-4))
    telling = None if other is None else len(other) == len(row) and not np.allclose(other, row, rtol=1e-3, atol=1e-4)
    return FeatureCandidate(expression, len(row), steady, telling)


def _other(item: Input) -> Input | None:
    """Make another input of the kind of one; None where that cannot be made."""
    if item.text is not None:
        return replace(item, text="Another text, of which other features are expected.")
    try:
        with Image.open(io.BytesIO(item.content)) as picture:
            size = picture.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    made = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(made, "PNG")
    return replace(item, content=made.getvalue(), media_type="image/png")


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
