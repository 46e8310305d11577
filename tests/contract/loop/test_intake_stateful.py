"""Whatever people do, and whatever becomes of webhooks, Redis and the worker: no label is lost, and none invented.

After a sweep the changed labels are those that differ from the last manifest; a manifest that is read then is what
Label Studio exports.
"""

import io
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from PIL import Image

from labelloop.data.site_events import Ignored
from labelloop.loop.intake import note
from labelloop.loop.process import open_hub
from labelloop.loop.project_labels import keep_manifest, labeling_of, read_labels
from labelloop.loop.redis_server import RedisServer
from labelloop.loop.sweep import sweep_project
from labelloop.models.runs import RunRecord
from labelloop.settings import Settings
from labelloop.studio.webhook_events import event_of
from support.studio_api import StudioApi, running_studio
from support.studio_people import People, Webhook

LABELS = st.sampled_from(["cat", "dog"])
ANY = st.integers(0, 50)


def _picture() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "png")
    return content.getvalue()


PICTURE = _picture()


class Intake(RuleBasedStateMachine):
    """One project of six tasks, its people, and the loop beside it."""

    server: RedisServer
    folder: Path
    studio: StudioApi
    scan_seconds = 0.0

    @initialize()
    def begin(self) -> None:
        """Let nothing have happened yet."""
        usual = StudioApi()
        for name in ("tasks", "asked", "filters", "listings", "predictions", "backends", "ahead", "between"):
            setattr(self.studio, name, getattr(usual, name))
        self.studio.pictures = dict.fromkeys((f"/data/upload/7/{task}.png" for task in range(1, 7)), PICTURE)
        self.studio.add_tasks(6)
        self.people, self.webhooks, self.runs = People(self.studio), list[Webhook](), 0
        Intake.number += 1
        self.settings = Settings(
            model_dir=str(self.folder / str(Intake.number)),
            redis_url=self.server.url,
            label_studio_url=self.studio.url,
            label_studio_api_key="legacy",
            endpoint="fake://?classes=cat,dog",
            scan_seconds=self.scan_seconds,
            retrain_after=10_000,
            weights="none",
            first_labels=False,
        )
        self.hub = open_hub(self.settings)
        self.hub.redis.flushall()
        self.learned: dict[int, list[str]] = {}

    number = 0

    # What people do.

    @rule(task=ANY, label=LABELS, skipped=st.booleans())
    def submit(self, task: int, label: str, skipped: bool) -> None:
        self.webhooks += self.people.submit(self._task(task), label, skipped=skipped)

    @precondition(lambda self: self._annotated())
    @rule(which=ANY, label=LABELS)
    def edit(self, which: int, label: str) -> None:
        self.webhooks += self.people.edit(*self._annotation(which), label)

    @precondition(lambda self: self._annotated())
    @rule(which=ANY, skipped=st.booleans())
    def skip(self, which: int, skipped: bool) -> None:
        self.webhooks += self.people.skip(*self._annotation(which), skipped=skipped)

    @precondition(lambda self: self._annotated())
    @rule(which=ANY)
    def delete(self, which: int) -> None:
        self.webhooks += self.people.delete(*self._annotation(which))

    @rule(tasks=st.lists(ANY, min_size=1, max_size=3), label=LABELS)
    def make_in_bulk(self, tasks: list[int], label: str) -> None:
        self.webhooks += self.people.bulk(sorted({self._task(task) for task in tasks}), label)

    @rule(label=LABELS)
    def bring(self, label: str) -> None:
        self.webhooks += self.people.bring(label)

    @precondition(lambda self: len(self.studio.tasks) > 2)
    @rule(task=ANY)
    def remove(self, task: int) -> None:
        self.webhooks += self.people.remove(self._task(task))

    # What becomes of it on the way.

    @precondition(lambda self: self.webhooks)
    @rule(which=ANY, again=st.booleans())
    def a_webhook_comes(self, which: int, again: bool) -> None:
        """Any of them, perhaps late, perhaps once more later."""
        at = which % len(self.webhooks)
        event = event_of(*self.webhooks[at])
        if not isinstance(event, Ignored):
            note(self.hub, event)
        if not again:
            del self.webhooks[at]

    @precondition(lambda self: self.webhooks)
    @rule()
    def all_webhooks_are_lost(self) -> None:
        self.webhooks.clear()

    @rule(seconds=st.sampled_from([-7200, -30, 200, 4000]))
    def time_passes_there(self, seconds: int) -> None:
        """Label Studio's clock is its own, and may be turned back."""
        self.studio.ahead += seconds

    @rule()
    def redis_is_wiped(self) -> None:
        self.hub.redis.flushall()

    @rule()
    def the_worker_starts_anew(self) -> None:
        self._close()
        self.hub = open_hub(self.settings)

    # What the loop does.

    @rule()
    def a_sweep_is_made(self) -> None:
        sweep_project(self.hub, self.hub.project(7))

    @rule(later=st.booleans())
    def a_run_begins(self, later: bool) -> None:
        """It reads the labels, keeps its manifest and record, and settles what called for it, perhaps a sweep later."""
        project, began = self.hub.project(7), time.time()
        state, labeling = self.hub.state(project), labeling_of(self.hub, project)
        manifest = read_labels(self.hub, project, labeling, lambda *_: None).manifest
        self.learned = self.people.export()
        self.runs += 1
        state.see(replace(state.seen(), scanned=began))
        state.note_read(manifest.hash, began)
        keep_manifest(self.hub, project, manifest)
        runs = self.hub.runs(project)
        runs.save(RunRecord(f"k{self.runs}", str(project), manifest.hash, "s", self.runs, state="promoted"))
        if later:
            sweep_project(self.hub, project)
        state.changes.settle(began)
        # The manifest is what Label Studio exports, where most of its annotators agree.
        held = {item.task: (*item.labels, item.confirmed) for item in manifest.items}
        assert held == {task: found for task in self.learned if (found := _truth(self.learned, task))}

    def teardown(self) -> None:
        """Give the loop time: two looks that do not add up lead to a scan."""
        if not hasattr(self, "hub"):
            return
        try:
            project = self.hub.project(7)
            for _ in range(4):
                sweep_project(self.hub, project)
            found = {name for name, _ in self.hub.state(project).changes.noted(time.time())}
            now = self.people.export()
            differ = {task for task in {*now, *self.learned} if _truth(now, task) != _truth(self.learned, task)}
            assert found == {f"t{task}" for task in differ}
            self.a_run_begins(later=False)
            sweep_project(self.hub, project)
            assert self.hub.state(project).changes.pending().changed == 0
        finally:
            self._close()

    def _close(self) -> None:
        self.hub.redis.close()
        self.hub.tool.close()
        self.hub.media.close()

    def _task(self, which: int) -> int:
        return sorted(self.studio.tasks)[which % len(self.studio.tasks)]

    def _annotated(self) -> list[tuple[int, int]]:
        return [(task, at) for task, found in self.studio.tasks.items() for at in range(len(found["annotations"]))]

    def _annotation(self, which: int) -> tuple[int, int]:
        found = self._annotated()
        return found[which % len(found)]


def _truth(labels: dict[int, list[str]], task: int) -> Any:
    """What the annotations of a task come to: the label of most, and whether two or more say so."""
    said = labels.get(task, [])
    most = [label for label in ("cat", "dog") if 2 * said.count(label) > len(said)]
    return (most[0], said.count(most[0]) > 1) if most else None


@pytest.fixture
def intake(redis_server: RedisServer, tmp_path: Path) -> Iterator[type[Intake]]:
    """The machine, with a Redis and a Label Studio of its own."""
    with running_studio() as studio:
        yield type("IntakeHere", (Intake,), {"server": redis_server, "folder": tmp_path, "studio": studio})


def check(machine: type[Intake], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_change_is_lost_or_invented(intake: type[Intake]) -> None:
    check(intake, 10, 20)


@pytest.mark.slow
def test_no_change_is_lost_or_invented_in_very_many_orders(intake: type[Intake]) -> None:
    check(intake, 60, 40)
