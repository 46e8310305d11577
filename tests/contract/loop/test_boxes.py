"""Boxes go once round: drawn in Label Studio, learned, judged, served by a process without torch, pre-annotated."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.retrain import retrain
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from labelloop.types import BOXES, Box, Region
from support import scattered
from support.inference import SCRIPT, inference
from support.reports import reported
from support.studio_api import StudioApi

from .conftest import MakeHub

pytestmark = pytest.mark.train

CONFIG = (
    '<View><Image name="picture" value="$image"/><RectangleLabels name="thing" toName="picture">'
    '<Label value="round"/><Label value="square"/></RectangleLabels></View>'
)
SERVE = f'import sys\nsys.modules["torch"] = None\n{SCRIPT}'
ANNOTATED, WAITING = 48, 6


@pytest.fixture
def hub(make_hub: MakeHub, studio: StudioApi, tmp_path: Path) -> Iterator[Hub]:
    """A hub whose project asks for boxes, 48 of its pictures annotated, and an inference server of its store."""
    studio.config = CONFIG
    studio.connect("labelloop")
    studio.add_tasks(ANNOTATED + WAITING)
    for number, task in studio.tasks.items():
        path, regions = scattered.picture(tmp_path, number)
        studio.pictures[task["data"]["image"]] = path.read_bytes()
        if number <= ANNOTATED:
            annotate(studio, number, regions)
    store, weights = (tmp_path / "store").as_uri(), scattered.weights(tmp_path)
    with inference(tmp_path / "serve", script=SERVE, LABELLOOP_STORE=store) as server:
        yield make_hub(
            endpoint=server.address,
            store=store,
            backbone="test_resnet",
            weights=str(weights),
            image_size=96,
            epochs=2,
            learning_rate=0.008,
        )


def annotate(studio: StudioApi, number: int, regions: tuple[Region, ...], **more: Any) -> None:
    """Submit an annotation with these boxes, as Label Studio has them."""
    result = [
        {
            "from_name": "thing",
            "to_name": "picture",
            "type": "rectanglelabels",
            "original_width": scattered.WIDTH,
            "original_height": scattered.HEIGHT,
            "value": {
                **{name: 100 * getattr(one.shape, name) for name in ("x", "y", "width", "height")},
                "rotation": getattr(one.shape, "rotation", 0),
                "rectanglelabels": [one.label],
            },
        }
        for one in regions
    ]
    studio.annotate(number, "", result=result, **more)


def train(hub: Hub) -> RunRecord:
    project = hub.project(7)
    with Lease(hub, project) as lease:
        return retrain(hub, project, "test", ProgressReporter(hub, project, lease))


def test_boxes_go_once_round(hub: Hub, studio: StudioApi, tmp_path: Path) -> None:
    # A box beyond the edge and a turned one are learned as far as that goes, and told.
    _, regions = scattered.picture(tmp_path, 1)
    studio.tasks[1]["annotations"].clear()
    turned = Region("square", Box(0.5, 0.5, 0.1, 0.1, 30))
    annotate(studio, 1, (*regions, Region("round", Box(0.95, 0.4, 0.2, 0.2)), turned))

    record, project = train(hub), hub.project(7)

    assert (record.state, record.version, record.kind) == ("promoted", "v1", BOXES)
    assert "AP50" in record.verdict
    version = Versions(hub.store, project).get("v1")
    measured = version.metrics["test"]
    assert measured["main"]["value"] > 0.2
    assert 0 < measured["ap"] < measured["main"]["value"]
    assert measured["sizes"]["small"]["boxes"] == sum(measured["regions"][one] for one in ("right", "missed"))
    report = reported(hub, project)
    assert version.verdict in report
    for name in ("examples", "robustness", "explanations"):
        assert f'id="{name}"' in report, name

    # Whoever waits is pre-annotated by a server that has no torch.
    assert ChampionPointer(hub.store, project).read().announced == "v1"
    brought = {one["task"]: one for one in studio.predictions}
    assert sorted(brought) == list(range(ANNOTATED + 1, ANNOTATED + WAITING + 1))
    assert {one["model_version"] for one in brought.values()} == {"v1"}
    shown = [region for one in brought.values() for region in one["result"]]
    assert {region["type"] for region in shown} == {"rectanglelabels"}
    assert {region["original_width"] for region in shown} == {scattered.WIDTH}
    assert all(0 < region["score"] <= 1 for region in shown)
    assert shown

    bundle = Versions(hub.store, project).fetch_bundle("v1", hub.settings.directory / "cache" / "bundles")
    assert check_bundle(bundle).classes == scattered.CLASSES

    # The same pictures and settings make the same version: nothing is trained.
    again = train(hub)
    assert (again.key, again.version) == (record.key, "v1")
