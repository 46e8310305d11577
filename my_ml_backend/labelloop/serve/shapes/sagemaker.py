"""The URL, headers and errors of SageMaker's runtime (botocore's model of ``sagemaker-runtime``, 2017-05-13)."""

from flask import Blueprint, Response, json, jsonify, request

from labelloop.serve.answering import Answering
from labelloop.serve.errors import BadRequest
from labelloop.serve.refusal import Refusal
from labelloop.serve.wire import read_target, requested, write_predictions
from labelloop.types import Target

MODEL_HEADER = "X-Amzn-SageMaker-Target-Model"
VARIANT_HEADER = "X-Amzn-SageMaker-Target-Variant"
INVOKED_HEADER = "x-Amzn-Invoked-Production-Variant"
ONLY_VARIANT = "AllTraffic"
"""What SageMaker's own tools call a variant that nobody named."""

_CONTAINER_FAILED = 424


def sagemaker_shape(answering: Answering) -> Blueprint:
    """Serve boto3's ``invoke_endpoint`` under any endpoint's name; TargetModel is ``instance/id[/version]``."""
    shape = Blueprint("sagemaker", __name__)

    def invoke(endpoint: str) -> Response:  # noqa: ARG001 - every name is this container's
        answer = jsonify(write_predictions(answering.answer(_target()).answers))
        answer.headers[INVOKED_HEADER] = request.headers.get(VARIANT_HEADER, ONLY_VARIANT)
        return answer

    shape.add_url_rule("/endpoints/<endpoint>/invocations", view_func=invoke, methods=["POST"])
    shape.register_error_handler(Exception, _refuse)
    return shape


def _target() -> Target:
    model = request.headers.get(MODEL_HEADER)
    if model is None:
        return requested()
    parts = model.split("/")
    if len(parts) not in (2, 3):
        raise BadRequest(f"TargetModel {model!r}: expected instance/id or instance/id/version")
    return read_target("/".join(parts[:2]), parts[2] if len(parts) == 3 else None)


def _refuse(error: Exception) -> Response:
    """Say that the container failed, as SageMaker does for every status but 200, with the container's own inside."""
    refusal = Refusal.of(error)
    body = {
        "Message": f"the container answered {refusal.status}: {refusal.reason}",
        "OriginalMessage": json.dumps({"error": refusal.reason}),
        "OriginalStatusCode": refusal.status,
    }
    answer = refusal.written(body, _CONTAINER_FAILED)
    answer.headers["x-amzn-ErrorType"] = "ModelError"
    return answer
