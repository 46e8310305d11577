"""A project's waiting tasks as a batch prediction of Vertex AI: lines there, and each answer found by its name."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from labelloop.cloud.base import BatchStands
from labelloop.cloud.google.batch import BatchPrediction
from labelloop.cloud.google.bulk import PredictionJobs
from labelloop.cloud.google.client import Google
from labelloop.cloud.google.objects import Folder
from labelloop.errors import CloudError
from labelloop.types import Json
from support.google import LOCATION, PROJECT, StandIn

IMAGE = "europe-docker.pkg.dev/shop-1/labelloop/inference:1"
RESOURCES = {
    "machineSpec": {"machineType": "n1-standard-4", "acceleratorType": "NVIDIA_TESLA_T4", "acceleratorCount": 1},
    "startingReplicaCount": 2,
}


def shout(_: str, body: bytes, __: str) -> bytes:
    """Answer each text in capitals, and with the parameters that came along; one alone is refused."""
    told = json.loads(body)
    if any(one["text"] == "bad" for one in told["instances"]):
        raise ValueError("a bad text")
    more = told.get("parameters", {})
    return json.dumps(
        {"predictions": [{"said": one["text"].upper(), **one, **more} for one in told["instances"]]}
    ).encode()


@pytest.fixture
def jobs(google: StandIn) -> PredictionJobs:
    """Jobs of a model, v1's, that shouts."""
    google.operations.looks = 0
    google.bucket("data")
    google.served.images[IMAGE] = shout
    told = {"displayName": "theirs", "containerSpec": {"imageUri": IMAGE}}
    name = google.ask("POST", "models:upload", {"model": told})["response"]["model"]
    shop = Google(PROJECT, LOCATION)

    def model(version: str) -> str:
        if version != "v1":
            raise CloudError(f"{version} does not serve")
        return str(name)

    prediction = BatchPrediction(shop, Folder(shop, "gs://data/batch"))
    return PredictionJobs(prediction, model, RESOURCES, "model@shop-1.iam.gserviceaccount.com", dedicated=True)


def requests(texts: Any, **more: Json) -> Iterator[tuple[str, bytes]]:
    for text in texts:
        yield f"name of {text}", json.dumps({"instances": [{"text": text}], **more}).encode()


def over(jobs: PredictionJobs, handle: str) -> BatchStands:
    while (stands := jobs.poll(handle)).state == "running":
        pass
    return stands


def test_each_request_finds_its_answer_among_thousands(google: StandIn, jobs: PredictionJobs) -> None:
    texts = [f"text {number}" for number in range(2500)]
    handle = jobs.start("one", "v1", requests([*texts, texts[7]], parameters={"loud": True}))
    assert jobs.poll(handle).state == "running"
    stands = over(jobs, handle)
    assert (stands.state, stands.reason) == ("done", "")
    with jobs.answers(handle) as find:
        for text in (texts[0], texts[7], texts[-1]):
            (told,) = json.loads(find(f"name of {text}") or b"")["predictions"]
            assert told == {"said": text.upper(), "text": text, "loud": True}, "its name was not sent to the model"
        assert find("name of nothing") is None
    told = next(iter(google.batches.batches.values())).told
    assert told["dedicatedResources"] == RESOURCES
    assert told["serviceAccount"] == "model@shop-1.iam.gserviceaccount.com"
    assert jobs.machine == "2 x n1-standard-4 with 1 x NVIDIA_TESLA_T4"
    jobs.end("one")
    jobs.end("one")
    assert (google.storage.names("data", ""), google.batches.states()) == ([], [])


def test_a_job_is_begun_once_and_nothing_is_read_for_it_again(google: StandIn, jobs: PredictionJobs) -> None:
    handle = jobs.start("one", "v1", requests("abc"))
    unread = requests("abc")
    assert jobs.start("one", "v1", unread) == handle
    assert len([*unread]) == 3
    assert jobs.start("two", "v1", requests("abc")) != handle
    with pytest.raises(CloudError, match="v2 does not serve"):
        jobs.start("three", "v2", requests("abc"))
    assert len(google.batches.states()) == 2


def test_what_fails_is_nobodys_answer_and_the_rest_is_there(google: StandIn, jobs: PredictionJobs) -> None:
    handle = jobs.start("one", "v1", requests(["a", "b", "c", "d", "bad", "e"]))
    assert over(jobs, handle).state == "done"
    with jobs.answers(handle) as find:
        assert [find(f"name of {text}") is not None for text in ("a", "d", "bad", "e")] == [True, True, False, False]


def test_one_that_fails_says_why_and_one_that_is_gone_has_failed(google: StandIn, jobs: PredictionJobs) -> None:
    google.batches.fail("INTERNAL", "the machines are on fire")
    handle = jobs.start("one", "v1", requests("abc"))
    stands = over(jobs, handle)
    assert (stands.state, "the machines are on fire" in stands.reason) == ("failed", True)
    with jobs.answers(handle) as find:
        assert find("name of a") is None
    other = jobs.start("two", "v1", requests("abc"))
    jobs.end("two")
    assert google.batches.states() == ["FAILED", "CANCELLING"], "one that is being stopped cannot be removed yet"
    assert "BatchPredictionJob is cancelled" in over(jobs, other).reason
    jobs.end("two")
    assert jobs.poll(other).state == "failed"
    assert "BatchPredictionJob" in jobs.poll(other).reason
