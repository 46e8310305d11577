"""URLs, headers and errors of both clouds: SageMaker's runtime (botocore's 2017-05-13), Vertex AI's v1."""

from dataclasses import replace

from flask import Blueprint, Response, json, jsonify, request

from labelloop.serve.answering import Answering
from labelloop.serve.refusal import BadRequest, Refusal
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
        answered = answering.answer(_target())
        answer = jsonify(write_predictions(answered.answers, answered.features_of))
        answer.headers[INVOKED_HEADER] = request.headers.get(VARIANT_HEADER, ONLY_VARIANT)
        return answer

    shape.add_url_rule("/endpoints/<endpoint>/invocations", view_func=invoke, methods=["POST"])
    shape.register_error_handler(Exception, _refuse_as_sagemaker)
    return shape


def _target() -> Target:
    model, target = request.headers.get(MODEL_HEADER), requested()
    if model is None:
        return target
    parts = model.split("/")
    if len(parts) not in (2, 3):
        raise BadRequest(f"TargetModel {model!r}: expected instance/id or instance/id/version")
    named = read_target("/".join(parts[:2]), parts[2] if len(parts) == 3 else None)
    return replace(named, features=target.features)


def _refuse_as_sagemaker(error: Exception) -> Response:
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


DEPLOYED_HEADER = "X-Vertex-AI-Deployed-Model-Id"
MODEL = "labelloop"
"""What the model is called where a cloud's registry would know a name."""

_ENDPOINT = "/v1/projects/<project>/locations/<location>/endpoints/<endpoint>"

_STATUSES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "INVALID_ARGUMENT", 503: "UNAVAILABLE"}
"""Names that Google's APIs give to statuses (google.rpc.Code); all others are INTERNAL."""


def vertex_shape(answering: Answering) -> Blueprint:
    """Serve any endpoint of any project and location; the deployed model is the version that answered."""
    shape = Blueprint("vertex", __name__)

    def predict(project: str, location: str, endpoint: str) -> Response:  # noqa: ARG001 - every endpoint is this one
        answered = answering.answer(requested(), json=True)
        described = {
            "deployedModelId": answered.version,
            "model": f"projects/{project}/locations/{location}/models/{MODEL}",
            "modelDisplayName": MODEL,
            "modelVersionId": answered.version,
        }
        return jsonify(write_predictions(answered.answers, answered.features_of) | described)

    def raw_predict(project: str, location: str, endpoint: str) -> Response:  # noqa: ARG001
        answered = answering.answer(requested())
        answer = jsonify(write_predictions(answered.answers, answered.features_of))
        answer.headers[DEPLOYED_HEADER] = answered.version
        return answer

    shape.add_url_rule(f"{_ENDPOINT}:predict", view_func=predict, methods=["POST"])
    shape.add_url_rule(f"{_ENDPOINT}:rawPredict", view_func=raw_predict, methods=["POST"])
    shape.register_error_handler(Exception, _refuse_as_vertex)
    return shape


def _refuse_as_vertex(error: Exception) -> Response:
    refusal = Refusal.of(error)
    status = _STATUSES.get(refusal.status, "INTERNAL")
    return refusal.written({"error": {"code": refusal.status, "message": refusal.reason, "status": status}})
