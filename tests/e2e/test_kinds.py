"""Every kind that is learned, once round with a real Label Studio: labels, a version, predictions, corrections."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from labelloop.demo.examples import Examples
from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.layouts import LAYOUTS, label_config
from labelloop.demo.pictures import canvases
from labelloop.demo.texts import documentation, notes
from labelloop.loop.status import ProjectStatus
from labelloop.models.versions import Versions
from labelloop.types import Json
from support.loop_machine import LoopMachine, Project, loop_settings

pytestmark = [pytest.mark.studio, pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(900)]

FIRST, SHOWN, MORE = 60, 90, 15

KINDS: dict[str, Callable[[Path], Examples]] = {
    "text": lambda _: documentation(1, SHOWN),
    "spans": lambda _: notes(1, SHOWN),
    "boxes": lambda folder: canvases(folder, 1, SHOWN),
}

every_kind = pytest.mark.parametrize("kind", list(KINDS))


@pytest.fixture(scope="module")
def machine(label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopMachine]:
    """One LabelLoop for all projects here: it trains each by what its label config asks for."""
    folder = tmp_path_factory.mktemp("kinds")
    settings = loop_settings(label_studio, folder, min_labels=FIRST, retrain_after=MORE, image_size=96)
    with LoopMachine(label_studio, settings, folder / "labelloop.log") as made:
        yield made


@pytest.fixture
def examples(kind: str, tmp_path: Path) -> Examples:
    """Texts, notes or canvases, whose truth is known."""
    return KINDS[kind](tmp_path)


def announced(version: str) -> Callable[[ProjectStatus], bool]:
    return lambda status: status.announced == version and status.step is None


def settled_after(key: str) -> Callable[[ProjectStatus], bool]:
    def condition(status: ProjectStatus) -> bool:
        run = status.run or {}
        ended = run.get("state") in ("promoted", "rejected") and run.get("key") != key
        return ended and status.step is None and status.champion == status.announced

    return condition


def begin(machine: LoopMachine, examples: Examples, title: str) -> Project:
    """Make a project and label the first tasks; a kind may need a few more until its first version is any good."""
    project = machine.project(examples, title)
    project.annotator.annotate(project.tasks[:FIRST])
    return project


def predicted(machine: LoopMachine, project: Project, version: str) -> dict[int, Json]:
    """The predictions of a version, by task."""
    found = machine.client.tasks(project.key.id, fields=("id", "predictions"))
    return {task["id"]: one for task in found for one in task["predictions"] if one["model_version"] == version}


def check_results(examples: Examples, project: Project, predictions: dict[int, Json], labels: set[str]) -> None:
    """Whatever is predicted is what annotators could have said: a known label, within its text or picture."""
    layout = LAYOUTS[examples.kind]
    for task, prediction in predictions.items():
        assert 0 <= prediction["score"] <= 1
        for region in prediction["result"]:
            value = region["value"]
            assert (region["from_name"], region["to_name"]) == (layout.name, layout.key)
            assert region["type"] == layout.control.lower()
            assert set(value[region["type"]]) <= labels
            if "start" in value:
                text = project.answers[task].text
                assert text[value["start"] : value["end"]] == value["text"]
            if "width" in value:
                assert 0 <= value["x"] <= value["x"] + value["width"] <= 100.001
                assert 0 <= value["y"] <= value["y"] + value["height"] <= 100.001


@every_kind
def test_labels_lead_to_predictions_and_corrections_to_another_run(
    machine: LoopMachine, examples: Examples, kind: str
) -> None:
    project = begin(machine, examples, f"{kind}: webhooks")
    status = machine.wait_for(project, announced("v1"), "webhooks lead to v1", 400)
    assert status.run is not None
    assert status.run["verdict"].startswith("v1 becomes the first champion: ")
    record = Versions(machine.hub.store, project.key).get("v1")
    assert record.metrics["test"]["items"] > 0
    waiting = set(project.tasks[FIRST:])
    predictions = predicted(machine, project, "v1")
    assert set(predictions) == waiting
    check_results(examples, project, predictions, set(examples.classes))
    assert any(one["result"] for one in predictions.values())

    met = project.annotator.annotate_next(MORE, "v1")
    assert met.served == MORE
    status = machine.wait_for(project, settled_after(status.run["key"]), "corrections lead to a second run", 400)
    assert status.run is not None
    assert status.run["verdict"].startswith(("v2 replaces v1: ", "v2 is rejected: "))


@every_kind
def test_without_any_webhook_the_sweep_leads_to_the_same_also_when_labels_come_and_go(
    machine: LoopMachine, examples: Examples, kind: str
) -> None:
    project = machine.project(examples, f"{kind}: sweep")
    for webhook in machine.client.webhooks(project.key.id):
        machine.client.delete_webhook(webhook)
    project.annotator.annotate(project.tasks[:FIRST])
    machine.wait_for(project, announced("v1"), "the sweep leads to v1", 400)
    # A task that was labeled while the first labels' order was imported may stay uncounted: it counts as waiting.
    assert set(predicted(machine, project, "v1")) >= set(project.tasks[FIRST:])

    used = Counter(label for one in project.answers.values() for label in one.labels)
    # The rarest: what has this label alone is learned from no more, and there must be enough that is.
    gone = min(examples.classes, key=used.__getitem__)
    kept = [name for name in examples.classes if name != gone]
    config = label_config(replace(examples, classes=(*kept, "something new")))
    machine.client.api.patch(f"/api/projects/{project.key.id}", {"label_config": config})
    without = [task for task in project.tasks[FIRST:] if gone not in project.answers[task].labels]
    project.annotator.annotate(without[:MORE])
    status = machine.wait_for(
        project, lambda now: (now.run or {}).get("version") == "v2" and now.step is None, "v2 is made", 400
    )
    assert gone not in Versions(machine.hub.store, project.key).get("v2").metrics["test"]["classes"]
    if status.announced == "v2":
        check_results(examples, project, predicted(machine, project, "v2"), {*kept, "something new"})


@every_kind
def test_a_run_goes_on_when_its_worker_was_killed(machine: LoopMachine, examples: Examples, kind: str) -> None:
    project = begin(machine, examples, f"{kind}: killed")
    machine.wait_for(project, lambda status: status.step is not None, "a run begins")
    worker = machine.worker()
    children = worker.children(recursive=True)
    worker.kill()
    _gone, alive = psutil.wait_procs([worker, *children], timeout=20)
    assert not alive, "a job outlived its worker"

    machine.wait_for(project, announced("v1"), "another worker takes it up", 400)
    assert Versions(machine.hub.store, project.key).names() == ["v1"]
    assert set(predicted(machine, project, "v1")) == set(project.tasks[FIRST:])
