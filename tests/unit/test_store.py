import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labelloop.errors import NotFound, StoreError, UnsafeStore
from labelloop.models.file_store import FileStore
from labelloop.models.opening import check_store, open_store
from labelloop.models.records import update
from labelloop.models.store import Store
from support.contest import contest, count_up
from support.store_rules import StoreRules


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


class TestFileStore(StoreRules):
    pass


def dies_in(root: Path, where: str, step: str) -> None:
    """Run one step of a store in a process that is killed (-9) inside ``where``."""
    script = f"""
import os, pathlib, signal
from labelloop.models.file_store import FileStore
store = FileStore(pathlib.Path({str(root)!r}))
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
{where} = die
{step}
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode == -9


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("step", ["store.create('a/b', b'new' * 9)", "store.write('a/b', b'new' * 9)"])
def test_kill_9_leaves_no_part_of_an_object_and_no_lock(tmp_path: Path, where: str, step: str) -> None:
    dies_in(tmp_path, where, step)
    store = FileStore(tmp_path)
    with pytest.raises(NotFound):
        store.read("a/b")
    assert list(store.walk("")) == []
    assert store.names("") == []
    store.create("a/b", b"whole")
    assert store.read("a/b").content == b"whole"


def test_kill_9_in_a_swap_leaves_the_old_object(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.write("a", b"old")
    dies_in(tmp_path, "pathlib.Path.replace", f"store.swap('a', b'new', {store.read('a').tag!r})")
    assert store.read("a").content == b"old"
    store.swap("a", b"newer", store.read("a").tag)


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path: Path) -> None:
    dies_in(tmp_path, "os.fsync", "store.write('a', b'x')")
    (left,) = (tmp_path / ".tmp").iterdir()
    FileStore(tmp_path)
    assert left.exists()
    os.utime(left, times=(0, time.time() - 90_000))
    FileStore(tmp_path)
    assert not left.exists()


def test_no_update_is_lost_between_processes(tmp_path: Path) -> None:
    contest(count_up, str(tmp_path), "n", "25")
    assert FileStore(tmp_path).read("n").content == b"100"


def test_readers_never_see_half_an_object(store: FileStore) -> None:
    sizes = (10, 300_000)
    store.write("a", b"x" * sizes[0])

    def write(turn: int) -> None:
        store.write("a", b"x" * sizes[turn % 2])

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, turn) for turn in range(20)]
        seen = {len(store.read("a").content) for _ in range(200)}
        for each in writing:
            each.result()
    assert seen <= set(sizes)


@pytest.mark.parametrize("link", ["inside", "inside/file"])
def test_symbolic_links_do_not_lead_out(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"secret")
    root = tmp_path / "store"
    place = root / link
    place.parent.mkdir(parents=True)
    place.symlink_to(outside if link == "inside" else outside / "file")
    store = FileStore(root)
    for step in (
        lambda: store.read("inside/file"),
        lambda: store.write("inside/file", b"x"),
        lambda: store.create("inside/new" if link == "inside" else "inside/file", b"x"),
    ):
        with pytest.raises(StoreError, match="symbolic link"):
            step()
    assert list(store.walk("")) == []
    assert store.names("") == []
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_bytes() == b"secret"


def test_a_store_behind_a_link_is_a_store(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    FileStore(tmp_path / "link").write("a", b"x")
    assert FileStore(tmp_path / "real").read("a").content == b"x"


def test_empty_folders_and_foreign_things_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / "a" / "empty").mkdir(parents=True)
    (tmp_path / "lost+found" / "x").mkdir(parents=True)
    (tmp_path / "lost+found" / "x" / "y").touch()
    (tmp_path / "Icon\r").touch()
    store = FileStore(tmp_path)
    assert store.names("") == []
    assert list(store.walk("")) == []


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"a cannot be written in the store .*file: .*LABELLOOP_STORE"):
        FileStore(tmp_path / "file").write("a", b"x")


def test_an_update_that_never_gets_through_says_so(store: FileStore) -> None:
    calls = []

    def change(content: bytes | None) -> bytes:
        calls.append(content)
        store.write("a", b"%d of others" % len(calls))
        return b"mine"

    with pytest.raises(StoreError, match="a is being changed by others all the time"):
        update(store, "a", change, tries=3)
    assert calls == [None, b"1 of others", b"2 of others"]
    assert store.read("a").content == b"3 of others"


def test_an_update_may_leave_all_as_it_is(store: FileStore) -> None:
    update(store, "a", lambda _: None)
    assert store.names("") == []


class CarelessCreate(FileStore):
    """A store that passes over a condition, as some services that speak S3 do."""

    def create(self, path: str, content: bytes) -> None:
        self.write(path, content)


class CarelessSwap(FileStore):
    def swap(self, path: str, content: bytes, tag: str) -> None:  # noqa: ARG002
        self.write(path, content)


@pytest.mark.parametrize("kind", [CarelessCreate, CarelessSwap])
def test_the_check_finds_a_store_that_passes_over_conditions(tmp_path: Path, kind: type[FileStore]) -> None:
    with pytest.raises(UnsafeStore, match="conditional writes"):
        check_store(kind(tmp_path))


def test_the_check_fails_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be"):
        check_store(FileStore(tmp_path / "file"))


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_file_address_opens_a_folder(tmp_path: Path, host: str) -> None:
    folder = tmp_path / "my store"
    store: Store = open_store(folder.as_uri().replace("file://", f"file://{host}"))
    store.write("a", b"x")
    assert (folder / "a").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("gs:///prefix", r"'gs:///prefix' names no bucket: expected gs://bucket/prefix"),
        ("gs://Bucket/prefix", r"'gs://Bucket/prefix' names no bucket of Cloud Storage"),
        ("/data/store", r"'/data/store' is of no known kind: use file:///folder"),
        ("", "of no known kind"),
        ("ftp://host/x", "of no known kind"),
        ("file://data/store", "names no folder: it has three slashes"),
        ("file://", "names no folder"),
        ("file:///", "names no folder"),
        ("s3:///prefix", "names no bucket"),
        ("s3://bucket/../other", "refused"),
        ("s3://bucket/.hidden", "refused"),
    ],
)
def test_other_addresses_are_refused_with_the_remedy(address: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        open_store(address)


@pytest.mark.parametrize("address", ["s3://key:hush@bucket/x", "s3://bucket/x?secret=hush", "file:///x#hush"])
def test_no_secret_of_an_address_is_told(address: str) -> None:
    with pytest.raises(StoreError, match="user, password or options") as caught:
        open_store(address)
    assert "hush" not in str(caught.value)
