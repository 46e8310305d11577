"""Every kind of labeling through a real Label Studio: imported, read back, made annotations, exported."""

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import requests

from labelloop.demo.label_studio import LabelStudio
from labelloop.studio.client import Studio
from labelloop.studio.label_config import parse_label_config
from labelloop.studio.rendering import render
from labelloop.types import Json, Rendering
from support.result_kinds import BOXES, KINDS, MASK, MASKS, POLYGONS, SIZE, VERSION, WORDS, ResultKind

pytestmark = pytest.mark.studio


@dataclass(frozen=True, slots=True)
class Accepted:
    """A project with one task, whose prediction was made an annotation; ``prediction`` is as it was sent."""

    project: int
    task: int
    prediction: Json


Accept = Callable[[ResultKind], Accepted]


@pytest.fixture(scope="module")
def client(label_studio: LabelStudio) -> Iterator[Studio]:
    """One client for the module."""
    client = Studio(label_studio.url, label_studio.token)
    yield client
    client.close()


@pytest.fixture(scope="module")
def accepted(client: Studio, label_studio: LabelStudio) -> Accept:
    """Predict a kind's task and accept that; each kind has one project for the module."""
    return cache(lambda kind: accept(client, label_studio, kind))


@pytest.mark.parametrize("kind", [*KINDS, MASKS], ids=lambda kind: kind.name)
def test_a_prediction_is_stored_as_sent_and_becomes_an_annotation(
    client: Studio, accepted: Accept, kind: ResultKind
) -> None:
    made = accepted(kind)
    [stored] = client.api.get(f"api/tasks/{made.task}/")["predictions"]
    assert stored["result"] == made.prediction["result"]
    assert (stored["score"], stored["model_version"]) == (pytest.approx(kind.score), VERSION)
    [exported] = json.loads(export(client, made, "JSON"))
    [annotation] = exported["annotations"]
    assert annotation["result"] == made.prediction["result"]
    assert exported["data"] == kind.data


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_was_answered_is_what_label_studio_holds(client: Studio, accepted: Accept, kind: ResultKind) -> None:
    [stored] = client.api.get(f"api/tasks/{accepted(kind).task}/")["predictions"]
    assert [(region["value"], region.get("score")) for region in stored["result"]] == list(kind.results)


def test_label_studio_decodes_a_mask_to_the_pixels_that_were_meant(client: Studio, accepted: Accept) -> None:
    decoded = np.load(io.BytesIO(export(client, accepted(MASKS), "BRUSH_TO_NUMPY")))
    coarse = np.frombuffer(MASK.inside, np.uint8).reshape(MASK.height, MASK.width)
    assert decoded.shape == (SIZE[1], SIZE[0])
    np.testing.assert_array_equal(decoded, np.kron(coarse, np.ones((100, 100), np.uint8)))


def test_label_studio_reads_boxes_in_the_picture_s_pixels(client: Studio, accepted: Accept) -> None:
    coco = coco_of(client, accepted(BOXES))
    assert [(image["width"], image["height"]) for image in coco["images"]] == [SIZE]
    assert coco["annotations"][0]["bbox"] == pytest.approx([40.0, 60.0, 120.0, 75.0])


def test_label_studio_reads_polygons_in_the_picture_s_pixels(client: Studio, accepted: Accept) -> None:
    [annotation] = coco_of(client, accepted(POLYGONS))["annotations"]
    assert annotation["segmentation"][0] == pytest.approx([80.0, 187.5, 180.0, 281.25, 40.0, 281.25])


def test_label_studio_tags_the_words_that_were_meant(client: Studio, accepted: Accept) -> None:
    lines = export(client, accepted(WORDS), "CONLL2003").decode().splitlines()
    tagged = [line.split() for line in lines if line and not line.endswith(" O")]
    assert [(words[0], words[-1]) for words in tagged] == [("Rome", "B-place"), ("Bonn", "B-place")]


def accept(client: Studio, label_studio: LabelStudio, kind: ResultKind) -> Accepted:
    """Make a project of a kind with one task, predict it and do "Create Annotations From Predictions"."""
    project = label_studio.create_project(kind.name, kind.label_config)
    label_studio.import_tasks(project, [kind.data])
    [task] = client.tasks(project)
    prediction = render(parse_label_config(kind.label_config), kind.answer, Rendering(), text=kind.text)
    assert client.import_predictions(project, [{"task": task["id"], **prediction}]) == 1
    selected = {"selectedItems": {"all": True, "excluded": []}}
    label_studio.request("POST", f"/api/dm/actions?id=predictions_to_annotations&project={project}", json=selected)
    return Accepted(project, task["id"], prediction)


def export(client: Studio, made: Accepted, form: str) -> bytes:
    """Have Label Studio export a project."""
    address = f"{client.api.url}/api/projects/{made.project}/export"
    answer = requests.get(address, {"exportType": form}, headers=client.api.auth_headers(), timeout=30)
    answer.raise_for_status()
    return answer.content


def coco_of(client: Studio, made: Accepted) -> Json:
    """Have Label Studio export boxes and polygons as COCO."""
    with zipfile.ZipFile(io.BytesIO(export(client, made, "COCO"))) as files:
        found: Json = json.loads(files.read("result.json"))
    return found
