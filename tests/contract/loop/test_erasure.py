"""``labelloop erase``: afterwards nothing of a person's texts and pictures is found in store, Redis and MODEL_DIR."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from labelloop.cli import main
from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.errors import Conflict, LeaseLost
from labelloop.files import is_sha256
from labelloop.loop.erasure import erase, plan_erasure
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.order import Order, Place, note_places, read_order
from labelloop.loop.project_labels import (
    keep_manifest,
    keep_manifest_here,
    keep_sides,
    kept_at,
    kept_manifest,
    manifest_file,
)
from labelloop.loop.project_registry import confirmed_project
from labelloop.loop.redis_client import as_text
from labelloop.models.features import Features
from labelloop.models.open_run import OpenRun
from labelloop.models.runs import RunRecord
from labelloop.models.versions import VersionRecord
from labelloop.run.context import Labeled
from labelloop.types import TEXTS, Item, LeftOut, ProjectKey
from labelloop.watch.comparison import Comparison, Met
from labelloop.watch.sample import Predicted
from support.crash_store import CrashStore, Killed
from support.file_bundle import write_bundle
from support.studio_api import StudioApi

SECRET, OTHER = "my name is Ada and I live in Turin", "nothing of anybody's"
FACE = b"the picture of a face"
FACE_SHA = hashlib.sha256(FACE).hexdigest()
UNSEEN_SHA = hashlib.sha256(b"a picture that nobody has labeled").hexdigest()
BACKBONE = "c" * 64
TEXT_SHA = hashlib.sha256(SECRET.encode()).hexdigest()


def labels(project: ProjectKey, *more: Item) -> Labeled:
    """Task 1 is a person's text, 3 says the same, 2 somebody else's; task 4 was left out."""
    items = [
        Item.of_text(1, SECRET, ("cat",)),
        Item.of_text(2, OTHER, ("dog",)),
        Item.of_text(3, SECRET, ("cat",)),
        *more,
    ]
    manifest = Manifest.of(project, "single", ("cat", "dog"), items, [LeftOut(4, f"it says {SECRET}")], TEXTS)
    return Labeled(manifest, {item.content: "test" for item in manifest.items})


def pictures(project: ProjectKey) -> Labeled:
    items = [Item(5, FACE_SHA, ("cat",)), Item(6, "b" * 64, ("dog",))]
    return Labeled(Manifest.of(project, "single", ("cat", "dog"), items))


@pytest.fixture
def project(job_hub: Hub, studio: StudioApi, tmp_path: Path) -> ProjectKey:
    """Three versions: v1 learned from all, v2 from pictures, v3 from what is nobody's. Tasks are deleted by now."""
    studio.connect("v3")
    studio.add_tasks(2)
    project, _ = confirmed_project(job_hub, 7)
    nobody = Labeled(Manifest.of(project, "single", ("cat", "dog"), [Item.of_text(2, OTHER, ("dog",))], kind=TEXTS))
    versions, pointer = job_hub.versions(project), job_hub.pointer(project)
    for name, labeled in (("v1", labels(project)), ("v2", pictures(project)), ("v3", nobody)):
        keep_manifest(job_hub, project, labeled.manifest)
        keep_sides(job_hub, project, labeled)
        assert kept_manifest(job_hub, project, labeled.manifest.hash).is_file()
        versions.claim(f"run-of-{name}")
        versions.publish(
            name,
            write_bundle(tmp_path / name, name.encode()),
            VersionRecord(name, f"run-of-{name}", "head", None, "", True, f"{name} passed"),
        )
        versions.write_report(name, f"<html>{SECRET if name == 'v1' else name}</html>".encode())
        record = RunRecord(f"run-of-{name}", str(project), labeled.manifest.hash, "s", 1, fence=pointer.take_fence())
        metrics = {"label_errors": [1, 2, 5]}
        job_hub.runs(project).save(
            replace(record, state="promoted", version=name, metrics=metrics, sides=labeled.sides_hash)
        )
        pointer.promote(name, record.fence)
        note_places(job_hub.store, project, name, [(task, Place(0.5, "random", control=True)) for task in (1, 2, 5)])
        sample = [{"task": task, "scores": {"cat": 0.5}} for task in (1, 2, 5)]
        job_hub.store.write(f"{project}/watch/{name}/reference.json", json.dumps({"predictions": sample}).encode())
        looks = {"looks": 1, "last": {"tasks": [1, 2], "ks": 0.1}}
        job_hub.store.write(f"{project}/watch/{name}/looks.json", json.dumps(looks).encode())
        Comparison(job_hub.store, project, name).add("v0", [Met(task, 0.5, 1.0) for task in (1, 2, 5)])
    directory = job_hub.settings.directory
    cache = PictureCache(directory / "cache" / "pictures")
    cache.remember(project, "https://example.com/face.png", cache.add(FACE))
    pixels = directory / "cache" / "train" / "pixels" / "1-8x8" / FACE_SHA[:2] / f"{FACE_SHA}.npy"
    pixels.parent.mkdir(parents=True)
    np.save(pixels, np.zeros(3))
    held, rows = [UNSEEN_SHA, FACE_SHA, "b" * 64], np.ones((3, 2))
    Features.beside(directory / "cache" / "train", BACKBONE, 2).keep(held, rows)
    # As releases kept them that had no shards yet.
    np.save(directory / "cache" / "train" / "features" / "old.npy", np.array([(FACE_SHA.encode(), 1.0)], "S64,f4"))
    for mirrored in (False, True):
        job_hub.features(project)(BACKBONE, 2).keep(held, rows, mirrored=mirrored)
    job_hub.task_contents(project).note([(8, "s3://b/8"), (5, "s3://b/5"), (6, "s3://b/6")], held)
    for folder in ("runs", "reports"):
        place = directory / folder / str(project) / "made"
        place.mkdir(parents=True)
        (place / "manifest.jsonl").write_text(f"{SECRET} {FACE_SHA}")
    now = time.time()
    job_hub.state(project).window.add(
        [Predicted(project, "v3", bytes([task]) * 32, task, {"cat": 1.0}, now) for task in (1, 2, 5)]
    )
    job_hub.redis.hset(
        f"labelloop:{project}:agreement",
        mapping={"version": "v3", "t1": "1 1", "a1": "random", "o1": "1", "p1": "1", "t2": "1 1", "p2": "1"},
    )
    return project


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def found(hub: Hub, *wanted: str) -> list[str]:
    """Name everything in store, MODEL_DIR and Redis that holds one of these, as text or in hex."""
    patterns = [one.encode() for one in wanted] + [bytes.fromhex(one) for one in wanted if is_sha256(one)]
    places = [
        str(path.relative_to(hub.settings.directory))
        for path in hub.settings.directory.rglob("*")
        if path.is_file()
        and "redis" not in path.parts
        and any(one in str(path).encode() + path.read_bytes() for one in patterns)
    ]
    for key in map(as_text, hub.redis.keys("*")):
        held = hub.redis.dump(key) or b""
        if any(one in key.encode() + held for one in patterns):
            places.append(key)
    return places


def test_nothing_of_erased_tasks_is_found_afterwards(job_hub: Hub, project: ProjectKey) -> None:
    wanted = (SECRET, TEXT_SHA, FACE_SHA, FACE.decode())
    assert len(found(job_hub, *wanted)) > 8
    before = [*job_hub.store.walk("")]
    dry = run("erase", "--project", "7", "--task", "1", "--task", "5", "--dry-run", "--json")
    assert dry.exit_code == 0, dry.output
    told = json.loads(dry.output)
    assert (told["tasks"], told["others"], told["contents"]) == ([1, 5], [3], sorted((TEXT_SHA, FACE_SHA)))
    assert told["versions"] == ["v1", "v2"]
    assert told["present"] == [1]
    assert told["cached_files"] > 0
    assert [*job_hub.store.walk("")] == before, "a dry run changes nothing"

    # What task 4 was left out for tells of it, too.
    answer = run("erase", "--project", "7", *(f"--task={task}" for task in (1, 4, 5)), "--yes")
    assert answer.exit_code == 0, answer.output
    assert "versions that learned from it, or were measured on it: v1, v2" in answer.output
    assert "still in Label Studio: 1. Delete them" in answer.output
    assert "not reached by this command:" in answer.output
    assert found(job_hub, *wanted) == []
    for mirrored in (False, True):
        there = job_hub.features(project)(BACKBONE, 2).rows([UNSEEN_SHA, FACE_SHA, "b" * 64], mirrored=mirrored)[1]
        assert there.tolist() == [True, False, True]

    runs = job_hub.runs(project)
    for name, tasks in (("v1", [2]), ("v2", [6]), ("v3", [2])):
        record = runs.get(f"run-of-{name}")
        assert record is not None
        with manifest_file(job_hub, project, record.manifest) as file:
            assert [item.task for item in Manifest.from_file(file).items] == tasks
        assert record.erased == ("" if name == "v3" else {"v1": labels, "v2": pictures}[name](project).manifest.hash)
        assert record.metrics["label_errors"] == [2]
        order = read_order(job_hub.store, project, name)
        assert order is not None
        assert [order.arm(task) for task in (1, 2, 5)] == [None, "random", None]
        watched = json.loads(job_hub.store.read(f"{project}/watch/{name}/reference.json").content)
        assert [one["task"] for one in watched["predictions"]] == [2]
        assert [one.task for one in Comparison(job_hub.store, project, name).read().items] == [2]
    assert [one.task for one in job_hub.state(project).window.read()] == [2]
    agreement = job_hub.redis.hgetall(f"labelloop:{project}:agreement")
    assert {as_text(name) for name in agreement} == {"version", "t2", "p2"}
    assert job_hub.versions(project).read_report("v3")
    assert "has no report" in run("report", "--project", "7", "--version", "v1").output

    again = json.loads(run("erase", "--project", "7", "--task", "1", "--task", "5", "--yes", "--json").output)
    assert (again["manifests"], again["contents"], again["versions"]) == ({}, [], ["v1", "v2"])


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_another_call_ends_it(job_hub: Hub, project: ProjectKey, after: bool) -> None:
    for step in range(1, 200, 4):
        hub = job_hub.over(job_hub.settings, job_hub.tool)
        hub.__dict__["_store"] = CrashStore(job_hub.store, at=step, after=after)
        try:
            erase(hub, plan_erasure(hub, project, [1, 4, 5]))
        except Killed:
            continue
        break
    assert found(job_hub, SECRET, TEXT_SHA, FACE_SHA) == []


def test_a_file_is_erased_by_its_hash_and_a_wrong_one_is_refused(job_hub: Hub, project: ProjectKey) -> None:
    assert "is no sha256" in run("erase", "--project", "7", "--content", "face.png").output
    assert run("erase", "--project", "7", "--content", FACE_SHA, "--yes").exit_code == 0
    assert found(job_hub, FACE_SHA) == []
    assert found(job_hub, SECRET)
    assert "name what is to be erased" in run("erase", "--project", "7").output


def test_a_task_that_nobody_has_labeled_is_found_by_its_number(job_hub: Hub, project: ProjectKey) -> None:
    told = json.loads(run("erase", "--project", "7", "--task", "8", "--yes", "--json").output)
    assert (told["contents"], told["features"], told["manifests"]) == ([UNSEEN_SHA], 2, {})
    assert found(job_hub, UNSEEN_SHA) == []
    assert job_hub.task_contents(project).find([(8, "s3://b/8"), (6, "s3://b/6")]) == ["", "b" * 64]


def test_labels_too_few_for_a_run_are_erased_from_the_machine_that_read_them(job_hub: Hub, project: ProjectKey) -> None:
    said, other = "my name is Bob", ProjectKey("another", 7)
    # The other project has the same tasks, in another Label Studio: equal manifests, each in a file of its own.
    for of, text in ((project, said), (project, OTHER), (other, said)):
        manifest = Manifest.of(of, "single", ("cat", "dog"), [Item.of_text(9, text, ("cat",))], kind=TEXTS)
        keep_manifest_here(job_hub, of, manifest)
    kept = kept_at(job_hub.settings.directory, other, manifest.hash)
    # As an earlier release named it, of this project.
    before = kept.with_name(f"{manifest.hash}.jsonl")
    before.write_text(kept.read_text().replace(str(other), str(project)))
    told = json.loads(run("erase", "--project", "7", "--task", "9", "--yes", "--json").output)
    assert told["contents"] == sorted(hashlib.sha256(one.encode()).hexdigest() for one in (said, OTHER))
    [left] = [one for one in found(job_hub, said) if one.startswith("cache/labels")]
    with (job_hub.settings.directory / left).open() as lines:
        assert json.loads(next(lines))["project"] == str(other)


def test_it_asks_first(job_hub: Hub, project: ProjectKey) -> None:
    answer = CliRunner().invoke(main, ["erase", "--project", "7", "--task", "1"], input="n\n")
    assert answer.exit_code == 1
    assert "Erase this for good?" in answer.output
    assert found(job_hub, SECRET)


def test_an_annotators_tasks_are_found_by_number_or_address(
    job_hub: Hub, project: ProjectKey, studio: StudioApi
) -> None:
    studio.annotate(2, "dog", completed_by=9)
    studio.pages["/api/users"] = (200, json.dumps([{"id": 9, "email": "ada@example.com"}]).encode())
    for name in ("ada@example.com", "9"):
        told = json.loads(run("erase", "--project", "7", "--annotator", name, "--dry-run", "--json").output)
        assert (told["tasks"], told["versions"]) == ([2], ["v1", "v3"])
    assert "no user of Label Studio is called bob" in run("erase", "--project", "7", "--annotator", "bob").output


def test_while_a_run_is_trained_elsewhere_nothing_is_erased(job_hub: Hub, project: ProjectKey) -> None:
    job_hub.open_runs(project).begin(OpenRun("k", "m" * 64, "command:x", elsewhere=True, fence=9))
    with pytest.raises(Conflict, match="run k is being trained elsewhere"):
        erase(job_hub, plan_erasure(job_hub, project, [1]))
    assert found(job_hub, SECRET)
    assert Order("v1").arm(1) is None


@pytest.mark.parametrize(("given", "told"), [("challenger", "the challenger of"), ("features", "labelloop pause")])
def test_beside_what_may_write_it_anew_nothing_is_erased(
    job_hub: Hub, project: ProjectKey, given: str, told: str
) -> None:
    with Lease(job_hub, project, **{given: True}), pytest.raises(Conflict, match=told):
        erase(job_hub, plan_erasure(job_hub, project, [1]))
    assert found(job_hub, SECRET)


def test_nothing_begins_that_may_write_it_anew_before_the_end(job_hub: Hub, project: ProjectKey) -> None:
    class Held(CrashStore):
        """A store that looks at each step whether it may begin."""

        @contextmanager
        def step(self, path: str) -> Iterator[None]:
            for given in ({"challenger": True}, {"features": True}):
                with pytest.raises(LeaseLost), Lease(job_hub, project, **given):
                    pass
            with super().step(path):
                yield

    hub = job_hub.over(job_hub.settings, job_hub.tool)
    hub.__dict__["_store"] = store = Held(job_hub.store, at=10_000)
    erase(hub, plan_erasure(hub, project, [1, 5]))
    assert store.written
    for given in ({"challenger": True}, {"features": True}):
        with Lease(job_hub, project, **given):
            pass
