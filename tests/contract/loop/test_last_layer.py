"""When a finetune has become champion, quick runs learn a last layer on its network: in seconds, as heads are."""

import hashlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from labelloop.data.split import side
from labelloop.endpoints.fake import FakeEndpoint
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.queue import BACKGROUND, queue
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.models.bundle import read_network_info
from labelloop.models.champion import Reason
from labelloop.models.features import read_taken
from labelloop.models.runs import RunRecord
from labelloop.train.selection import ENOUGH
from labelloop.types import Side
from support import scattered, shapes
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process

pytestmark = [pytest.mark.train, pytest.mark.slow]

BARS = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    '<Choice value="across"/><Choice value="upright"/></Choices></View>'
)
FIRST: dict[Side, int] = {"validation": ENOUGH, "test": 12, "train": 30}
"""Pictures that are labeled at first: as many as a finetune needs that is to be judged."""

MORE = 6
"""Train-side pictures that are labeled later; as many again are left."""


def pictures() -> list[tuple[bytes, str]]:
    """Give pictures with what they show, those that are labeled first before the others."""
    wanted: dict[Side, int] = {**FIRST, "train": FIRST["train"] + 4 * MORE}
    found: dict[Side, list[tuple[bytes, str]]] = {name: [] for name in wanted}
    for seed in count():
        content = shapes.picture((seed % 2,), seed)
        found[side(hashlib.sha256(content).hexdigest())].append((content, shapes.CLASSES[seed % 2]))
        if all(len(found[name]) >= many for name, many in wanted.items()):
            break
    first = [one for name, many in FIRST.items() for one in found[name][:many]]
    return first + found["train"][FIRST["train"] : wanted["train"]]


SHOWN = pictures()


@pytest.fixture
def loop(make_hub: MakeHub, studio: StudioApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub of pictures of bars, and of a network whose first weights know little."""
    studio.config = BARS
    studio.connect("labelloop")
    studio.pictures = {f"/data/upload/7/{number}.png": content for number, (content, _) in enumerate(SHOWN, 1)}
    studio.add_tasks(len(SHOWN))
    given = {"backbone": "test_resnet", "image_size": 32, "weights": str(scattered.weights(tmp_path))}
    made = make_hub(endpoint="fake://?classes=across,upright", retrain_after=4, quiet_seconds=0.0, epochs=8, **given)
    yield from of_this_process(made, monkeypatch)


def label(studio: StudioApi, begin: int, end: int) -> None:
    """Label tasks as what they show."""
    for number in range(begin, end + 1):
        studio.annotate(number, SHOWN[number - 1][1])


def run(hub: Hub) -> RunRecord:
    jobs.retrain(str(hub.project(7)), "4 changed labels", False)
    found = hub.runs(hub.project(7)).latest()
    assert found is not None
    return found


def test_a_last_layer_follows_a_finetune_and_a_head_follows_a_rollback(loop: Hub, studio: StudioApi) -> None:
    project, first = loop.project(7), sum(FIRST.values())
    label(studio, 1, first)
    head = run(loop)
    assert (head.recipe, head.metrics["network"]) == ("head", "")
    jobs.challenge(str(project))
    finetune = loop.runs(project).latest_challenger()
    assert finetune is not None
    assert (finetune.state, finetune.recipe, finetune.version) == ("promoted", "finetune", "v2")

    # The features of all tasks by its network are taken as soon as it is champion.
    assert [job.func_name for job in queue(loop.redis, BACKGROUND).jobs] == ["labelloop.loop.jobs.features"]
    jobs.features(str(project))
    taken = read_taken(loop.store, project)
    endpoint = loop.endpoint
    assert isinstance(endpoint, FakeEndpoint)
    endpoint.asked.clear()

    label(studio, first + 1, first + MORE)
    found = run(loop)
    assert (found.state, found.recipe, found.version) == ("promoted", "last-layer", "v3"), found.verdict
    assert found.metrics["network"] == "v2"
    assert "the test items decide alone: this version (last-layer) is not trained anew" in found.verdict
    assert "the last layer is learned on the network of v2" in found.metrics["notes"]
    bundle = loop.versions(project).fetch_bundle("v3", loop.settings.directory / "elsewhere")
    assert read_network_info(bundle).features == taken.backbone
    waiting = [one for one in studio.predictions if one["model_version"] == "v3"]
    assert len(waiting) == len(studio.tasks) - first - MORE
    assert not endpoint.asked, "all is answered by features at hand"
    assert "last layer on the network of v2" in "\n".join(standing(project_status(loop, project)))

    # The next one is on the same network, which it finds in the bundle of the last.
    label(studio, first + MORE + 1, first + 2 * MORE)
    again = run(loop)
    assert (again.recipe, again.metrics["network"]) == ("last-layer", "v2")
    assert jobs.features(str(project)) == "0 tasks looked at"

    pointer = loop.pointer(project)
    pointer.promote("v1", pointer.take_fence(), Reason("person"))
    label(studio, first + 2 * MORE + 1, first + 3 * MORE)
    assert run(loop).recipe == "head"
