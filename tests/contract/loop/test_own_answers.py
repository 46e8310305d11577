"""A head of pictures answers in bulk by features at hand: no file is read, and the endpoint is asked for the others."""

import hashlib
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from labelloop.endpoints.fake import FakeEndpoint
from labelloop.loop import next_tasks, waiting_tasks
from labelloop.loop import prelabel as prelabeling
from labelloop.loop.hub import Hub
from labelloop.loop.order import is_held_out, read_order
from labelloop.loop.own_answers import own_answers
from labelloop.loop.prelabel import Prelabeled, prelabel
from labelloop.loop.project_registry import site_of
from labelloop.loop.redis_client import key_of
from labelloop.loop.serving import serving
from labelloop.loop.waiting_tasks import EarlyLook
from labelloop.serve.engines.base import open_engine
from labelloop.serve.engines.head import HeadEngine
from labelloop.studio.interface import LabelStudioInterface
from labelloop.types import Json, Output, ProjectKey
from support.bundles import publish_bundle
from support.studio_api import StudioApi

from .conftest import MakeHub

TASKS = 40
CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    '<Choice value="red"/><Choice value="green"/><Choice value="blue"/></Choices></View>'
)


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def sha(number: int) -> str:
    return hashlib.sha256(picture(number)).hexdigest()


def path(number: int) -> str:
    return f"/data/upload/7/{number}.png"


@pytest.fixture
def hub(make_hub: MakeHub, studio: StudioApi) -> Hub:
    studio.config = CONFIG
    studio.pictures = {path(number): picture(number) for number in range(1, TASKS + 1)}
    studio.add_tasks(TASKS)
    return make_hub(endpoint="fake://?classes=red,green,blue")


def publish(hub: Hub, folder: Path, *, flips: bool) -> HeadEngine:
    """Publish v1, a head, and give the engine that serves it."""
    project = hub.project(7)
    publish_bundle(hub.store, project, folder, run="run1", head=True, flips=flips)
    engine = open_engine(folder / "run1", "onnx")
    assert isinstance(engine, HeadEngine)
    return engine


def keep(hub: Hub, project: ProjectKey, engine: HeadEngine, tasks: range, *, flips: bool = False) -> None:
    """Keep the features of what tasks show, and which files these are."""
    pictures = np.stack([np.moveaxis(pixels(number), -1, 0) for number in tasks])
    features = hub.features(project)(engine.head.info.features, engine.head.width)
    features.keep([sha(number) for number in tasks], engine.backbone(pictures))
    if flips:
        features.keep([sha(number) for number in tasks], engine.backbone(pictures[..., ::-1].copy()), mirrored=True)
    hub.task_contents(project).note([(number, path(number)) for number in tasks], [sha(number) for number in tasks])


def pixels(number: int) -> npt.NDArray[np.float32]:
    return np.asarray(Image.open(io.BytesIO(picture(number))), dtype=np.float32) / np.float32(255)


def asked(hub: Hub) -> int:
    """How many tasks the endpoint was asked for."""
    endpoint = hub.endpoint
    assert isinstance(endpoint, FakeEndpoint)
    return sum(count for _, count in endpoint.asked)


def of_v1(studio: StudioApi) -> dict[int, Json]:
    return {one["task"]: one for one in studio.predictions if one["model_version"] == "v1"}


@pytest.mark.parametrize("flips", [False, True])
def test_what_is_at_hand_is_answered_as_the_endpoint_would(
    studio: StudioApi, hub: Hub, make_hub: MakeHub, tmp_path: Path, flips: bool
) -> None:
    project, engine = hub.project(7), publish(hub, tmp_path / "made", flips=flips)
    keep(hub, project, engine, range(1, TASKS + 1), flips=flips)
    studio.pictures.clear()
    away = make_hub(endpoint="fake://?classes=red,green,blue&script=down*")
    assert prelabel(away, project, "v1", lambda *_: None) == Prelabeled(TASKS, 0)

    order = read_order(hub.store, project, "v1")
    assert order is not None
    answers = engine.predict([picture(number) for number in range(1, TASKS + 1)], "v1")
    for number, answer in enumerate(answers, 1):
        assert isinstance(answer, Output)
        [region] = of_v1(studio)[number]["result"]
        assert region["score"] == pytest.approx(answer.score, abs=1e-3), "half precision"
        [chosen] = region["value"]["choices"]
        assert answer.scores[chosen] == pytest.approx(answer.score, abs=1e-3), "the same class, but for a tie"
        assert order.arm(number) == ("random" if is_held_out(sha(number)) else "ordered"), "by what the task shows"


def test_the_endpoint_is_asked_for_what_is_not_at_hand(studio: StudioApi, hub: Hub, tmp_path: Path) -> None:
    project, engine = hub.project(7), publish(hub, tmp_path / "made", flips=False)
    keep(hub, project, engine, range(1, 31))
    studio.tasks[5]["data"]["image"] = path(35)
    for number in (*range(1, 5), *range(6, 31)):
        del studio.pictures[path(number)]
    assert prelabel(hub, project, "v1", lambda *_: None) == Prelabeled(TASKS, 0)
    assert asked(hub) == 11, "ten without features, and one that shows another file now"
    assert all(len(studio.versions_of(task)) == 1 for task in studio.tasks)
    assert hub.redis.zcard(key_of(project, "watched")) == TASKS - 1, "drift is looked for in both; two show one file"


def test_the_endpoint_begins_where_features_are_taken_last(studio: StudioApi, hub: Hub, tmp_path: Path) -> None:
    project, engine = hub.project(7), publish(hub, tmp_path / "made", flips=False)
    keep(hub, project, engine, range(3, 13))
    interface = LabelStudioInterface.of(studio.config, hub.media, 7, None)
    own = own_answers(hub, project, serving(hub, project, "v1"), interface)
    assert own is not None
    calls = own.calls((studio.tasks[number] for number in range(1, 21)), 4)
    ids = [[task["id"] for task in call] for call in calls]
    assert ids == [[*range(3, 13)], [20, 19, 18, 17], [16, 15, 14, 13], [2, 1]]


@pytest.mark.parametrize(("soon", "predicted"), [(20, 10), (30, TASKS)])
def test_answers_that_cost_nothing_are_left_for_later_where_they_are_many(
    studio: StudioApi, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soon: int, predicted: int
) -> None:
    monkeypatch.setattr(next_tasks, "_NEXT", 10)
    monkeypatch.setattr(prelabeling, "_SOON", soon)
    project, engine = hub.project(7), publish(hub, tmp_path / "made", flips=False)
    keep(hub, project, engine, range(1, TASKS + 1))
    done = prelabel(hub, project, "v1", lambda *_: None, announce=lambda: None)
    assert done == Prelabeled(predicted, 0, more=predicted < TASKS)
    assert sum(studio.versions_of(task) == ["v1"] for task in studio.tasks) == predicted


@pytest.mark.parametrize("early", [False, True])
def test_of_very_many_tasks_a_few_places_are_read_before_the_version_is_announced(
    studio: StudioApi, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    for where, name, value in (
        (next_tasks, "_NEXT", 5),
        (next_tasks, "_NEXT_OF_MANY", 4),
        (prelabeling, "_SOON", 5),
        (waiting_tasks, "_LISTED", 30),
        (waiting_tasks, "_PLACES", 4),
        (waiting_tasks, "_EACH", 3),
    ):
        monkeypatch.setattr(where, name, value)
    project, engine = hub.project(7), publish(hub, tmp_path / "made", flips=False)
    keep(hub, project, engine, range(1, TASKS + 1))
    studio.listings.clear()
    with EarlyLook(site_of(hub, 7), "a run's key") as look:
        if early:
            look.begin()
            assert look.found("v1") is not None
        before = len(studio.listings)
        done = prelabel(hub, project, "v1", lambda *_: None, announce=lambda: None, look=look)
        assert (before > 0, len(studio.listings) > before) == (early, not early)
    assert done.more
    assert done.predicted == 4, "no more, which would need an import"
    assert len(studio.predictions) == done.predicted
    assert len(studio.listings) <= 8, "no list of all: each page here has what it is asked for"
    # The rest is all that is left, be it in the sample or not.
    assert prelabel(hub, project, "v1", lambda *_: None).predicted == TASKS - done.predicted
    assert all(studio.versions_of(task) == ["v1"] for task in studio.tasks)


def test_with_flips_both_have_to_be_there(studio: StudioApi, hub: Hub, tmp_path: Path) -> None:
    project, engine = hub.project(7), publish(hub, tmp_path / "made", flips=True)
    keep(hub, project, engine, range(1, 21), flips=True)
    keep(hub, project, engine, range(21, 31))
    assert prelabel(hub, project, "v1", lambda *_: None) == Prelabeled(TASKS, 0)
    assert asked(hub) == 20
    assert all(studio.versions_of(task) == ["v1"] for task in studio.tasks)


def test_a_version_is_announced_before_the_endpoint_is_asked_for_more_than_what_comes_next(
    studio: StudioApi, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_tasks, "_NEXT", 10)
    project, engine = hub.project(7), publish(hub, tmp_path / "made", flips=False)
    keep(hub, project, engine, range(1, 9))
    seen: list[tuple[int, int]] = []
    done = prelabel(hub, project, "v1", lambda *_: None, announce=lambda: seen.append((asked(hub), len(of_v1(studio)))))
    [(others, imported)] = seen
    assert (2 <= others <= 10, imported) == (True, 8 + others), (
        "eight have features; ten that chance chooses are asked for"
    )
    order = read_order(hub.store, project, "v1")
    assert order is not None
    assert 0 < len(order.table) <= 10, "those eight are the first tasks, and say little of all"
    assert done == Prelabeled(TASKS, 0)
    assert (asked(hub), len(of_v1(studio))) == (TASKS - 8, TASKS)
