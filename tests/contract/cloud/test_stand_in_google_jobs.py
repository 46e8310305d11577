"""Custom jobs in the stand-in of Google Cloud really run, and end as Vertex AI's do."""

from pathlib import Path
from typing import Any

import pytest
import requests

from labelloop.types import Json
from support.google import LOCATION, PROJECT, StandIn
from support.waiting import wait_until

IMAGE = "europe-docker.pkg.dev/shop-1/labelloop/train:1"
WAITING = "import pathlib, time; pathlib.Path('begun').touch(); time.sleep(60)"


def job(program: str, *, args: tuple[str, ...] = (), machine: Json | None = None, **spec: Any) -> Json:
    """Ask for a job that runs a program of Python."""
    pool = {
        "machineSpec": {"machineType": "n1-standard-8", **(machine or {})},
        "replicaCount": "1",
        "containerSpec": {"imageUri": IMAGE, "command": ["python", "-c", program], "args": list(args)},
    }
    return {"displayName": "train", "jobSpec": {"workerPoolSpecs": [pool], **spec}}


def begin(google: StandIn, asked: Json) -> str:
    """Begin a job; gives its path."""
    told = google.ask("POST", "customJobs", asked)
    assert told["state"] == "JOB_STATE_PENDING"
    return "customJobs/" + str(told["name"]).rpartition("/")[2]


def state(google: StandIn, path: str) -> str:
    return str(google.ask("GET", path)["state"]).removeprefix("JOB_STATE_")


def ended(google: StandIn, path: str) -> Json:
    wait_until(lambda: state(google, path) in ("SUCCEEDED", "FAILED", "CANCELLED"), lambda: google.ask("GET", path))
    found: Json = google.ask("GET", path)
    return found


def running(google: StandIn, path: str) -> None:
    """Wait until its program runs."""
    home = google.jobs.newest().program.folder / "home"
    wait_until((home / "begun").exists, lambda: str(google.ask("GET", path)))


def in_home(program: str) -> str:
    return f"import os; os.chdir(os.environ['HOME']); {program}"


def test_a_job_is_told_what_vertex_ai_tells(google: StandIn) -> None:
    google.runs.image_environment["MODE"] = "quiet"
    asked = job("import os, sys; print(*sys.argv[1:], *(f'{n}={v}' for n, v in os.environ.items()))", args=("--a", "1"))
    asked["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["env"] = [{"name": "RUN", "value": "r1"}]
    path = begin(google, asked)
    assert ended(google, path)["state"] == "JOB_STATE_SUCCEEDED"
    said = google.jobs.newest().program.log.read_text().split()
    assert said[:2] == ["--a", "1"]
    assert {"RUN=r1", "MODE=quiet", f"CLOUD_ML_PROJECT_ID={PROJECT}", f"CLOUD_ML_REGION={LOCATION}"} <= {*said}
    assert f"STORAGE_EMULATOR_HOST={google.url}" in said
    assert not [one for one in said if one.startswith("AIP_")]


def test_buckets_are_folders_whose_content_comes_and_goes_while_a_job_runs(google: StandIn) -> None:
    google.bucket("data")
    google.storage.put("data", "in/list.txt", b"a b")
    program = (
        "import os, pathlib, sys, time; gcs = pathlib.Path(os.environ['GCS_MOUNT_DIR']); "
        "read = pathlib.Path(sys.argv[1]).read_text(); out = gcs / os.environ['AIP_MODEL_DIR'][5:]; "
        "out.mkdir(parents=True); (out / 'model').write_text(read.upper()); (gcs / 'data/in/list.txt').unlink(); "
        "time.sleep(60)"
    )
    path = begin(
        google,
        job(program, args=("/gcs/data/in/list.txt",), baseOutputDirectory={"outputUriPrefix": "gs://data/out/"}),
    )
    wait_until(lambda: google.storage.names("data") == ["out/model/model"], lambda: str(google.ask("GET", path)))
    assert google.storage.read("data", "out/model/model") == b"A B"
    google.ask("POST", f"{path}:cancel")
    ended(google, path)


def test_a_job_that_fails_says_how(google: StandIn) -> None:
    found = ended(google, begin(google, job("raise SystemExit('no labels')")))
    assert (found["state"], found["error"]["code"]) == ("JOB_STATE_FAILED", 3)
    assert "The replica workerpool0-0 exited with a non-zero status of 1." in found["error"]["message"]
    assert "no labels" in found["error"]["message"]


def test_a_job_is_cancelled(google: StandIn) -> None:
    path = begin(google, job(in_home(WAITING)))
    running(google, path)
    google.ask("POST", f"{path}:cancel")
    found = ended(google, path)
    assert (found["state"], found["error"]["code"]) == ("JOB_STATE_CANCELLED", 1)
    told = requests.post(f"{google.url}/v1/{found['name']}:cancel", timeout=10)
    assert told.json()["error"]["status"] == "FAILED_PRECONDITION"


def test_a_job_whose_machine_is_taken_away_begins_anew(google: StandIn, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    once = f"import pathlib, sys; mark = pathlib.Path({str(mark)!r}); mark.exists() and sys.exit(); mark.touch()"
    path = begin(
        google, job(in_home(f"{once}; {WAITING}"), scheduling={"strategy": "SPOT", "restartJobOnWorkerRestart": True})
    )
    running(google, path)
    google.jobs.preempt(google.jobs.newest())
    assert ended(google, path)["state"] == "JOB_STATE_SUCCEEDED"
    assert google.jobs.newest().program.attempts == 2


def test_a_job_that_may_not_begin_anew_fails(google: StandIn) -> None:
    path = begin(google, job(in_home(WAITING), scheduling={"strategy": "SPOT", "disableRetries": True}))
    running(google, path)
    google.jobs.preempt(google.jobs.newest())
    assert ended(google, path)["error"]["code"] == 14


def test_a_job_waits_for_its_machine(google: StandIn) -> None:
    google.jobs.hold()
    path = begin(google, job("pass"))
    assert state(google, path) == "PENDING"
    google.jobs.release()
    assert ended(google, path)["state"] == "JOB_STATE_SUCCEEDED"


def test_a_job_that_takes_too_long_is_ended(google: StandIn) -> None:
    found = ended(google, begin(google, job("import time; time.sleep(60)", scheduling={"timeout": "0.1s"})))
    assert (found["state"], found["error"]["code"]) == ("JOB_STATE_FAILED", 4)


def test_jobs_are_found_by_a_label(google: StandIn) -> None:
    google.jobs.hold()
    for run in ("a", "b"):
        begin(google, job("pass") | {"labels": {"labelloop-run": run}})
    listed = google.ask("GET", "customJobs", filter="labels.labelloop-run=a")["customJobs"]
    assert [one["labels"] for one in listed] == [{"labelloop-run": "a"}]
    assert google.ask("GET", "customJobs", filter="labels.labelloop-run=c") == {}


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        (job("", machine={"machineType": "large"}), "INVALID_ARGUMENT", "Machine type 'large' is not supported"),
        (job("", machine={"acceleratorCount": 1}), "INVALID_ARGUMENT", "accelerator_type is not"),
        (
            job("", machine={"acceleratorType": "NVIDIA_L4", "acceleratorCount": 1}),
            "FAILED_PRECONDITION",
            "NVIDIA_L4 is not supported for machine type n1-standard-8",
        ),
        (job("", machine={"acceleratorType": "T4"}), "INVALID_ARGUMENT", '(TYPE_ENUM), "T4"'),
        (job("", scheduling={"timeout": 60}), "INVALID_ARGUMENT", "google.protobuf.Duration"),
        (job("", serviceAccount="trainer"), "INVALID_ARGUMENT", "email address"),
        (job("", baseOutputDirectory={"outputUriPrefix": "s3://b"}), "INVALID_ARGUMENT", "no Cloud Storage URI"),
        ({"displayName": "e", "jobSpec": {}}, "INVALID_ARGUMENT", "custom_job.job_spec.worker_pool_specs"),
    ],
    ids=["machine", "count", "pair", "gpu", "duration", "account", "folder", "pools"],
)
def test_a_job_that_cannot_be_is_refused(google: StandIn, asked: Json, status: str, said: str) -> None:
    told = requests.post(f"{google.url}/v1/projects/{PROJECT}/locations/{LOCATION}/customJobs", json=asked, timeout=10)
    assert told.json()["error"]["status"] == status
    assert said in told.json()["error"]["message"]
    assert not google.jobs.jobs


def test_a_quota_that_is_used_up_is_named(google: StandIn) -> None:
    google.jobs.quota.append("aiplatform.googleapis.com/custom_model_training_nvidia_t4_gpus")
    told = requests.post(
        f"{google.url}/v1/projects/{PROJECT}/locations/{LOCATION}/customJobs", json=job("pass"), timeout=10
    )
    assert told.status_code == 429
    assert told.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert "quota limits: aiplatform.googleapis.com/custom_model_training_nvidia_t4_gpus" in told.text
