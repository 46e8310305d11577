"""A project whose pictures change after its champion was announced: what is found, told and done, and how often."""

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from labelloop.cli import main
from labelloop.errors import Conflict, Damaged
from labelloop.loop import drift, jobs
from labelloop.loop.deploy import deliver
from labelloop.loop.drift import ask_for_look, drift_figures, last_look, look_for_drift
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.prelabel import prelabel
from labelloop.loop.queue import BACKGROUND
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep
from labelloop.models.champion import ChampionPointer
from labelloop.types import ProjectKey
from labelloop.watch import judgement
from labelloop.watch.judgement import MOST_TASKS, PICTURES
from labelloop.watch.records import Watched
from labelloop.watch.sample import SIZE, Predicted
from support.bundles import picture as picture_of
from support.bundles import publish_bundle
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_consider import waiting

ENOUGH = 50


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at fewer pictures than users wait for, so that a test takes seconds."""
    monkeypatch.setattr(drift, "ENOUGH", ENOUGH)
    for judging in (drift, judgement):
        monkeypatch.setattr(judging, "LEAST", ENOUGH)


def picture(rng: np.random.Generator, light: float) -> bytes:
    buffer = io.BytesIO()
    pixels = np.clip(rng.normal(light, 40, (6, 6, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def add_pictures(studio: StudioApi, count: int, light: float, seed: int) -> range:
    rng = np.random.default_rng(seed)
    first = len(studio.tasks) + 1
    for number in range(first, first + count):
        studio.pictures[f"/data/upload/7/{number}.png"] = picture(rng, light)
    studio.add_tasks(count)
    return range(first, first + count)


def announce(hub: Hub, project: ProjectKey, version: str) -> None:
    pointer = ChampionPointer(hub.store, project)
    fence = pointer.take_fence()
    pointer.promote(version, fence)
    prelabel(hub, project, version, lambda *_: None)
    pointer.announce(version, fence)
    hub.state(project).announce(version)


def arrive(hub: Hub, studio: StudioApi, count: int, light: float, seed: int) -> range:
    """Import pictures; they are pre-annotated as the worker does it."""
    tasks = add_pictures(studio, count, light, seed)
    prelabel(hub, hub.project(7), None, lambda *_: None)
    return tasks


Begin = Callable[..., tuple[Hub, ProjectKey]]


@pytest.fixture
def begin(studio: StudioApi, make_hub: MakeHub) -> Begin:
    def begin(**given: object) -> tuple[Hub, ProjectKey]:
        hub = make_hub(**{"scan_seconds": 0.0, **given})
        project = hub.project(7)
        add_pictures(studio, ENOUGH, 150, seed=1)
        announce(hub, project, "v1")
        assert look_for_drift(hub, project) is None, "this is what the others are compared with"
        return hub, project

    return begin


def test_a_drift_is_found_told_once_and_shown_by_a_tab_of_its_tasks(
    studio: StudioApi, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    hub, project = begin(drift="tab")

    usual = arrive(hub, studio, ENOUGH, 150, seed=2)
    found = look_for_drift(hub, project)
    assert found is not None
    assert (found.drifts, found.tasks, found.new, found.reference) == (False, [], len(usual), ENOUGH)
    assert project_status(hub, project).drift == ""
    assert studio.views == []

    dark = arrive(hub, studio, ENOUGH, 60, seed=3)
    found = look_for_drift(hub, project)
    assert found is not None
    assert (found.drifts, found.what, found.mmd_p) == (True, PICTURES, 0.0001)
    assert len(found.tasks) == MOST_TASKS
    assert set(found.tasks) <= set(dark)
    assert sum(str(found) in record.message for record in caplog.records) == 1
    [line] = [line for line in standing(project_status(hub, project)) if "drift:" in line]
    assert "most in the pictures" in line
    [view] = studio.views
    assert view["data"]["title"] == drift.TAB
    assert last_look(hub, project).tab == f"{studio.url}/projects/7/data?tab=1"

    arrive(hub, studio, ENOUGH, 60, seed=4)
    again = look_for_drift(hub, project)
    assert again is not None
    assert again.drifts
    assert not any(str(again) in record.message for record in caplog.records)
    assert last_look(hub, project).looks == 3
    assert last_look(hub, project).since == found.at

    arrive(hub, studio, ENOUGH, 150, seed=5)
    over = look_for_drift(hub, project)
    assert over is not None
    assert not over.drifts
    assert project_status(hub, project).drift == ""
    assert last_look(hub, project).since == 0


def test_the_sweep_asks_for_a_look_in_the_background_and_that_for_one_run_of_a_champion(
    studio: StudioApi, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, project = begin(drift="retrain")
    studio.connect("v1")
    studio.model_version = "v1"
    for _ in of_this_process(hub, monkeypatch):
        for seed, light in enumerate((60, 150, 60), 2):
            arrive(hub, studio, ENOUGH, light, seed=seed)
            for _ in range(2):
                assert not sweep(hub, [project])[str(project)].startswith("failed")
            [job] = [job for job in waiting(hub, BACKGROUND) if job.func_name == "labelloop.loop.jobs.drift"]
            assert last_look(hub, project).asked == (seed > 2)
            assert ("most in the pictures" in jobs.drift(*job.args)) == (light == 60)
            assert last_look(hub, project).asked
            assert jobs.drift(*job.args) == "nothing is judged yet"
            job.delete()
    sweep(hub, [project])
    assert [bool(job) for job in [hub.redis.get(f"labelloop:{project}:job")]] == [True]
    assert last_look(hub, project).looks == 3


def test_an_alert_makes_neither_tab_nor_run(studio: StudioApi, begin: Begin) -> None:
    hub, project = begin()
    arrive(hub, studio, ENOUGH, 60, seed=2)
    found = look_for_drift(hub, project)
    assert found is not None
    assert found.drifts
    assert studio.views == []
    assert hub.state(project).wish() is None


def test_another_champion_begins_anew(studio: StudioApi, begin: Begin) -> None:
    hub, project = begin()
    arrive(hub, studio, ENOUGH, 60, seed=2)
    look_for_drift(hub, project)
    assert project_status(hub, project).drift

    studio.connect("v1")
    pointer = hub.pointer(project)
    fence = pointer.take_fence()
    pointer.promote("v2", fence)
    with Lease(hub, project) as lease:
        deliver(hub, project, "v2", fence, ProgressReporter(hub, project, lease))
    assert project_status(hub, project).drift == ""
    assert look_for_drift(hub, project) is None
    assert last_look(hub, project).judgement is None
    reference = Watched(hub.store, project, "v2").reference()
    assert reference is not None
    assert len(reference) == 2 * ENOUGH
    with pytest.raises(Conflict):
        Watched(hub.store, project, "v2").refer(reference)


def test_what_an_earlier_version_predicted_keeps_no_place_from_the_next_one(studio: StudioApi, begin: Begin) -> None:
    hub, project = begin()
    window, usual = hub.state(project).window, {"cat": 0.25, "dog": 0.75}
    earlier = [
        Predicted(project, "v0", bytes([*[0] * 6, at // 256, at % 256, *[0] * 8]), None, usual, 1.0)
        for at in range(SIZE)
    ]
    window.add(earlier)
    arrive(hub, studio, ENOUGH, 60, seed=2)
    assert window.count() == SIZE
    assert {one.version for one in window.read()} == {"v0"}, "their ranks are the lowest"

    assert look_for_drift(hub, project) is None
    assert window.count() == 0
    arrive(hub, studio, ENOUGH, 60, seed=3)
    found = look_for_drift(hub, project)
    assert found is not None
    assert (found.version, found.new) == ("v1", ENOUGH)


def test_nothing_is_judged_before_there_is_enough(studio: StudioApi, begin: Begin) -> None:
    hub, project = begin()
    arrive(hub, studio, ENOUGH - 1, 60, seed=2)
    assert look_for_drift(hub, project) is None
    assert hub.state(project).window.count() == ENOUGH - 1


def test_nothing_is_judged_oftener_than_annotations_are_scanned(studio: StudioApi, begin: Begin) -> None:
    hub, project = begin(scan_seconds=3600.0)
    arrive(hub, studio, ENOUGH, 60, seed=2)
    assert look_for_drift(hub, project) is None
    arrive(hub, studio, ENOUGH, 60, seed=3)
    ask_for_look(hub, project)
    assert waiting(hub, BACKGROUND) == []
    hub.redis.delete(f"labelloop:{project}:judged")
    ask_for_look(hub, project)
    assert len(waiting(hub, BACKGROUND)) == 1
    assert look_for_drift(hub, project) is not None


def test_what_is_switched_off_is_told_no_more(studio: StudioApi, begin: Begin, make_hub: MakeHub) -> None:
    hub, project = begin()
    arrive(hub, studio, ENOUGH, 60, seed=2)
    look_for_drift(hub, project)
    assert project_status(hub, project).drift
    assert look_for_drift(make_hub(drift="off"), project) is None
    assert project_status(hub, project).drift == ""


def test_nothing_is_judged_while_a_worker_has_the_project(studio: StudioApi, begin: Begin) -> None:
    hub, project = begin()
    arrive(hub, studio, ENOUGH, 60, seed=2)
    with Lease(hub, project):
        assert look_for_drift(hub, project) is None


def test_pictures_that_are_none_are_judged_by_scores_alone(studio: StudioApi, make_hub: MakeHub) -> None:
    hub = make_hub(scan_seconds=0.0)
    project = hub.project(7)
    studio.add_tasks(ENOUGH)
    announce(hub, project, "v1")
    look_for_drift(hub, project)
    studio.add_tasks(ENOUGH)
    prelabel(hub, project, None, lambda *_: None)
    found = look_for_drift(hub, project)
    assert found is not None
    assert (found.mmd, found.mmd_p) == (None, None)
    assert found.ks > 0


def test_the_versions_own_network_is_asked_what_it_sees(studio: StudioApi, make_hub: MakeHub, tmp_path: Path) -> None:
    """Of the last pictures a third is red, which none was."""
    hub = make_hub(scan_seconds=0.0)
    project = hub.project(7)
    version = publish_bundle(hub.store, project, tmp_path / "work", run="run", champion=False)
    add_pictures(studio, ENOUGH, 150, seed=1)
    announce(hub, project, version)
    assert look_for_drift(hub, project) is None
    reference = Watched(hub.store, project, version).reference()
    assert reference is not None
    assert {len(one.features) for one in reference} == {3}
    assert {round(float(np.linalg.norm(one.features))) for one in reference} == {10}

    arrive(hub, studio, ENOUGH, 150, seed=2)
    usual = look_for_drift(hub, project)
    assert usual is not None
    assert (usual.drifts, usual.features is not None) == (False, True)
    for at, number in enumerate(add_pictures(studio, ENOUGH, 150, seed=3)[::3]):
        studio.pictures[f"/data/upload/7/{number}.png"] = picture_of(f"rgb(200, {at}, 10)")
    prelabel(hub, project, None, lambda *_: None)
    found = look_for_drift(hub, project)
    assert found is not None
    assert found.features_p is not None
    assert found.features_p <= 0.001, "the least is .0001; which pictures are the last ones is chance"


def test_the_command_shows_the_last_look(studio: StudioApi, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, project = begin(drift="tab")
    for _ in of_this_process(hub, monkeypatch):
        asked = CliRunner().invoke(main, ["drift", "--project", "7"])
        assert asked.exit_code == 0, asked.output
        assert f"drift has not been judged yet: 0 of {ENOUGH} predictions are there" in asked.output

        arrive(hub, studio, ENOUGH, 60, seed=2)
        look_for_drift(hub, project)
        told = CliRunner().invoke(main, ["drift", "--project", "7"]).output
        assert "most in the pictures (MMD " in told
        assert f"they are shown at {studio.url}/projects/7/data?tab=1" in told
        found = json.loads(CliRunner().invoke(main, ["drift", "--project", "7", "--json"]).output)
        assert found["last"]["drifts"] is True
        assert found["last"]["tasks"]


def test_its_figures_are_those_of_the_last_look(studio: StudioApi, begin: Begin) -> None:
    hub, project = begin()
    assert drift_figures(hub, project, "v1") == []
    arrive(hub, studio, ENOUGH, 60, seed=2)
    found = look_for_drift(hub, project)
    assert found is not None
    told = {one.name: one.value for one in drift_figures(hub, project, "v1")}
    assert told == {"Drift": 1.0, "DriftKS": found.ks, "DriftPSI": found.psi, "DriftMMD": found.mmd}
    assert {one.version for one in drift_figures(hub, project, "v1")} == {"v1"}


def test_a_damaged_reference_is_said(
    studio: StudioApi, begin: Begin, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, project = begin()
    hub.store.write(f"{project}/watch/v1/reference.json", b'{"predictions": [{}]}')
    arrive(hub, studio, ENOUGH, 60, seed=2)
    for _ in of_this_process(hub, monkeypatch):
        with pytest.raises(Damaged):
            jobs.drift(str(project))
    assert "drift is not judged: " in caplog.text
    assert "remove it" in caplog.text
