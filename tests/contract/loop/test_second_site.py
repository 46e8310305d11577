"""A second tool goes once round: what its people say, a run, predictions brought, the version announced.

Nothing outside ``support.notes`` knows of it; the loop has no word of Label Studio here.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import labelloop
from labelloop.data.site_events import LabelsChanged, TasksCreated, TrainingRequested
from labelloop.data.split import splits
from labelloop.errors import NoSuchProject, NotEnoughLabels
from labelloop.kinds import base
from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.prelabel import prelabel
from labelloop.loop.project_endpoint import extra_params
from labelloop.loop.project_labels import restore_labels
from labelloop.loop.project_registry import confirmed_project
from labelloop.loop.retrain import retrain
from labelloop.loop.serving import announced_version
from labelloop.loop.sweep import sweep, sweep_project
from labelloop.models.backup import back_up, restore
from labelloop.models.file_store import FileStore
from labelloop.models.runs import RunRecord
from labelloop.types import ProjectKey
from support import numbers_kind
from support.inference import inference
from support.notes import Note, NotesSite, NotesTool
from support.number_tasks import label_of, number_of

from .test_retrain import Quiet
from .test_second_kind import SERVE

pytestmark = pytest.mark.train


@pytest.fixture
def pad() -> NotesSite:
    """Eighty numbers, the first sixty of them called low or high; runs of an earlier release were captured of these."""
    notes = {number: Note(number_of(number, parts=100)) for number in range(1, 81)}
    for number in range(1, 61):
        notes[number].said.append(label_of(number))
    return NotesSite(notes)


@pytest.fixture
def notes_hub(hub: Hub, pad: NotesSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub of the tool, and an inference server of its store."""
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})
    store, tests = (tmp_path / "store").as_uri(), Path(numbers_kind.__file__).parents[1]
    paths = os.pathsep.join((str(Path(labelloop.__file__).parents[1]), str(tests)))
    with inference(tmp_path / "serve", script=SERVE, LABELLOOP_STORE=store, PYTHONPATH=paths) as server:
        settings = replace(hub.settings, endpoint=server.address, store=store, min_labels=4)
        made = Hub(settings, NotesTool(pad))
        yield made
        made.redis.close()
        made.media.close()


def train(hub: Hub, project: ProjectKey) -> RunRecord:
    with Lease(hub, project) as lease:
        return retrain(hub, project, "test", ProgressReporter(hub, project, lease))


STAGES = {"train", "publish", "promote", "flip"}
"""Stages of a run in which its store is copied."""


def predicted(pad: NotesSite, version: str) -> dict[int, str]:
    return {number: note.predicted[version] for number, note in pad.notes.items() if version in note.predicted}


def test_a_second_site_goes_once_round(notes_hub: Hub, pad: NotesSite) -> None:
    project, _ = confirmed_project(notes_hub, 1)
    # Two of three decide, and one who contradicts the only other leaves no truth.
    pad.notes[1].said += ["high", "low"]
    pad.notes[2].said.append("low")
    record = train(notes_hub, project)

    assert (record.state, record.version, record.kind) == ("promoted", "v1", "numbers")
    manifest = notes_hub.store.read(f"{project}/manifests/{record.manifest}.jsonl").content
    assert b'{"confirmed":true,"labels":["low"],"task":1,"text":"1.01"}' in manifest
    assert b'"left_out":"its annotators disagree: 1 each say \'high\', \'low\'","task":2' in manifest
    assert predicted(pad, "v1") == {number: label_of(number) for number in range(61, 81)}
    assert pad.version == announced_version(notes_hub, project) == "v1"

    # What comes later is found by the sweep alone, and predicted for.
    pad.notes[81] = Note("8.5")
    pad.notes[82] = Note("")
    assert "nothing" in sweep_project(notes_hub, project, scan_now=True)
    assert "unpredicted" in notes_hub.state(project).notes()
    done = prelabel(notes_hub, project, "v1", Quiet())
    assert (done.predicted, done.left_out, done.reasons) == (1, 1, ("an empty note",))
    assert pad.notes[81].predicted == {"v1": "high"}
    for number in range(61, 65):
        pad.notes[number].said.append(label_of(number))
    pad.version = "somebody's"
    sweep_project(notes_hub, project, scan_now=True)
    assert notes_hub.state(project).changes.pending().changed == 4
    assert pad.version == "v1"


def test_sides_that_it_names_are_kept_and_counted(notes_hub: Hub, pad: NotesSite) -> None:
    project, _ = confirmed_project(notes_hub, 1)
    for number, one in pad.notes.items():
        one.side = "train" if number <= 40 else "validation"
    with pytest.raises(NotEnoughLabels, match="no test number yet"):
        train(notes_hub, project)
    for number in range(51, 61):
        pad.notes[number].side = "test"
    record = train(notes_hub, project)
    labeled, _ = restore_labels(notes_hub, project, record.manifest, record.sides, Quiet())
    sides = splits(labeled.manifest, labeled.sides)
    assert {name: [item.task for item in part] for name, part in sides.items()} == {
        "train": [*range(1, 41)],
        "validation": [*range(41, 51)],
        "test": [*range(51, 61)],
    }
    # Other sides make another run of the same labels.
    pad.notes[40].side = "test"
    again = train(notes_hub, project)
    assert (again.manifest, again.key != record.key, again.sides != record.sides) == (record.manifest, True, True)


def test_what_it_tells_is_noted(notes_hub: Hub, pad: NotesSite) -> None:
    project, overview = confirmed_project(notes_hub, 1)
    pad.extra_params = {"threshold": 0.25}
    sweep_project(notes_hub, project)
    assert extra_params(notes_hub, project) == {"threshold": 0.25}
    told = {"project_id": 1, "created": overview.identity.created}
    note(notes_hub, LabelsChanged(annotation_ids=(4, 5), **told))  # type: ignore[arg-type]
    assert notes_hub.state(project).changes.pending().changed >= 2
    assert note(notes_hub, TasksCreated(task_ids=(1,), **told)) is None  # type: ignore[arg-type]
    assert note(notes_hub, TrainingRequested(**told))  # type: ignore[arg-type]


def test_a_project_that_it_does_not_have_is_left_alone(notes_hub: Hub) -> None:
    with pytest.raises(NoSuchProject, match="no 2"):
        confirmed_project(notes_hub, 2)
    assert sweep(notes_hub, [notes_hub.project(2)]) == {"notes/2": "failed: there is one pad of notes, and no 2"}


@pytest.mark.slow
def test_a_copy_made_at_any_moment_of_a_run_goes_on_elsewhere(notes_hub: Hub, pad: NotesSite, tmp_path: Path) -> None:
    project, _ = confirmed_project(notes_hub, 1)
    assert train(notes_hub, project).version == "v1"
    for number in range(61, 71):
        pad.notes[number].said.append(label_of(number))
    places: dict[str, Path] = {}

    class CopiedAt(ProgressReporter):
        def stage(self, name: str) -> None:
            super().stage(name)
            if name not in STAGES:
                return
            places[name] = tmp_path / "backups" / f"{len(places)}-{name}"
            back_up(notes_hub.store, FileStore(places[name]), Quiet())

    with Lease(notes_hub, project) as lease:
        last = retrain(notes_hub, project, "test", CopiedAt(notes_hub, project, lease))
    pointers = notes_hub.pointer(project).read()
    assert (last.state, pointers.champion, pointers.announced) == ("promoted", "v2", "v2")
    assert {*places} == STAGES
    for stage, place in places.items():
        store = tmp_path / "restored" / stage
        restore(FileStore(place), FileStore(store), place.as_uri(), Quiet())
        settings = replace(notes_hub.settings, store=store.as_uri(), model_dir=str(tmp_path / "elsewhere" / stage))
        elsewhere = Hub(settings, NotesTool(pad))
        elsewhere.redis.flushall()  # nothing of it is needed
        record = train(elsewhere, project)
        assert (record.key, record.state, record.version) == (last.key, "promoted", "v2"), stage
        assert elsewhere.pointer(project).read().champion == "v2", stage
        assert elsewhere.versions(project).fetch_bundle("v2", tmp_path / "cache" / stage).is_dir()
        elsewhere.redis.close()
        elsewhere.media.close()
