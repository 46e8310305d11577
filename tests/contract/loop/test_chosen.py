"""Which test items are told apart, for annotators got them because of their scores."""

import hashlib
from pathlib import Path

import pytest

from labelloop.data.manifest import Manifest
from labelloop.loop.chosen import with_chosen
from labelloop.loop.hub import Hub
from labelloop.loop.order import Place, note_places
from labelloop.loop.project_labels import keep_manifest
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord
from labelloop.models.versions import VersionRecord
from labelloop.run.context import Labeled
from labelloop.types import Item, ProjectKey, side
from support.file_bundle import write_bundle

from .conftest import PROJECT


def content(task: int) -> str:
    return hashlib.sha256(str(task).encode()).hexdigest()


TEST = [task for task in range(1, 200) if side(content(task)) == "test"]


def labeled(tasks: range) -> Labeled:
    return Labeled(Manifest.of(PROJECT, "single", ("a", "b"), [Item(task, content(task), ("a",)) for task in tasks]))


def announce(hub: Hub, folder: Path, version: str, manifest: Manifest) -> None:
    keep_manifest(hub, PROJECT, manifest)
    hub.runs(PROJECT).save(RunRecord(f"run-of-{version}", str(PROJECT), manifest.hash, "", 0, state="promoted"))
    bundle = write_bundle(folder / version)
    assert hub.versions(PROJECT).claim(f"run-of-{version}") == version
    hub.versions(PROJECT).publish(
        version, bundle, VersionRecord(version, f"run-of-{version}", "head", None, "", True, "")
    )
    pointer = ChampionPointer(hub.store, PROJECT)
    fence = pointer.take_fence()
    pointer.promote(version, fence)
    pointer.announce(version, fence)


@pytest.mark.parametrize("by_table", [True, False])
def test_in_an_older_project_they_are_those_that_no_table_has_served(hub: Hub, tmp_path: Path, by_table: bool) -> None:
    """What the first version learned from was chosen by nobody, and neither is what a table served at random."""
    if by_table:
        note_places(hub.store, PROJECT, "v1", [(199, Place(0.5, "random"))])
    announce(hub, tmp_path, "v1", labeled(range(1, 60)).manifest)
    announce(hub, tmp_path, "v2", labeled(range(1, 120)).manifest)
    note_places(hub.store, PROJECT, "v2", [(task, Place(0.5, "random")) for task in range(130, 200)])
    found = with_chosen(hub, PROJECT, labeled(range(1, 200))).chosen
    expected = {task for task in TEST if 60 <= task < 130}
    assert len(expected) > 3
    assert found == (frozenset() if by_table else expected), "since the first version there were tables"


def test_where_the_first_labels_are_damaged_runs_go_on_and_nothing_is_taken_for_random(
    hub: Hub, tmp_path: Path
) -> None:
    first = labeled(range(1, 60)).manifest
    announce(hub, tmp_path, "v1", first)
    (kept,) = tmp_path.glob(f"store/**/{first.hash}*")
    kept.write_text(kept.read_text()[:-80])
    assert with_chosen(hub, PROJECT, labeled(range(1, 100))).chosen == {task for task in TEST if task < 100}


def test_what_goes_by_reference_is_told_by_its_place(hub: Hub) -> None:
    note_places(hub.store, PROJECT, "v1", [(task, Place(0.5, "ordered")) for task in range(1, 100)])
    note_places(hub.store, PROJECT, "v1", [(task, Place(0.5, "random")) for task in range(100, 150)])
    found = with_chosen(hub, PROJECT, labeled(range(1, 200))).chosen
    assert found == {task for task in TEST if task < 100}


def test_without_versions_nothing_was_chosen(hub: Hub) -> None:
    assert with_chosen(hub, ProjectKey("localhost-8080", 7), labeled(range(1, 200))).chosen == frozenset()
