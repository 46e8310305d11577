"""What is kept of a project's versions, what goes, and what is left when a process dies in between."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from labelloop.errors import Conflict, NotFound
from labelloop.loop.order import Place, keep_scores, note_places, read_order
from labelloop.loop.promotion import champion_before, promote, standing
from labelloop.loop.pruning import plan_prune, prune
from labelloop.models.backup import stored_projects
from labelloop.models.champion import ChampionPointer, Pointers
from labelloop.models.features import Features, Taken, taken_path
from labelloop.models.features import backbones as featured
from labelloop.models.model_runs import Entry, ModelRunJobs
from labelloop.models.open_run import OpenRun, OpenRuns
from labelloop.models.records import to_bytes
from labelloop.models.runs import RunRecord, Runs, manifest_path
from labelloop.models.store import Store
from labelloop.models.task_contents import TaskContents
from labelloop.models.versions import VersionRecord, Versions, state_of
from labelloop.types import ProjectKey
from support.crash_store import CrashStore, Killed
from support.file_bundle import write_bundle, write_head
from support.memory_store import MemoryStore

PROJECT = ProjectKey("1795187589", 7)


def manifest_of(name: str) -> str:
    return f"{int(name[1:]):064x}"


def made(
    store: Store,
    name: str,
    bundles: Path,
    parent: str | None,
    *,
    passed: bool = True,
    waits: bool = False,
    bundle: Path | None = None,
) -> None:
    """Let a run make a version, with all that the loop writes of it, and champion where it passed."""
    versions, runs, pointer = Versions(store, PROJECT), Runs(store, PROJECT), ChampionPointer(store, PROJECT)
    key, manifest = f"run-of-{name}", manifest_of(name)
    store.write(manifest_path(PROJECT, manifest), b"labels of " + name.encode())
    assert versions.claim(key) == name
    metrics = {
        "gate": {"conceded": 0.25},
        "labels": 40,
        "test": {"accuracy": {"value": 0.9}},
        "label_errors": [1, 2, 3],
    }
    record = VersionRecord(name, key, "head", parent, "", passed, f"{name} is judged", metrics, waits=waits)
    versions.publish(name, bundle or write_bundle(bundles / name, name.encode()), record)
    versions.write_report(name, b"<html>a report</html>")
    store.write(f"{PROJECT}/watch/{name}/looks.json", b"{}")
    store.write(f"{PROJECT}/order/{name}.json", b"{}")
    fence = pointer.take_fence()
    state = "waiting" if waits else "promoted" if passed else "rejected"
    run = RunRecord(key, str(PROJECT), manifest, "s", 1, version=name, verdict=f"{name} is judged", fence=fence)
    runs.save(replace(run, state=state, metrics=metrics))  # type: ignore[arg-type]
    if state == "promoted":
        pointer.promote(name, fence)
        pointer.announce(name, fence)


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    """A project of six versions: v5 is champion, v4 was it before, v3 was rejected, v6 waits for approval."""
    store, before = MemoryStore(), None
    for name in ("v1", "v2", "v3", "v4", "v5", "v6"):
        passed = name != "v3"
        made(store, name, tmp_path, before, passed=passed, waits=name == "v6")
        before = name if passed else before
    return store


def states(store: Store) -> dict[str, str]:
    pointers = ChampionPointer(store, PROJECT).read()
    return {one.version: state_of(one.version, one, pointers) for one in Versions(store, PROJECT).all()}


def test_what_is_in_use_and_the_newest_are_kept(store: MemoryStore, tmp_path: Path) -> None:
    plan = plan_prune(store, PROJECT, 1)
    assert plan.versions == ("v1", "v2", "v3")
    assert {*plan.by_kind} == {"v1", "v2", "v3", "manifests"}
    assert plan.size == sum(plan.by_kind.values()) > 0
    before = dict(store.sizes(""))
    assert prune(store, PROJECT, 1) == plan
    after = dict(store.sizes(""))
    assert {path.removeprefix(f"{PROJECT}/") for path in before.keys() - after.keys()} == {
        one.path for one in plan.objects
    }
    assert states(store) == {
        **dict.fromkeys(("v1", "v2", "v3"), "pruned"),
        "v4": "retired",
        "v5": "announced",
        "v6": "waiting",
    }
    for name in ("v4", "v5", "v6"):
        assert Versions(store, PROJECT).fetch_bundle(name, tmp_path / "cache").is_dir()
        assert store.read(manifest_path(PROJECT, manifest_of(name)))
        assert Versions(store, PROJECT).read_report(name)
    # By which order tasks were served, whatever became of the version: the gate asks.
    assert store.names(f"{PROJECT}/order/") == [f"v{number}.json" for number in range(1, 7)]
    assert not plan_prune(store, PROJECT, 1).objects
    assert prune(store, PROJECT, 1).versions == ()


def test_nothing_goes_while_all_are_kept(store: MemoryStore) -> None:
    assert plan_prune(store, PROJECT, 0) == plan_prune(store, PROJECT, 6)
    assert not plan_prune(store, PROJECT, 0).objects


def test_a_tombstone_says_what_was_and_nothing_makes_it_again(store: MemoryStore, tmp_path: Path) -> None:
    latest = Runs(store, PROJECT).latest()
    prune(store, PROJECT, 1)
    run = Runs(store, PROJECT).get("run-of-v1")
    assert run is not None
    assert (run.state, run.version, run.verdict, run.judged) == ("promoted", "v1", "v1 is judged", True)
    assert run.metrics == {"gate": {"conceded": 0.25}, "labels": 40}, "by how many labels the next challenger is called"
    assert run.pruned
    assert Runs(store, PROJECT).latest() == latest, "which run is the latest stays"
    versions = Versions(store, PROJECT)
    assert versions.claim("run-of-v1") == "v1"
    assert versions.names()[-1] == "v6"
    assert versions.get("v1").metrics["test"] == {"accuracy": {"value": 0.9}}
    again = versions.publish("v1", write_bundle(tmp_path / "again"), replace(versions.get("v1"), pruned=""))
    assert again.pruned, "the first publication stands"
    for asked in (lambda: versions.fetch_bundle("v1", tmp_path / "cache"), lambda: versions.read_report("v1")):
        with pytest.raises(NotFound, match="v1 of 1795187589/7 was pruned on 20"):
            asked()


def test_of_the_order_of_a_version_stays_what_it_served_and_not_by_which_scores(
    store: MemoryStore, tmp_path: Path
) -> None:
    for name in ("v1", "v5"):
        store.remove(f"{PROJECT}/order/{name}.json")
        keep_scores(store, PROJECT, name, [at / 200 for at in range(200)], 0.1)
        note_places(store, PROJECT, name, [(7, Place(0.5, "random", control=True))])
    prune(store, PROJECT, 1)
    gone, kept = (read_order(store, PROJECT, name) for name in ("v1", "v5"))
    assert gone is not None
    assert kept is not None
    assert (gone.arm(7), gone.is_control(7), gone.share, gone.table) == ("random", True, 0.1, [])
    assert len(kept.table) > 100


def test_a_tombstone_is_read_once(store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prune(store, PROJECT, 1)
    made(store, "v7", tmp_path, "v5")
    reads, read = Counter[str](), store.read
    monkeypatch.setattr(store, "read", lambda path: reads.update([path]) or read(path))
    assert prune(store, PROJECT, 1).versions == ("v4", "v6")
    assert reads[f"{PROJECT}/versions/v1/version.json"] == reads[f"{PROJECT}/runs/run-of-v1.json"] == 1


def test_some_of_many_versions_are_spread_over_all(store: MemoryStore) -> None:
    versions = Versions(store, PROJECT)
    assert [one.version for one in versions.some(3)] == ["v1", "v3", "v6"]
    assert versions.some(6) == versions.some(50) == versions.all()


def test_a_pruned_version_is_never_champion_again(store: MemoryStore) -> None:
    prune(store, PROJECT, 1)
    before = ChampionPointer(store, PROJECT).read()
    for force in (False, True):
        with pytest.raises(Conflict, match="v1"):
            promote(store, PROJECT, "v1", force=force)
    pointer = ChampionPointer(store, PROJECT)
    with pytest.raises(Conflict, match="its files were pruned"):
        pointer.promote("v1", pointer.take_fence())
    after = pointer.read()
    assert (after.champion, after.history) == (before.champion, before.history)
    assert champion_before(Versions(store, PROJECT), after) == "v4"
    assert standing(Versions(store, PROJECT).get("v1"), after)[0] == "rejected"


def test_whoever_goes_back_to_a_version_at_that_moment_is_heeded(store: MemoryStore, tmp_path: Path) -> None:
    class Meanwhile(CrashStore):
        """A store in which somebody goes back to v2 as the pointers are about to be moved."""

        def swap(self, path: str, content: bytes, tag: str) -> None:
            if path.endswith("champion.json") and not self.written:
                self.written.append("rolled back")
                promote(store, PROJECT, "v2")
            super().swap(path, content, tag)

    done = prune(Meanwhile(store, at=1_000), PROJECT, 1)
    assert done.versions == ("v1", "v3")
    assert states(store)["v2"] == "champion"
    assert Versions(store, PROJECT).fetch_bundle("v2", tmp_path / "cache").is_dir()
    assert store.read(manifest_path(PROJECT, manifest_of("v2")))


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_the_next_call_ends_it(tmp_path: Path, after: bool) -> None:
    steps, ends, whole = 0, set(), MemoryStore()
    for name, parent in (("v1", None), ("v2", "v1"), ("v3", "v2"), ("v4", "v3")):
        made(whole, name, tmp_path, parent)
    while True:
        store = MemoryStore()
        for path in whole.walk(""):
            store.write(path, whole.read(path).content)
        try:
            prune(CrashStore(store, at=steps, after=after), PROJECT, 1)
        except Killed:
            assert states(store)["v4"] == "announced"
            for name in ("v3", "v4"):
                assert Versions(store, PROJECT).fetch_bundle(name, tmp_path / "cache").is_dir()
            for name in ("v1", "v2"):
                # Whole, or barred from ever serving.
                barred = name in ChampionPointer(store, PROJECT).read().pruned
                assert barred or Versions(store, PROJECT).fetch_bundle(name, tmp_path / "cache").is_dir()
            prune(store, PROJECT, 1)
            killed = True
        else:
            killed = False
        runs = [Runs(store, PROJECT).get(f"run-of-{name}") for name in ("v1", "v2")]
        assert all(run is not None and run.pruned for run in runs)
        ends.add(tuple(store.walk("")))
        if not killed:
            break
        steps += 1
    assert steps > 10
    assert len(ends) == 1


def test_labels_of_what_may_go_on_are_kept(store: MemoryStore) -> None:
    # A run that trains elsewhere, one that was cut off, and one that begins just now: its manifest is there already.
    OpenRuns(store, PROJECT).begin(OpenRun("run-of-v2", manifest_of("v2"), elsewhere=True, fence=1))
    Runs(store, PROJECT).save(RunRecord("cut", str(PROJECT), "c" * 64, "s", 1, fence=3, sides="d" * 64))
    for path in (f"{'c' * 64}.jsonl", f"{'d' * 64}.sides.json", f"{'e' * 64}.jsonl"):
        store.write(f"{PROJECT}/manifests/{path}", b"labels")
    plan = prune(store, PROJECT, 1)
    assert plan.versions == ("v1", "v3"), "v2 is that of the open run"
    left = store.names(f"{PROJECT}/manifests/")
    assert {f"{letter * 64}.jsonl" for letter in "ce"} | {f"{'d' * 64}.sides.json"} <= {*left}
    assert f"{manifest_of('v2')}.jsonl" in left
    assert f"{manifest_of('v1')}.jsonl" not in left


def test_what_challengers_need_is_kept(store: MemoryStore) -> None:
    OpenRuns(store, PROJECT, challenger=True).begin(OpenRun("run-of-v2", manifest_of("v2"), fence=1))
    record = RunRecord("challenger", str(PROJECT), "c" * 64, "s", 1, state="rejected", fence=9, challenger=True)
    Runs(store, PROJECT).save(record)
    store.write(f"{PROJECT}/manifests/{'c' * 64}.jsonl", b"labels")
    assert prune(store, PROJECT, 1).versions == ("v1", "v3"), "v2 is that of the open challenger"
    assert {f"{'c' * 64}.jsonl", f"{manifest_of('v2')}.jsonl"} <= {*store.names(f"{PROJECT}/manifests/")}


def test_the_labels_that_the_first_version_had_before_there_were_orders_are_kept(store: MemoryStore) -> None:
    store.remove(f"{PROJECT}/order/v1.json")
    prune(store, PROJECT, 1)
    assert store.read(manifest_path(PROJECT, manifest_of("v1")))
    assert states(store)["v1"] == "pruned"


def test_a_version_that_is_deployed_or_predicts_in_bulk_is_kept(store: MemoryStore) -> None:
    store.write(f"{PROJECT}/deployed.json", b'{"place": "p", "version": "v1", "between": ["v2"], "brought": ["v3"]}')
    store.write(f"{PROJECT}/batch.json", b'{"key": "k", "version": "v3", "open": true}')
    assert plan_prune(store, PROJECT, 1).versions == ()


def test_bundles_of_attempts_that_were_cut_off_go(store: MemoryStore) -> None:
    store.write(f"{PROJECT}/versions/v5/bundle-{'f' * 64}/model.onnx", b"half")
    store.write(f"{PROJECT}/versions/v7/bundle-{'f' * 64}/model.onnx", b"of a version in the making")
    plan = prune(store, PROJECT, 0)
    assert dict(plan.by_kind) == {"leftovers": 4}
    assert store.names(f"{PROJECT}/versions/v7/") == [f"bundle-{'f' * 64}"]


def heads(store: Store, bundles: Path, *backbones: str) -> None:
    """Let versions from v7 on be heads on these backbones, each champion after the one before."""
    before = "v5"
    for number, backbone in enumerate(backbones, 7):
        name = f"v{number}"
        made(store, name, bundles, before, bundle=write_head(bundles / name, name.encode(), backbone.encode()))
        before = name


def backbones(store: Store) -> int:
    return len([*store.walk(f"{PROJECT}/backbones/")])


def test_a_backbone_goes_with_the_last_version_on_it(store: MemoryStore, tmp_path: Path) -> None:
    heads(store, tmp_path, "one", "one", "two", "two", "two")
    assert backbones(store) == 6
    plan = prune(store, PROJECT, 4)
    assert "v7" in plan.versions
    assert "backbones" not in plan.by_kind, "v8 is on it"
    plan = prune(store, PROJECT, 2)
    assert "v8" in plan.versions
    assert plan.by_kind["backbones"] > 0
    assert backbones(store) == 3
    for name in ("v10", "v11"):
        Versions(store, PROJECT).fetch_bundle(name, tmp_path / "cache")
    assert not plan_prune(store, PROJECT, 2).objects


def test_no_backbone_goes_that_a_run_may_be_about_to_refer_to(store: MemoryStore, tmp_path: Path) -> None:
    heads(store, tmp_path, "one", "two", "two", "two")
    # One that was left behind by others keeps none.
    Runs(store, PROJECT).save(RunRecord("left-behind", str(PROJECT), "c" * 64, "s", 1, fence=1))
    for challenger in (False, True):
        opened = OpenRuns(store, PROJECT, challenger=challenger)
        opened.begin(OpenRun("another", manifest_of("v6"), fence=99))
        prune(store, PROJECT, 2)
        assert states(store)["v7"] == "pruned"
        assert backbones(store) == 6
        opened.close("another")
    # A version whose record is yet to come.
    description = f"{PROJECT}/versions/v20/bundle-{'f' * 64}/model.json"
    store.write(description, (write_head(tmp_path / "v20", backbone=b"one") / "model.json").read_bytes())
    assert "backbones" not in prune(store, PROJECT, 2).by_kind
    store.write(description, b"cut")
    assert "backbones" not in prune(store, PROJECT, 2).by_kind, "nobody knows what it needs"
    store.remove(description)
    assert dict(prune(store, PROJECT, 2).by_kind).keys() == {"backbones"}
    assert backbones(store) == 3


@pytest.mark.parametrize("after", [False, True])
def test_a_prune_that_is_killed_leaves_whole_what_it_keeps(store: MemoryStore, tmp_path: Path, *, after: bool) -> None:
    heads(store, tmp_path, "one", "two", "two", "two")
    killed, at = True, 0
    while killed:
        try:
            prune(CrashStore(store, at, after=after), PROJECT, 2)
            killed = False
        except Killed:
            at += 3
        for name in ("v9", "v10"):
            Versions(store, PROJECT).fetch_bundle(name, tmp_path / f"cache-{at}-{after}")
    assert at > 6
    assert backbones(store) == 3


def test_a_damaged_record_keeps_its_version(store: MemoryStore) -> None:
    store.write(f"{PROJECT}/versions/v1/version.json", b"{")
    assert "v1" not in prune(store, PROJECT, 1).versions
    assert len(store.names(f"{PROJECT}/versions/v1/")) > 2


def test_older_releases_let_nothing_serve_that_was_pruned(store: MemoryStore) -> None:
    prune(store, PROJECT, 1)
    record = Versions(store, PROJECT).get("v1")
    assert state_of("v1", replace(record, pruned=""), replace(ChampionPointer(store, PROJECT).read(), pruned=())) in (
        "retired",
        "rejected",
    )
    assert not record.promoted


def test_a_model_run_keeps_what_it_shows(store: MemoryStore) -> None:
    folder = ProjectKey("labelbox--abc", 1)
    ModelRunJobs(store).ask(folder, Entry("Images", 1))
    assert [*stored_projects(store)] == [PROJECT, folder]
    assert plan_prune(store, folder, 1).objects == ()


def test_the_predecessor_is_the_last_other_champion() -> None:
    assert Pointers().predecessor is None


def test_features_go_whose_backbone_neither_a_version_nor_todays_settings_need(tmp_path: Path) -> None:
    store, names = MemoryStore(), ("one", "two", "now", "no")
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    for name, before, backbone in (("v1", None, "one"), ("v2", "v1", "two"), ("v3", "v2", "two")):
        made(store, name, tmp_path, before, bundle=write_head(tmp_path / name, name.encode(), backbone.encode()))
    for backbone in hashes.values():
        Features(store, PROJECT, backbone, 2, tmp_path).keep(["a" * 64], np.ones((1, 2)), mirrored=True)
    TaskContents(store, PROJECT, tmp_path).note([(1, "s3://b/1")], ["a" * 64])
    prune(store, PROJECT, 1)
    assert len(featured(store, PROJECT)) == 4, "by which settings it is trained is not known"
    store.write(taken_path(PROJECT), to_bytes(Taken("image-classification", "by name", hashes["now"], 2)))
    plan = plan_prune(store, PROJECT, 1)
    assert plan.by_kind.keys() == {"features"}
    prune(store, PROJECT, 1)
    assert featured(store, PROJECT) == sorted((hashes["two"], hashes["now"]))
    assert TaskContents(store, PROJECT, tmp_path).find([(1, "s3://b/1")]) == ["a" * 64]
