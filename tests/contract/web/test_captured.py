"""Every request captured from a real Label Studio 1.23.2, sent again as it came."""

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from labelloop.loop.hub import Hub
from labelloop.web import backend as plain
from labelloop.web.app import create_app
from labelloop.web.backend import backend_class
from support.web import SECRET, MakeHub, announce

_FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "label_studio"
_CAPTURED = sorted(path.relative_to(_FOLDER).as_posix() for path in _FOLDER.glob("[rw]*/*.json"))


def test_the_captured_requests_are_there() -> None:
    kinds = {path.split(".")[-2] if path.startswith("webhooks") else Path(path).stem for path in _CAPTURED}
    assert {"health", "setup", "predict", "predict_interactive", "versions", "webhook_START_TRAINING"} <= kinds
    assert len(_CAPTURED) >= 30


@pytest.mark.parametrize("name", _CAPTURED)
def test_a_captured_request_is_answered(
    client: FlaskClient, hub: Hub, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # tasks name s3:// pictures; there is no cloud to ask
    announce(hub, 1)
    captured = json.loads((_FOLDER / name).read_text())
    answer = send(client, captured)
    assert answer.status_code in (200, 201), answer.text
    assert isinstance(answer.json, dict)
    body = captured["body"] or {}
    if "tasks" in body and "action" not in body:
        assert len(answer.json["results"]) == len(body["tasks"])
    if "schema" in body:
        assert isinstance(answer.json["model_version"], str)
    if body.get("action") == "START_TRAINING":
        assert isinstance(answer.json["job"], str)
    if captured["path"] == "/versions":
        assert answer.json["versions"] == []


def test_with_and_without_label_studio_ml_every_captured_request_is_answered_alike(
    make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model import LabelLoop

    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    answers = {}
    for backend in (backend_class(), plain.LabelLoop):
        hub = make_hub()
        announce(hub, 1)
        client = create_app(hub.settings, hub, backend).test_client()
        answers[backend] = [alike(send(client, json.loads((_FOLDER / name).read_text()))) for name in _CAPTURED]

    assert list(answers) == [LabelLoop, plain.LabelLoop]
    assert issubclass(LabelLoop, plain.LabelLoop)
    assert answers[LabelLoop] == answers[plain.LabelLoop]
    assert {status for status, _, _ in answers[LabelLoop]} == {200, 201}


def alike(answer: Any) -> tuple[int, str, Any]:
    """What two answers have in common: status, type and body, of a job whether there is one."""
    body = answer.json
    return answer.status_code, answer.content_type, body | {"job": True} if "job" in body else body


def send(client: FlaskClient, captured: dict[str, Any]) -> Any:
    """Send a captured request as it came, with the secret that was redacted."""
    own = {"Host", "Content-Length", "Authorization"}
    headers = {name: value for name, value in captured["headers"].items() if name not in own}
    body = None if captured["body"] is None else json.dumps(captured["body"]).encode()
    method = captured.get("method", "POST")
    headers["X-LabelLoop-Secret"] = SECRET
    path = "/webhook" if captured["path"] == "/hook" else captured["path"]
    return client.open(path, method=method, data=body, headers=headers)
