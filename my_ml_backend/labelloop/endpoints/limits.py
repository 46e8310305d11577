"""What one call of an endpoint may hold: its kind's own limits, and the settings' in their place."""

import json
from dataclasses import dataclass

from labelloop.endpoints.plan import Plan
from labelloop.endpoints.requests.formats import Parameters, RequestFormat
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import SettingsError

BATCH_BYTES = 4_000_000
"""Where inputs go together, a call of more bytes would only make the first of them wait."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``batch``: inputs of one call; ``batch_bytes``: where several are cut; ``payload``: bytes of one body."""

    batch: int
    concurrency: int
    payload: int
    batch_bytes: int


def limits_of(plan: Plan, spec: EndpointSpec, form: RequestFormat) -> Limits:
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


def parameters_of(spec: EndpointSpec) -> Parameters | None:
    """Read the parameters, a JSON object; raises SettingsError."""
    if not spec.parameters:
        return None
    try:
        parameters = json.loads(spec.parameters)
    except (ValueError, RecursionError):
        parameters = None
    if not isinstance(parameters, dict):
        raise SettingsError('the endpoint\'s parameters are not a JSON object, such as {"top_k": 5}')
    if spec.request == "raw":
        raise SettingsError(
            "request format raw carries no parameters: set it to instances, or leave the parameters out"
        )
    return parameters
