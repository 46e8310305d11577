"""Copies of a store that is written meanwhile, and what is restored of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from labelloop.errors import Conflict, NotFound, StoreError
from labelloop.loop.pruning import prune
from labelloop.models.backup import back_up, is_half_restored, restore, stored_projects
from labelloop.models.champion import ChampionPointer
from labelloop.models.store import Sized, Store
from labelloop.models.versions import Versions
from support.crash_store import CrashStore, Killed
from support.file_bundle import write_head
from support.memory_store import MemoryStore

from .test_pruning import PROJECT, made


def quiet(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def contents(store: Store) -> dict[str, bytes]:
    return {path: store.read(path).content for path in store.walk("")}


class Busy(CrashStore):
    """A store in which something happens as the copy has read so many objects."""

    def __init__(self, store: Store, at: int, happens: Callable[[], None]) -> None:
        super().__init__(store, at=1_000_000)
        self._at, self._happens = at, happens

    def download(self, path: str, target: Path) -> None:
        self._at -= 1
        if self._at == 0:
            self._happens()
        super().download(path, target)


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    store = MemoryStore()
    made(store, "v1", tmp_path, None)
    made(store, "v2", tmp_path, "v1")
    store.write("_projects/7.json", b'{"projects": []}')
    store.write("labelloop-check/object", b"nothing of a project's")
    return store


def test_a_copy_has_all_and_a_second_one_only_what_is_new(store: MemoryStore, tmp_path: Path) -> None:
    target = MemoryStore()
    made_again = [f"{PROJECT}/features/{'b' * 64}/straight/{'a' * 64}.npy", f"{PROJECT}/contents/{'a' * 64}.npy"]
    for path in (*made_again, f"{PROJECT}/features/taken.json"):
        store.write(path, b"features")
    first = back_up(store, target, quiet)
    for path in (*made_again, f"{PROJECT}/features/taken.json"):
        store.remove(path)
    assert contents(target) == {path: content for path, content in contents(store).items() if "check" not in path}
    assert (first.objects, first.skipped, first.projects) == (len(contents(target)), 0, (PROJECT,))
    made(store, "v3", tmp_path, "v2")
    second = back_up(store, target, quiet)
    assert contents(target).keys() == contents(store).keys() - {"labelloop-check/object"}
    assert second.skipped >= 10, "bundles and labels of v1 and v2"


def test_whatever_happens_meanwhile_a_copy_has_what_its_pointers_name(tmp_path: Path) -> None:
    at, champions = 0, set()
    while True:
        at += 1
        store, target = MemoryStore(), MemoryStore()
        made(store, "v1", tmp_path / "all", None)
        head = write_head(tmp_path / "head")
        happened: list[bool] = []

        def happen(store: MemoryStore = store, happened: list[bool] = happened, head: Path = head) -> None:
            made(store, "v2", tmp_path / "all", "v1", bundle=head)
            happened.append(True)

        back_up(Busy(store, at, happen), target, quiet)
        if not happened:
            break
        pointers = ChampionPointer(target, PROJECT).read()
        champions.add(pointers.champion)
        assert pointers.champion is not None
        assert Versions(target, PROJECT).fetch_bundle(pointers.champion, tmp_path / f"cache-{at}").is_dir()
        for record in Versions(target, PROJECT).all():
            assert Versions(target, PROJECT).fetch_bundle(record.version, tmp_path / f"cache-{at}").is_dir()
    assert champions == {"v1", "v2"}
    assert at > 8


def test_what_is_pruned_meanwhile_makes_it_begin_again(tmp_path: Path) -> None:
    store, target = MemoryStore(), MemoryStore()
    made(store, "v1", tmp_path, None)

    def happen() -> None:
        for name, parent in (("v2", "v1"), ("v3", "v2")):
            made(store, name, tmp_path, parent)
        assert prune(store, PROJECT, 1).versions == ("v1",)

    # The pointer has been copied by then, and names v1.
    back_up(Busy(store, 8, happen), target, quiet)
    assert ChampionPointer(target, PROJECT).read().champion == "v3"
    assert Versions(target, PROJECT).fetch_bundle("v3", tmp_path / "cache").is_dir()


def test_a_store_whose_champion_is_broken_is_no_backup(store: MemoryStore) -> None:
    for path in [*store.walk(f"{PROJECT}/versions/v2/")]:
        if path.endswith("model.json"):
            store.remove(path)
    with pytest.raises(StoreError, match="the copy is not whole: v2 of 1795187589/7 is not in it"):
        back_up(store, MemoryStore(), quiet)


def test_a_backbone_that_is_gone_breaks_the_versions_on_it(store: MemoryStore, tmp_path: Path) -> None:
    made(store, "v3", tmp_path, "v2", bundle=write_head(tmp_path / "head"))
    target = MemoryStore()
    back_up(store, target, quiet)
    Versions(target, PROJECT).fetch_bundle("v3", tmp_path / "cache")
    store.remove(next(store.walk(f"{PROJECT}/backbones/")))
    with pytest.raises(StoreError, match="the copy is not whole: v3 of 1795187589/7 is not in it"):
        back_up(store, MemoryStore(), quiet)


def test_a_restore_is_whole_or_goes_on(store: MemoryStore) -> None:
    backup = MemoryStore()
    back_up(store, backup, quiet)
    for after in (False, True):
        step = 0
        while True:
            fresh = MemoryStore()
            try:
                restore(backup, CrashStore(fresh, at=step, after=after), "file:///backup", quiet)
            except Killed:
                assert is_half_restored(fresh) or not contents(fresh) or contents(fresh) == contents(backup)
                if is_half_restored(fresh):
                    with pytest.raises(Conflict, match="half restored from file:///backup"):
                        restore(backup, fresh, "file:///other", quiet)
                if contents(fresh) != contents(backup):
                    restore(backup, fresh, "file:///backup", quiet)
                assert contents(fresh) == contents(backup)
                step += 7
            else:
                assert contents(fresh) == contents(backup)
                break


def test_a_store_in_use_is_not_restored_into_and_nothing_is_no_backup(store: MemoryStore) -> None:
    with pytest.raises(Conflict, match="name an empty place"):
        restore(store, store, "file:///backup", quiet)
    with pytest.raises(NotFound, match="file:///none holds no project"):
        restore(MemoryStore(), MemoryStore(), "file:///none", quiet)


def test_numbers_that_were_given_out_are_not_given_again(store: MemoryStore) -> None:
    versions = Versions(store, PROJECT)
    versions.skip(2)
    assert versions.names() == ["v1", "v2"]
    versions.skip(9)
    assert versions.claim("another run") == "v10"
    assert [record.version for record in versions.all()] == ["v1", "v2"]


def test_folders_of_projects_are_named(store: MemoryStore) -> None:
    assert [*stored_projects(store)] == [PROJECT]
    assert [*store.sizes("_projects/")] == [Sized("_projects/7.json", 16)]
