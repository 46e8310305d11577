"""The stand-in of Google Cloud does what AutoML and batch prediction do: data sets, imports, trainings, answers."""

import json
from typing import Any

import pytest
import requests

from labelloop.types import Json
from support.bundles import picture
from support.google import LOCATION, PROJECT, StandIn

PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
SCHEMA = "gs://google-cloud-aiplatform/schema"
USE = "aiplatform.googleapis.com/ml_use"
SPLIT = {
    "trainingFilter": f"labels.{USE}=training",
    "validationFilter": f"labels.{USE}=validation",
    "testFilter": "-",
}


@pytest.fixture
def shop(google: StandIn) -> StandIn:
    """A project with a bucket of thirty pictures in two colours."""
    google.bucket("shop")
    for number in range(30):
        google.objects.write(f"gs://shop/{number}", picture("red" if number % 2 else "blue", (8 + number, 8)))
    google.objects.write("gs://shop/webp", picture("red", form="WEBP"))
    return google


def ask(google: StandIn, method: str, path: str, body: Any = None, **query: str) -> requests.Response:
    return requests.request(method, f"{google.url}/v1/{PARENT}/{path}", params=query, json=body, timeout=10)


def done(google: StandIn, operation: Json) -> Json:
    while not operation.get("done"):
        operation = google.ask("GET", operation["name"].removeprefix(f"{PARENT}/"))
    return operation


def line(number: int | str, label: str, use: str) -> Json:
    annotation = {"classificationAnnotation": {"displayName": label}}
    return {"imageGcsUri": f"gs://shop/{number}", **annotation, "dataItemResourceLabels": {USE: use}}


def dataset(google: StandIn, *more: Json) -> tuple[str, Json]:
    """Make a data set of the pictures, and more; gives it with the operation of its import."""
    body = {"displayName": "colours", "metadataSchemaUri": f"{SCHEMA}/dataset/metadata/image_1.0.0.yaml"}
    name = done(google, google.ask("POST", "datasets", body))["response"]["name"]
    lines = [line(one, "red" if one % 2 else "blue", "validation" if one < 8 else "training") for one in range(30)]
    google.objects.write("gs://shop/list", "\n".join(map(json.dumps, [*lines, *more])).encode())
    schema = f"{SCHEMA}/dataset/ioformat/image_classification_single_label_io_format_1.0.0.yaml"
    config = {"gcsSource": {"uris": ["gs://shop/list"]}, "importSchemaUri": schema}
    path = name.removeprefix(f"{PARENT}/")
    return path, done(google, google.ask("POST", f"{path}:import", {"importConfigs": [config]}))


def pipeline(path: str, **more: Any) -> Json:
    return {
        "displayName": "colours",
        "inputDataConfig": {"datasetId": path.rpartition("/")[2], "filterSplit": SPLIT},
        "trainingTaskDefinition": f"{SCHEMA}/trainingjob/definition/automl_image_classification_1.0.0.yaml",
        "trainingTaskInputs": {"modelType": "CLOUD", "budgetMilliNodeHours": "8000"},
        "modelToUpload": {"displayName": "colours"},
        **more,
    }


def trained(google: StandIn) -> str:
    path, _ = dataset(google)
    told = google.ask("POST", "trainingPipelines", pipeline(path))
    google.trainings.finish()
    seen = google.ask("GET", told["name"].removeprefix(f"{PARENT}/"))
    return str(seen["modelToUpload"]["name"])


def test_an_import_says_what_it_left_out_line_by_line(shop: StandIn) -> None:
    path, operation = dataset(
        shop, line("webp", "red", "training"), line("none", "red", "training"), line(1, "red", "train"), {"x": 1}
    )
    assert shop.ask("GET", path)["dataItemCount"] == "30"
    said = [one["message"] for one in operation["metadata"]["genericMetadata"]["partialFailures"]]
    assert said == [
        f"Line 31: gs://shop/webp is WEBP of {len(picture('red', form='WEBP'))} bytes",
        "Line 32: gs://shop/none is not found",
        "Line 33: ml_use 'train' is none of training, validation, test",
        "Line 34: unknown field 'x'",
    ]
    listed = shop.ask("GET", f"{path}/operations")["operations"]
    assert [one["name"] for one in listed if "ImportData" in one["metadata"]["@type"]] == [operation["name"]]


def test_a_training_learns_of_its_data_set_and_its_model_answers_in_a_batch(shop: StandIn) -> None:
    model = trained(shop)
    instances = [{"content": f"gs://shop/{one}", "mimeType": "image/png"} for one in (1, 2, "list")]
    shop.objects.write("gs://shop/in", "\n".join(map(json.dumps, instances)).encode())
    job = {
        "displayName": "ask",
        "model": model,
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://shop/in"]}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://shop/out"}},
        "modelParameters": {"maxPredictions": 1},
    }
    path = shop.ask("POST", "batchPredictionJobs", job)["name"].removeprefix(f"{PARENT}/")
    shop.batches.finish()
    output = shop.ask("GET", path)["outputInfo"]["gcsOutputDirectory"]
    told = [json.loads(one) for one in (shop.objects.read(f"{output}/predictions_00001.jsonl") or b"").splitlines()]
    assert [one["prediction"]["displayNames"] for one in told[:2]] == [["red"], ["blue"]]
    assert told[2]["instance"] == instances[2]
    assert "it is no picture" in told[2]["error"]["message"]


def test_its_model_says_who_made_it_and_goes_to_shared_endpoints_alone(shop: StandIn) -> None:
    model = trained(shop)
    assert shop.ask("GET", model.removeprefix(f"{PARENT}/"))["modelSourceInfo"] == {"sourceType": "AUTOML"}
    deployed = {"model": model, "automaticResources": {"minReplicaCount": 1}}
    for name, dedicated, code in (("own", True, 400), ("shared", False, 200)):
        body = {"displayName": name, "dedicatedEndpointEnabled": dedicated}
        done(shop, shop.ask("POST", "endpoints", body, endpointId=name))
        told = ask(shop, "POST", f"endpoints/{name}:deployModel", {"deployedModel": deployed})
        assert told.status_code == code, told.text


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"modelType": "CLOUD", "budgetMilliNodeHours": "7999"}, "budgetMilliNodeHours 7999 is not supported"),
        ({"modelType": "CLOUD_LOW_LATENCY_1", "budgetMilliNodeHours": "20000"}, "modelType CLOUD_LOW_LATENCY_1"),
        ({"modelType": "CLOUD", "budgetMilliNodeHours": "8000", "multiLabel": True}, "multiLabel does not fit"),
    ],
)
def test_a_training_that_google_would_not_begin_is_refused(shop: StandIn, inputs: Json, says: str) -> None:
    path, _ = dataset(shop)
    told = ask(shop, "POST", "trainingPipelines", pipeline(path, trainingTaskInputs=inputs))
    assert (told.status_code, says in told.json()["error"]["message"]) == (400, True)


def test_a_training_may_fail_go_on_or_be_cancelled_and_holds_its_data_set(shop: StandIn) -> None:
    path, _ = dataset(shop)
    shop.trainings.looks = None
    name = shop.ask("POST", "trainingPipelines", pipeline(path))["name"].removeprefix(f"{PARENT}/")
    assert [shop.ask("GET", name)["state"] for _ in range(4)] == ["PIPELINE_STATE_PENDING"] * 4
    assert ask(shop, "DELETE", path).status_code == 400
    shop.ask("POST", f"{name}:cancel", {})
    shop.trainings.finish()
    shop.trainings.looks = 0
    shop.trainings.fail("INTERNAL", "a node was lost")
    name = shop.ask("POST", "trainingPipelines", pipeline(path))["name"].removeprefix(f"{PARENT}/")
    assert shop.ask("GET", name)["error"] == {"code": 13, "message": "a node was lost"}
    assert shop.trainings.states() == ["CANCELLED", "FAILED"]
    done(shop, shop.ask("DELETE", path))
    assert ask(shop, "GET", path).status_code == 404
