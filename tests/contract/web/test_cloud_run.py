"""What a web process on Cloud Run says it lacks: to Label Studio, in its status and log, and to `labelloop doctor`."""

import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from labelloop.cli.doctor import diagnose
from labelloop.loop.hub import Hub
from labelloop.loop.process import open_hub
from labelloop.loop.project_registry import backend_url
from labelloop.loop.worker import make_worker
from labelloop.settings import Settings
from labelloop.types import NO_VERSION, Finding
from labelloop.web.cloud_run import lacks_by_settings
from labelloop.web.machine import doubts, gunicorn_command
from support.misbehaving import answer, misbehaving
from support.web import CONFIG, MakeHub, client_of

TEXTS = (
    '<View><Text name="text" value="$text"/><Choices name="label" toName="text"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)
SETUP = {"project": "7.1795187589", "schema": CONFIG}

WRITTEN = {"K_SERVICE": "my-ml-backend", "LABEL_STUDIO_HOSTNAME": "https://studio.invalid", "LABEL_STUDIO_API_KEY": "k"}
"""What a process has of the environment that the ML SDK's `deploy gcp` and Cloud Run give it."""


def as_written(folder: Path, **more: str) -> Hub:
    return open_hub(Settings.from_environment({**WRITTEN, "MODEL_DIR": str(folder), **more}))


def missing(client: FlaskClient, path: str = "/setup") -> list[str]:
    told = client.get(path) if path == "/status" else client.post(path, json=SETUP)
    assert told.status_code == 200
    assert told.json is not None
    return [one["what"] for one in told.json.get("missing", [])]


def test_a_backend_that_can_do_nothing_is_refused_with_all_that_it_lacks(tmp_path: Path) -> None:
    client = client_of(as_written(tmp_path))
    refused = client.post("/setup", json=SETUP)

    assert refused.status_code == 503
    for said in ("Redis", "endpoint", "store", "worker", "gcloud run services update my-ml-backend", "--worker"):
        assert said in refused.status, "Label Studio shows the reason phrase alone"
    assert "address" not in refused.status
    assert refused.json == {"error": refused.status.removeprefix("503 ")}
    training = client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 7}})
    assert training.status_code == 503
    assert "set LABELLOOP_REDIS_URL to a running Redis" in training.status


def test_with_an_endpoint_it_predicts_and_setup_says_what_is_missing_for_the_rest(tmp_path: Path) -> None:
    answered = {"predictions": [[{"label": "cat", "score": 0.75}]], "deployedModelId": "77"}
    with misbehaving(answer(answered)) as vertex:
        given = {"LABELLOOP_ENDPOINT": "vertex://p/europe-west4/1", "LABELLOOP_VERTEX_BASE_URL": vertex.address}
        client = client_of(as_written(tmp_path, **given))

        assert missing(client) == missing(client, "/status") == ["store", "Redis", "worker"]
        told = client.post("/setup", json=SETUP).json
        assert told is not None
        assert told["model_version"] != NO_VERSION
        for one in told["missing"]:
            assert one["detail"]
            assert one["remedy"].endswith(".")
        body = {"project": "7.1", "label_config": TEXTS, "tasks": [{"id": 1, "data": {"text": "a"}}]}
        [found] = client.post("/predict", json=body).json["results"]  # type: ignore[index]
    assert found["result"][0]["value"] == {"choices": ["cat"]}


def test_with_redis_the_worker_is_missed_until_there_is_one(make_hub: MakeHub, tmp_path: Path) -> None:
    hub = make_hub(cloud_run="web", store=tmp_path.as_uri(), label_studio_url="https://a", label_studio_api_key="k")
    assert missing(client_of(hub)) == ["worker"]
    worker = make_worker(hub)
    worker.register_birth()
    try:
        assert client_of(hub).post("/setup", json=SETUP).json.keys() == {"model_version"}  # type: ignore[union-attr]
    finally:
        worker.register_death()  # type: ignore[no-untyped-call]


def test_workers_are_not_asked_for_with_every_page(make_hub: MakeHub, tmp_path: Path) -> None:
    hub = make_hub(cloud_run="web", store=tmp_path.as_uri(), label_studio_url="https://a", label_studio_api_key="k")
    client = client_of(hub)
    assert missing(client) == ["worker"]
    worker = make_worker(hub)
    worker.register_birth()
    try:
        assert missing(client) == ["worker"]
    finally:
        worker.register_death()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("changed", "lacks"),
    [
        ({}, ["Label Studio's address", "API key", "endpoint", "store"]),
        ({"label_studio_url": "https://a", "label_studio_api_key": "k"}, ["endpoint", "store"]),
        ({"endpoint": "http://127.0.0.1:9091", "bootstrap_endpoint": "https://b/predict"}, None),
        ({"endpoint": "https://a/predict", "store": "s3://bucket/x"}, ["Label Studio's address", "API key"]),
        ({"labelbox_secret": "hush"}, ["store"]),
    ],
)
def test_the_settings_alone_tell_most_of_it(changed: dict[str, str], lacks: list[str] | None) -> None:
    found = [lack.name for lack in lacks_by_settings(Settings(cloud_run="web", **changed))]  # type: ignore[arg-type]

    assert found == (lacks if lacks is not None else ["Label Studio's address", "API key", "store"])
    assert lacks_by_settings(Settings(**changed)) == []  # type: ignore[arg-type]


def test_the_log_and_doctor_say_the_same(tmp_path: Path) -> None:
    hub = as_written(tmp_path, LABELLOOP_TRAINER="command:true")
    said = [sentence for sentence in doubts(hub.settings) if sentence.startswith("there is no ")]
    findings = {one.name: one for one in diagnose(hub, None, WRITTEN)}

    assert [sentence.partition(":")[0] for sentence in said] == ["there is no endpoint", "there is no store"]
    for name in ("on Cloud Run, endpoint", "on Cloud Run, store", "Redis", "workers"):
        assert not findings[name].ok
        assert findings[name].remedy
    assert findings["LABEL_STUDIO_URL"] == Finding(
        "LABEL_STUDIO_URL", ok=True, detail="LABEL_STUDIO_HOSTNAME is read in its place"
    )
    assert "k" not in {part for one in findings.values() for part in json.dumps(one.detail).split()}


def test_only_there_the_front_end_says_by_which_scheme_label_studio_called(make_hub: MakeHub) -> None:
    there, here = (gunicorn_command(Settings(cloud_run=name)) for name in ("web", ""))
    assert set(there) - set(here) == {"--forwarded-allow-ips", "*"}
    hub = make_hub()
    # As the front hands a request over whose proxy is trusted.
    client_of(hub).post("/setup", json=SETUP, base_url="https://web-x.a.run.app/")
    assert backend_url(hub, 7) == "https://web-x.a.run.app"
