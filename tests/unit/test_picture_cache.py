import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labelloop.data.picture_cache import PictureCache
from labelloop.errors import StoreError
from labelloop.types import ProjectKey

PROJECT = ProjectKey("localhost-8080", 7)
CONTENT = b"\x89PNG picture"
SHA = hashlib.sha256(CONTENT).hexdigest()
URL = "https://user:hush@pictures.example/1.png?X-Amz-Signature=hush"


@pytest.fixture
def cache(tmp_path: Path) -> PictureCache:
    return PictureCache(tmp_path / "cache")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_picture_is_kept_by_its_content(cache: PictureCache) -> None:
    assert cache.add(CONTENT) == SHA
    assert cache.path(SHA).read_bytes() == CONTENT


def test_a_picture_is_kept_once(cache: PictureCache, tmp_path: Path) -> None:
    cache.add(CONTENT)
    before = cache.path(SHA).stat()
    cache.add(CONTENT)
    assert cache.path(SHA).stat().st_ino == before.st_ino
    assert files(tmp_path) == [cache.path(SHA)]


def test_a_url_is_remembered_per_project(cache: PictureCache) -> None:
    cache.remember(PROJECT, URL, cache.add(CONTENT))
    assert cache.find(PROJECT, URL) == SHA
    assert cache.find(PROJECT, URL + "0") is None
    assert cache.find(ProjectKey("localhost-8080", 70), URL) is None
    assert cache.find(ProjectKey("localhost-8081", 7), URL) is None


def test_a_url_that_shows_another_picture_is_remembered_anew(cache: PictureCache) -> None:
    cache.remember(PROJECT, URL, cache.add(CONTENT))
    other = cache.add(b"another")
    cache.remember(PROJECT, URL, other)
    assert cache.find(PROJECT, URL) == other


def test_another_process_finds_what_was_remembered(cache: PictureCache, tmp_path: Path) -> None:
    cache.remember(PROJECT, URL, cache.add(CONTENT))
    assert PictureCache(tmp_path / "cache").find(PROJECT, URL) == SHA


def test_no_secret_of_a_url_is_on_the_disk(cache: PictureCache, tmp_path: Path) -> None:
    cache.remember(PROJECT, URL, cache.add(CONTENT))
    for path in files(tmp_path):
        assert b"hush" not in path.read_bytes()
        assert "hush" not in str(path)


@pytest.mark.parametrize("left", [b"", CONTENT[:-1]])
def test_a_picture_that_lost_bytes_is_not_found_and_heals(cache: PictureCache, left: bytes) -> None:
    cache.remember(PROJECT, URL, cache.add(CONTENT))
    cache.path(SHA).write_bytes(left)
    assert cache.find(PROJECT, URL) is None
    cache.add(CONTENT)
    assert cache.path(SHA).read_bytes() == CONTENT
    assert cache.find(PROJECT, URL) == SHA


def test_pictures_may_be_deleted_at_any_time(cache: PictureCache) -> None:
    cache.remember(PROJECT, URL, cache.add(CONTENT))
    cache.path(SHA).unlink()
    assert cache.find(PROJECT, URL) is None
    cache.remember(PROJECT, URL, SHA)
    assert cache.find(PROJECT, URL) is None


@pytest.mark.parametrize("note", [b"", b"x", b"../../secret 3", f"{SHA} x".encode(), f"{SHA}".encode(), b"\xff\xfe"])
def test_a_damaged_note_is_no_note(cache: PictureCache, tmp_path: Path, note: bytes) -> None:
    cache.remember(PROJECT, URL, cache.add(CONTENT))
    (path,) = files(tmp_path / "cache" / "urls")
    path.write_bytes(note)
    assert cache.find(PROJECT, URL) is None


@pytest.mark.parametrize("sha", ["", "..", "../../etc/passwd", SHA.upper(), SHA[:-1], SHA + "\n"])
def test_only_a_hash_names_a_picture(cache: PictureCache, sha: str) -> None:
    with pytest.raises(ValueError, match="is no sha256"):
        cache.path(sha)


@pytest.mark.parametrize("url", ["", "\ud800", "x" * 10_000, "../../x", "data\x00"])
def test_any_text_may_be_a_url(cache: PictureCache, url: str) -> None:
    cache.remember(PROJECT, url, cache.add(CONTENT))
    assert cache.find(PROJECT, url) == SHA


def test_an_empty_cache_finds_nothing(cache: PictureCache, tmp_path: Path) -> None:
    assert cache.find(PROJECT, URL) is None
    assert list(tmp_path.iterdir()) == []


def test_threads_add_together(cache: PictureCache, tmp_path: Path) -> None:
    def add(number: int) -> str:
        sha = cache.add(b"picture %d" % (number % 5))
        cache.remember(PROJECT, f"/{number % 5}", sha)
        return sha

    with ThreadPoolExecutor(8) as pool:
        added = list(pool.map(add, range(100)))
    assert len(set(added)) == 5
    assert [cache.find(PROJECT, f"/{number % 5}") for number in range(100)] == added
    assert len(files(tmp_path)) == 10


def test_kill_9_leaves_no_part_of_a_picture(tmp_path: Path) -> None:
    script = f"""
import os, pathlib, signal, sys
sys.path[:0] = {sys.path!r}
from labelloop.data.picture_cache import PictureCache
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
PictureCache(pathlib.Path({str(tmp_path)!r})).add({CONTENT!r})
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    cache = PictureCache(tmp_path)
    assert not cache.path(SHA).exists()
    assert cache.path(cache.add(CONTENT)).read_bytes() == CONTENT


def test_a_full_disk_is_told_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"a picture cannot be kept in .*file: .*MODEL_DIR"):
        PictureCache(tmp_path / "file").add(CONTENT)
