"""Files of this machine: whole or not at all, held against other processes, hashed, linked, cleared away."""

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from labelloop.errors import StoreError
from labelloop.files import (
    cores,
    file_lock,
    keep_sha256,
    kept_sha256,
    link_kept,
    link_or_copy,
    made_once,
    remembered_sha256,
    remove_stale,
    sha256,
    whole_file,
    whole_folder,
)

_HOLDER = """
import sys, time
from pathlib import Path
from labelloop.files import file_lock
with file_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

_SLEEPER = "import sys; print('there', flush=True); sys.stdin.read()"


@contextmanager
def _child(*command: str, keep: tuple[int, ...] = ()) -> "Iterator[subprocess.Popen[bytes]]":
    """Start a Python child that says a line when it is ready, and ends with its standard input."""
    with subprocess.Popen(
        [sys.executable, "-c", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=keep
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        yield child
        child.kill()


def _write_half(target: Path, *, shared: bool) -> None:
    with whole_file(target, shared=shared) as aside:
        aside.write_text("ne")
        raise OSError("the disk is full")


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "scores.npz"
    with whole_file(target) as aside:
        aside.write_text("whole")
        assert not target.exists()
        assert (aside.parent, aside.suffix) == (target.parent, ".npz")
    assert target.read_text() == "whole"
    assert _names(target.parent) == ["scores.npz"]


@pytest.mark.parametrize("shared", [False, True])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, shared: bool) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(OSError, match="full"):
        _write_half(target, shared=shared)
    assert target.read_text() == "old"
    assert _names(tmp_path) == ["file"]


def test_what_a_killed_writer_has_left_is_written_over(tmp_path: Path) -> None:
    with whole_file(tmp_path / "file") as aside:
        name = aside.name
        aside.write_text("new")
    (tmp_path / name).write_text("left behind")
    with whole_file(tmp_path / "file") as aside:
        aside.write_text("newer")
    assert _names(tmp_path) == ["file"]


def test_many_may_write_one_file_at_once(tmp_path: Path) -> None:
    target = tmp_path / "file"

    def write(number: int) -> None:
        with whole_file(target, shared=True) as aside:
            aside.write_text(f"{number}" * 1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(10), timeout=60))
    assert len(set(target.read_text())) == 1
    assert _names(tmp_path) == ["file"]


def test_a_folder_is_there_when_it_is_whole_and_the_first_one_stays(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "folder"
    with whole_folder(target) as first, whole_folder(target) as second:
        (first / "file").write_text("first")
        (second / "file").write_text("second")
        assert not target.exists()
    assert (target / "file").read_text() == "second", "the inner block ended first"
    with pytest.raises(ValueError, match="half way"), whole_folder(tmp_path / "other"):
        raise ValueError("half way")
    assert _names(tmp_path) == ["cache"]
    assert _names(tmp_path / "cache") == ["folder"]


def test_a_folder_that_cannot_be_put_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file is in the way")
    with pytest.raises(OSError, match="folder"), whole_folder(tmp_path / "folder"):
        pass
    assert _names(tmp_path) == ["folder"]


def test_a_lock_is_for_one_process_until_it_lets_go_or_is_killed(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with _child(_HOLDER, str(path)) as child:
        with pytest.raises(BlockingIOError), file_lock(path, 0):
            pass
        with pytest.raises(BlockingIOError), file_lock(path, 0.05):
            pass
        child.kill()
        with file_lock(path, 60):
            pass


def test_a_lock_is_given_up_though_a_child_has_the_file_unless_it_is_to_inherit_it(tmp_path: Path) -> None:
    for inherited in (False, True):
        path = tmp_path / f"{inherited}"
        with file_lock(path, 0, inherited=inherited) as file:
            entered = _child(_SLEEPER, keep=(file.fileno(),))
            child = entered.__enter__()
        if inherited:
            with pytest.raises(BlockingIOError), file_lock(path, 0):
                pass
            child.kill()
        with file_lock(path, 60 if inherited else 0):
            pass
        entered.__exit__(None, None, None)


def test_a_file_is_hashed_and_linked(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert sha256(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()
    link_or_copy(tmp_path / "link", tmp_path / "linked")
    assert (tmp_path / "linked").samefile(tmp_path / "file")
    assert not (tmp_path / "linked").is_symlink()
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "missing", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_file_is_copied_where_it_cannot_be_linked(tmp_path: Path) -> None:
    here = tmp_path.stat().st_dev
    places = (Path(one) for one in ("/dev/shm", tempfile.gettempdir()) if os.access(one, os.W_OK))
    elsewhere = next((one for one in places if one.stat().st_dev != here), None)
    if elsewhere is None:
        pytest.skip("there is one file system")
    source = elsewhere / f"labelloop-{os.getpid()}"
    source.write_bytes(b"content")
    try:
        link_or_copy(source, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"content"
        assert (tmp_path / "copy").stat().st_nlink == 1
    finally:
        source.unlink()


def test_a_hash_is_kept_until_the_file_is_another_or_a_day_has_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, linked = tmp_path / "weights", tmp_path / "other" / "weights"
    linked.parent.mkdir()
    file.write_bytes(b"one")
    assert kept_sha256(file) == sha256(file)
    assert [*tmp_path.glob(".*")] == [], "the file may be anybody's"
    first, moment = sha256(file), file.stat().st_mtime_ns
    keep_sha256(file, first)
    link_kept(file, linked)
    file.write_bytes(b"two")
    os.utime(file, ns=(moment, moment))
    assert kept_sha256(file) == kept_sha256(linked) == first, "nothing tells that it is another"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    assert kept_sha256(file) == kept_sha256(linked) == hashlib.sha256(b"two").hexdigest()
    file.write_bytes(b"three")
    assert kept_sha256(file) == hashlib.sha256(b"three").hexdigest()
    (tmp_path / ".weights.sha256").write_text("no record")
    assert kept_sha256(file) == hashlib.sha256(b"three").hexdigest()
    with pytest.raises(FileNotFoundError):
        kept_sha256(tmp_path / "none")


def test_what_is_a_day_old_is_cleared_away(tmp_path: Path) -> None:
    remove_stale(tmp_path / "missing")
    for name in ("old", "new"):
        (tmp_path / f"{name}-folder").mkdir()
        (tmp_path / name).write_text("")
    for name in ("old", "old-folder"):
        os.utime(tmp_path / name, (1, 1))
    remove_stale(tmp_path)
    assert _names(tmp_path) == ["new", "new-folder"]


def test_there_is_a_core() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_a_file_of_somebody_elses_is_hashed_anew_whenever_it_may_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, file = tmp_path / "cache" / "hashes", tmp_path / "weights"
    file.write_bytes(b"first")
    first, other = (hashlib.sha256(content).hexdigest() for content in (b"first", b"other"))
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256(path)

    monkeypatch.setattr("labelloop.files.sha256", counted)

    def given() -> tuple[str, int]:
        hashed.clear()
        return remembered_sha256(file, memory), len(hashed)

    monkeypatch.setattr("labelloop.files._SETTLED_SECONDS", -1.0)
    assert (given(), given()) == ((first, 1), (first, 1)), "nothing is made where there is no MODEL_DIR yet"
    memory.parent.mkdir()
    assert (given(), given()) == ((first, 1), (first, 0))
    times = file.stat()
    file.write_bytes(b"other")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    while file.stat().st_ctime_ns == times.st_ctime_ns:  # its clock ticks every few milliseconds
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file.stat().st_mtime_ns == times.st_mtime_ns
    assert (given(), given()) == ((other, 1), (other, 0)), "of the same size and time"
    [note] = memory.iterdir()
    note.write_text(note.read_text().replace(note.read_text().split()[0], str(time.time() - 25 * 3600)))
    assert given() == (other, 1), "after a day"
    note.write_text("damaged")
    assert given() == (other, 1)
    monkeypatch.undo()
    file.write_bytes(b"first")
    assert [remembered_sha256(file, memory) for _ in range(2)] == [first, first]
    assert other in note.read_text(), "it has only just changed"


def test_two_that_find_nothing_at_once_make_it_once(tmp_path: Path) -> None:
    folder, both = tmp_path / "cache" / "network", threading.Barrier(2)
    made: list[Path] = []

    def ask(_: int) -> str:
        looked: list[bool] = []

        def find() -> str | None:
            found = (folder / "file").read_text() if folder.is_dir() else None
            if not looked:
                looked.append(True)
                both.wait(10)
            return found

        def make(partial: Path) -> None:
            made.append(partial)
            (partial / "file").write_text("whole")

        return made_once(folder, "a network", find, make)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, range(2))) == ["whole", "whole"]
    assert len(made) == 1
    assert [one.name for one in folder.iterdir()] == ["file"]
    with pytest.raises(StoreError, match="damaged as soon as it is written"):
        made_once(folder, "a network", lambda: None, lambda _: None)
    with pytest.raises(StoreError, match="a network cannot be kept in"):
        made_once(Path("/dev/null/below"), "a network", lambda: None, lambda _: None)
