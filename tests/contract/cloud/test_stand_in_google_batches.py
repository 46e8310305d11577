"""Batch predictions in the stand-in of Google Cloud really answer, and leave what Vertex AI leaves."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import requests

from labelloop.types import Json
from support.bundles import make_bundle, picture
from support.google import LOCATION, PROJECT, StandIn

PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
IMAGE = "europe-docker.pkg.dev/shop-1/labelloop/inference:1"


@pytest.fixture
def data(google: StandIn) -> str:
    """A bucket; models and operations are made at once."""
    google.operations.looks = 0
    return google.bucket("data")


def ours(google: StandIn, folder: Path) -> str:
    """Upload a bundle of ours; gives its model's name."""
    make_bundle(folder)
    for file in folder.iterdir():
        google.storage.put("data", f"cats/{file.name}", file.read_bytes())
    told = {"displayName": "cats", "artifactUri": "gs://data/cats", "containerSpec": {"imageUri": IMAGE}}
    return str(google.ask("POST", "models:upload", {"model": told})["response"]["model"])


def asked(model: str, **more: Any) -> Json:
    return {
        "displayName": "bulk",
        "model": model,
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://data/in/*.jsonl"]}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://data/out"}},
        "dedicatedResources": {"machineSpec": {"machineType": "n1-standard-4"}, "startingReplicaCount": 2},
        **more,
    }


def lines(google: StandIn, *instances: Any) -> None:
    content = "".join(json.dumps(one) + "\n" for one in instances)
    google.storage.put("data", "in/1.jsonl", content.encode())


def shown(colour: str) -> str:
    return base64.b64encode(picture(colour)).decode()


def run(google: StandIn, body: Json) -> Json:
    """Begin a job and look until it is over: PENDING, RUNNING, and what it is then."""
    begun = google.ask("POST", "batchPredictionJobs", body)
    path = begun["name"].removeprefix(f"{PARENT}/")
    first, last = google.ask("GET", path), google.ask("GET", path)
    assert [begun["state"], first["state"]] == ["JOB_STATE_PENDING", "JOB_STATE_RUNNING"]
    found: Json = last
    return found


def left(google: StandIn, job: Json) -> dict[str, list[Any]]:
    """Read what lies in a job's folder: the lines of each file."""
    folder = job["outputInfo"]["gcsOutputDirectory"].removeprefix("gs://data/") + "/"
    return {
        name.removeprefix(folder): [json.loads(line) for line in google.storage.read("data", name).splitlines()]
        for name in google.storage.names("data", folder)
    }


def test_a_container_answers_each_line(google: StandIn, data: str, tmp_path: Path) -> None:
    lines(google, {"b64": shown("red")}, {"b64": shown("blue")})
    job = run(google, asked(ours(google, tmp_path)))
    assert (job["state"], job["completionStats"]) == ("JOB_STATE_SUCCEEDED", {"successfulCount": "2"})
    found = left(google, job)
    assert found["prediction.errors_stats-00000-of-00001"] == []
    told = found["prediction.results-00000-of-00001"]
    assert [one["instance"]["b64"] for one in told] == [shown("red"), shown("blue")]
    assert [one["prediction"]["label"] for one in told] == ["red", "blue"]


def test_a_key_stands_for_its_instance(google: StandIn, data: str, tmp_path: Path) -> None:
    lines(google, {"id": "a", "b64": shown("red")})
    job = run(google, asked(ours(google, tmp_path), instanceConfig={"keyField": "id"}))
    (told,) = left(google, job)["prediction.results-00000-of-00001"]
    assert (told.keys(), told["key"]) == ({"key", "prediction"}, "a")


def test_what_fails_is_counted_by_its_error_and_the_rest_is_kept(google: StandIn, data: str) -> None:
    def answer(_: str, body: bytes, __: str) -> bytes:
        (one,) = json.loads(body)["instances"]
        return json.dumps({"predictions": [10 / one]}).encode() if one else b"{}"

    google.served.images[IMAGE] = answer
    told = {"displayName": "theirs", "containerSpec": {"imageUri": IMAGE}}
    model = google.ask("POST", "models:upload", {"model": told})["response"]["model"]
    lines(google, 5, 0, 2)
    job = run(google, asked(model, manualBatchTuningParameters={"batchSize": 1}))
    assert job["state"] == "JOB_STATE_PARTIALLY_SUCCEEDED"
    assert job["completionStats"] == {"successfulCount": "2", "failedCount": "1"}
    found = left(google, job)
    assert [one["prediction"] for one in found["prediction.results-00000-of-00001"]] == [2.0, 5.0]
    ((said, count),) = found["prediction.errors_stats-00000-of-00001"]
    assert (said.partition(".")[0], count) == ("Post request fails", 1)
    lines(google, 0)
    job = run(google, asked(model))
    assert (job["state"], job["error"]["code"]) == ("JOB_STATE_FAILED", 3)


def test_a_model_of_automl_leaves_errors_beside_predictions(google: StandIn, data: str) -> None:
    told = google.models.add(PARENT, {"displayName": "automl"})
    google.served.trained[told["model"], told["modelVersionId"]] = lambda *_: b'{"predictions": [{"ids": ["1"]}]}'
    google.storage.put("data", "red.png", picture("red"))
    there, gone = ({"content": f"gs://data/{name}.png", "mimeType": "image/png"} for name in ("red", "gone"))
    lines(google, there, gone)
    body = asked(told["model"])
    del body["dedicatedResources"]
    job = run(google, body)
    assert job["state"] == "JOB_STATE_PARTIALLY_SUCCEEDED"
    error = {"code": 3, "message": "gs://data/gone.png: gs://data/gone.png is not found"}
    assert left(google, job) == {
        "predictions_00001.jsonl": [
            {"instance": there, "prediction": {"ids": ["1"]}},
            {"instance": gone, "error": error},
        ]
    }
    assert job["partialFailures"] == [error]


def test_a_job_may_be_cancelled_or_fail_as_a_whole(google: StandIn, data: str, tmp_path: Path) -> None:
    lines(google, {"b64": shown("red")})
    model = ours(google, tmp_path)
    google.batches.fail("INTERNAL", "no machines")
    assert run(google, asked(model))["error"] == {"code": 13, "message": "no machines"}
    google.batches.looks = None
    begun = google.ask("POST", "batchPredictionJobs", asked(model, labels={"labelloop-batch": "b"}))
    (found,) = google.ask("GET", "batchPredictionJobs", filter="labels.labelloop-batch=b")["batchPredictionJobs"]
    assert found["name"] == begun["name"]
    path = begun["name"].removeprefix(f"{PARENT}/")
    google.ask("POST", f"{path}:cancel")
    assert google.ask("GET", path)["state"] == "JOB_STATE_CANCELLED"
    assert google.batches.states() == ["FAILED", "CANCELLED"]


def test_a_job_that_cannot_be_is_refused(google: StandIn, data: str, tmp_path: Path) -> None:
    model = ours(google, tmp_path)
    without = asked(model)
    del without["dedicatedResources"]
    for body, said in (
        (without, "dedicated_resources has to be set"),
        (asked(f"{PARENT}/models/gone"), "is not found"),
        (asked(model, keyField="id"), 'Unknown name "keyField"'),
    ):
        told = requests.post(f"{google.url}/v1/{PARENT}/batchPredictionJobs", json=body, timeout=10)
        assert said in told.json()["error"]["message"]
    lines(google)
    google.storage.buckets.delete("data", "in/1.jsonl")
    assert "No files match" in run(google, asked(model))["error"]["message"]
