import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.errors import BundleError, Conflict, NotFound, StoreError
from labelloop.models.bundle import check_bundle, served_by
from labelloop.models.champion import Pointers, Reign
from labelloop.models.file_store import FileStore
from labelloop.models.versions import VersionRecord, Versions, state_of
from labelloop.types import ProjectKey
from support.contest import PROJECT, claim, contest, fetch
from support.crash_store import CrashStore, Killed
from support.file_bundle import write_bundle

FOLDER = f"{PROJECT}/versions"
RECORD = VersionRecord(
    version="v1",
    run="a" * 16,
    recipe="head",
    parent=None,
    created="2026-11-20T10:00:00+00:00",
    promoted=True,
    verdict="v1 is right on 9 of 10 test pictures; the majority class on 3.",
    metrics={"test": {"accuracy": 0.9}},
)


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def versions(store: FileStore) -> Versions:
    return Versions(store, PROJECT)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle")


def test_runs_get_numbers_in_order_and_keep_them(versions: Versions) -> None:
    assert [versions.claim(run) for run in ("a", "b", "a", "c", "b")] == ["v1", "v2", "v1", "v3", "v2"]
    assert versions.names() == ["v1", "v2", "v3"]


def test_the_tenth_version_follows_the_ninth(versions: Versions) -> None:
    assert [versions.claim(str(run)) for run in range(12)] == [f"v{number}" for number in range(1, 13)]
    assert versions.names()[-3:] == ["v10", "v11", "v12"]


def test_projects_count_for_themselves(store: FileStore, versions: Versions) -> None:
    versions.claim("a")
    assert Versions(store, ProjectKey("localhost-8080", 70)).claim("b") == "v1"
    assert Versions(store, ProjectKey("localhost-8081", 7)).claim("b") == "v1"


def test_a_number_cut_short_is_not_given_twice(store: FileStore, versions: Versions) -> None:
    versions.claim("a")
    store.write(f"{FOLDER}/v5/claim.json", b'{"run": "e"}')
    assert versions.claim("b") == "v6"
    assert versions.claim("e") == "v5"


def test_what_is_no_version_does_not_count(store: FileStore, versions: Versions) -> None:
    for name in ("v0", "v01", "latest", "v1x", "v1234567890"):
        store.write(f"{FOLDER}/{name}/claim.json", b'{"run": "a"}')
    assert versions.claim("a") == "v1"
    assert versions.names() == ["v1"]


def test_threads_share_no_name_between_runs(versions: Versions) -> None:
    runs = [str(number % 6) for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        names = dict(zip(runs, pool.map(versions.claim, runs), strict=True))
        again = dict(zip(runs, pool.map(versions.claim, runs), strict=True))
    assert names == again
    assert sorted(names.values()) == [f"v{number}" for number in range(1, 7)]


def test_processes_share_no_name_between_runs(tmp_path: Path) -> None:
    answers = contest(claim, str(tmp_path), *"abcdefgh")
    assert all(answer == answers[0] for answer in answers)
    assert sorted(answers[0].values()) == [f"v{number}" for number in range(1, 9)]


def test_a_published_version_is_there_whole(versions: Versions, bundle: Path, tmp_path: Path) -> None:
    version = versions.claim(RECORD.run)
    stored = versions.publish(version, bundle, RECORD)
    assert stored == replace(RECORD, bundle=stored.bundle)
    assert versions.get("v1") == stored
    assert versions.all() == [stored]
    fetched = versions.fetch_bundle("v1", tmp_path / "cache")
    assert {path.name: path.read_bytes() for path in fetched.iterdir()} == {
        path.name: path.read_bytes() for path in bundle.iterdir()
    }


def test_publishing_needs_no_claim_but_makes_one(versions: Versions, bundle: Path) -> None:
    versions.publish("v3", bundle, RECORD)
    assert versions.claim(RECORD.run) == "v3"
    assert versions.claim("b") == "v4"


def test_the_first_publication_stands(versions: Versions, bundle: Path, tmp_path: Path) -> None:
    first = versions.publish("v1", bundle, RECORD)
    other = write_bundle(tmp_path / "other", b"trained again, came out differently")
    again = versions.publish("v1", other, replace(RECORD, verdict="another verdict", promoted=False))
    assert again == first == versions.get("v1")
    assert versions.publish("v1", tmp_path / "gone", RECORD) == first, (
        "the work folder of another machine is not needed"
    )
    fetched = versions.fetch_bundle("v1", tmp_path / "cache")
    assert (fetched / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()


def test_the_name_of_another_run_is_not_published(versions: Versions, bundle: Path) -> None:
    version = versions.claim("b" * 16)
    with pytest.raises(Conflict, match=f"v1 of localhost-8080/7 belongs to run {'b' * 16}, not {'a' * 16}"):
        versions.publish(version, bundle, RECORD)
    assert versions.all() == []


def test_a_damaged_bundle_is_not_published(versions: Versions, bundle: Path, store: FileStore) -> None:
    (bundle / "model.onnx").write_bytes(b"cut")
    with pytest.raises(BundleError):
        versions.publish("v1", bundle, RECORD)
    assert list(store.walk("")) == [f"{FOLDER}/v1/claim.json"]


def test_foreign_files_are_not_uploaded(versions: Versions, bundle: Path, store: FileStore) -> None:
    (bundle / "optimizer.pkl").write_bytes(b"x")
    versions.publish("v1", bundle, RECORD)
    assert not [path for path in store.walk("") if path.endswith(".pkl")]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(7))
def test_publishing_may_be_cut_anywhere(store: FileStore, bundle: Path, tmp_path: Path, step: int, after: bool) -> None:
    dying = CrashStore(store, step, after=after)
    with pytest.raises(Killed):
        Versions(dying, PROJECT).publish("v1", bundle, RECORD)
    versions, cache = Versions(store, PROJECT), tmp_path / "cache"
    if f"{FOLDER}/v1/version.json" in dying.written:
        check_bundle(versions.fetch_bundle("v1", cache))
    else:
        with pytest.raises(NotFound):
            versions.get("v1")
        assert versions.all() == []
    assert versions.claim("b") == ("v2" if dying.written else "v1")
    other = write_bundle(tmp_path / "other", b"trained again, came out differently")
    version = versions.claim(RECORD.run)
    versions.publish(version, other, replace(RECORD, version=version))
    check_bundle(versions.fetch_bundle(version, cache))


def test_the_record_is_written_last(store: FileStore, bundle: Path) -> None:
    watched = CrashStore(store, 100)
    Versions(watched, PROJECT).publish("v1", bundle, RECORD)
    assert watched.written[0] == f"{FOLDER}/v1/claim.json"
    assert watched.written[-1] == f"{FOLDER}/v1/version.json"
    assert len(watched.written) == 7


def test_a_worker_left_behind_cannot_damage_what_is_published(
    store: FileStore, versions: Versions, bundle: Path, tmp_path: Path
) -> None:
    other = write_bundle(tmp_path / "other", b"of the worker left behind")

    class Slow(CrashStore):
        def upload(self, path: str, source: Path) -> None:
            if path.endswith("model.onnx"):
                versions.publish("v1", bundle, RECORD)
            super().upload(path, source)

    stored = Versions(Slow(store, 100), PROJECT).publish("v1", other, RECORD)
    assert stored == versions.get("v1")
    fetched = versions.fetch_bundle("v1", tmp_path / "cache")
    assert (fetched / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()


@pytest.mark.parametrize("version", ["v9", "labelloop-untrained", "../v1", "", "v"])
def test_what_is_not_published_is_not_found(versions: Versions, version: str, tmp_path: Path) -> None:
    versions.claim("a")
    for step in (versions.get, lambda name: versions.fetch_bundle(name, tmp_path / "cache")):
        with pytest.raises(NotFound, match="of localhost-8080/7"):
            step(version)
    assert not (tmp_path / "cache").exists()


def test_a_name_of_another_form_is_not_published(versions: Versions, bundle: Path) -> None:
    with pytest.raises(ValueError, match="'latest' is no name of a version"):
        versions.publish("latest", bundle, RECORD)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": "v1"}', b"\xff"])
def test_a_damaged_record_is_named(store: FileStore, versions: Versions, content: bytes) -> None:
    store.write(f"{FOLDER}/v1/version.json", content)
    with pytest.raises(StoreError, match=r"versions/v1/version\.json is damaged"):
        versions.get("v1")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}"])
def test_a_damaged_claim_is_named(store: FileStore, versions: Versions, content: bytes) -> None:
    store.write(f"{FOLDER}/v1/claim.json", content)
    with pytest.raises(StoreError, match=r"versions/v1/claim\.json is damaged"):
        versions.claim("a")


def test_a_bundle_is_downloaded_once(store: FileStore, versions: Versions, bundle: Path, tmp_path: Path) -> None:
    stored = versions.publish("v1", bundle, RECORD)
    fetched = versions.fetch_bundle("v1", tmp_path / "cache")
    shutil.rmtree(tmp_path / "store" / FOLDER / "v1" / stored.bundle)
    assert versions.fetch_bundle("v1", tmp_path / "cache") == fetched
    check_bundle(fetched)


def test_versions_of_two_projects_do_not_meet_in_the_cache(store: FileStore, bundle: Path, tmp_path: Path) -> None:
    other = ProjectKey("localhost-8080", 70)
    found = set()
    for project in (PROJECT, other):
        versions = Versions(store, project)
        versions.publish("v1", bundle, RECORD)
        found.add(versions.fetch_bundle("v1", tmp_path / "cache"))
    assert len(found) == 2


def test_the_v1_of_a_new_store_is_not_the_old_one(tmp_path: Path, bundle: Path) -> None:
    cache = tmp_path / "cache"
    found = []
    for content in (b"old", b"new"):
        bundle = write_bundle(tmp_path / content.decode(), content)
        versions = Versions(FileStore(tmp_path / f"store-{content.decode()}"), PROJECT)
        versions.publish("v1", bundle, RECORD)
        found.append(versions.fetch_bundle("v1", cache) / "model.onnx")
    assert [path.read_bytes() for path in found] == [b"model.onnxold", b"model.onnxnew"]


def test_a_bundle_of_a_later_release_is_not_called_damaged(versions: Versions, bundle: Path, tmp_path: Path) -> None:
    stored = versions.publish("v1", bundle, RECORD)
    path = tmp_path / "store" / FOLDER / "v1" / stored.bundle / "model.json"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content.replace(b"{", b'{"of_tomorrow": 1, ', 1))
    with pytest.raises(BundleError, match=r"cannot be read .*of_tomorrow.* upgrade this process"):
        versions.fetch_bundle("v1", tmp_path / "cache")


@pytest.mark.parametrize("name", ["model.onnx", "model.json", "metrics.json", "model.ts.pt"])
@pytest.mark.parametrize("harm", ["change", "remove"])
def test_a_damaged_download_leaves_nothing(
    versions: Versions, bundle: Path, tmp_path: Path, name: str, harm: str
) -> None:
    stored = versions.publish("v1", bundle, RECORD)
    path = tmp_path / "store" / FOLDER / "v1" / stored.bundle / name
    content = path.read_bytes()
    path.unlink()
    if harm == "change":
        path.write_bytes(content + b" ")
    cache = tmp_path / "cache"
    with pytest.raises(BundleError, match=f"v1/{stored.bundle}/ is damaged in the store.*roll back"):
        versions.fetch_bundle("v1", cache)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert not list(cache.glob("*/*/v1*"))
    path.write_bytes(content)
    check_bundle(versions.fetch_bundle("v1", cache))


def test_a_damaged_cache_heals(versions: Versions, bundle: Path, tmp_path: Path) -> None:
    versions.publish("v1", bundle, RECORD)
    fetched = versions.fetch_bundle("v1", tmp_path / "cache")
    (fetched / "model.onnx").write_bytes(b"")
    assert versions.fetch_bundle("v1", tmp_path / "cache") == fetched
    check_bundle(fetched)
    (fetched / "model.onnx").unlink()
    check_bundle(versions.fetch_bundle("v1", tmp_path / "cache"))


def weights(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("model.*")} - {"model.json"}


def test_only_the_weights_that_are_wanted_are_downloaded_and_others_come_later(
    store: FileStore, bundle: Path, tmp_path: Path
) -> None:
    read: list[str] = []

    class Listening(CrashStore):
        def read(self, path: str):  # type: ignore[no-untyped-def]
            read.append(path.rpartition("/")[2])
            return super().read(path)

        def download(self, path: str, target: Path) -> None:
            read.append(path.rpartition("/")[2])
            super().download(path, target)

    Versions(store, PROJECT).publish("v1", bundle, RECORD)
    versions, cache = Versions(Listening(store, 0), PROJECT), tmp_path / "cache"
    fetched = versions.fetch_bundle("v1", cache, served_by("onnx"))
    assert weights(fetched) == {"model.onnx"}
    assert not {"model.safetensors", "model.ts.pt"} & set(read)
    assert versions.fetch_bundle("v1", cache, served_by("torchscript")) == fetched
    assert weights(fetched) == {"model.onnx", "model.ts.pt"}
    read.clear()
    assert versions.fetch_bundle("v1", cache, served_by("onnx")) == fetched
    assert read == ["version.json"]
    check_bundle(versions.fetch_bundle("v1", cache))


def test_a_damaged_part_of_a_bundle_is_replaced(versions: Versions, bundle: Path, tmp_path: Path) -> None:
    versions.publish("v1", bundle, RECORD)
    fetched = versions.fetch_bundle("v1", tmp_path / "cache", served_by("onnx"))
    for name in ("model.onnx", "model.json", "metrics.json"):
        (fetched / name).write_bytes(b"{}")
        assert versions.fetch_bundle("v1", tmp_path / "cache", served_by("onnx")) == fetched
        check_bundle(fetched, served_by("onnx"))
        assert weights(fetched) == {"model.onnx"}


def test_a_store_whose_weights_and_hashes_were_both_exchanged_is_found(
    store: FileStore, bundle: Path, tmp_path: Path
) -> None:
    """The digest in the version's record covers ``model.json``, and with it the weights that are left out."""
    versions = Versions(store, PROJECT)
    stored = versions.publish("v1", bundle, RECORD)
    other = write_bundle(tmp_path / "other", b"another network")
    for name in ("model.json", "model.onnx", "model.ts.pt", "model.safetensors"):
        store.write(f"{FOLDER}/v1/{stored.bundle}/{name}", (other / name).read_bytes())
    with pytest.raises(BundleError, match="its files changed"):
        versions.fetch_bundle("v1", tmp_path / "cache", served_by("onnx"))


def test_a_download_cut_short_is_no_bundle(store: FileStore, bundle: Path, tmp_path: Path) -> None:
    Versions(store, PROJECT).publish("v1", bundle, RECORD)

    class Cut(CrashStore):
        def download(self, path: str, target: Path) -> None:
            if path.endswith("model.ts.pt"):
                raise Killed
            super().download(path, target)

    cache = tmp_path / "cache"
    with pytest.raises(Killed):
        Versions(Cut(store, 0), PROJECT).fetch_bundle("v1", cache)
    check_bundle(Versions(store, PROJECT).fetch_bundle("v1", cache))


def test_threads_fetch_one_bundle_together(versions: Versions, bundle: Path, tmp_path: Path) -> None:
    versions.publish("v1", bundle, RECORD)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: versions.fetch_bundle("v1", tmp_path / "cache"), range(16)))
    assert len(found) == 1
    check_bundle(found.pop())
    assert list((tmp_path / "cache" / str(PROJECT) / ".fetch").iterdir()) == []


def test_processes_fetch_one_bundle_together(versions: Versions, bundle: Path, tmp_path: Path) -> None:
    versions.publish("v1", bundle, RECORD)
    answers = contest(fetch, str(tmp_path / "store"), "v1", str(tmp_path / "cache"), "3")
    (found,) = {path for paths in answers for path in paths}
    check_bundle(Path(found))


def test_a_cache_that_cannot_be_written_is_named(versions: Versions, bundle: Path, tmp_path: Path) -> None:
    versions.publish("v1", bundle, RECORD)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"v1 cannot be kept in .*file.*MODEL_DIR"):
        versions.fetch_bundle("v1", tmp_path / "file")


def test_records_are_plain_json(store: FileStore, versions: Versions, bundle: Path) -> None:
    versions.publish("v1", bundle, RECORD)
    raw = json.loads(store.read(f"{FOLDER}/v1/version.json").content)
    assert (raw["promoted"], raw["parent"], raw["metrics"]) == (True, None, {"test": {"accuracy": 0.9}})


HISTORY = (Reign("v1", "t", 1), Reign("v2", "t", 2))


@pytest.mark.parametrize(
    ("record", "pointers", "state"),
    [
        (None, Pointers(), "trained"),
        (RECORD, Pointers(), "published"),
        (replace(RECORD, promoted=False), Pointers(), "rejected"),
        (RECORD, Pointers("v1", None, 1, HISTORY[:1]), "champion"),
        (RECORD, Pointers("v1", "v0", 1, HISTORY[:1]), "champion"),
        (RECORD, Pointers("v1", "v1", 1, HISTORY[:1]), "announced"),
        (RECORD, Pointers("v2", "v1", 2, HISTORY), "announced"),
        (RECORD, Pointers("v2", "v2", 2, HISTORY), "retired"),
        (RECORD, Pointers("v2", None, 2, HISTORY), "retired"),
        (replace(RECORD, promoted=False), Pointers("v1", "v1", 1, HISTORY[:1]), "announced"),
        (RECORD, Pointers("v2", "v2", 2, HISTORY[1:]), "published"),
        (replace(RECORD, waits=True), Pointers(), "waiting"),
        (replace(RECORD, waits=True, promoted=False), Pointers(), "rejected"),
        (replace(RECORD, waits=True), Pointers("v1", None, 1, HISTORY[:1]), "champion"),
        (replace(RECORD, waits=True, parent="v2"), Pointers("v2", "v2", 2, HISTORY[1:]), "waiting"),
        (replace(RECORD, waits=True, parent="v0"), Pointers("v2", "v2", 2, HISTORY[1:]), "published"),
    ],
)
def test_a_state_is_read_off_the_store(record: VersionRecord | None, pointers: Pointers, state: str) -> None:
    assert state_of("v1", record, pointers) == state
