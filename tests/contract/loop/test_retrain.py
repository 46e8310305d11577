"""A whole run of the loop on real pictures: its worker killed in stage after stage, and what it leaves in the end."""

import re
import shutil
from pathlib import Path

import pytest

from labelloop.errors import NotFound, StoreAway
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.redis_client import key_of
from labelloop.loop.retrain import retrain
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.models.versions import Versions
from labelloop.run.driver import Run
from labelloop.run.folder import RunFolder
from support.crash_store import Killed
from support.digit_pictures import write_digits
from support.reports import reported
from support.studio_api import StudioApi

from .conftest import PROJECT, MakeHub

pytestmark = pytest.mark.train

STAGES = ("train", "evaluate", "publish", "prelabel")


class Doomed(ProgressReporter):
    """A reporter whose process ends as a stage begins, or after so many ``epochs``; with ``at`` empty it lives on."""

    at = ""
    epochs = 0

    def stage(self, name: str) -> None:
        super().stage(name)
        if name == self.at and not self.epochs:
            raise Killed

    def __call__(self, what: str, done: int, total: int) -> None:
        super().__call__(what, done, total)
        if what.startswith("finetune") and self.at == "train" and done >= self.epochs > 0:
            raise Killed


@pytest.fixture
def training_hub(make_hub: MakeHub, studio: StudioApi, tmp_path: Path) -> Hub:
    """A hub whose project has sixty labeled digits, zeros and ones."""
    write_digits(tmp_path / "digits", range(60), classes=2)
    studio.add_tasks(60)
    for task, path in zip(studio.tasks, sorted(tmp_path.glob("digits/*/*.png")), strict=True):
        studio.pictures[studio.tasks[task]["data"]["image"]] = path.read_bytes()
        studio.annotate(task, "cat" if path.parent.name == "0" else "dog")
    return make_hub(backbone="test_resnet", image_size=32, epochs=2, recipes=("finetune",), run_attempts=3)


def attempt(hub: Hub, killed_in: str = "", epochs: int = 0) -> RunRecord:
    with Lease(hub, PROJECT) as lease:
        reporter = Doomed(hub, PROJECT, lease)
        reporter.at, reporter.epochs = killed_in, epochs
        return retrain(hub, PROJECT, "test", reporter)


def test_a_run_killed_in_every_stage_ends_as_if_it_had_not_been(training_hub: Hub, studio: StudioApi) -> None:
    hub = training_hub
    versions, pointer = Versions(hub.store, PROJECT), ChampionPointer(hub.store, PROJECT)
    runs = hub.settings.directory / "runs" / str(PROJECT)
    for stage in STAGES:
        with pytest.raises(Killed):
            attempt(hub, stage)
    assert pointer.read().champion == "v1"
    with pytest.raises(NotFound, match="no report"):
        versions.read_report("v1")
    assert consider(hub, PROJECT) == "v1 is to be announced"

    (made,) = runs.glob("*/evaluation")
    (made / "order.json").write_text('{"sentence": "the order helps: by far"}')

    attempt(hub)
    assert versions.get("v1").verdict in reported(hub, PROJECT)

    record = Runs(hub.store, PROJECT).latest()
    assert record is not None
    assert (record.state, record.version, record.attempts, versions.names()) == ("promoted", "v1", 4, ["v1"])
    assert "  order of tasks: the order helps: by far" in standing(project_status(hub, PROJECT))
    assert not list(runs.iterdir())
    assert set(record.metrics["label_errors"]) <= set(studio.tasks), "the files are gone, their tasks are known"
    assert [reign.version for reign in pointer.read().history] == ["v1"]
    assert key_by_command(hub, record) == record.key


def key_by_command(hub: Hub, record: RunRecord) -> str:
    """Read the run's labels as its report's command does, and name that run."""
    manifest = f"{hub.settings.store_address}/{PROJECT}/manifests/{record.manifest}.jsonl"
    given = {"train_location": manifest, "format": "labelloop", "project_key": str(PROJECT)}
    run = Run(RunFolder(hub.settings.directory / "by-command"), hub.settings, given, Quiet())
    with run.alone():
        run.make("fetch")
    return run.key


class Quiet:
    """A reporter that tells nobody."""

    def stage(self, name: str) -> None:
        pass

    def __call__(self, what: str, done: int, total: int) -> None:
        pass


def test_five_kills_in_one_training_and_a_store_that_is_full_for_long_end_in_the_version_it_would_have_been(
    training_hub: Hub, studio: StudioApi
) -> None:
    """What cannot be staged cannot be written: a full disk as the store meets it, while reading goes on."""
    studio.connect("v0")
    hub = training_hub
    runs = Runs(hub.store, PROJECT)
    for epoch in (1, 1, 1, 1, 2):
        with pytest.raises(Killed):
            attempt(hub, "train", epoch)
        latest = runs.latest()
        assert latest is not None
        assert (latest.state, latest.stage, latest.own_failures) == ("running", "train", 0)

    for _ in range(hub.settings.run_attempts + 1):
        with pytest.raises(StoreAway):
            attempt_with_full_store(hub)
        assert consider(hub, PROJECT) == "the last attempt failed; it is left alone for a while"
    latest = runs.latest()
    assert latest is not None
    assert (latest.state, latest.own_failures) == ("running", 0)
    stands = project_status(hub, PROJECT)
    assert stands.wait is not None
    told = "\n".join(standing(stands))
    assert re.search(r"waiting for the store since 20..-..-.. ..:..:.. UTC, tried again in \d+ s", told)
    assert "failed" not in told

    hub.redis.delete(key_of(PROJECT, "failures"))
    assert consider(hub, PROJECT) == "run enqueued: test"
    with pytest.raises(Killed):
        attempt(hub, "done")
    latest = runs.latest()
    assert latest is not None
    assert (latest.state, latest.version, latest.attempts, latest.own_failures) == ("promoted", "v1", 10, 0)
    assert Versions(hub.store, PROJECT).names() == ["v1"]


class FullStore(ProgressReporter):
    """A reporter in whose run the store fills up as the bundle is to be published."""

    staging: Path

    def stage(self, name: str) -> None:
        super().stage(name)
        if name == "publish":
            shutil.rmtree(self.staging, ignore_errors=True)
            self.staging.write_text("in the way")


def attempt_with_full_store(hub: Hub) -> None:
    with Lease(hub, PROJECT) as lease, hub.state(PROJECT).backoff.noting():
        reporter = FullStore(hub, PROJECT, lease)
        reporter.staging = hub.settings.directory / "store" / ".tmp"
        try:
            retrain(hub, PROJECT, "test", reporter)
        finally:
            reporter.staging.unlink()
