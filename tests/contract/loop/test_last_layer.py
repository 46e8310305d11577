"""When a finetune has become champion, quick runs learn a last layer on its network: in seconds, as heads are."""

import hashlib
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from labelloop.bundle_info import ClassesInfo
from labelloop.endpoints.fake import FakeEndpoint
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.queue import BACKGROUND, queue
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import Reason
from labelloop.models.features import read_taken
from labelloop.models.runs import RunRecord
from labelloop.serve.engines.base import open_engine
from labelloop.train.selection import ENOUGH
from labelloop.types import Output, Side, side
from support import scattered, shapes, tiny_encoder
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process

pytestmark = [pytest.mark.train, pytest.mark.slow]

MORE = 6
"""Train-side items that are labeled later; as many again are left."""


class Subject(NamedTuple):
    """What is asked, of ``shown``: inputs with their classes, those that are labeled ``first`` before the others."""

    tag: str
    classes: tuple[str, str]
    shown: list[tuple[bytes, str]]
    first: int

    @classmethod
    def of(cls, tag: str, classes: tuple[str, str], train: int, make: Callable[[int, int], bytes]) -> "Subject":
        """Make as many as a finetune needs that is to be judged, by their class (0 or 1) and a number."""
        first: dict[Side, int] = {"validation": ENOUGH, "test": 12, "train": train}
        wanted: dict[Side, int] = {**first, "train": train + 4 * MORE}
        found: dict[Side, list[tuple[bytes, str]]] = {name: [] for name in wanted}
        for seed in count():
            content = make(seed % 2, seed)
            found[side(hashlib.sha256(content).hexdigest())].append((content, classes[seed % 2]))
            if all(len(found[name]) >= many for name, many in wanted.items()):
                break
        begin = [one for name, many in first.items() for one in found[name][:many]]
        return cls(tag, classes, begin + found["train"][train : wanted["train"]], len(begin))

    def begin(self, studio: StudioApi) -> None:
        """Let the stand-in of Label Studio have a project of them."""
        choices = "".join(f'<Choice value="{name}"/>' for name in self.classes)
        studio.config = (
            f'<View><{self.tag} name="item" value="$item"/><Choices name="label" toName="item">{choices}</Choices>'
            "</View>"
        )
        studio.connect("labelloop")
        for number, (content, _) in enumerate(self.shown, 1):
            address = f"/data/upload/7/{number}.png"
            studio.pictures[address] = content
            item = content.decode() if self.tag == "Text" else address
            studio.tasks[number] = {"id": number, "data": {"item": item}, "annotations": []}

    def label(self, studio: StudioApi, begin: int, end: int) -> None:
        """Label tasks as what they show."""
        for number in range(begin, end + 1):
            studio.annotate(number, self.shown[number - 1][1], to_name="item")


def text(shown: int, seed: int) -> bytes:
    """Write in small or capital letters, which n-grams do not tell apart."""
    (written,), _ = tiny_encoder.texts(1, seed)
    written = f"{written} {seed}"
    return (written.upper() if shown else written.lower()).encode()


@pytest.fixture(params=["pictures", "texts"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """Pictures of bars, or texts."""
    if request.param == "texts":
        return Subject.of("Text", ("small", "capital"), 60, text)
    return Subject.of(
        "Image", (shapes.CLASSES[0], shapes.CLASSES[1]), 30, lambda shown, seed: shapes.picture((shown,), seed)
    )


@pytest.fixture
def loop(
    make_hub: MakeHub, studio: StudioApi, subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    """A hub of them, and of a network whose first weights know little."""
    subject.begin(studio)
    given: dict[str, object] = {"epochs": 8, "retrain_after": 4, "quiet_seconds": 0.0}
    if subject.tag == "Text":
        encoder = tiny_encoder.write(tmp_path / "encoder", "bytes")
        given |= {"encoder": str(encoder), "batch_size": 16, "learning_rate": 0.01}
    else:
        given |= {"backbone": "test_resnet", "image_size": 32, "weights": str(scattered.weights(tmp_path))}
    made = make_hub(endpoint=f"fake://?classes={','.join(subject.classes)}", **given)
    yield from of_this_process(made, monkeypatch)


def run(hub: Hub) -> RunRecord:
    jobs.retrain(str(hub.project(7)), "4 changed labels", False)
    found = hub.runs(hub.project(7)).latest()
    assert found is not None
    return found


def test_a_last_layer_follows_a_finetune_and_a_head_follows_a_rollback(
    loop: Hub, studio: StudioApi, subject: Subject
) -> None:
    project, first = loop.project(7), subject.first
    subject.label(studio, 1, first)
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

    subject.label(studio, first + 1, first + MORE)
    found = run(loop)
    assert (found.state, found.recipe, found.version) == ("promoted", "last-layer", "v3"), found.verdict
    assert found.metrics["network"] == "v2"
    assert "the test items decide alone: this version (last-layer) is not trained anew" in found.verdict
    assert "the last layer is learned on the network of v2" in found.metrics["notes"]
    bundle = loop.versions(project).fetch_bundle("v3", loop.settings.directory / "elsewhere")
    info = check_bundle(bundle)
    assert isinstance(info, ClassesInfo)
    assert info.features == taken.backbone
    waiting = [one for one in studio.predictions if one["model_version"] == "v3"]
    assert len(waiting) == len(studio.tasks) - first - MORE
    assert not endpoint.asked, "all is answered by features at hand"
    # What is served answers as features did, which are rounded.
    answers = open_engine(bundle, "onnx").predict([subject.shown[one["task"] - 1][0] for one in waiting], "v3")
    for answer, one in zip(answers, waiting, strict=True):
        assert isinstance(answer, Output)
        assert answer.label == one["result"][0]["value"]["choices"][0]
        assert answer.score == pytest.approx(one["score"], abs=0.01)
    assert "last layer on the network of v2" in "\n".join(standing(project_status(loop, project)))

    # The next one is on the same network, which it finds in the bundle of the last.
    subject.label(studio, first + MORE + 1, first + 2 * MORE)
    again = run(loop)
    assert (again.recipe, again.metrics["network"]) == ("last-layer", "v2")
    assert jobs.features(str(project)) == "0 tasks looked at"

    pointer = loop.pointer(project)
    pointer.promote("v1", pointer.take_fence(), Reason("person"))
    subject.label(studio, first + 2 * MORE + 1, first + 3 * MORE)
    assert run(loop).recipe == "head"
