"""Backbones that versions share: in the store once, on a machine once, and whole whatever happens in between."""

import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.bundle_info import BACKBONES, HEAD
from labelloop.errors import BundleError
from labelloop.files import keep_sha256, kept_sha256
from labelloop.models.backbones import SharedCache
from labelloop.models.bundle import bundle_digest, bundle_files, check_bundle, served_by
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.projects import Projects
from labelloop.models.takeover import plan_takeover, take_over
from labelloop.models.versions import VersionRecord, Versions
from labelloop.types import Identity
from support.contest import PROJECT
from support.crash_store import CrashStore, Killed
from support.file_bundle import write_bundle, write_head
from support.memory_store import MemoryStore

RECORD = VersionRecord("v1", "a" * 16, "head", None, "2026-11-20T10:00:00+00:00", promoted=True, verdict="good")
NETWORK = {name: hashlib.sha256(name.encode() + b"network").hexdigest() for name in BACKBONES}
SHARED = {f"{PROJECT}/backbones/{known}/{name}" for name, known in NETWORK.items()}


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def publish(store: FileStore | MemoryStore | CrashStore, number: int, bundle: Path) -> VersionRecord:
    return Versions(store, PROJECT).publish(f"v{number}", bundle, replace(RECORD, run=f"{number}" * 16))


def test_the_second_version_uploads_its_head_alone(store: FileStore, tmp_path: Path) -> None:
    first = publish(store, 1, write_head(tmp_path / "one"))
    assert {*store.walk(f"{PROJECT}/backbones/")} == SHARED
    listening = CrashStore(store, 99)
    second = publish(listening, 2, write_head(tmp_path / "two", b"another head"))
    folder = f"{PROJECT}/versions/v2"
    assert listening.written == [
        f"{folder}/claim.json",
        *(f"{folder}/{second.bundle}/{name}" for name in (HEAD, "metrics.json", "model.json")),
        f"{folder}/version.json",
    ]
    assert first.bundle != second.bundle
    third = publish(store, 3, write_head(tmp_path / "three", backbone=b"other"))
    assert third.bundle != first.bundle
    assert len([*store.walk(f"{PROJECT}/backbones/")]) == 6


def test_on_a_machine_versions_have_the_same_files_and_whole_folders(store: FileStore, tmp_path: Path) -> None:
    heads = [write_head(tmp_path / name, name.encode()) for name in ("one", "two")]
    for number, bundle in enumerate(heads, 1):
        publish(store, number, bundle)
    versions, cache = Versions(store, PROJECT), tmp_path / "cache"
    first = versions.fetch_bundle("v1", cache, served_by("onnx"))
    assert bundle_files(first) == ["backbone.onnx", HEAD, "metrics.json", "model.json"]
    shutil.rmtree(tmp_path / "store" / str(PROJECT) / "backbones" / NETWORK["backbone.onnx"])
    second = versions.fetch_bundle("v2", cache, served_by("onnx"))
    assert (first / "backbone.onnx").stat().st_ino == (second / "backbone.onnx").stat().st_ino
    whole = versions.fetch_bundle("v2", cache)
    assert whole == second
    assert bundle_files(whole) == bundle_files(heads[1])
    assert bundle_digest(whole) == bundle_digest(heads[1])
    check_bundle(whole)
    with pytest.raises(BundleError, match=r"backbone\.onnx is gone from the store.*the next head on it brings it anew"):
        versions.fetch_bundle("v1", tmp_path / "fresh")
    publish(store, 3, write_head(tmp_path / "three"))
    check_bundle(versions.fetch_bundle("v1", tmp_path / "fresh"))


def test_a_damaged_backbone_in_the_store_is_named_and_the_next_head_mends_it(store: FileStore, tmp_path: Path) -> None:
    publish(store, 1, write_head(tmp_path / "one"))
    path = f"{PROJECT}/backbones/{NETWORK['backbone.onnx']}/backbone.onnx"
    store.write(path, b"x" * len(store.read(path).content))
    with pytest.raises(BundleError, match=rf"{path} is damaged in the store.*or remove it"):
        Versions(store, PROJECT).fetch_bundle("v1", tmp_path / "cache")
    assert not [file for file in (tmp_path / "cache").rglob("*.onnx") if file.is_file()]
    store.write(path, b"cut")
    publish(store, 2, write_head(tmp_path / "two", b"another head"))
    check_bundle(Versions(store, PROJECT).fetch_bundle("v1", tmp_path / "cache"))


def test_a_damaged_backbone_of_this_machine_is_brought_anew(store: FileStore, tmp_path: Path) -> None:
    versions, cache = Versions(store, PROJECT), tmp_path / "cache"
    for number, name in enumerate(("one", "two"), 1):
        publish(store, number, write_head(tmp_path / name, name.encode()))
    fetched = [versions.fetch_bundle(f"v{number}", cache) for number in (1, 2)]
    # In place, as nothing here writes: all links show it.
    with (fetched[0] / "backbone.onnx").open("r+b") as file:
        file.write(b"damaged")
    for folder in fetched:
        with pytest.raises(BundleError, match=r"backbone\.onnx is damaged"):
            check_bundle(folder)
    assert [versions.fetch_bundle(f"v{number}", cache) for number in (1, 2)] == fetched
    for folder in fetched:
        check_bundle(folder)


def test_a_backbone_that_was_damaged_before_it_is_uploaded_is_not(store: FileStore, tmp_path: Path) -> None:
    bundle = write_head(tmp_path / "one")
    path = bundle / "backbone.onnx"
    known, moment = NETWORK["backbone.onnx"], path.stat().st_mtime_ns
    keep_sha256(path, known)
    path.write_bytes(b"y" * path.stat().st_size)
    os.utime(path, ns=(moment, moment))
    assert kept_sha256(path) == known, "a disk that changes bytes by itself"
    with pytest.raises(BundleError, match=r"backbone\.onnx is damaged"):
        publish(store, 1, bundle)
    assert Versions(store, PROJECT).find("v1") is None


@pytest.mark.parametrize("after", [False, True])
def test_killed_between_any_two_uploads_the_next_attempt_makes_it_whole(tmp_path: Path, *, after: bool) -> None:
    bundle, at, killed = write_head(tmp_path / "one"), 0, True
    while killed:
        store = MemoryStore()
        try:
            publish(CrashStore(store, at, after=after), 1, bundle)
            killed = False
        except Killed:
            record = Versions(store, PROJECT).find("v1")
            assert record is None or after
        publish(store, 1, bundle)
        check_bundle(Versions(store, PROJECT).fetch_bundle("v1", tmp_path / f"cache-{at}"))
        at += 1
    assert at == 9


def test_two_publish_and_many_fetch_at_once(store: FileStore, tmp_path: Path) -> None:
    bundles = [write_head(tmp_path / f"{number}", f"{number}".encode()) for number in range(1, 5)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: publish(store, at, bundles[at - 1]), (1, 2, 3, 4) * 2))
        found = pool.map(
            lambda at: Versions(store, PROJECT).fetch_bundle(f"v{at}", tmp_path / "cache"), (1, 2, 3, 4) * 4
        )
        for folder in {*found}:
            check_bundle(folder)
    assert {*store.walk(f"{PROJECT}/backbones/")} == SHARED


def test_what_no_version_on_a_machine_has_is_unused(store: FileStore, tmp_path: Path) -> None:
    publish(store, 1, write_head(tmp_path / "one"))
    publish(store, 2, write_head(tmp_path / "two", backbone=b"other"))
    folders = [Versions(store, PROJECT).fetch_bundle(name, tmp_path / "cache") for name in ("v1", "v2")]
    shared = SharedCache(tmp_path / "cache")
    assert not [*shared.unused()]
    shutil.rmtree(folders[0])
    unused = [*shared.unused()]
    assert {folder.name for folder in unused} == {*NETWORK.values()}
    for folder in unused:
        shutil.rmtree(folder)
    check_bundle(Versions(store, PROJECT).fetch_bundle("v1", tmp_path / "cache"))
    check_bundle(folders[1])


def test_whole_networks_lie_in_their_versions_as_ever(store: FileStore, tmp_path: Path) -> None:
    stored = publish(store, 1, write_bundle(tmp_path / "one"))
    assert store.names(f"{PROJECT}/backbones/") == []
    assert "model.onnx" in store.names(f"{PROJECT}/versions/v1/{stored.bundle}/")


def test_a_project_that_takes_over_another_has_its_backbones(tmp_path: Path) -> None:
    store, taker = MemoryStore(), Identity(8, 1_795_187_600)
    publish(store, 1, write_head(tmp_path / "one"))
    pointer = ChampionPointer(store, PROJECT)
    pointer.promote("v1", pointer.take_fence())
    projects = Projects(store, ("localhost-8080",))
    target = projects.claim(taker)
    take_over(store, projects, plan_takeover(store, projects, PROJECT, target), lambda *_: None)
    for path in [*store.walk(f"{PROJECT}/")]:
        store.remove(path)
    check_bundle(Versions(store, target).fetch_bundle("v1", tmp_path / "cache"))
