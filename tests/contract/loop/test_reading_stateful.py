"""Whatever people do: labels that are read by what has changed are those that all of them would be.

The machine is that of the intake, with a run that reads what has changed, and a look at everything beside it.
"""

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from labelloop.data.manifest import Manifest
from labelloop.errors import MediaError
from labelloop.loop.project_labels import keep_manifest, labeling_of, read_labels
from labelloop.loop.reading import Reading, keep_reading, read_current
from labelloop.loop.redis_server import RedisServer
from labelloop.models.runs import RunRecord
from support.studio_api import CONFIG, running_studio

from .test_intake_stateful import ANY, LABELS, PICTURE, Intake, check

ANOTHER = CONFIG.replace('<Choice value="dog"/>', '<Choice value="dog"/><Choice value="cow"/>')


class Readings(Intake):
    """Runs read what has changed since the last one."""

    scan_seconds = 3600.0
    ways: Counter[str]

    @rule(label=LABELS)
    def bring_with_a_late_picture(self, label: str) -> None:
        self.webhooks += self.people.bring(label)
        del self.studio.pictures[f"/data/upload/7/{self.people.tasks}.png"]

    @rule()
    def late_pictures_come(self) -> None:
        self.studio.pictures |= {task["data"]["image"]: PICTURE for task in self.studio.tasks.values()}

    @precondition(lambda self: len(self.studio.tasks) > 2)
    @rule(task=ANY, other=ANY)
    def a_duplicate_is_removed(self, task: int, other: int) -> None:
        gone, kept = self._task(task), self._task(other)
        if gone != kept:
            self.webhooks += self.people.join(gone, kept)

    @rule()
    def the_label_config_changes(self) -> None:
        self.studio.config = CONFIG if self.studio.config == ANOTHER else ANOTHER

    @rule(later=st.booleans())
    def a_run_begins(self, later: bool) -> None:  # noqa: ARG002 - a rule of the machine
        project, began = self.hub.project(7), time.time()
        labeling = labeling_of(self.hub, project)
        self.studio.listings.clear()
        try:
            labeled, reading = read_current(self.hub, project, labeling, lambda *_: None)
        except MediaError:
            with pytest.raises(MediaError):
                read_labels(self.hub, project, labeling, lambda *_: None)
            return
        self.ways["whole" if {"id", "annotations_ids"} in self.studio.listings else "changed"] += 1
        manifest, whole = labeled.manifest, read_labels(self.hub, project, labeling, lambda *_: None)
        assert (manifest.to_jsonl(), labeled.missing) == (whole.manifest.to_jsonl(), whole.missing)
        assert manifest.hash == whole.manifest.hash
        self._keep(manifest, reading, began)

    @rule(quiet=st.integers(0, 5), labels=st.lists(LABELS, min_size=1, max_size=3))
    def a_run_begins_while_people_go_on(self, quiet: int, labels: list[str]) -> None:
        """What they do meanwhile may be in the manifest or not; what was gone before is not."""
        project, began = self.hub.project(7), time.time()
        known = set(self.studio.tasks)
        acts = [partial(self._meanwhile, label) for label in labels]
        self.studio.between = [*([int] * quiet), *acts]
        try:
            labeled, reading = read_current(self.hub, project, labeling_of(self.hub, project), lambda *_: None)
        except MediaError:
            return
        finally:
            self.studio.between = []
        assert {item.task for item in labeled.manifest.items} <= known | {*self.studio.tasks}
        self._keep(labeled.manifest, reading, began)

    def _meanwhile(self, label: str) -> None:
        self.bring(label)
        self.people.submit(self._task(0), label)

    def _keep(self, manifest: Manifest, reading: Reading | None, began: float) -> None:
        project = self.hub.project(7)
        keep_manifest(self.hub, project, manifest)
        keep_reading(self.hub, project, reading)
        self.runs += 1
        runs = self.hub.runs(project)
        runs.save(RunRecord(f"k{self.runs}", str(project), manifest.hash, "s", self.runs, state="promoted"))
        self.hub.state(project).changes.settle(began)

    def teardown(self) -> None:
        if hasattr(self, "hub"):
            try:
                self.a_run_begins(later=False)
                self.people.submit(self._task(0), "cat")
                self.a_run_begins(later=False)
            finally:
                self.studio.config = CONFIG
                self._close()


@pytest.fixture
def readings(redis_server: RedisServer, tmp_path: Path) -> Iterator[type[Readings]]:
    with running_studio() as studio:
        own = {"server": redis_server, "folder": tmp_path, "studio": studio, "ways": Counter()}
        yield type("ReadingsHere", (Readings,), own)


def test_labels_read_by_what_has_changed_are_those_of_that_moment(readings: type[Readings]) -> None:
    check(readings, 12, 25)
    assert readings.ways["changed"] > 0
    assert readings.ways["whole"] > 0


@pytest.mark.slow
def test_labels_read_by_what_has_changed_are_those_of_that_moment_in_very_many_orders(
    readings: type[Readings],
) -> None:
    check(readings, 40, 40)
    assert readings.ways["changed"] > 20
