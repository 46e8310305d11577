"""The URLs and errors of Vertex AI's endpoints: ``:predict`` and ``:rawPredict`` (aiplatform.googleapis.com, v1)."""

from flask import Blueprint, Response, jsonify

from labelloop.serve.answering import Answering
from labelloop.serve.refusal import Refusal
from labelloop.serve.wire import requested, write_predictions

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
        return jsonify(write_predictions(answered.answers) | described)

    def raw_predict(project: str, location: str, endpoint: str) -> Response:  # noqa: ARG001
        answered = answering.answer(requested())
        answer = jsonify(write_predictions(answered.answers))
        answer.headers[DEPLOYED_HEADER] = answered.version
        return answer

    shape.add_url_rule(f"{_ENDPOINT}:predict", view_func=predict, methods=["POST"])
    shape.add_url_rule(f"{_ENDPOINT}:rawPredict", view_func=raw_predict, methods=["POST"])
    shape.register_error_handler(Exception, _refuse)
    return shape


def _refuse(error: Exception) -> Response:
    refusal = Refusal.of(error)
    status = _STATUSES.get(refusal.status, "INTERNAL")
    return refusal.written({"error": {"code": refusal.status, "message": refusal.reason, "status": status}})
