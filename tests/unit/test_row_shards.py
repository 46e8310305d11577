"""Features in shards: found by content, whoever took them; merged, damaged, removed, written by several at once."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.models.features import Features, Rows, backbones, remove_features, rounded
from labelloop.models.file_store import FileStore
from labelloop.models.row_shards import RowShards
from labelloop.models.store import Store
from labelloop.types import ProjectKey
from support.memory_store import MemoryStore

PROJECT = ProjectKey("1790000000", 7)
BACKBONE = "b" * 64
WIDTH = 5


def names(count: int, seed: int = 0) -> list[str]:
    return [hashlib.sha256(f"{seed} {number}".encode()).hexdigest() for number in range(count)]


def numbers(count: int, seed: int = 0) -> Rows:
    return rounded(np.random.default_rng(seed).normal(size=(count, WIDTH)))


def opened(store: Store, cache: Path) -> Features:
    return Features(store, PROJECT, BACKBONE, WIDTH, cache)


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store whose files are linked, and one whose objects are copied, as those of a bucket."""
    return FileStore(tmp_path / "store") if request.param == "folder" else MemoryStore()


def test_what_is_kept_is_found_by_another_process_and_on_another_machine(store: Store, tmp_path: Path) -> None:
    contents, rows = names(20), numbers(20)
    opened(store, tmp_path / "one").keep(contents[:12], rows[:12])
    for cache in ("one", "other"):
        found, there = opened(store, tmp_path / cache).rows(contents)
        np.testing.assert_array_equal(there, [True] * 12 + [False] * 8)
        np.testing.assert_array_equal(found[:12], rows[:12])
        assert found.dtype == np.float32
        assert not found[12:].any()


def test_mirror_images_backbones_and_projects_are_kept_apart(store: Store, tmp_path: Path) -> None:
    contents = names(3)
    opened(store, tmp_path).keep(contents, numbers(3, 1))
    opened(store, tmp_path).keep(contents, numbers(3, 2), mirrored=True)
    np.testing.assert_array_equal(opened(store, tmp_path).rows(contents)[0], numbers(3, 1))
    np.testing.assert_array_equal(opened(store, tmp_path).rows(contents, mirrored=True)[0], numbers(3, 2))
    for project, backbone in ((ProjectKey("1790000000", 8), BACKBONE), (PROJECT, "c" * 64)):
        assert not Features(store, project, backbone, WIDTH, tmp_path).rows(contents)[1].any()
    assert backbones(store, PROJECT) == [BACKBONE]


def test_nothing_is_asked_for_or_kept(store: Store, tmp_path: Path) -> None:
    features = opened(store, tmp_path)
    features.keep([], numbers(0))
    rows, there = features.rows([])
    assert rows.shape == (0, WIDTH)
    assert there.shape == (0,)
    assert list(store.walk("")) == []


def test_half_precision_has_no_infinity(store: Store, tmp_path: Path) -> None:
    opened(store, tmp_path).keep(names(1), np.array([[1e9, -1e9, 1.0, 0.1, 0.0]], dtype=np.float32))
    rows, there = opened(store, tmp_path).rows(names(1))
    assert there.all()
    np.testing.assert_allclose(rows[0], [65504, -65504, 1, 0.1, 0], rtol=1e-3)


def test_rows_that_are_no_numbers_are_not_at_hand(store: Store, tmp_path: Path) -> None:
    opened(store, tmp_path).keep(names(2), np.array([[np.nan] * WIDTH, [1.0] * WIDTH], dtype=np.float32))
    np.testing.assert_array_equal(opened(store, tmp_path).rows(names(2))[1], [False, True])


def shards_of(store: Store, tmp_path: Path, full: int = 1 << 20) -> RowShards:
    return RowShards(store, "rows/", tmp_path / "cache", ("<f2", (WIDTH,)), full)


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=25))
def test_any_order_of_keeping_is_like_a_dictionary(
    steps: Sequence[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    store, known = MemoryStore(), dict[str, Rows]()
    contents, rows = names(100), numbers(100)
    shards = shards_of(store, folder, full=10 * 42)
    for start, count in steps:
        part = slice(start, start + count)
        shards.add(contents[part], rows[part].astype("<f2"))
        known |= dict(zip(contents[part], rows[part], strict=True))
    for reader in (shards, shards_of(store, folder), RowShards(store, "rows/", folder / "b", ("<f2", (WIDTH,)))):
        found, there = reader.find(contents)
        np.testing.assert_array_equal(there, [name in known for name in contents])
        np.testing.assert_array_equal(found[there], rows[there])


def test_rows_that_come_one_by_one_are_merged_into_few_shards(tmp_path: Path) -> None:
    store = MemoryStore()
    shards = shards_of(store, tmp_path, full=64 * 42)
    contents, rows = names(300), numbers(300).astype("<f2")
    most = 0
    for at in range(300):
        shards.add(contents[at : at + 1], rows[at : at + 1])
        most = max(most, len(store.names("rows/")))
    assert most < 300 // 64 + 15
    found, there = shards.find(contents)
    assert there.all()
    np.testing.assert_array_equal(found, rows)


def test_who_knew_the_shards_before_they_were_merged_finds_their_rows(tmp_path: Path, store: Store) -> None:
    contents, rows = names(12), numbers(12).astype("<f2")
    writer = shards_of(store, tmp_path)
    writer.add(contents[:1], rows[:1])
    reader = RowShards(store, "rows/", tmp_path / "another machine", ("<f2", (WIDTH,)))
    assert reader.find(contents[:1])[1].all()
    for at in range(1, 12):
        writer.add(contents[at : at + 1], rows[at : at + 1])
    (tmp_path / "another machine").joinpath(next((tmp_path / "another machine").glob("*.npy")).name).unlink()
    found, there = reader.find(contents)
    assert there.all()
    np.testing.assert_array_equal(found, rows)


def test_keys_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    contents = [f"{'ab' * 8}{number:048x}" for number in range(9)]
    shards = shards_of(MemoryStore(), tmp_path)
    rows = numbers(9).astype("<f2")
    for at in range(0, 8, 2):
        shards.add(contents[at : at + 2], rows[at : at + 2])
    found, there = shards.find(contents)
    np.testing.assert_array_equal(there, [True] * 8 + [False])
    np.testing.assert_array_equal(found[:8], rows[:8])


def test_shards_of_other_rows_stay_as_they_are_when_others_are_merged(tmp_path: Path) -> None:
    store = MemoryStore()
    other = RowShards(store, "rows/", tmp_path / "other", "<f8")
    for at in range(3):
        other.add(names(3)[at : at + 1], np.array([at], dtype="<f8"))
    shards = shards_of(store, tmp_path)
    for at in range(20):
        shards.add(names(20, 1)[at : at + 1], numbers(20)[at : at + 1].astype("<f2"))
    assert shards.find(names(20, 1))[1].all()
    np.testing.assert_array_equal(RowShards(store, "rows/", tmp_path / "b", "<f8").find(names(3))[0], range(3))


@pytest.mark.parametrize("damage", [b"", b"no array", None])
def test_a_shard_damaged_in_the_store_is_never_read_and_goes(
    damage: bytes | None, store: Store, tmp_path: Path
) -> None:
    contents, rows = names(6), numbers(6)
    opened(store, tmp_path / "one").keep(contents, rows)
    (path,) = store.walk("")
    content = bytearray(store.read(path).content)
    content[-3] ^= 0x55  # a number becomes another: nothing but the hash tells
    store.write(path, bytes(content) if damage is None else damage)
    reader = opened(store, tmp_path / "other")
    assert not reader.rows(contents)[1].any()
    assert list(store.walk("")) == []
    reader.keep(contents, rows)
    assert opened(store, tmp_path / "third").rows(contents)[1].all()


def test_a_copy_that_was_cut_off_is_brought_anew(store: Store, tmp_path: Path) -> None:
    contents, rows = names(6), numbers(6)
    opened(store, tmp_path / "one").keep(contents, rows)
    (copy,) = (tmp_path / "one").rglob("*.npy")
    held = copy.read_bytes()
    copy.unlink()
    copy.write_bytes(held[:-7])
    found, there = opened(store, tmp_path / "one").rows(contents)
    assert there.all()
    np.testing.assert_array_equal(found, rows)


def test_rows_of_another_width_are_passed_over(store: Store, tmp_path: Path) -> None:
    Features(store, PROJECT, BACKBONE, 3, tmp_path / "a").keep(names(2), np.ones((2, 3)))
    features = opened(store, tmp_path / "b")
    assert not features.rows(names(2))[1].any()
    features.keep(names(2), numbers(2))
    np.testing.assert_array_equal(features.rows(names(2))[0], numbers(2))


def test_removed_contents_are_in_no_shard_of_any_backbone(store: Store, tmp_path: Path) -> None:
    contents, rows = names(10), numbers(10)
    for backbone, width in ((BACKBONE, WIDTH), ("c" * 64, 3)):
        features = Features(store, PROJECT, backbone, width, tmp_path)
        features.keep(contents[:6], rows[:6, :width])
        features.keep(contents[6:], rows[6:, :width])
        features.keep(contents, rows[:, :width], mirrored=True)
    assert remove_features(store, PROJECT, contents[4:8], tmp_path) == 16
    for backbone, width in ((BACKBONE, WIDTH), ("c" * 64, 3)):
        for mirrored in (False, True):
            features = Features(store, PROJECT, backbone, width, tmp_path)
            found, there = features.rows(contents, mirrored=mirrored)
            np.testing.assert_array_equal(there, [True] * 4 + [False] * 4 + [True] * 2)
            np.testing.assert_array_equal(found[there], rows[there][:, :width])
    held = [path.read_bytes() for path in tmp_path.rglob("*.npy")]
    assert not any(bytes.fromhex(gone) in content for gone in contents[4:8] for content in held)
    assert remove_features(store, PROJECT, contents[4:8], tmp_path) == 0
    assert remove_features(store, PROJECT, contents, tmp_path) == 24
    assert backbones(store, PROJECT) == []


def test_a_name_that_is_no_sha256_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hexadecimal"):
        opened(MemoryStore(), tmp_path).rows(["../../etc/passwd"])
