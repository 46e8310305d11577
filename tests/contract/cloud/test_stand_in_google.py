"""The stand-in of Google Cloud does what Vertex AI does, as it is seen over REST."""

import base64
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from labelloop.children import start_child, stop_group
from labelloop.cloud.google.client import Google
from labelloop.types import Json
from support.bundles import make_bundle, picture
from support.crash_store import Killed
from support.google import LOCATION, PROJECT, StandIn
from support.google.kills import dying_at
from support.waiting import wait_until

PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
IMAGE = "europe-docker.pkg.dev/shop-1/labelloop/inference:1"
MACHINE = {"machineSpec": {"machineType": "n1-standard-4"}, "minReplicaCount": 1}


def ask(google: StandIn, method: str, path: str, body: Any = None, **query: str) -> requests.Response:
    """Ask Vertex AI as a program does: what is asked is noted, and may be refused."""
    return requests.request(method, f"{google.url}/v1/{PARENT}/{path}", params=query, json=body, timeout=10)


def error(told: requests.Response) -> tuple[int, str, str]:
    """Give HTTP's status, Google's, and what was said."""
    said = told.json()["error"]
    assert said["code"] == told.status_code
    return told.status_code, said["status"], said["message"]


def done(google: StandIn, operation: Json) -> Json:
    """Look at an operation until it is done; gives its response."""
    path = operation["name"].removeprefix(f"{PARENT}/")
    for _ in range(5):
        operation = google.ask("GET", path)
        if operation.get("done"):
            break
    response: Json = operation["response"]
    return response


def model(google: StandIn, name: str = "cats", **more: Any) -> str:
    """Upload somebody else's model, which answers with its name; gives that."""
    google.served.images[f"{IMAGE}-{name}"] = lambda *_: b'{"predictions": ["%s"]}' % name.encode()
    told = {"displayName": name, "containerSpec": {"imageUri": f"{IMAGE}-{name}"}, **more}
    return str(done(google, google.ask("POST", "models:upload", {"model": told, "modelId": name}))["model"])


def endpoint(google: StandIn, name: str = "shop") -> str:
    done(google, google.ask("POST", "endpoints", {"displayName": name}, endpointId=name))
    return f"endpoints/{name}"


def deploy(google: StandIn, name: str, model: str, number: str, split: dict[str, int]) -> None:
    deployed = {"model": model, "id": number, "dedicatedResources": MACHINE}
    done(google, google.ask("POST", f"{name}:deployModel", {"deployedModel": deployed, "trafficSplit": split}))


# The door.
def test_what_is_asked_is_noted_and_refused_as_often_as_a_test_wants(google: StandIn) -> None:
    google.fail("POST endpoints", "RESOURCE_EXHAUSTED", "slow down", times=2)
    body = {"displayName": "e"}
    assert [ask(google, "POST", "endpoints", body).status_code for _ in range(3)] == [429, 429, 200]
    assert google.calls == ["aiplatform:POST endpoints"] * 3
    google.fail("aiplatform", "UNAVAILABLE", times=None)
    assert error(ask(google, "GET", "models"))[:2] == (503, "UNAVAILABLE")
    google.mend()
    assert ask(google, "GET", "models").json() == {}
    assert google.calls[-2:] == ["aiplatform:GET models"] * 2


@pytest.mark.parametrize("after", [False, True], ids=["undone", "done"])
def test_an_answer_may_be_lost(google: StandIn, after: bool) -> None:
    google.operations.looks = 0
    google.hang_up("POST endpoints", after=after)
    with pytest.raises(requests.ConnectionError):
        ask(google, "POST", "endpoints", {"displayName": "e"})
    assert len(google.ask("GET", "endpoints").get("endpoints", [])) == after


def test_who_lacks_a_permission_or_has_no_account_any_more_is_told(google: StandIn) -> None:
    google.deny("aiplatform.customJobs.create")
    code, status, said = error(ask(google, "POST", "customJobs", {}))
    assert (code, status) == (403, "PERMISSION_DENIED")
    assert "Permission 'aiplatform.customJobs.create' denied on resource" in said
    google.revoke()
    assert error(ask(google, "GET", "customJobs"))[:2] == (401, "UNAUTHENTICATED")
    google.mend()
    assert ask(google, "GET", "customJobs").status_code == 200


def test_a_location_may_have_no_vertex_ai_or_not_all_of_it(google: StandIn) -> None:
    google.front.lacking[LOCATION] = "endpoints"
    assert error(ask(google, "GET", "endpoints"))[1] == "FAILED_PRECONDITION"
    google.front.locations = {"us-central1"}
    told = ask(google, "GET", "models")
    assert (told.status_code, told.headers["Content-Type"]) == (404, "text/html; charset=UTF-8")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"displayName": "e", "colour": "red"}, "Unknown name \"colour\" at 'endpoint': Cannot find field."),
        ({"displayName": 5}, "Invalid value at 'endpoint.display_name' (TYPE_STRING), 5"),
        ({"displayName": "e", "labels": {"a": 1}}, "Invalid value at 'endpoint.labels[a]' (TYPE_STRING), 1"),
        ({"displayName": "e", "labels": {"Run": "1"}}, "lowercase letters"),
        ({"displayName": "e", "dedicatedEndpointEnabled": "yes"}, "(TYPE_BOOL)"),
        ({}, "Required field is not set: endpoint.display_name"),
        ({"displayName": "e" * 129}, "128 characters"),
        ([], "Root element must be a message"),
    ],
    ids=lambda one: str(one)[:30] if isinstance(one, str) else "",
)
def test_what_is_no_message_of_googles_is_refused(google: StandIn, body: Any, said: str) -> None:
    code, status, message = error(ask(google, "POST", "endpoints", body))
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert said in message


def test_names_that_are_chosen_have_rules(google: StandIn) -> None:
    assert "endpoint_id" in error(ask(google, "POST", "endpoints", {"displayName": "e"}, endpoint_id="e"))[2]
    assert "Endpoint id" in error(ask(google, "POST", "endpoints", {"displayName": "e"}, endpointId="-e"))[2]
    endpoint(google)
    assert error(ask(google, "POST", "endpoints", {"displayName": "e"}, endpointId="shop"))[:2] == (
        409,
        "ALREADY_EXISTS",
    )


# Operations.
def test_an_operation_lasts_for_so_many_looks(google: StandIn) -> None:
    google.operations.looks = 2
    begun = ask(google, "POST", "endpoints", {"displayName": "e"}, endpointId="e").json()
    assert begun["name"].startswith(f"{PARENT}/endpoints/e/operations/")
    path = begun["name"].removeprefix(f"{PARENT}/")
    assert [ask(google, "GET", path).json().get("done", False) for _ in range(3)] == [False, False, True]
    assert ask(google, "GET", path).json()["response"]["name"] == f"{PARENT}/endpoints/e"
    listed = ask(google, "GET", "endpoints/e/operations").json()["operations"]
    assert [one["name"] for one in listed] == [begun["name"]]


def test_an_operation_may_end_in_an_error(google: StandIn) -> None:
    google.operations.fail("create", "INTERNAL", "an hour for nothing")
    begun = google.ask("POST", "endpoints", {"displayName": "e"}, endpointId="e")
    path = begun["name"].removeprefix(f"{PARENT}/")
    google.ask("GET", path)
    assert google.ask("GET", path)["error"] == {"code": 13, "message": "an hour for nothing"}
    assert error(ask(google, "GET", "endpoints/e"))[1] == "NOT_FOUND"


# Models.
def test_versions_of_a_model_have_aliases_that_move(google: StandIn) -> None:
    name = model(google)
    told = {"displayName": "cats", "containerSpec": {"imageUri": IMAGE}, "versionAliases": ["champion"]}
    second = done(google, google.ask("POST", "models:upload", {"model": told, "parentModel": name}))
    assert second == {
        "@type": "type.googleapis.com/google.cloud.aiplatform.v1.UploadModelResponse",
        "model": name,
        "modelVersionId": "2",
    }
    assert google.ask("GET", "models/cats@champion")["versionId"] == "2"
    assert google.ask("GET", "models/cats")["versionId"] == "1"
    google.ask("POST", "models/cats@1:mergeVersionAliases", {"versionAliases": ["champion", "old"]})
    google.ask("POST", "models/cats@1:mergeVersionAliases", {"versionAliases": ["-old"]})
    listed = google.ask("GET", "models/cats:listVersions")["models"]
    assert [(one["versionId"], one.get("versionAliases")) for one in listed] == [
        ("2", None),
        ("1", ["champion", "default"]),
    ]
    assert error(ask(google, "GET", "models/cats@old"))[1] == "NOT_FOUND"
    refused = ask(google, "POST", "models/cats@1:mergeVersionAliases", {"versionAliases": ["2"]})
    assert "Version alias '2' is invalid" in error(refused)[2]


def test_a_list_is_filtered_and_comes_in_pages(google: StandIn) -> None:
    for number in range(5):
        model(google, f"m{number}", labels={"labelloop-run": str(number % 2)})
    first = google.ask("GET", "models", filter="labels.labelloop-run=0", pageSize="2")
    assert [one["displayName"] for one in first["models"]] == ["m4", "m2"]
    second = google.ask(
        "GET", "models", filter="labels.labelloop-run=0", pageSize="2", pageToken=first["nextPageToken"]
    )
    assert [one["displayName"] for one in second["models"]] == ["m0"]
    assert "nextPageToken" not in second
    assert (
        google.ask("GET", "models", filter='displayName="m3" AND labels.labelloop-run:*')["models"][0]["displayName"]
        == "m3"
    )
    assert "Invalid filter" in error(ask(google, "GET", "models", filter="colour=red"))[2]


# Endpoints.
def test_a_canary_gets_its_share_and_then_all(google: StandIn) -> None:
    name, one, two = endpoint(google), model(google), model(google, "dogs")
    deploy(google, name, one, "11", {"0": 100})
    deploy(google, name, two, "12", {"11": 80, "0": 20})
    for _ in range(100):
        google.ask("POST", f"{name}:predict", {"instances": [1]})
    assert [google.runtime.answered.count(("shop", number)) for number in ("11", "12")] == [80, 20]
    google.ask("PATCH", name, {"trafficSplit": {"12": 100}}, updateMask="trafficSplit")
    told = ask(google, "POST", f"{name}:predict", {"instances": [1]}).json()
    assert told == {
        "predictions": ["dogs"],
        "deployedModelId": "12",
        "model": two,
        "modelDisplayName": "dogs",
        "modelVersionId": "1",
    }
    raw = requests.post(f"{google.url}/v1/{PARENT}/{name}:rawPredict", data=b"\x00", timeout=10)
    assert (raw.json(), raw.headers["X-Vertex-AI-Deployed-Model-Id"]) == ({"predictions": ["dogs"]}, "12")


@pytest.mark.parametrize(
    ("verb", "body", "status", "said"),
    [
        ("deployModel", {"deployedModel": {"model": "x"}}, "NOT_FOUND", "Model x"),
        ("undeployModel", {"deployedModelId": "11"}, "FAILED_PRECONDITION", "has traffic"),
        ("undeployModel", {"deployedModelId": "13"}, "NOT_FOUND", "13"),
        (
            "undeployModel",
            {"deployedModelId": "11", "trafficSplit": {"12": 90}},
            "INVALID_ARGUMENT",
            "must add up to 100",
        ),
        (
            "mutateDeployedModel",
            {"deployedModel": {"id": "11"}, "updateMask": "dedicatedResources.machineSpec"},
            "INVALID_ARGUMENT",
            "cannot be updated",
        ),
    ],
)
def test_what_would_break_an_endpoint_is_refused(
    google: StandIn, verb: str, body: Json, status: str, said: str
) -> None:
    name, one = endpoint(google), model(google)
    deploy(google, name, one, "11", {"0": 100})
    deploy(google, name, one, "12", {})
    told = error(ask(google, "POST", f"{name}:{verb}", body))
    assert told[1] == status
    assert said in told[2]


def test_an_endpoint_does_one_thing_at_a_time(google: StandIn) -> None:
    name, one = endpoint(google), model(google)
    google.operations.looks = None
    deployed = {"model": one, "dedicatedResources": MACHINE}
    body = {"deployedModel": deployed, "trafficSplit": {"0": 100}}
    google.ask("POST", f"{name}:deployModel", body)
    assert "There are other operations running" in error(ask(google, "POST", f"{name}:deployModel", body))[2]
    assert "doesn't have traffic_split" in error(ask(google, "POST", f"{name}:predict", {"instances": [1]}))[2]
    google.operations.finish()
    assert ask(google, "POST", f"{name}:predict", {"instances": [1]}).status_code == 200


def test_what_is_in_use_is_not_deleted(google: StandIn) -> None:
    name, one = endpoint(google), model(google)
    deploy(google, name, one, "11", {"0": 100})
    assert error(ask(google, "DELETE", "models/cats"))[1] == "FAILED_PRECONDITION"
    assert error(ask(google, "DELETE", name))[1] == "FAILED_PRECONDITION"
    done(google, google.ask("POST", f"{name}:undeployModel", {"deployedModelId": "11"}))
    done(google, google.ask("DELETE", name))
    done(google, google.ask("DELETE", "models/cats"))
    assert google.ask("GET", "models") == google.ask("GET", "endpoints") == {}


def test_replicas_of_a_deployed_model_change(google: StandIn) -> None:
    name, one = endpoint(google), model(google)
    deploy(google, name, one, "11", {"0": 100})
    deployed = {"id": "11", "dedicatedResources": {"minReplicaCount": 2, "maxReplicaCount": 3}}
    mask = "dedicatedResources.minReplicaCount,dedicatedResources.maxReplicaCount"
    done(google, google.ask("POST", f"{name}:mutateDeployedModel", {"deployedModel": deployed, "updateMask": mask}))
    found = google.ask("GET", name)["deployedModels"][0]["dedicatedResources"]
    assert found == MACHINE | {"minReplicaCount": 2, "maxReplicaCount": 3}


def test_an_uploaded_bundle_answers_as_our_container_does(google: StandIn, tmp_path: Path) -> None:
    make_bundle(tmp_path)
    place = google.bucket("models") + "/cats"
    container = {"imageUri": IMAGE, "predictRoute": "/predict", "healthRoute": "/health"}
    told = {"displayName": "cats", "artifactUri": place, "containerSpec": container}
    google.operations.looks = 0
    assert google.ask("POST", "models:upload", {"model": told})["error"]["code"] == 3
    for file in tmp_path.iterdir():
        google.storage.put("models", f"cats/{file.name}", file.read_bytes())
    uploaded = google.ask("POST", "models:upload", {"model": told})["response"]["model"]
    name = endpoint(google)
    deploy(google, name, uploaded, "7", {"0": 100})
    instance = {"b64": base64.b64encode(picture("red")).decode()}
    answer = ask(google, "POST", f"{name}:predict", {"instances": [instance]}).json()
    assert (answer["predictions"][0]["label"], answer["deployedModelId"]) == ("red", "7")
    kind = {"Content-Type": "application/json"}
    refused = requests.post(f"{google.url}/v1/{PARENT}/{name}:rawPredict", data=b"{", headers=kind, timeout=10)
    assert error(refused)[:2] == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("wrong", ["bundle", "program"])
def test_what_cannot_be_served_is_not_deployed(google: StandIn, tmp_path: Path, wrong: str) -> None:
    make_bundle(tmp_path)
    place = google.bucket("models") + "/cats"
    for file in tmp_path.iterdir():
        google.storage.put("models", f"cats/{file.name}", file.read_bytes() if wrong == "program" else b"{}")
    container = {"imageUri": IMAGE, **({"args": ["train"]} if wrong == "program" else {})}
    told = {"displayName": "cats", "artifactUri": place, "containerSpec": container}
    name = endpoint(google)
    uploaded = done(google, google.ask("POST", "models:upload", {"model": told}))["model"]
    google.operations.looks = 0
    deployed = {"model": uploaded, "dedicatedResources": MACHINE}
    begun = google.ask("POST", f"{name}:deployModel", {"deployedModel": deployed, "trafficSplit": {"0": 100}})
    assert begun["error"]["code"] == 9
    assert "Model server exited unexpectedly" in begun["error"]["message"]
    assert "deployedModels" not in google.ask("GET", name)


def test_a_model_and_its_versions_are_changed_apart(google: StandIn) -> None:
    name = model(google, labels={"team": "shop"})
    told = {"displayName": "cats", "containerSpec": {"imageUri": IMAGE}, "labels": {"run": "r2"}}
    done(google, google.ask("POST", "models:upload", {"model": told, "parentModel": name}))
    mask = "labels,versionDescription"
    body = {"labels": {"run": "r3"}, "versionDescription": "better"}
    changed = google.ask("PATCH", "models/cats@2", body, updateMask=mask)
    assert (changed["labels"], changed["versionDescription"]) == ({"team": "shop", "run": "r3"}, "better")
    assert "versionDescription" not in google.ask("GET", "models/cats@1")
    google.ask("PATCH", "models/cats", {"labels": {"team": "zoo"}}, updateMask="labels")
    assert google.ask("GET", "models/cats@2")["labels"] == {"team": "zoo", "run": "r3"}
    for path, mask in (("models/cats", "versionDescription"), ("models/cats@2", "displayName,labels")):
        refused = error(ask(google, "PATCH", path, {"displayName": "x"}, updateMask=mask))
        assert refused[1] == "FAILED_PRECONDITION"


def test_what_a_version_was_measured_by_is_kept_with_it(google: StandIn) -> None:
    model(google)
    told = {"displayName": "test side", "metrics": {"auPrc": 0.9}}
    made = google.ask("POST", "models/cats@1/evaluations:import", {"modelEvaluation": told})
    (found,) = google.ask("GET", "models/cats@1/evaluations")["modelEvaluations"]
    assert found == made == google.ask("GET", made["name"].removeprefix(f"{PARENT}/"))
    assert found["metrics"] == {"auPrc": 0.9}


@pytest.mark.process
def test_it_runs_alone_until_it_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "support.google", "--folder", str(tmp_path / "google")]
    # Who runs the tests may have said where they lie to pytest alone.
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = tmp_path / "said.txt"
    alone = start_child(command, log=said, environment=found)
    try:
        wait_until(lambda: "NO_GCE_CHECK" in said.read_text(), said.read_text)
        url, *variables = said.read_text().split()
        told = dict(one.split("=", 1) for one in variables)
        assert told["LABELLOOP_VERTEX_BASE_URL"] == url
        place = Google(PROJECT, LOCATION, environment=told)
        made = place.ask("POST", f"{place.parent}/endpoints", {"displayName": "e"}, query={"endpointId": "e"})
        assert place.wait(made, 10, every=0)["name"] == f"{place.parent}/endpoints/e"
    finally:
        stop_group(alone, 10)
    assert alone.returncode == 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_process_dies_between_two_calls(google: StandIn, after: bool) -> None:
    place, path = Google(PROJECT, LOCATION), f"{PARENT}/endpoints"
    google.operations.looks = 0
    with dying_at(1, after=after) as made:
        place.ask("POST", path, {"displayName": "one"})
        for _ in range(2):
            with pytest.raises(Killed):
                place.ask("POST", path, {"displayName": "two"})
    assert made == [f"POST /v1/{path}"] * (1 + after)
    assert len([*place.listing(path, "endpoints")]) == 1 + after
