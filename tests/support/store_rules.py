"""What every store must do; a test class of each store inherits these tests and gives the ``store``."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.errors import BundleError, Conflict, Fenced, NotFound, StoreError
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.opening import check_store
from labelloop.models.records import update
from labelloop.models.runs import RunRecord, Runs
from labelloop.models.store import Store
from labelloop.models.versions import VersionRecord, Versions
from support.contest import PROJECT
from support.file_bundle import write_bundle, write_head

OUTSIDE = [
    "../x",
    "a/../../x",
    "a/..",
    "/etc/x",
    "//x",
    "a//b",
    "",
    ".",
    "a/.hidden",
    ".tmp/x",
    ".lock",
    "a\\..\\b",
    "C:\\x",
    "a/b\x00",
    "a\n",
    "a b",
    "ä",
    "-rf",
    "a/",
    "n" * 300,
    "/".join(["n" * 100] * 10),
]


class StoreRules:
    def test_an_object_is_read_as_it_was_written(self, store: Store) -> None:
        content = bytes(range(256)) * 40
        store.write("a/b/c.bin", content)
        assert store.read("a/b/c.bin").content == content
        store.write("a/b/c.bin", b"")
        assert store.read("a/b/c.bin").content == b""

    def test_a_file_is_copied_there_and_back(self, store: Store, tmp_path: Path) -> None:
        content = bytes(range(256)) * 20_000  # several parts
        (tmp_path / "here").write_bytes(content)
        store.write("a/b.bin", b"older")
        store.upload("a/b.bin", tmp_path / "here")
        store.download("a/b.bin", tmp_path / "there")
        assert (tmp_path / "there").read_bytes() == content == store.read("a/b.bin").content
        with pytest.raises(NotFound, match="a/none"):
            store.download("a/none", tmp_path / "none")
        with pytest.raises(FileNotFoundError):
            store.upload("a/b.bin", tmp_path / "no such file")
        assert store.read("a/b.bin").content == content

    def test_what_is_not_there_is_not_found_and_named(self, store: Store) -> None:
        store.write("a/b", b"x")
        for path in ("a/none", "none/b", "a"):
            with pytest.raises(NotFound, match=path):
                store.read(path)

    def test_create_writes_once(self, store: Store) -> None:
        store.create("a/claim", b"first")
        with pytest.raises(Conflict, match="a/claim"):
            store.create("a/claim", b"second")
        with pytest.raises(Conflict):
            store.create("a/claim", b"first")
        assert store.read("a/claim").content == b"first"

    def test_swap_needs_the_tag_of_what_is_there(self, store: Store) -> None:
        store.create("a", b"1")
        old = store.read("a").tag
        store.swap("a", b"2", old)
        with pytest.raises(Conflict, match="a was changed"):
            store.swap("a", b"3", old)
        assert store.read("a").content == b"2"
        store.swap("a", b"3", store.read("a").tag)
        assert store.read("a").content == b"3"

    def test_swap_of_what_is_gone_is_a_conflict_and_makes_nothing(self, store: Store) -> None:
        store.write("a", b"1")
        with pytest.raises(Conflict):
            store.swap("b", b"2", store.read("a").tag)
        with pytest.raises(NotFound):
            store.read("b")

    def test_a_write_in_between_fails_the_swap(self, store: Store) -> None:
        store.write("a", b"1")
        tag = store.read("a").tag
        store.write("a", b"2")
        with pytest.raises(Conflict):
            store.swap("a", b"3", tag)

    def test_what_is_removed_is_gone_and_the_rest_stays(self, store: Store) -> None:
        for path in ("a/b/c", "a/b/d", "a/e"):
            store.write(path, b"12345")
        store.remove("a/b/c")
        store.remove("a/b/c")  # it may be asked for again
        store.remove("none/b")
        with pytest.raises(NotFound):
            store.read("a/b/c")
        assert list(store.walk("")) == ["a/b/d", "a/e"]
        store.remove("a/b/d")
        assert store.names("a/") == ["e"]
        store.create("a/b/c", b"anew")
        assert store.read("a/b/c").content == b"anew"
        for outside in OUTSIDE:
            with pytest.raises(StoreError):
                store.remove(outside)

    def test_objects_are_told_with_their_sizes(self, store: Store) -> None:
        for path, size in (("a/x", 0), ("a/y/z", 70_000), ("b", 3)):
            store.write(path, b"x" * size)
        assert [tuple(one) for one in store.sizes("")] == [("a/x", 0), ("a/y/z", 70_000), ("b", 3)]
        assert [tuple(one) for one in store.sizes("a/y/")] == [("a/y/z", 70_000)]

    def test_objects_are_listed_in_the_order_of_their_whole_paths(self, store: Store) -> None:
        paths = ["a/x", "a-b/y", "a.c", "a/v10/r", "a/v2/r", "b"]
        for path in paths:
            store.write(path, b"")
        assert list(store.walk("")) == sorted(paths)
        assert list(store.walk("a/")) == ["a/v10/r", "a/v2/r", "a/x"]
        assert list(store.walk("none/")) == []

    def test_names_are_those_directly_below(self, store: Store) -> None:
        for path in ("a/v1/claim", "a/v1/deep/er", "a/v2/claim", "a/champion", "ab/x"):
            store.write(path, b"")
        assert store.names("a/") == ["champion", "v1", "v2"]
        assert store.names("") == ["a", "ab"]
        assert store.names("a/none/") == []

    @pytest.mark.parametrize("path", OUTSIDE)
    def test_no_path_leads_out(self, store: Store, path: str) -> None:
        with pytest.raises(StoreError, match="refused"):
            store.read(path)
        with pytest.raises(StoreError, match="refused"):
            store.write(path, b"x")
        with pytest.raises(StoreError, match="refused"):
            store.create(path, b"x")
        with pytest.raises(StoreError, match="refused"):
            store.swap(path, b"x", "tag")
        assert list(store.walk("")) == []

    @pytest.mark.parametrize("prefix", ["../", "/", "a", "a/../", ".tmp/"])
    def test_no_listing_leads_out(self, store: Store, prefix: str) -> None:
        with pytest.raises(StoreError, match="refused"):
            store.names(prefix)
        with pytest.raises(StoreError, match="refused"):
            list(store.walk(prefix))

    def test_of_many_creators_one_wins(self, store: Store) -> None:
        def create(number: int) -> int | None:
            try:
                store.create("a/claim", str(number).encode())
            except Conflict:
                return None
            return number

        with ThreadPoolExecutor(8) as pool:
            winners = [number for number in pool.map(create, range(16)) if number is not None]
        assert [str(number).encode() for number in winners] == [store.read("a/claim").content]

    def test_no_update_is_lost(self, store: Store) -> None:
        def count(_: int) -> None:
            update(store, "n", lambda content: str(int(content or b"0") + 1).encode())

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(count, range(30)))
        assert store.read("n").content == b"30"

    def test_it_passes_its_own_check_again_and_again(self, store: Store) -> None:
        check_store(store)
        check_store(store)

    def test_versions_share_a_backbone(self, store: Store, tmp_path: Path) -> None:
        versions = Versions(store, PROJECT)
        for number in (1, 2):
            bundle = write_head(tmp_path / f"{number}", f"head {number}".encode())
            record = VersionRecord(f"v{number}", f"{number}" * 16, "head", None, "2026-01-01", True, "good")
            versions.publish(record.version, bundle, record)
        assert len([*store.walk(f"{PROJECT}/backbones/")]) == 3
        for name in ("v1", "v2"):
            check_bundle(versions.fetch_bundle(name, tmp_path / "cache"))
        damaged = next(store.walk(f"{PROJECT}/backbones/"))
        store.write(damaged, b"x" * len(store.read(damaged).content))
        with pytest.raises(BundleError, match=f"{damaged} is damaged in the store"):
            versions.fetch_bundle("v1", tmp_path / "fresh")

    def test_a_version_lives_its_life(self, store: Store, tmp_path: Path) -> None:
        versions, pointer, runs = Versions(store, PROJECT), ChampionPointer(store, PROJECT), Runs(store, PROJECT)
        bundle = write_bundle(tmp_path / "bundle")
        fence = pointer.take_fence()
        run = runs.save(RunRecord("a" * 16, str(PROJECT), "m", "s", 0, fence=fence))
        version = versions.claim(run.key)
        assert versions.claim("other") == "v2"
        record = VersionRecord(version, run.key, "head", None, run.created, True, "good")
        stored = versions.publish(version, bundle, record)
        assert versions.publish(version, bundle, replace(record, verdict="again")) == stored
        check_bundle(versions.fetch_bundle("v1", tmp_path / "cache"))
        pointer.promote(version, fence)
        newer = pointer.take_fence()
        with pytest.raises(Fenced):
            pointer.announce(version, fence)
        pointer.announce(version, newer)
        runs.save(replace(run, state="promoted", version=version, fence=newer))
        with pytest.raises(Fenced):
            runs.save(replace(run, state="failed"))
        assert versions.all() == [stored]
        assert pointer.read().announced == "v1"
        latest = runs.latest()
        assert latest is not None
        assert (latest.state, latest.version) == ("promoted", "v1")
