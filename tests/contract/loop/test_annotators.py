"""What each annotator did, as a command tells it from Label Studio's answers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from labelloop.cli.main import main
from labelloop.data.manifest import Manifest
from labelloop.loop.hub import Hub
from labelloop.loop.order import Order, packed
from labelloop.loop.project_registry import remember_project
from labelloop.models.records import to_bytes
from labelloop.models.runs import DUE, RunRecord, manifest_path
from labelloop.models.versions import VersionRecord
from labelloop.types import Item
from support.file_bundle import write_bundle
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process

PEOPLE = [{"id": 1, "email": "ada@example.com"}, {"id": 2, "email": ""}]


@pytest.fixture
def loop(make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of the commands, of a project whose five tasks have predictions that say cat; of task 5 it is withheld.

    Ada keeps two of two, and her third was begun from nothing; user 2 corrects one, and had no prediction for task 5.
    """
    made = make_hub()
    remember_project(made, made.project(7), "http://labelloop-1:9090")
    studio.add_tasks(5)
    studio.pages["/api/users"] = (200, json.dumps(PEOPLE).encode())
    for task in range(1, 6):
        said = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}
        studio.predictions.append(
            {"id": task, "task": task, "model_version": "v1", "result": [] if task == 5 else [said], "score": 0.9}
        )
    order = Order("v1", served=packed([5]), random=packed([5]), control=packed([5]), share=0.1)
    made.store.write(f"{made.project(7)}/order/v1.json", to_bytes(order))
    usual: dict[str, Any] = {"completed_by": 1, "lead_time": 2.0}
    studio.annotate(1, "cat", parent_prediction=1, **usual)
    studio.annotate(2, "cat", parent_prediction=2, **usual | {"lead_time": 5.0})
    studio.annotate(3, "dog", **usual | {"lead_time": None})
    studio.annotate(4, "dog", parent_prediction=4, completed_by=2, lead_time=9.0)
    studio.annotate(5, "dog", parent_prediction=5, completed_by=2, lead_time=11.0)
    yield from of_this_process(made, monkeypatch)


def annotators(*more: str) -> Result:
    return CliRunner().invoke(main, ["annotators", "--project", "7", *more])


def report_on(hub: Hub, **found: object) -> None:
    """Leave a champion whose report examined tasks 1 to 4, and ``found`` something."""
    project = hub.project(7)
    items = tuple(Item(task, f"{task}" * 64, ("cat",)) for task in range(1, 5))
    manifest = Manifest(project, "single", ("cat", "dog"), items, ())
    manifest.write(hub.settings.directory / "manifest.jsonl")
    hub.store.write(manifest_path(project, manifest.hash), (hub.settings.directory / "manifest.jsonl").read_bytes())
    hub.versions(project).claim("k")
    record = VersionRecord("v1", "k", "head", None, "2026-11-01T00:00:00+00:00", True, "good")
    hub.versions(project).publish("v1", write_bundle(hub.settings.directory / "made"), record)
    pointer = hub.pointer(project)
    pointer.promote("v1", pointer.take_fence())
    hub.runs(project).save(RunRecord("k", str(project), manifest.hash, "s", 0, state="promoted", metrics=found))


def test_annotators_are_told_apart_by_what_they_keep_and_how_long_they_take(loop: Hub) -> None:
    told = annotators()
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines() == [
        "ada@example.com: 3 annotations",
        "  predictions kept: 2 of 2 (100%, 95 % interval 34% to 100%)",
        "  seconds, the median of 2: 3.5",
        "2: 2 annotations",
        "  predictions kept: 0 of 1 (0%, 95 % interval 0% to 79%)",
        "  seconds, the median of 2: 10.0",
        "suspected labels: not known before there is a champion and its report",
    ]


def test_labels_that_the_report_suspects_are_counted(loop: Hub) -> None:
    report_on(loop, label_errors=[2, 4])
    found = json.loads(annotators("--json").stdout)
    assert found["without_suspected"] == ""
    assert [
        (one["annotator"], one["suspected"]["examined"], one["suspected"]["found"]) for one in found["annotators"]
    ] == [
        ("ada@example.com", 3, 1),
        ("2", 1, 1),
    ]
    assert "labels that are probably wrong: 1 of 3 (33%" in annotators().stdout


def test_where_no_report_examined_any_that_is_said(loop: Hub) -> None:
    report_on(loop)
    assert "suspected labels: not known: the report of v1 examined none" in annotators().stdout
    assert "probably wrong" not in annotators().stdout
    project = loop.project(7)
    loop.runs(project).amend(loop.versions(project).get("v1").run, lambda run: replace(run, report=DUE))
    assert "suspected labels: not known: the report of v1 is being written" in annotators().stdout


def test_nobody_is_told_apart_where_the_setting_is_off(loop: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_ANNOTATORS", "false")
    told = annotators()
    assert told.exit_code == 1
    assert "LABELLOOP_ANNOTATORS is off" in told.output
    assert "ada" not in told.output


def test_of_annotations_without_a_known_annotator_that_is_said(loop: Hub, studio: StudioApi) -> None:
    for task in studio.tasks.values():
        task["annotations"][0]["completed_by"] = None if task["id"] == 1 else 3
    assert [one["annotator"] for one in json.loads(annotators("--json").stdout)["annotators"]] == [
        "user 3",
        "not known",
    ]
