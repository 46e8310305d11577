"""``labelloop prune``, and what the sweep does by itself; with a server that answers as Label Studio."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rq.job import Job

from labelloop.cli import main
from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.errors import StudioError
from labelloop.loop import housekeeping, jobs, old_predictions
from labelloop.loop.caches import Caches, needed_pictures
from labelloop.loop.housekeeping import held, look_after, note_disk, read_disk
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.project_registry import confirmed_project
from labelloop.loop.queue import BACKGROUND
from labelloop.loop.redis_client import DISK, as_text, key_of
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep
from labelloop.models import champion
from labelloop.models.open_run import OpenRun
from labelloop.models.opening import open_store
from labelloop.models.records import to_bytes
from labelloop.models.row_shard import packed, shard_file
from labelloop.models.runs import RunRecord, manifest_path
from labelloop.models.versions import VersionRecord, Versions, state_of
from labelloop.types import Item, ProjectKey
from support.file_bundle import write_bundle
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_consider import waiting


@pytest.fixture
def job_hub(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of commands and jobs in this process, which keep one version."""
    yield from of_this_process(make_hub(keep_versions=1), monkeypatch)


@pytest.fixture
def project(job_hub: Hub, studio: StudioApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectKey:
    """A project of four versions, v4 announced, with a prediction of each for each of four tasks; task 1 is labeled.

    All of them were announced two hours ago.
    """
    monkeypatch.setattr(champion, "now", (datetime.now(UTC) - timedelta(hours=2)).isoformat)
    studio.connect("v4")
    studio.add_tasks(4)
    studio.annotate(1, "cat")
    project, _ = confirmed_project(job_hub, 7)
    versions, pointer, before = job_hub.versions(project), job_hub.pointer(project), None
    pictures = PictureCache(job_hub.settings.directory / "cache" / "pictures")
    for number in range(1, 5):
        name = f"v{number}"
        picture = pictures.add(b"picture of " + name.encode())
        pictures.remember(project, f"https://example.com/{name}", picture)
        manifest = Manifest.of(project, "single", ("cat", "dog"), [Item(number, picture, ("cat",))])
        job_hub.store.write(manifest_path(project, manifest.hash), manifest.to_jsonl().encode())
        versions.claim(f"run-of-{name}")
        record = VersionRecord(name, f"run-of-{name}", "head", before, "", True, f"{name} passed", {"gate": {}})
        versions.publish(name, write_bundle(tmp_path / name, name.encode()), record)
        versions.fetch_bundle(name, job_hub.settings.directory / "cache" / "bundles")
        fence = pointer.take_fence()
        job_hub.runs(project).save(
            replace(
                RunRecord(f"run-of-{name}", str(project), manifest.hash, "s", 1),
                state="promoted",
                version=name,
                fence=fence,
            )
        )
        pointer.promote(name, fence)
        pointer.announce(name, fence)
        studio._import([{"task": task, "model_version": name, "result": [], "score": 0.5} for task in studio.tasks])
        before = name
    return project


def states(hub: Hub, project: ProjectKey) -> dict[str, str]:
    pointers = hub.pointer(project).read()
    return {one.version: state_of(one.version, one, pointers) for one in hub.versions(project).all()}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_a_dry_run_tells_and_removes_nothing(job_hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    before, predicted = [*job_hub.store.sizes("")], list(studio.predictions)
    answer = run("prune", "--project", "7", "--dry-run", "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.output)
    [found] = told["projects"]
    assert (told["dry_run"], told["keep"], found["versions"]) == (True, 1, ["v1", "v2"])
    assert found["predictions"] == 6, "of v1 and v2, for the three tasks that wait"
    assert found["bytes"]["v1"] > 100
    assert ([*job_hub.store.sizes("")], studio.predictions) == (before, predicted)
    assert "7: v1: " in run("prune", "--project", "7", "--dry-run").output


def test_prune_removes_versions_predictions_and_copies(job_hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    answer = run("prune")
    assert answer.exit_code == 0, answer.output
    assert "predictions of old versions for tasks that wait, in Label Studio: 6" in answer.output
    assert states(job_hub, project) == {"v1": "pruned", "v2": "pruned", "v3": "retired", "v4": "announced"}
    assert studio.versions_of(1) == ["v1", "v2", "v3", "v4"], "annotations may have begun with one of them"
    assert studio.versions_of(2) == ["v3", "v4"]
    copies = job_hub.settings.directory / "cache" / "bundles" / str(project)
    assert sorted(path.name.partition("-")[0] for path in copies.glob("v*")) == ["v3", "v4"]
    assert "there is nothing to prune" in run("prune").output
    listed = run("versions", "--project", "7").output
    assert "v1   pruned " in listed
    refused = run("rollback", "--project", "7", "--to", "v1", "--force")
    assert refused.exit_code == 1
    assert "v1 was pruned on 20" in refused.output
    assert "v3, v4 are there" in refused.output
    for command in ("report", "export"):
        more = ("--version", "v1") if command == "report" else ("v1", "--to", str(copies / "out"))
        assert "v1 of" in (told := run(command, "--project", "7", *more)).output
        assert "was pruned on" in told.output, told.output


def test_a_backup_is_restored_into_an_empty_store(
    job_hub: Hub, project: ProjectKey, studio: StudioApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = run("backup", str(tmp_path / "copy"))
    assert answer.exit_code == 0, answer.output
    assert "0 were there already" in answer.output
    assert "is the store itself" in run("backup", job_hub.settings.store_address).output
    assert "name an empty place" in run("restore", str(tmp_path / "copy")).output
    # Made after the backup, and lost with the store: its predictions are there.
    studio._import([{"task": 2, "model_version": "v7", "result": [], "score": 0.5}])
    job_hub.state(project).changes.add(["t1"], time.time())
    restored = (tmp_path / "restored").as_uri()
    monkeypatch.setenv("LABELLOOP_STORE", restored)
    answer = run("restore", str(tmp_path / "copy"))
    assert answer.exit_code == 0, answer.output
    assert "7: champion v4" in answer.output
    versions = Versions(open_store(restored), project)
    assert versions.claim("the next run") == "v8"
    assert job_hub.state(project).changes.pending().changed == 0
    assert "v4   announced" in run("versions", "--project", "7").output


def test_without_label_studio_the_store_is_pruned(job_hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    studio.refusing = 503
    answer = run("prune", "--project", "7")
    assert answer.exit_code == 0, answer.output
    assert "not looked at: Label Studio" in answer.output
    assert states(job_hub, project)["v1"] == "pruned"


def test_beside_a_run_nothing_is_pruned(job_hub: Hub, project: ProjectKey) -> None:
    with Lease(job_hub, project):
        assert "is held by another worker" in run("prune", "--project", "7").output
        look_after(job_hub, [project])
    assert "pruned" not in states(job_hub, project).values()
    look_after(job_hub, [project])
    assert states(job_hub, project)["v1"] == "pruned", "the next look makes up for it"


def test_status_says_that_versions_are_pruned_and_no_run_goes_on(job_hub: Hub, project: ProjectKey) -> None:
    with held(job_hub, project, "prune"):
        assert "  next: old versions are being pruned" in run("status").output
    assert "pruned" not in run("status").output


def test_the_sweep_prunes_soon_after_a_promotion_and_else_once_an_hour(job_hub: Hub, project: ProjectKey) -> None:
    jobs.sweep()
    assert states(job_hub, project)["v2"] == "pruned"
    pointer = job_hub.pointer(project)
    pointer.promote("v3", fence := pointer.take_fence())
    pointer.announce("v3", fence)
    before = read_disk(job_hub.redis, project)
    jobs.sweep()
    assert read_disk(job_hub.redis, project) == before
    job_hub.state(project).ask_for_housekeeping()
    jobs.sweep()
    assert read_disk(job_hub.redis, project) != before
    assert states(job_hub, project) == {"v1": "pruned", "v2": "pruned", "v3": "announced", "v4": "retired"}


def test_a_look_that_takes_long_is_not_taken_again_at_once(
    job_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks_again() -> bool:
        look_after(job_hub, [project])
        job_hub.state(project).ask_for_housekeeping()
        return job_hub.state(project).claim_housekeeping(3600)

    assert looks_again()
    job_hub.state(project).ask_for_housekeeping()
    monkeypatch.setattr(housekeeping, "_RESTS", 1e6)
    assert not looks_again()
    assert job_hub.redis.ttl(key_of(project, "room_rests")) > 60


def test_by_default_all_is_kept(make_hub: MakeHub, project: ProjectKey) -> None:
    look_after(make_hub(), [project])
    assert "pruned" not in states(make_hub(), project).values()


def asked_for(hub: Hub) -> list[Job]:
    """What sweeps asked for in the background, of predictions."""
    return [job for job in waiting(hub, BACKGROUND) if job.func_name == "labelloop.loop.jobs.remove_predictions"]


def removed(hub: Hub, project: ProjectKey) -> str:
    """Sweep, and do what it asked to be done in the background."""
    jobs.sweep()
    jobs.sweep()
    [job] = asked_for(hub)
    job.delete()
    return jobs.remove_predictions(str(project))


def test_predictions_of_versions_before_the_predecessor_go_from_tasks_that_nobody_touched(
    make_hub: MakeHub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.annotate(2, "cat", was_cancelled=True)
    others: list[dict[str, Any]] = [
        {"task": task, "model_version": by, "result": [], "score": 0.5} for task in (3, 4) for by in ("v1b", "v")
    ]
    studio._import(others)
    for hub in of_this_process(make_hub(), monkeypatch):
        assert removed(hub, project) == "4 predictions of old versions removed, the last"
        assert [sorted(studio.versions_of(task)) for task in (1, 2)] == [["v1", "v2", "v3", "v4"]] * 2
        assert [sorted(studio.versions_of(task)) for task in (3, 4)] == [["v", "v1b", "v3", "v4"]] * 2
        assert "pruned" not in states(hub, project).values()
        jobs.sweep()
        assert not asked_for(hub), "once an hour, and when a version is announced"


def test_those_of_a_version_that_an_annotator_may_have_open_stay(
    make_hub: MakeHub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(studio.predictions)
    pointer = make_hub().pointer(project)
    for hub in of_this_process(make_hub(keep_versions=1), monkeypatch):
        # v2 was shown until half an hour ago, and v1 until two hours ago.
        held = pointer.read()
        ago = (datetime.now(UTC) - timedelta(minutes=30)).isoformat()
        history = [*held.history[:2], *(replace(reign, at=ago) for reign in held.history[2:])]
        hub.store.write(f"{project}/champion.json", to_bytes(replace(held, history=tuple(history))))
        told = json.loads(run("prune", "--project", "7", "--dry-run", "--json").output)
        assert told["projects"][0]["predictions"] == 3, "of v1 alone"
        assert run("prune").exit_code == 0
        assert states(hub, project)["v2"] == "pruned"
        assert Counter(one["model_version"] for one in studio.predictions) == {"v1": 1, "v2": 4, "v3": 4, "v4": 4}
        hub.store.write(f"{project}/champion.json", to_bytes(replace(pointer.read(), history=held.history)))
        assert run("prune").exit_code == 0
    assert len(studio.predictions) == len(before) - 6


def test_they_are_kept_where_the_settings_say_so(
    make_hub: MakeHub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(studio.predictions)
    for hub in of_this_process(make_hub(keep_predictions=True), monkeypatch):
        jobs.sweep()
        jobs.sweep()
        assert not asked_for(hub)
        assert run("prune", "--keep", "1").exit_code == 0
    assert len(studio.predictions) == len(before) - 6, "but for those of versions that are pruned"


def test_what_one_job_does_not_reach_the_next_ones_do(
    make_hub: MakeHub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hub in of_this_process(make_hub(), monkeypatch):
        monkeypatch.setattr(old_predictions, "_SHARE", 0.0)
        assert removed(hub, project) == "0 predictions of old versions removed, the others with the next sweeps"
        # Labels have changed just now, so it takes less.
        hub.state(project).changes.settle(time.time() + 1)
        monkeypatch.setattr(old_predictions, "_IDLE_SECONDS", 0.0)
        studio.refusing = 503
        with pytest.raises(StudioError):
            jobs.remove_predictions(str(project))
        studio.refusing = 0
        assert jobs.remove_predictions(str(project)) == "6 predictions of old versions removed, the last"


def test_who_begins_to_label_meanwhile_gets_the_tool_back(
    make_hub: MakeHub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"_LOOK_SECONDS": -1.0, "_SHARE": 0.0, "_IDLE_SECONDS": 0.0}.items():
        monkeypatch.setattr(old_predictions, name, value)
    answer = studio.answer
    for hub in of_this_process(make_hub(), monkeypatch):

        def label(method: str, *given: Any, hub: Hub = hub) -> tuple[int, object]:
            if method == "DELETE":
                hub.state(project).note_changes(["a1"], time.time())
            return answer(method, *given)

        jobs.sweep()
        jobs.sweep()
        hub.state(project).changes.settle(time.time() + 1)
        studio.answer = label  # type: ignore[method-assign, assignment]
        assert jobs.remove_predictions(str(project)) == (
            "1 predictions of old versions removed, the others with the next sweeps"
        )


def test_who_goes_back_to_a_version_meanwhile_gets_its_predictions_again(
    make_hub: MakeHub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_predictions, "_LOOK_SECONDS", -1.0)
    pointer, answer = make_hub().pointer(project), studio.answer

    def back_to_v1(method: str, *given: Any) -> tuple[int, object]:
        if method == "DELETE" and pointer.read().champion != "v1":
            pointer.promote("v1", pointer.take_fence())
        return answer(method, *given)

    studio.answer = back_to_v1  # type: ignore[method-assign, assignment]
    for hub in of_this_process(make_hub(), monkeypatch):
        assert "removed, the others" in removed(hub, project)
        assert "unpredicted" in hub.state(project).notes()
        assert jobs.deploy(str(project), None) == "v1 is announced"
        jobs.prelabel(str(project))
    assert all("v1" in studio.versions_of(task) for task in studio.tasks)


def test_status_says_what_is_taken(job_hub: Hub, project: ProjectKey) -> None:
    assert project_status(job_hub, project).disk is None
    disk = note_disk(job_hub, project)
    stored = sum(one.size for one in job_hub.store.sizes(f"{project}/"))
    assert (disk.versions + disk.runs, disk.caches > 0) == (stored, True)
    job_hub.redis.hset(DISK, "labelbox/1", "{}")
    look_after(job_hub, [project])
    status = project_status(job_hub, project).disk
    assert status is not None
    assert status["free"] > 1_000_000
    assert {*map(as_text, job_hub.redis.hkeys(DISK))} == {str(project), "machine"}
    assert "disk: versions " in run("status").output
    job_hub.redis.flushall()
    assert project_status(job_hub, project).disk is None


def test_pictures_that_no_labels_need_go_a_week_later(job_hub: Hub, project: ProjectKey) -> None:
    cache = job_hub.settings.directory / "cache"
    pictures, caches = PictureCache(cache / "pictures"), Caches(job_hub.settings.directory)
    shas = [pictures.add(b"picture of v%d" % number) for number in range(1, 5)]
    for sha in shas:
        pixels = cache / "train" / "pixels" / "1-8x8" / sha[:2] / f"{sha}.npy"
        pixels.parent.mkdir(parents=True, exist_ok=True)
        np.save(pixels, np.zeros(4))
    for name, kept in (("old", shas[:3]), ("mixed", shas)):
        path = cache / "train" / "features" / "net" / "straight" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(shard_file(np.sort(packed(kept)), np.zeros((len(kept), 2), dtype="<f2"))[1])
    needed = needed_pictures(job_hub, [project])
    assert [needed(sha) for sha in shas] == [False, False, False, True]
    assert not list(caches.unneeded(needed)), "they have just come"
    pictures.note_whole(project, "a manifest")
    for path in cache.rglob("*"):
        if path.is_file():
            os.utime(path, (0, time.time() - 8 * 24 * 3600))
    found = [*caches.unneeded(needed)]
    kinds = {"notes": 1, "pictures": 3, "addresses": 3, "pixels": 3, "features": 1}
    assert Counter(one.what for one in found) == kinds
    assert found[0].what == "notes", "before any picture: it says that all are here"
    assert "cached files of pictures that no project needs: " in run("prune", "--dry-run").output
    assert run("prune").exit_code == 0
    assert [pictures.has(sha) for sha in shas] == [False, False, False, True]
    assert not pictures.is_whole(project, "a manifest")
    assert not list(caches.unneeded(needed))


def test_copies_go_of_what_the_store_no_longer_has_and_those_of_challengers_stay(
    job_hub: Hub, project: ProjectKey
) -> None:
    cache, runs = (job_hub.settings.directory / folder / str(project) for folder in ("cache/features", "runs"))
    for backbone in ("a" * 64, "b" * 64, "c" * 64):
        job_hub.features(project)(backbone, 2).keep(["d" * 64], np.ones((1, 2)))
    for backbone in ("b" * 64, "c" * 64):
        for path in [*job_hub.store.walk(f"{project}/features/{backbone}/")]:
            job_hub.store.remove(path)
    job_hub.task_contents(project).note([(1, "s3://b/1")], ["d" * 64])
    job_hub.open_runs(project, challenger=True).begin(OpenRun("open", "m" * 64, fence=1))
    job_hub.runs(project).save(RunRecord("latest", str(project), "m" * 64, "s", 1, state="rejected", challenger=True))
    for key in ("open", "latest", "gone"):
        (runs / key).mkdir(parents=True)
    for folder in (*runs.iterdir(), *(cache / "features").iterdir(), *cache.iterdir()):
        if folder.name != "c" * 64:
            os.utime(folder, (0, time.time() - 8 * 24 * 3600))
    look_after(job_hub, [project])
    assert sorted(path.name for path in runs.iterdir()) == ["latest", "open"]
    assert sorted(path.name for path in (cache / "features").iterdir()) == ["a" * 64, "c" * 64], "one has just come"
    assert (cache / "contents").is_dir()


def test_what_goes_wrong_is_told_and_takes_nothing_from_the_sweep(job_hub: Hub, project: ProjectKey) -> None:
    held = job_hub.store.read(f"{project}/champion.json").content
    job_hub.store.write(f"{project}/champion.json", b"{")
    look_after(job_hub, [project])
    assert "old versions are not pruned now: " in job_hub.state(project).notes()["disk"]
    job_hub.store.write(f"{project}/champion.json", held)
    job_hub.state(project).ask_for_housekeeping()
    look_after(job_hub, [project])
    assert "disk" not in job_hub.state(project).notes()
    assert sweep(job_hub, [project])
