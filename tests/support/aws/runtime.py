"""SageMaker's runtime: an endpoint answers by the model of its config, and while it moves by both."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import sagemaker_backends
from werkzeug import Response

from labelloop.types import Json
from support.aws import storage
from support.aws.endpoints import Endpoints
from support.aws.front import Handler
from support.aws.models import Models
from support.aws.wire import Call, Refused, invalid

_SHOWN = 1024
"""So many letters of a container's answer are told of one that failed."""


@dataclass
class Runtime:
    """What answers at endpoints; ``answered`` are endpoint and version of each answer, in order."""

    endpoints: Endpoints
    models: Models
    client: Callable[..., Any]
    answered: list[tuple[str, str]] = field(default_factory=list)
    _turns: Any = field(default_factory=count)

    def operations(self) -> dict[str, Handler]:
        """Give what is answered here."""
        return {"sagemaker:InvokeEndpoint": self._invoke, "sagemaker:InvokeEndpointAsync": self._invoke_later}

    def forget(self) -> None:
        """Forget everything."""
        self.answered.clear()
        self._turns = count()

    def _invoke(self, call: Call) -> Response:
        config = self._config(call)
        answer = self._ask(call, config, call.request.get_data())
        if answer.status_code >= 400:
            raise _model_error(answer)
        answer.headers["x-Amzn-Invoked-Production-Variant"] = config.production_variants[0]["VariantName"]
        return answer

    def _invoke_later(self, call: Call) -> Response:
        """Answer an asynchronous request: its answer lies in S3 as soon as the request is taken."""
        config, s3 = self._config(call), self.client("s3", call.region)
        if not config.async_inference_config:
            raise invalid(f"Endpoint {_name(call)} is not an asynchronous endpoint.")
        places = config.async_inference_config["OutputConfig"]
        where = call.request.headers.get("X-Amzn-SageMaker-InputLocation")
        body = storage.read(s3, where) if where else call.request.get_data()
        answer = self._ask(call, config, body)
        asked = call.request.headers.get("X-Amzn-SageMaker-Inference-Id") or str(uuid.uuid4())
        good = f"{places['S3OutputPath'].rstrip('/')}/{uuid.uuid4()}.out"
        bad = f"{(places.get('S3FailurePath') or places['S3OutputPath']).rstrip('/')}/{uuid.uuid4()}-error.out"
        storage.write(s3, good if answer.status_code < 400 else bad, answer.get_data())
        headers = {"X-Amzn-SageMaker-OutputLocation": good, "X-Amzn-SageMaker-FailureLocation": bad}
        return Response(json.dumps({"InferenceId": asked}), 202, headers, content_type="application/json")

    def _ask(self, call: Call, config: Any, body: bytes) -> Response:
        model = config.production_variants[0]["ModelName"]
        self.answered.append((_name(call), self.models.version(call.region, model)))
        headers = {name: value for name, value in call.request.headers.items() if name.lower() != "content-length"}
        headers["Content-Type"] = headers.get("X-Amzn-Sagemaker-Content-Type") or headers.get("Content-Type", "")
        return self.models.ask(call.region, model, body, headers)

    def _config(self, call: Call) -> Any:
        """Choose by the endpoint's traffic: of a hundred requests in a row, the share of a new config gets it."""
        name = _name(call)
        backend: Any = sagemaker_backends[DEFAULT_ACCOUNT_ID][call.region]
        endpoint = backend.endpoints.get(name)
        if endpoint is None or endpoint.endpoint_status in ("Creating", "Failed"):
            raise Refused("ValidationError", f"Endpoint {name} of account {DEFAULT_ACCOUNT_ID} not found.")
        moving = self.endpoints.pending(name)
        new = moving is not None and next(self._turns) % 100 < 100 * moving[1]
        return backend.endpoint_configs[moving[0] if moving and new else endpoint.endpoint_config_name]


def _name(call: Call) -> str:
    return call.request.path.split("/")[2]


def _model_error(answer: Response) -> Refused:
    said = answer.get_data(as_text=True)[:_SHOWN]
    kind, side = ("server", "SERVER") if answer.status_code >= 500 else ("client", "CLIENT")
    more: Json = {
        "OriginalStatusCode": answer.status_code,
        "OriginalMessage": said,
        "ErrorCode": f"{side}_ERROR_FROM_MODEL",
    }
    message = f'Received {kind} error ({answer.status_code}) from primary with message "{said}".'
    return Refused("ModelError", message, 424, more)
