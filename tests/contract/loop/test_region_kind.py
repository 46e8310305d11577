"""A kind whose truth is regions goes once round: spans from the site, a run, the gate, the store, predictions.

Nothing outside ``support.words_kind`` knows of it.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import labelloop
from labelloop.kinds import base
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.retrain import retrain
from labelloop.loop.watched import keep_predicted
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from support import words_kind
from support.inference import SCRIPT, inference
from support.reports import reported
from support.studio_api import StudioApi

from .conftest import MakeHub

WORDS = (
    '<View><Text name="text" value="$text"/><Labels name="who" toName="text">'
    '<Label value="person"/><Label value="place"/></Labels></View>'
)
SERVE = f'from labelloop.kinds.base import KINDS\nKINDS["{words_kind.NAME}"] = "support.words_kind"\n{SCRIPT}'
PEOPLE, PLACES = ("Ada", "Bob", "Cleo"), ("Rome", "Oslo")


@pytest.fixture(autouse=True)
def region_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be a kind of regions before all others, as a package of its own would be."""
    monkeypatch.setattr(base, "KINDS", {words_kind.NAME: words_kind.__name__, **base.KINDS})


@pytest.fixture
def hub(make_hub: MakeHub, studio: StudioApi, tmp_path: Path) -> Iterator[Hub]:
    """A hub whose project asks for words, sixty of its eighty texts annotated, and an inference server of its store."""
    # A blank more: what was read of a label config is remembered, and tests beside have the same one.
    studio.config = WORDS.replace("<View>", "<View >")
    studio.connect("labelloop")
    for number in range(1, 81):
        studio.tasks[number] = {"id": number, "data": {"text": text(number)}, "annotations": []}
    for number in range(1, 61):
        annotate(studio, number, *spans(number))
    store, tests = (tmp_path / "store").as_uri(), Path(words_kind.__file__).parents[1]
    paths = os.pathsep.join((str(Path(labelloop.__file__).parents[1]), str(tests)))
    with inference(tmp_path / "serve", script=SERVE, LABELLOOP_STORE=store, PYTHONPATH=paths) as server:
        yield make_hub(endpoint=server.address, store=store)


def text(number: int) -> str:
    """Give a text; one in seven names nobody."""
    if number % 7 == 0:
        return f"nothing happened on day {number}"
    return f"\N{WAVING HAND SIGN} {PEOPLE[number % 3]} was in {PLACES[number % 2]} on day {number}"


def spans(number: int) -> list[dict[str, Any]]:
    """Give what is true of a text, as Label Studio has it."""
    said = text(number)
    words = [("person", name) for name in PEOPLE] + [("place", name) for name in PLACES]
    return [
        {"start": said.index(name), "end": said.index(name) + len(name), "labels": [label]}
        for label, name in words
        if name in said
    ]


def annotate(studio: StudioApi, number: int, *values: dict[str, Any]) -> None:
    """Submit an annotation with these spans."""
    result = [{"from_name": "who", "to_name": "text", "type": "labels", "value": value} for value in values]
    studio.annotate(number, "", result=result)


def train(hub: Hub) -> RunRecord:
    project = hub.project(7)
    with Lease(hub, project) as lease:
        return retrain(hub, project, "test", ProgressReporter(hub, project, lease))


def test_a_kind_of_regions_goes_once_round(hub: Hub, studio: StudioApi) -> None:
    # Two against one: what a third annotator draws beside, or leaves out, does not count.
    annotate(studio, 1, *spans(1))
    annotate(studio, 1, {"start": 0, "end": 1, "labels": ["person"]})

    record, project = train(hub), hub.project(7)

    assert (record.state, record.version, record.kind) == ("promoted", "v1", words_kind.NAME)
    assert record.verdict.startswith("v1 becomes the first champion: span F1 1.000 on ")
    version = Versions(hub.store, project).get("v1")
    assert version.metrics["test"]["main"]["name"] == "span F1"
    assert version.verdict in reported(hub, project)
    first = json.loads(hub.store.read(f"{project}/manifests/{record.manifest}.jsonl").content.splitlines()[1])
    assert (first["task"], first["confirmed"]) == (1, True)
    assert first["result"] == [{"label": "person", "span": [2, 5]}, {"label": "place", "span": [13, 17]}]

    # Whoever waits is pre-annotated by the served version; a text without names gets a prediction that says so.
    assert ChampionPointer(hub.store, project).read().announced == "v1"
    brought = {one["task"]: [region["value"] for region in one["result"]] for one in studio.predictions}
    assert sorted(brought) == list(range(61, 81))
    for number, values in brought.items():
        found = sorted((value["start"], value["end"], value["labels"]) for value in values)
        assert found == sorted((value["start"], value["end"], value["labels"]) for value in spans(number))

    # What is predicted is watched for drift by the surest region of each label.
    keep_predicted(hub)
    watched = {one.task: set(one.scores) for one in hub.state(project).window.read()}
    assert watched == {number: {label for one in spans(number) for label in one["labels"]} for number in brought}

    # More labels lead to another run, which is judged by the one before.
    for number in range(61, 81):
        annotate(studio, number, *spans(number))
    later = train(hub)
    assert (later.version, later.state) == ("v2", "promoted")
    assert "v2 replaces v1: span F1 1.000" in later.verdict
    assert later.metrics["gate"]["regions"]["champion"]["missed"] == 0
