"""Jobs of Vertex AI Pipelines in the stand-in of Google Cloud run their containers, in order, with their parameters."""

from typing import Any

import pytest
import requests

from labelloop.types import Json
from support.google import LOCATION, PROJECT, Refused, StandIn
from support.waiting import wait_until

PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
WRITE = "import os, pathlib, sys; place = pathlib.Path(sys.argv[1]); place.parent.mkdir(parents=True, exist_ok=True); "


def asked(program: str = f"{WRITE}place.write_text(sys.argv[2])", **values: Any) -> Json:
    """Ask for a job of two tasks: ``write``, a container, and then ``tell``."""
    write = {
        "componentRef": {"name": "comp-write"},
        "inputs": {"parameters": {"text": {"componentInputParameter": "manifest"}}},
    }
    spec = {
        "pipelineInfo": {"name": "theirs"},
        "schemaVersion": "2.1.0",
        "root": {
            "dag": {
                "tasks": {"tell": {"componentRef": {"name": "comp-tell"}, "dependentTasks": ["write"]}, "write": write}
            },
            "inputDefinitions": {
                "parameters": {
                    "manifest": {"parameterType": "STRING"},
                    "epochs": {"parameterType": "NUMBER_INTEGER", "defaultValue": 3},
                }
            },
        },
        "components": {"comp-write": {"executorLabel": "exec-write"}, "comp-tell": {"executorLabel": "exec-tell"}},
        "deploymentSpec": {
            "executors": {
                "exec-write": {
                    "container": {
                        "image": "theirs:1",
                        "command": ["python", "-c", program, "/gcs/data/out/text"],
                        "args": ["{{$.inputs.parameters['text']}}"],
                    }
                },
                "exec-tell": {"container": {"image": "theirs:1", "command": ["python", "-c", "pass"]}},
            }
        },
    }
    parameters = {"manifest": "gs://data/list.jsonl", **values}
    given = {name: value for name, value in parameters.items() if value is not None}
    runtime = {"gcsOutputDirectory": "gs://data/root", "parameterValues": given}
    return {"displayName": "p", "pipelineSpec": spec, "runtimeConfig": runtime}


def ended(google: StandIn, body: Json) -> Json:
    path = google.ask("POST", "pipelineJobs", body)["name"].removeprefix(f"{PARENT}/")
    over = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED")
    wait_until(lambda: google.ask("GET", path)["state"] in over, lambda: str(google.ask("GET", path)))
    found: Json = google.ask("GET", path)
    return found


@pytest.fixture(autouse=True)
def _bucket(google: StandIn) -> None:
    google.bucket("data")


def test_tasks_run_in_order_with_their_parameters(google: StandIn) -> None:
    seen: list[Json] = []
    google.pipelines.tasks["tell"] = lambda given, job: seen.append(given | {"state": job["state"]})
    job = ended(google, asked())
    assert job["state"] == "PIPELINE_STATE_SUCCEEDED"
    assert google.storage.read("data", "out/text") == b"gs://data/list.jsonl"
    assert [(one["taskName"], one["state"]) for one in job["jobDetail"]["taskDetails"]] == [
        ("write", "SUCCEEDED"),
        ("tell", "SUCCEEDED"),
    ]
    assert seen == [{"state": "PIPELINE_STATE_RUNNING"}]


def test_a_task_that_fails_ends_its_job(google: StandIn) -> None:
    job = ended(google, asked("raise SystemExit('no labels')"))
    assert (job["state"], job["error"]["code"]) == ("PIPELINE_STATE_FAILED", 9)
    assert "The failed tasks are: [write]" in job["error"]["message"]
    assert "no labels" in job["error"]["message"]
    google.pipelines.fail("tell", "RESOURCE_EXHAUSTED", "no machine")
    assert "[tell]. no machine" in ended(google, asked())["error"]["message"]

    def refuse(given: Json, job: Json) -> None:
        raise Refused("INTERNAL", f"{given} of {job['displayName']}")

    google.pipelines.tasks["tell"] = refuse
    assert "[tell]. {} of p" in ended(google, asked())["error"]["message"]


def test_a_job_is_cancelled_and_found_by_its_label(google: StandIn) -> None:
    google.pipelines.hanging.add("write")
    body = asked() | {"labels": {"labelloop-run": "r"}}
    told = requests.post(
        f"{google.url}/v1/{PARENT}/pipelineJobs", {}, body, params={"pipelineJobId": "mine"}, timeout=10
    )
    name = told.json()["name"]
    assert name == f"{PARENT}/pipelineJobs/mine"
    (found,) = google.ask("GET", "pipelineJobs", filter="labels.labelloop-run=r")["pipelineJobs"]
    assert found["name"] == name
    google.ask("POST", "pipelineJobs/mine:cancel")
    run = google.pipelines.newest()
    wait_until(lambda: run.state == "CANCELLED", lambda: run.state)
    again = requests.post(
        f"{google.url}/v1/{PARENT}/pipelineJobs", {}, body, params={"pipelineJobId": "mine"}, timeout=10
    )
    assert again.json()["error"]["status"] == "ALREADY_EXISTS"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (asked(colour="red"), "no parameter 'colour'"),
        (asked(epochs="3"), "'epochs' is no NUMBER_INTEGER"),
        (asked(manifest=None), "'manifest' is required"),
        ({"templateUri": "gs://data/pipeline.json", "runtimeConfig": {"gcsOutputDirectory": "gs://d"}}, "template_uri"),
        ({"pipelineSpec": {}, "runtimeConfig": {"gcsOutputDirectory": "gs://d"}}, "pipeline_spec"),
        ({"pipelineSpec": {"a": 1}, "runtimeConfig": {}}, "runtime_config.gcs_output_directory"),
    ],
    ids=["strange", "type", "none", "template", "spec", "folder"],
)
def test_a_job_that_cannot_be_is_refused(google: StandIn, body: Json, said: str) -> None:
    told = requests.post(f"{google.url}/v1/{PARENT}/pipelineJobs", json=body, timeout=10)
    assert told.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert said in told.json()["error"]["message"]
