"""A whole run of the loop on real pictures: its worker killed in stage after stage, and what it leaves in the end."""

from pathlib import Path

import pytest

from labelloop.errors import NotFound
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.progress import Reporter
from labelloop.loop.retrain import retrain
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from support.crash_store import Killed
from support.digit_pictures import write_digits
from support.studio_api import StudioApi

from .conftest import PROJECT, MakeHub

pytestmark = pytest.mark.train

STAGES = ("train", "evaluate", "publish", "prelabel", "report")


class Doomed(Reporter):
    """A reporter whose process ends as a stage begins; with ``at`` empty it lives on."""

    at = ""

    def stage(self, name: str) -> None:
        super().stage(name)
        if name == self.at:
            raise Killed


@pytest.fixture
def training_hub(make_hub: MakeHub, studio: StudioApi, tmp_path: Path) -> Hub:
    """A hub whose project has sixty labeled digits, zeros and ones."""
    write_digits(tmp_path / "digits", range(60), classes=2)
    studio.add_tasks(60)
    for task, path in zip(studio.tasks, sorted(tmp_path.glob("digits/*/*.png")), strict=True):
        studio.pictures[studio.tasks[task]["data"]["image"]] = path.read_bytes()
        studio.annotate(task, "cat" if path.parent.name == "0" else "dog")
    return make_hub(backbone="test_resnet", image_size=32, epochs=2, recipes=("finetune",), run_attempts=len(STAGES))


def attempt(hub: Hub, killed_in: str = "") -> RunRecord:
    with Lease(hub, PROJECT) as lease:
        reporter = Doomed(hub, PROJECT, lease)
        reporter.at = killed_in
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

    record = attempt(hub)

    assert (record.state, record.version, record.attempts, versions.names()) == ("promoted", "v1", 4, ["v1"])
    assert versions.get("v1").verdict in versions.read_report("v1").decode()
    assert not list(runs.iterdir())
    assert [reign.version for reign in pointer.read().history] == ["v1"]
