"""Pictures in shards: the same set in the same files, and nothing taken out that is not what its name says."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.data.shards import Shard, named, pictures_of, shards, unpack
from labelloop.errors import Damaged, StoreError
from labelloop.types import SPANS, Item, ProjectKey

USUAL = 4096


@pytest.fixture
def cache(tmp_path: Path) -> PictureCache:
    return PictureCache(tmp_path / "cache")


@pytest.fixture
def other(tmp_path: Path) -> PictureCache:
    return PictureCache(tmp_path / "other")


def pictures(cache: PictureCache, count: int) -> list[str]:
    return [cache.add(f"picture {number} ".encode() * 50) for number in range(count)]


def tar(folder: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """Write a shard with any members, named as its names say."""
    target = folder / named(member.name for member, _ in members)
    with tarfile.open(target, "w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target


def member(content: bytes, name: str = "", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name or hashlib.sha256(content).hexdigest())
    made.type = kind
    return made, content


def test_pictures_come_out_as_they_went_in(tmp_path: Path, cache: PictureCache, other: PictureCache) -> None:
    held = pictures(cache, 40)
    dealt = list(shards(held, cache, USUAL))
    assert len(dealt) > 3
    assert [picture for one in dealt for picture in one.pictures] == sorted(held)
    for one in dealt:
        one.write(cache, tmp_path / one.name)
        assert unpack(tmp_path / one.name, other) == len(one.pictures)
    assert all(other.path(picture).read_bytes() == cache.path(picture).read_bytes() for picture in held)


def test_the_same_set_gives_the_same_files(tmp_path: Path, cache: PictureCache, other: PictureCache) -> None:
    held = pictures(cache, 20)
    pictures(other, 20)
    first, again = list(shards(held, cache, USUAL)), list(shards([*reversed(held), held[3]], other, USUAL))
    assert first == again
    first[0].write(cache, tmp_path / "first")
    again[0].write(other, tmp_path / "again")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()


def test_a_picture_more_changes_one_shard_or_parts_it_in_two(cache: PictureCache) -> None:
    held = pictures(cache, 60)
    before = {one.name for one in shards(held[:-1], cache, USUAL)}
    after = {one.name for one in shards(held, cache, USUAL)}
    assert len(before - after) == 1
    assert len(after - before) in (1, 2)


def test_shards_are_of_about_the_usual_size_and_no_larger_than_four_times_that(cache: PictureCache) -> None:
    held = pictures(cache, 400)
    sizes = [sum(cache.path(one).stat().st_size for one in shard.pictures) for shard in shards(held, cache, USUAL)]
    assert max(sizes) <= 4 * USUAL + 700
    assert USUAL / 2 < sum(sizes) / len(sizes) < USUAL * 2


def test_a_picture_that_is_not_here_is_in_no_shard(cache: PictureCache) -> None:
    held = pictures(cache, 3)
    assert [one.pictures for one in shards([*held, "0" * 64], cache)] == [tuple(sorted(held))]


def test_what_is_here_already_is_not_written_again(tmp_path: Path, cache: PictureCache) -> None:
    (one,) = shards(pictures(cache, 3), cache)
    one.write(cache, tmp_path / one.name)
    before = cache.path(one.pictures[0]).stat().st_ino
    unpack(tmp_path / one.name, cache)
    assert cache.path(one.pictures[0]).stat().st_ino == before


def is_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def is_cut_between_pictures(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: 512 + -(-int(content[124:135], 8) // 512) * 512])


def is_changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"picture 1 picture 1 ", b"picture 1 pixture 1 "))


def is_no_tar(path: Path) -> None:
    path.write_bytes(b"<html>AccessDenied</html>" * 100)


def is_empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [is_cut, is_cut_between_pictures, is_changed, is_no_tar, is_empty])
def test_a_damaged_shard_is_named(
    harm: Callable[[Path], None], tmp_path: Path, cache: PictureCache, other: PictureCache
) -> None:
    (one,) = shards(pictures(cache, 3), cache)
    path = tmp_path / one.name
    one.write(cache, path)
    harm(path)
    with pytest.raises(Damaged, match=f"shard {path}.*hand the pictures over again"):
        unpack(path, other)


@pytest.mark.parametrize(
    "one",
    [
        member(b"picture", "../../escaped"),
        member(b"picture", "/tmp/escaped"),
        member(b"", "0" * 64, tarfile.SYMTYPE),
        member(b"", "0" * 64, tarfile.FIFOTYPE),
        member(b"", "0" * 64, tarfile.DIRTYPE),
        member(b"picture", "0" * 64),
    ],
    ids=["above", "absolute", "link", "pipe", "folder", "other content"],
)
def test_nothing_but_pictures_is_taken_out(
    one: tuple[tarfile.TarInfo, bytes], tmp_path: Path, other: PictureCache
) -> None:
    path = tar(tmp_path, [one])
    with pytest.raises(Damaged, match=str(path)):
        unpack(path, other)
    assert [found for found in tmp_path.rglob("*") if found.is_file()] == [path]


def test_a_shard_under_another_ones_name_is_refused(tmp_path: Path, cache: PictureCache, other: PictureCache) -> None:
    (one,) = shards(pictures(cache, 3), cache)
    path = tmp_path / Shard(one.pictures[:1]).name
    one.write(cache, path)
    with pytest.raises(Damaged, match="another one than its name says"):
        unpack(path, other)


def test_a_disk_that_refuses_is_told(tmp_path: Path, cache: PictureCache) -> None:
    (one,) = shards(pictures(cache, 1), cache)
    one.write(cache, tmp_path / one.name)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="a picture cannot be kept"):
        unpack(tmp_path / one.name, PictureCache(tmp_path / "file"))


def test_of_texts_alone_an_empty_shard_travels(tmp_path: Path, cache: PictureCache, other: PictureCache) -> None:
    items = [Item.of_text(1, "Ada saw Oslo", ("PER",), '[{"label":"PER","span":[0,3]}]')]
    manifest = Manifest.of(ProjectKey("local", 1), "multiple", ("PER",), items, kind=SPANS)
    (one,) = shards(pictures_of(manifest), cache)
    assert one.pictures == ()
    one.write(cache, tmp_path / one.name)
    assert (tmp_path / one.name).stat().st_size > 0
    assert unpack(tmp_path / one.name, other) == 0
