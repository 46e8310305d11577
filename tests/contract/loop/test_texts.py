"""Classes of texts go once round: labels, a run, the gate, the store, an inference server, predictions."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.predict import predict_tasks
from labelloop.loop.prelabel import Prelabeled, prelabel
from labelloop.loop.project_labels import labeling_of, read_labels
from labelloop.loop.retrain import retrain
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from labelloop.types import Json
from support.inference import inference
from support.label_configs import interface
from support.reports import reported
from support.studio_api import StudioApi
from support.waiting import wait_until

from .conftest import MakeHub

TOPIC = (
    '<View><Text name="text" value="$text"/><Choices name="topic" toName="text" choice="multiple">'
    '<Choice value="card"/><Choice value="transfer"/><Choice value="spare"/></Choices></View>'
)
SINGLE = TOPIC.replace(' choice="multiple"', "")
CARD = ("my card has not arrived", "the card was swallowed", "where is my new card", "card payment declined")
TRANSFER = ("the transfer failed", "transfer to another account", "how long does a transfer take", "cancel my transfer")


@pytest.fixture
def make(make_hub: MakeHub, studio: StudioApi, tmp_path: Path) -> Iterator[Hub]:
    """A hub whose project asks what texts are about, 64 of its 84 annotated, and an inference server of its store."""
    studio.connect("labelloop")
    for number in range(1, 85):
        studio.tasks[number] = {"id": number, "data": {"text": text(number)}, "annotations": []}
    store = (tmp_path / "store").as_uri()
    with inference(tmp_path / "serve", LABELLOOP_STORE=store) as server:
        yield make_hub(endpoint=server.address, store=store)


def topics(number: int) -> tuple[str, ...]:
    """Give what a text is about: one of both, in turn."""
    return ("card",) if number % 2 else ("transfer",)


def both(number: int) -> tuple[str, ...]:
    """Give what a text is about where it may be several things: one, both, or none."""
    return ((), ("card",), ("transfer",), ("card", "transfer"))[number % 4]


def text(number: int, about: tuple[str, ...] | None = None) -> str:
    said = {"card": CARD, "transfer": TRANSFER}
    parts = [said[one][number // 4 % 4] for one in (topics(number) if about is None else about)]
    return f"{number}: {' and '.join(parts) or 'good morning to you'} \N{SLIGHTLY SMILING FACE}"


def annotate(studio: StudioApi, number: int, *choices: str, **more: Any) -> None:
    value = {"from_name": "topic", "to_name": "text", "type": "choices", "value": {"choices": list(choices)}}
    studio.annotate(number, "", result=[value] if choices else [], **more)


def train(hub: Hub) -> RunRecord:
    project = hub.project(7)
    with Lease(hub, project) as lease:
        return retrain(hub, project, "test", ProgressReporter(hub, project, lease))


class Watching(ProgressReporter):
    """A reporter that publishes nothing before Label Studio has listed what waits, and notes what is asked after."""

    studio: StudioApi
    asked = 0

    def stage(self, name: str) -> None:
        if name == "publish":
            wait_until(lambda: {"id", "total_annotations"} in self.studio.listings, "a list of what waits")
        super().stage(name)
        if name == "prelabel" and not self.asked:
            self.asked = len(self.studio.asked)


def shown(studio: StudioApi) -> dict[int, set[str]]:
    return {
        one["task"]: {choice for region in one["result"] for choice in region["value"]["choices"]}
        for one in studio.predictions
    }


def by_task(prediction: Json) -> int:
    return int(prediction["task"])


def said(found: Sequence[Json | list[Json]]) -> list[tuple[float, list[str]]]:
    """The scores of predictions, in their order, and the classes that they choose."""
    given = (one for one in found if isinstance(one, dict))
    return [(one["score"], one["result"][0]["value"]["choices"]) for one in given]


def test_classes_of_texts_go_once_round(make: Hub, make_hub: MakeHub, studio: StudioApi) -> None:
    hub, studio.config = make, SINGLE
    for number in range(1, 65):
        annotate(studio, number, *topics(number))
    annotate(studio, 2)  # nothing is chosen: no truth where one class is asked for
    studio.tasks[2]["annotations"] = studio.tasks[2]["annotations"][-1:]
    studio.tasks[90] = {"id": 90, "data": {"text": " \n"}, "annotations": []}
    annotate(studio, 90, "card")

    project = hub.project(7)
    with Lease(hub, project) as lease:
        reporter = Watching(hub, project, lease)
        reporter.studio = studio
        record = retrain(hub, project, "test", reporter)

    assert (record.state, record.version, record.recipe) == ("promoted", "v1", "head")
    imported = studio.asked.index("POST /api/projects/7/import/predictions")
    assert {*studio.asked[reporter.asked : imported]} == {"GET /api/projects/7/"}, "what waits is listed by then"
    assert record.kind == "text-classification"
    lines = hub.store.read(f"{project}/manifests/{record.manifest}.jsonl").content.decode().splitlines()
    assert json.loads(lines[1]) == {"task": 1, "text": text(1), "labels": ["card"]}
    left_out = {one["task"]: one["left_out"] for one in map(json.loads, lines[1:]) if "left_out" in one}
    assert left_out[90] == "it is an empty text"
    assert 2 in left_out
    assert Versions(hub.store, project).get("v1").metrics["test"]["accuracy"]["value"] == 1.0

    # The report explains it: words that spoke for a class, texts made worse, labels looked at.
    report = reported(hub, project)
    for section in ("explanations", "robustness", "label-errors", "calibration"):
        assert f'id="{section}"' in report
    assert "typing errors" in report
    assert '<mark class="right">card<small>+' in report

    # Whoever waits is pre-annotated by the served version.
    assert ChampionPointer(hub.store, project).read().announced == "v1"
    assert shown(studio) == {number: {*topics(number)} for number in range(65, 85)}
    assert all(0 < one["score"] <= 1 for one in studio.predictions)
    (asked,) = predict_tasks(hub, 7, interface(hub, SINGLE), [{"id": 99, "data": {"text": "WHERE is my new CARD?"}}])
    assert isinstance(asked, dict)
    assert asked["result"][0]["value"]["choices"] == ["card"]
    assert predict_tasks(hub, 7, interface(hub, SINGLE), [{"id": 99, "data": {"text": "\t"}}]) == [[]]

    # In bulk the worker answers itself, though the endpoint is away, and says what that says of one alone.
    before, studio.predictions = sorted(studio.predictions, key=by_task), []
    away = make_hub(endpoint="fake://?classes=card&script=down*", store=hub.settings.store)
    assert prelabel(away, project, "v1", lambda *_: None) == Prelabeled(20, 0)
    alone = make_hub(endpoint=hub.settings.endpoint, store=hub.settings.store)
    singly = predict_tasks(alone, 7, interface(alone, SINGLE), [studio.tasks[number] for number in range(65, 85)])
    for found in (sorted(studio.predictions, key=by_task), singly):
        assert [chosen for _, chosen in said(found)] == [chosen for _, chosen in said(before)]
        assert [score for score, _ in said(found)] == pytest.approx([score for score, _ in said(before)], abs=1e-4)

    # The same labels make the same run; more of them another one, which the gate judges by refits, too.
    assert train(hub).key == record.key
    for number in range(65, 85):
        annotate(studio, number, *topics(number))
    later = train(hub)
    assert (later.version, Versions(hub.store, project).get("v2").parent) == ("v2", "v1")
    assert later.metrics["gate"]["refits"]["items"] >= 40
    assert "refits that had not seen them have" in later.verdict


def test_several_classes_or_none_and_a_label_config_that_changes(make: Hub, studio: StudioApi) -> None:
    hub, studio.config = make, TOPIC
    for number in range(1, 85):
        studio.tasks[number]["data"]["text"] = text(number, both(number))
    for number in range(1, 65):
        annotate(studio, number, *both(number))
    annotate(studio, 65, was_cancelled=True)

    record, project = train(hub), hub.project(7)

    assert (record.state, record.version) == ("promoted", "v1")
    lines = hub.store.read(f"{project}/manifests/{record.manifest}.jsonl").content.decode().splitlines()
    assert json.loads(lines[4]) == {"task": 4, "text": text(4, ()), "labels": []}
    assert shown(studio) == {number: {*both(number)} for number in range(65, 85)}

    # One class renamed and annotated anew, one removed: the next version knows the label config as it is now.
    studio.config = TOPIC.replace('value="card"', 'value="bank card"').replace('<Choice value="spare"/>', "")
    for number in range(1, 81):
        studio.tasks[number]["annotations"].clear()
        annotate(studio, number, *("bank card" if one == "card" else one for one in both(number)))
    later = train(hub)
    assert later.version == "v2"
    bundle = Versions(hub.store, project).fetch_bundle("v2", hub.settings.directory / "cache" / "bundles")
    assert check_bundle(bundle).classes == ("bank card", "transfer")
    assert later.metrics["test"]["accuracy"]["value"] > 0.9


def test_a_text_in_a_file_is_learned_as_annotators_see_it(make_hub: MakeHub, studio: StudioApi) -> None:
    hub, project = make_hub(), make_hub().project(7)
    studio.config = (
        '<View><Labels name="who" toName="text"><Label value="person"/></Labels>'
        '<Text name="text" value="$text" valueType="url"/></View>'
    )
    # Browsers show no byte order mark, so annotators' spans do not count it.
    studio.tasks[1] = {"id": 1, "data": {"text": "data:text/plain,%EF%BB%BFAda is here"}, "annotations": []}
    said = {"start": 0, "end": 3, "labels": ["person"]}
    studio.annotate(1, "", result=[{"from_name": "who", "to_name": "text", "type": "labels", "value": said}])
    (item,) = read_labels(hub, project, labeling_of(hub, project), lambda *_: None).manifest.items
    assert (item.text, json.loads(item.result)) == ("Ada is here", [{"label": "person", "span": [0, 3]}])
