"""What is asked of endpoints, ``:predict`` and ``:rawPredict``: the models that they have answer, by their shares."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from werkzeug import Response

from labelloop.types import Json
from support.google.endpoints import Endpoint, Endpoints
from support.google.front import Route
from support.google.served import Served
from support.google.wire import Call, Refused, answer, failed, invalid

SHARED_BYTES, DEDICATED_BYTES = 1_500_000, 10_000_000
"""Most bytes of a request, by whether its endpoint is a dedicated one."""

_SHOWN = 1024


def _turns() -> dict[str, Iterator[int]]:
    return defaultdict(count)


@dataclass
class Runtime:
    """What answers at endpoints; ``answered`` are endpoint's and deployed model's ids of each answer, in order."""

    endpoints: Endpoints
    served: Served
    answered: list[tuple[str, str]] = field(default_factory=list)
    _turn: dict[str, Iterator[int]] = field(default_factory=_turns)

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        verb = "aiplatform:POST endpoints/*:"
        return [
            Route(f"{verb}predict", "endpoints.predict", self._predict, "PredictRequest"),
            Route(f"{verb}rawPredict", "endpoints.predict", self._raw_predict),
        ]

    def forget(self) -> None:
        """Forget everything."""
        self.answered.clear()
        self._turn.clear()

    def _predict(self, call: Call) -> Response:
        endpoint, deployed = self._deployed(call)
        body = json.dumps(call.body).encode()
        told = self._ask(endpoint, deployed, body, {"Content-Type": "application/json"})
        try:
            content = json.loads(told.get_data())
            predictions = content["predictions"]
        except (ValueError, KeyError, TypeError):
            raise Refused("INTERNAL", "The prediction container gave no JSON with predictions.") from None
        version = self.endpoints.models.find(f"{deployed['model']}@{deployed['modelVersionId']}")[1]
        about = {
            "predictions": predictions,
            **{name: value for name, value in content.items() if name == "metadata"},
            "deployedModelId": deployed["id"],
            "model": deployed["model"],
            "modelDisplayName": version.told["displayName"],
            "modelVersionId": deployed["modelVersionId"],
        }
        return answer(about)

    def _raw_predict(self, call: Call) -> Response:
        endpoint, deployed = self._deployed(call)
        kind = call.request.headers.get("Content-Type", "")
        told = self._ask(endpoint, deployed, call.request.get_data(), {"Content-Type": kind})
        told.headers["X-Vertex-AI-Endpoint-Id"] = endpoint.name.rpartition("/")[2]
        told.headers["X-Vertex-AI-Deployed-Model-Id"] = deployed["id"]
        return told

    def _deployed(self, call: Call) -> tuple[Endpoint, Json]:
        """Choose by the endpoint's traffic: of a hundred requests in a row each model gets its share, in turns."""
        with self.endpoints.operations.lock:
            endpoint = self.endpoints.find(call.resource)
            if not endpoint.split:
                raise failed(f"Endpoint {endpoint.name} doesn't have traffic_split.")
            most = DEDICATED_BYTES if endpoint.told.get("dedicatedEndpointEnabled") else SHARED_BYTES
            size = len(call.request.get_data())
            if size > most:
                raise invalid(f"Request payload size {size} bytes exceeds the limit of {most} bytes.")
            turn = next(self._turn[endpoint.name])
            return endpoint, endpoint.deployed[_of_turn(endpoint.split, turn % 100)]

    def _ask(self, endpoint: Endpoint, deployed: Json, body: bytes, headers: dict[str, str]) -> Response:
        model, version = self.endpoints.models.find(f"{deployed['model']}@{deployed['modelVersionId']}")
        told = self.served.ask(model, version, body, headers)
        self.answered.append((endpoint.name.rpartition("/")[2], deployed["id"]))
        if told.status_code < 400:
            return told
        said = told.get_data(as_text=True)[:_SHOWN]
        status = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
        message = f"The prediction container returned error {told.status_code}: {said}"
        raise Refused(
            status.get(told.status_code, "INTERNAL" if told.status_code >= 500 else "INVALID_ARGUMENT"), message
        )


def _of_turn(split: dict[str, int], turn: int) -> str:
    """Spread the shares over a hundred turns: after any number of them nobody is more than one behind its share."""
    given = dict.fromkeys(split, 0)
    chosen = ""
    for number in range(turn + 1):
        chosen = max(split, key=lambda one: split[one] * (number + 1) - 100 * given[one])
        given[chosen] += 1
    return chosen
