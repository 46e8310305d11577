"""The stand-in of Google Cloud takes the fields that Google's own client has: that of the gcloud that is here."""

import ast
from pathlib import Path

from support.google.messages import MESSAGES
from support.tools import require_tool

_CLIENTS = ("aiplatform/v1/aiplatform_v1", "monitoring/v3/monitoring_v3", "pubsub/v1/pubsub_v1")
_PREFIX = "GoogleCloudAiplatformV1"
_OURS = {
    "EndpointPatch": "Endpoint",
    "ModelPatch": "Model",
    "UploadedModel": "Model",
    "MutatedModel": "DeployedModel",
    "MutatedResources": "DedicatedResources",
    "PredictLogging": "PredictRequestResponseLoggingConfig",
    "BatchInput": "BatchPredictionJobInputConfig",
    "BatchOutput": "BatchPredictionJobOutputConfig",
    "BatchInstance": "BatchPredictionJobInstanceConfig",
    "RuntimeConfig": "PipelineJobRuntimeConfig",
    "Status": "GoogleRpcStatus",
}
"""What we call by another name, for something of it may not be sent, or must."""

_KINDS = {"StringField": "s", "BytesField": "s", "BooleanField": "b", "FloatField": "f"}


def test_each_field_is_one_of_googles() -> None:
    gcloud = require_tool("gcloud", "see cloud.google.com/sdk/docs/install")
    folder = Path(gcloud).resolve().parents[1] / "lib/googlecloudsdk/generated_clients/apis"
    theirs = {name: fields for client in _CLIENTS for name, fields in _read(folder / f"{client}_messages.py").items()}
    wrong = []
    for message, fields in MESSAGES.items():
        called = _OURS.get(message, message)
        real = theirs.get(_PREFIX + called) or theirs[called]
        for field in fields.values():
            kind, many = real.get(field.name, ("none", False))
            same = kind == field.type or kind not in "sbfil" or field.type not in "sbfil"
            as_often = field.type == "any" or many == (field.many == "[]")
            if kind == "none" or not same or not as_often:
                wrong.append(f"{message}.{field.name}: {kind}")
    assert wrong == []


def _read(path: Path) -> dict[str, dict[str, tuple[str, bool]]]:
    """Read each message's fields: what type they have, and whether they are repeated."""
    found = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            told = (_field(one) for one in node.body if isinstance(one, ast.Assign))
            found[node.name] = {name: kind for name, kind in told if name}
    return found


def _field(node: ast.Assign) -> tuple[str, tuple[str, bool]]:
    target, call = node.targets[0], node.value
    if not isinstance(target, ast.Name) or not isinstance(call, ast.Call):
        return "", ("", False)
    options = {one.arg: ast.unparse(one.value) for one in call.keywords}
    kind = ast.unparse(call.func).rpartition(".")[2]
    told = ("i" if "INT32" in options.get("variant", "") else "l") if kind == "IntegerField" else _KINDS.get(kind, kind)
    # A map is a message with one field, which is repeated.
    return target.id.rstrip("_"), (told, options.get("repeated") == "True")
