"""Before the first version: which tasks ``labelloop first-labels`` chooses, and the tab it makes of them."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from labelloop.cli.first_labels import first_labels
from labelloop.kinds.base import find
from labelloop.loop import first_labels as choosing
from labelloop.loop.hub import Hub
from labelloop.loop.order import is_held_out
from labelloop.models.champion import ChampionPointer
from labelloop.types import IMAGES
from support.studio_api import StudioApi

from .conftest import MakeHub

pytestmark = pytest.mark.train

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


@pytest.fixture
def hub(make_hub: MakeHub, tmp_path: Path) -> Hub:
    """A hub whose network has weights that a file holds."""
    import timm
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.safetensors")
    weights = str(tmp_path / "weights.safetensors")
    return make_hub(backbone="test_resnet", image_size=32, weights=weights, recipes=("head",))


def add(studio: StudioApi, *colours: str) -> None:
    for number, colour in enumerate(colours, len(studio.tasks) + 1):
        noise = np.random.default_rng(number).normal(0, 8, (16, 16, 3))
        buffer = io.BytesIO()
        Image.fromarray(np.clip(COLOURS[colour] + noise, 0, 255).astype(np.uint8)).save(buffer, "PNG")
        studio.pictures[f"/data/upload/7/{number}.png"] = buffer.getvalue()
        studio.add_tasks(1)


def asked(hub: Hub, *words: str) -> Result:
    return CliRunner().invoke(first_labels, ["--project", "7", *words], obj=hub)


def found(hub: Hub, *words: str) -> Any:
    answer = asked(hub, *words, "--json")
    assert not answer.exception, answer.output
    return json.loads(answer.stdout)


def held_out(studio: StudioApi, task: int) -> bool:
    return is_held_out(hashlib.sha256(studio.pictures[f"/data/upload/7/{task}.png"]).hexdigest())


def test_typical_and_different_tasks_get_a_tab_and_held_out_ones_come_at_random(hub: Hub, studio: StudioApi) -> None:
    colours = ["red"] * 40 + ["green"] * 8 + ["blue"] * 8
    add(studio, *colours)
    studio.pictures["/data/upload/7/3.png"] = b"no picture"
    studio.pictures["/data/upload/7/5.png"] = studio.pictures["/data/upload/7/4.png"]

    told = found(hub, "--top", "12", "--push")

    assert (len(told["tasks"]), told["compared"], told["labeled"], told["left_out"]) == (12, 54, 0, 2)
    assert not {3, 5} & set(told["tasks"])
    served = [held_out(studio, task) for task in told["tasks"]]
    assert told["held_out"] == sum(served)
    first = [colours[task - 1] for task, held in zip(told["tasks"], served, strict=True) if not held][:3]
    assert set(first) == set(COLOURS)
    [tab] = studio.views
    assert tab["data"]["title"] == "First labels (LabelLoop)"
    assert studio.predictions == []
    ranges = [one["value"] for one in tab["data"]["filters"]["items"]]
    shown = {task for one in ranges for task in (range(one["min"], one["max"] + 1) if isinstance(one, dict) else [one])}
    assert shown == set(told["tasks"])


def test_what_is_labeled_counts_as_there(hub: Hub, studio: StudioApi) -> None:
    colours = [*["red"] * 14, *["green"] * 12, *["blue"] * 6]
    add(studio, *colours)
    red, green = (next(at for at in places if not held_out(studio, at)) for places in (range(3, 15), range(15, 27)))
    studio.annotate(red, "cat")
    studio.annotate(green, "dog")

    told = found(hub, "--top", "30")

    assert told["labeled"] == 2
    assert sorted(told["tasks"]) == sorted({*range(1, 33)} - {red, green})
    first = next(task for task in told["tasks"] if not held_out(studio, task))
    assert colours[first - 1] == "blue"
    assert "2 are labeled already; what is like them comes late" in asked(hub, "--top", "5").output


def test_of_many_labeled_ones_some_are_compared_and_none_is_chosen(
    hub: Hub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(studio, *["red"] * 20)
    for task in range(1, 11):
        studio.annotate(task, "cat" if task % 2 else "dog")
    monkeypatch.setattr(choosing, "SAMPLE", 4)
    compared: list[int] = []
    kind = type(find(IMAGES))
    features = kind.features

    def counted(self: Any, items: Any, *rest: Any) -> Any:
        compared.append(len(items))
        return features(self, items, *rest)

    monkeypatch.setattr(kind, "features", counted)
    told = found(hub, "--top", "20")
    assert (told["labeled"], told["compared"], compared) == (10, 4, [8])
    assert len(told["tasks"]) == 4
    assert min(told["tasks"]) > 10


def test_it_is_refused_where_features_say_nothing_or_a_version_orders_tasks(
    hub: Hub, make_hub: MakeHub, studio: StudioApi
) -> None:
    add(studio, "red", "green")
    assert "set LABELLOOP_WEIGHTS" in str(asked(make_hub(backbone="test_resnet", image_size=32)).exception)

    pointer = ChampionPointer(hub.store, hub.project(7))
    pointer.promote("v1", pointer.take_fence())
    assert str(asked(hub).exception) == "project 7 has v1, by whose scores Label Studio orders its tasks"


def test_a_project_without_waiting_tasks_is_said_to_have_none(hub: Hub) -> None:
    assert asked(hub).output.splitlines()[0].startswith("0 of 0 waiting tasks to label first")
