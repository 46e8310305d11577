"""Batch predictions of Vertex AI: one job for a key, found again whoever was killed, and gone when it is not needed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from labelloop.cloud.google import batch
from labelloop.cloud.google.batch import BatchPrediction, Predicted
from labelloop.cloud.google.client import Google
from labelloop.cloud.google.objects import Folder
from labelloop.errors import CloudAway, CloudDenied, CloudError
from support.crash_store import Killed
from support.google import LOCATION, PROJECT, StandIn
from support.google.kills import dying_at

MACHINE = {"dedicatedResources": {"machineSpec": {"machineType": "n1-standard-4"}, "startingReplicaCount": 1}}
KEYED = {**MACHINE, "instanceConfig": {"keyField": "key"}}


def doubled(artifacts: str, body: bytes, media_type: str) -> bytes:
    """Somebody's model: twice the number; a text is refused."""
    return json.dumps({"predictions": [2 * int(one["number"]) for one in json.loads(body)["instances"]]}).encode()


@pytest.fixture
def model(google: StandIn) -> str:
    """A bucket, and a model that is somebody's."""
    google.bucket("team")
    google.operations.looks = google.batches.looks = 0
    google.served.images["doubles:1"] = doubled
    told = {"displayName": "doubles", "containerSpec": {"imageUri": "doubles:1"}}
    return str(google.ask("POST", "models:upload", {"model": told})["response"]["model"])


@pytest.fixture
def jobs(model: str) -> BatchPrediction:
    google = Google(PROJECT, LOCATION, wait=lambda _: None)
    return BatchPrediction(google, Folder(google, "gs://team/judged"))


def numbers(*held: Any) -> Iterator[dict[str, Any]]:
    return ({"key": f"n{one}", "number": one} for one in held)


def test_there_is_one_job_for_a_key_and_its_answers_come_with_the_keys_of_what_was_asked(
    google: StandIn, jobs: BatchPrediction, model: str
) -> None:
    assert jobs.find("a") == ""
    job = jobs.start(model, jobs.send("a", numbers(1, 2, 3)), "a", KEYED)
    assert jobs.start(model, [], "a") == job == jobs.find("a")
    assert jobs.start(model, jobs.send("b", numbers(4)), "b", KEYED) != job
    stands = jobs.poll(job)
    assert (stands.state, stands.answered, stands.refused, stands.error) == ("done", 3, 0, None)
    assert list(jobs.results(stands.output)) == [Predicted("n1", 2), Predicted("n2", 4), Predicted("n3", 6)]
    jobs.remove("a")
    assert jobs.find("a") == ""
    assert len(google.batches.batches) == 1
    assert {name.split("/")[4] for name in google.objects.names("gs://team/judged")} == {jobs.place("b").uri[-32:]}


def test_many_instances_go_in_several_files_and_none_in_an_empty_one(
    google: StandIn, jobs: BatchPrediction, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_FILE_BYTES", 60)
    addresses = jobs.send("a", numbers(*range(10)))
    assert [len((google.objects.read(one) or b"").splitlines()) for one in addresses] == [2] * 5
    job = jobs.start(model, addresses, "a", KEYED)
    assert [one.prediction for one in jobs.results(jobs.poll(job).output)] == [2 * one for one in range(10)]
    [empty] = jobs.send("b", [])
    assert google.objects.read(empty) == b""


def test_what_is_refused_is_counted_and_the_rest_answered(jobs: BatchPrediction, model: str) -> None:
    one_each = {**KEYED, "manualBatchTuningParameters": {"batchSize": 1}}
    job = jobs.start(model, jobs.send("a", numbers(1, "x", 3)), "a", one_each)
    stands = jobs.poll(job)
    assert (stands.state, stands.answered, stands.refused) == ("done", 2, 1)
    assert [one.instance for one in jobs.results(stands.output)] == ["n1", "n3"]


def test_a_job_that_failed_says_why_and_another_one_follows_it(
    google: StandIn, jobs: BatchPrediction, model: str
) -> None:
    for status, kind in (
        ("INTERNAL", CloudError),
        ("RESOURCE_EXHAUSTED", CloudAway),
        ("PERMISSION_DENIED", CloudDenied),
    ):
        google.batches.fail(status, "it ended")
        job = jobs.start(model, jobs.send("a", numbers(1)), "a", KEYED)
        stands = jobs.poll(job)
        assert (stands.state, type(stands.error)) == ("failed", kind)
        assert "(it ended)" in str(stands.error)
    assert jobs.find("a") == ""


def test_a_job_is_cancelled_once_and_one_that_is_being_stopped_is_not_gone_on_with(
    google: StandIn, jobs: BatchPrediction, model: str
) -> None:
    google.batches.looks = None
    job = jobs.start(model, jobs.send("a", numbers(1)), "a", KEYED)
    assert jobs.poll(job).state == "running"
    jobs.cancel(job)
    assert jobs.find("a") == ""
    jobs.cancel(job)
    assert google.batches.states() == ["CANCELLED"]
    jobs.cancel(f"projects/{PROJECT}/locations/{LOCATION}/batchPredictionJobs/1")
    assert google.calls.count("aiplatform:POST batchPredictionJobs/*:cancel") == 1


def test_whoever_is_killed_finds_the_job_and_one_without_its_answers_is_asked_anew(
    google: StandIn, jobs: BatchPrediction, model: str
) -> None:
    addresses = jobs.send("a", numbers(1))
    with pytest.raises(Killed), dying_at(1, after=True):
        jobs.start(model, addresses, "a", KEYED)
    assert len(google.batches.batches) == 1
    job = jobs.start(model, addresses, "a", KEYED)
    assert list(google.batches.batches) == [job]
    # Its answers were being removed when somebody was killed.
    output = jobs.poll(job).output
    for name in list(google.objects.names(output)):
        google.objects.delete(name)
    assert jobs.start(model, jobs.send("a", numbers(1)), "a", KEYED) != job


def test_what_cannot_be_removed_is_said_and_the_rest_goes(
    google: StandIn, jobs: BatchPrediction, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.start(model, jobs.send("a", numbers(1)), "a", KEYED)
    google.batches.finish()
    google.deny("aiplatform.batchPredictionJobs.delete")
    jobs.remove("a")
    assert "is still listed" in caplog.text
    assert not list(google.objects.names("gs://team/judged"))
    google.deny("aiplatform.batchPredictionJobs.list")
    jobs.remove("a")
    assert "may go on, and cost: end it by hand" in caplog.text


def test_a_job_is_not_forgotten_while_google_is_away(google: StandIn, jobs: BatchPrediction, model: str) -> None:
    google.batches.looks = None
    jobs.start(model, jobs.send("a", numbers(1)), "a", KEYED)
    for call in ("GET batchPredictionJobs", "POST batchPredictionJobs/*:cancel"):
        google.fail(call, "UNAVAILABLE", times=None)
        with pytest.raises(CloudAway):
            jobs.end("a")
        google.mend()
        assert google.batches.states() in (["PENDING"], ["RUNNING"])
    jobs.end("a")
    assert google.batches.states() == ["CANCELLING"]
