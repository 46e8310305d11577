"""What is to be known of an endpoint before it is opened: its address, the language it speaks, its limits."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from labelloop.endpoints.base import Service
from labelloop.endpoints.requests.format import Parameters, RequestFormat
from labelloop.endpoints.requests.registry import EndpointKind
from labelloop.errors import SettingsError
from labelloop.setting_values import headers
from labelloop.settings import Settings


@dataclass(frozen=True)
class EndpointSpec:
    """One endpoint as the settings, or a project's extra_params, describe it (docs/endpoints.md).

    ``request`` and ``response`` name formats, ``auto`` chooses; ``mapping`` is a JMESPath expression that turns the
    answer into a known format. ``classes`` are the model's, for answers that only hold numbers. ``parameters`` is the
    JSON text that goes along as ``"parameters"``, empty for none. ``concurrency``, ``batch`` and ``payload_bytes`` (of
    one request) are the kind's own where 0. ``timeout`` is in seconds. ``version`` is the version where the model names
    none; empty: what its transport tells, else the endpoint's name. ``base`` is where Vertex AI is, if not at Google.
    ``features`` is the JMESPath expression that finds features in its answer, empty where it gives none.
    What may hold a password, address and headers, is not in its ``repr``.
    """

    address: str = field(repr=False)
    request: str = "auto"
    response: str = "auto"
    mapping: str = ""
    classes: tuple[str, ...] = ()
    parameters: str = ""
    version: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float = 30.0
    concurrency: int = 0
    batch: int = 0
    payload_bytes: int = 0
    base: str = ""
    features: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Hash all that decides what an answer says, and none of the headers; safe to show."""
        said = (self.address, self.request, self.response, self.mapping, self.classes, self.parameters, self.version)
        # Of endpoints without features as earlier releases spelled it.
        more = [self.features] if self.features else []
        return hashlib.sha256(json.dumps([*said, self.base, *more]).encode()).hexdigest()[:16]

    @cached_property
    def place(self) -> str:
        """Hash the address alone: it is the same endpoint, whatever language is spoken with it; safe to show."""
        return hashlib.sha256(self.address.encode()).hexdigest()[:16]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Describe the endpoint of the settings; raises SettingsError for headers of another form."""
        return cls(
            address=settings.endpoint,
            request=settings.request_format,
            response=settings.response_format,
            mapping=settings.response_mapping,
            classes=settings.classes,
            parameters=settings.parameters,
            version=settings.model_version,
            headers=_headers(settings.endpoint_headers),
            timeout=settings.endpoint_timeout,
            concurrency=settings.endpoint_concurrency,
            batch=settings.endpoint_batch,
            payload_bytes=settings.payload_max_bytes,
            base=settings.vertex_base_url,
            features=settings.features,
        )


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    """Read the headers; what is wrong with them is not shown, for they hold secrets."""
    try:
        return headers(text)
    except ValueError as error:
        raise SettingsError(f"LABELLOOP_ENDPOINT_HEADERS: {error}") from None


def address_options(
    address: str, known: Sequence[str], example: str, setting: str = "LABELLOOP_ENDPOINT"
) -> dict[str, str]:
    """Read the options; raises SettingsError, naming the ``setting``, for one that is unknown, empty or given twice."""
    pairs = parse_qsl(urlsplit(address).query, keep_blank_values=True)
    options = dict(pairs)
    unknown = [name for name in options if name not in known]
    if unknown:
        raise SettingsError(
            f"{setting}: {example.partition('://')[0]}:// knows no option {unknown[0][:40]!r}. "
            f"Possible are {', '.join(known)}: {example}"
        )
    wrong = next((name for at, (name, value) in enumerate(pairs) if not value or name in dict(pairs[:at])), None)
    if wrong is not None:
        raise SettingsError(f"{setting}: the option {wrong} of {example} needs one value")
    return options


def whole_numbers(address: str, given: dict[str, str], limits: dict[str, tuple[int, int]]) -> dict[str, int]:
    """Read those options of an address that are numbers; raises SettingsError for one that is not within its limits."""
    for name, (least, most) in limits.items():
        if name in given and not (given[name].isdecimal() and least <= int(given[name]) <= most):
            raise SettingsError(f"{address}: {name} is a whole number from {least} to {most}")
    return {name: int(given[name]) for name in limits if name in given}


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """One endpoint as its address describes it, with its kind's own limits.

    The kind ``loop`` is an inference container of ours, which serves the store; the others hold a model.
    ``name`` and ``shown`` hold no secret; ``payload`` is in bytes of one request's body. ``service`` makes what a
    process needs to call it, given the number of calls at a time. ``form`` is how requests are written, where the
    address says so.
    """

    kind: EndpointKind
    name: str
    shown: str
    payload: int
    service: Callable[[int], Service]
    batch: int = 1
    concurrency: int = 32
    form: RequestFormat | None = None


_KINDS = (
    "http://host:port (an inference container), http://host/path (any server), sagemaker://NAME, "
    "lambda://FUNCTION, vertex://PROJECT/LOCATION/ENDPOINT, or fake://?classes=cat,dog"
)


def endpoint_plan(spec: EndpointSpec) -> EndpointPlan:
    """Read an address that something can be sent to; raises SettingsError."""
    scheme = spec.address.partition("://")[0].lower()
    if scheme not in _PLANS or "://" not in spec.address:
        raise SettingsError(f"LABELLOOP_ENDPOINT: the address is of no known kind. Possible are {_KINDS}.")
    return _PLANS[scheme](spec)


def _http(spec: EndpointSpec) -> EndpointPlan:
    if _is_chat(spec):
        from labelloop.endpoints.chat import chat_plan

        return chat_plan(spec)
    from labelloop.endpoints.http import http_plan

    return http_plan(spec)


def _is_chat(spec: EndpointSpec) -> bool:
    """Whether an LLM is asked: it is said so, or left open, and the path is that of a chat."""
    path = spec.address.partition("#")[0].partition("?")[0]
    told = spec.request == "auto" and path.endswith(("/chat/completions", "/api/chat"))
    return told or spec.request.partition(":")[0] == "chat"


def _sagemaker(spec: EndpointSpec) -> EndpointPlan:
    from labelloop.endpoints.sagemaker import sagemaker_plan

    return sagemaker_plan(spec)


def _function(spec: EndpointSpec) -> EndpointPlan:
    from labelloop.endpoints.function import function_plan

    return function_plan(spec)


def _vertex(spec: EndpointSpec) -> EndpointPlan:
    from labelloop.endpoints.vertex import vertex_plan

    return vertex_plan(spec)


# Imported when asked for: botocore and google-auth take most of a second together.
_PLANS: dict[str, Callable[[EndpointSpec], EndpointPlan]] = {
    "http": _http,
    "https": _http,
    "sagemaker": _sagemaker,
    "lambda": _function,
    "vertex": _vertex,
}


BATCH_BYTES = 4_000_000
"""Where inputs go together, a call of more bytes would only make the first of them wait."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``batch``: inputs of one call; ``batch_bytes``: where several are cut; ``payload``: bytes of one body."""

    batch: int
    concurrency: int
    payload: int
    batch_bytes: int


def limits_of(plan: EndpointPlan, spec: EndpointSpec, form: RequestFormat) -> Limits:
    """Bring the settings and the kind's own limits together; raises SettingsError where they contradict each other."""
    if spec.batch > 1 and not form.together:
        raise SettingsError(
            f"endpoint {plan.shown}: request format {form.name} carries one input, not {spec.batch}: "
            "set the batch to 1, or the request format to instances"
        )
    batch = spec.batch or (plan.batch if form.together else 1)
    payload = spec.payload_bytes or plan.payload
    batch_bytes = spec.payload_bytes or min(payload, BATCH_BYTES)
    return Limits(batch, spec.concurrency or plan.concurrency, payload, batch_bytes)


def request_parameters(spec: EndpointSpec, form: RequestFormat) -> Parameters | None:
    """Read the parameters, a JSON object; raises SettingsError, also where the format has no place for them."""
    if not spec.parameters:
        return None
    try:
        parameters = json.loads(spec.parameters)
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict):
        raise SettingsError('the endpoint\'s parameters are not a JSON object, such as {"top_k": 5}')
    if not form.takes_parameters:
        raise SettingsError(
            f"request format {form.name} carries no parameters: set it to instances, or leave the parameters out"
        )
    return parameters
