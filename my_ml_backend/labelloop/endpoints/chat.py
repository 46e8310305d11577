"""LLMs behind an HTTP server: which addresses are theirs, and what of a request they can do without."""

import json
import re
from dataclasses import replace
from urllib.parse import unquote, urlsplit, urlunsplit

from labelloop.endpoints.base import Call, Service, Told
from labelloop.endpoints.failures import Refused
from labelloop.endpoints.http import http_plan
from labelloop.endpoints.requests.chat import OPTIONAL, OURS, Chat
from labelloop.endpoints.requests.format import Body, json_bytes
from labelloop.endpoints.spec import EndpointPlan, EndpointSpec, request_parameters
from labelloop.errors import SettingsError

_OLLAMA = "/api/chat"
_CONCURRENCY = 4
"""Of calls: one machine's LLM works off one after the other, and a vendor's has its limits by the minute."""

_SCHEMA = re.compile(r"response_format|schema|structured|grammar|\bformat\b", re.IGNORECASE)


def chat_plan(spec: EndpointSpec) -> EndpointPlan:
    """Read the complete URL of a chat; ``?model=`` is taken out of it and goes into the body. Raises SettingsError."""
    parts = urlsplit(spec.address)
    if parts.path in ("", "/"):
        raise SettingsError(
            "LABELLOOP_ENDPOINT: request format chat needs the complete URL, such as "
            "http://localhost:11434/v1/chat/completions?model=llava"
        )
    form = Chat("ollama" if parts.path.endswith(_OLLAMA) else spec.request.partition(":")[2])
    parameters = request_parameters(spec, form) or {}
    if wrong := [name for name in OURS if name in parameters]:
        raise SettingsError(f"the endpoint's parameters hold {wrong[0]!r}, which request format chat writes itself")
    if not isinstance(parameters.get("system", ""), str):
        raise SettingsError("the endpoint's parameter 'system' is not a text, which goes before the question")
    pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
    named = [unquote(value) for name, _, value in pairs if name == "model"]
    model = named[0] if named else parameters.get("model")
    if len(named) > 1 or not isinstance(model, str) or not model or not model.isprintable():
        raise SettingsError(
            "LABELLOOP_ENDPOINT: an LLM's address names its model, as in "
            "http://localhost:11434/v1/chat/completions?model=llava; another request format than chat needs none"
        )
    query = "&".join("".join(pair) for pair in pairs if pair[0] != "model")
    plan = http_plan(replace(spec, address=urlunsplit(parts._replace(query=query))))
    form = Chat(form.option, model=model, classes=spec.classes)

    def service(connections: int) -> Service:
        return Yielding(plan.service(connections), form, frozenset(OPTIONAL) - parameters.keys())

    return replace(plan, name=model, service=service, concurrency=_CONCURRENCY, form=form)


class Yielding:
    """A Service that leaves out, from then on, what a server refuses of the ``optional`` fields of a request."""

    def __init__(self, inner: Service, form: Chat, optional: frozenset[str]) -> None:
        self._inner, self._form, self._optional = inner, form, optional

    def call(self, call: Call) -> Told:
        """Make one call, and another one without what was refused; see Service."""
        refused: frozenset[str] = frozenset()
        body = call.body
        while True:
            try:
                told = self._inner.call(replace(call, body=body))
            except Refused as error:
                fields = self._refused(error, body)
                if not fields:
                    raise _advised(error, self._form) from None
                body, refused = _without(body, fields), refused | fields
            else:
                self._form.left_out |= refused
                return told

    def check(self, until: float) -> str:
        """Say what of the endpoint was found to be there."""
        return self._inner.check(until)

    def _refused(self, error: Refused, body: Body) -> frozenset[str]:
        """Say which optional fields of a request an error is about; one that gives no reason may be about any."""
        sent = self._optional & json.loads(body.content).keys()
        named = frozenset(name for name in sent if name in error.reason.lower())
        return sent if not error.reason and error.status in (400, 422) else named


def _without(body: Body, fields: frozenset[str]) -> Body:
    left = {name: value for name, value in json.loads(body.content).items() if name not in fields}
    return Body(json_bytes(left), body.media_type)


def _advised(error: Refused, form: Chat) -> Refused:
    """Say how to do without a schema, where that is what a server refuses."""
    if error.status not in (400, 422) or not _SCHEMA.search(error.reason):
        return error
    more = f' (to send no schema, set LABELLOOP_PARAMETERS to {{"{form.schema_field}": null}}, or parameters)'
    return Refused(f"{error}{more}", error.status, f"{error.reason}{more}")
