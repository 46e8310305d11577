import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from labelloop.errors import Conflict, Fenced, StoreError
from labelloop.models.champion import ChampionPointer, Pointers
from labelloop.models.file_store import FileStore
from labelloop.types import ProjectKey
from support.contest import PROJECT, contest, take_fences
from support.crash_store import CrashStore, Killed
from support.examples import examples


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


@pytest.fixture
def pointer(store: FileStore) -> ChampionPointer:
    return ChampionPointer(store, PROJECT)


def test_before_the_first_run_there_is_nothing(pointer: ChampionPointer, store: FileStore) -> None:
    assert pointer.read() == Pointers(champion=None, announced=None, fence=0, history=())
    assert store.names("") == []


def test_the_first_fence_makes_the_object(pointer: ChampionPointer, store: FileStore) -> None:
    assert pointer.take_fence() == 1
    assert json.loads(store.read(f"{PROJECT}/champion.json").content)["fence"] == 1
    assert pointer.take_fence() == 2


def test_a_version_becomes_champion_and_then_announced(pointer: ChampionPointer) -> None:
    fence = pointer.take_fence()
    promoted = pointer.promote("v1", fence)
    assert (promoted.champion, promoted.announced) == ("v1", None)
    announced = pointer.announce("v1", fence)
    assert (announced.champion, announced.announced) == ("v1", "v1")
    assert pointer.read() == announced


def test_both_steps_may_be_repeated(pointer: ChampionPointer) -> None:
    fence = pointer.take_fence()
    assert pointer.promote("v1", fence) == pointer.promote("v1", fence)
    assert pointer.announce("v1", fence) == pointer.announce("v1", fence)
    assert [reign.version for reign in pointer.read().history] == ["v1"]


def test_an_old_fence_moves_nothing(pointer: ChampionPointer) -> None:
    old = pointer.take_fence()
    pointer.promote("v1", old)
    pointer.take_fence()
    before = pointer.read()
    for step in (pointer.promote, pointer.announce):
        with pytest.raises(Fenced, match=r"fence 1 of localhost-8080/7 is out of date, 2"):
            step("v1", old)
    with pytest.raises(Fenced):
        pointer.promote("v2", old)
    assert pointer.read() == before


def test_a_fence_nobody_took_moves_nothing(pointer: ChampionPointer) -> None:
    for fence in (-1, 0, 1):
        with pytest.raises(Fenced):
            pointer.promote("v1", fence)
    assert pointer.read() == Pointers()


def test_only_the_champion_is_announced(pointer: ChampionPointer) -> None:
    fence = pointer.take_fence()
    with pytest.raises(Conflict, match="v1 of localhost-8080/7 cannot be announced: the champion is None"):
        pointer.announce("v1", fence)
    pointer.promote("v1", fence)
    pointer.promote("v2", fence)
    with pytest.raises(Conflict, match="the champion is v2"):
        pointer.announce("v1", fence)
    assert pointer.read().announced is None


def test_the_history_shows_a_rollback(pointer: ChampionPointer) -> None:
    for version in ("v1", "v2", "v1"):
        pointer.promote(version, pointer.take_fence())
    history = pointer.read().history
    assert [(reign.version, reign.fence) for reign in history] == [("v1", 1), ("v2", 2), ("v1", 3)]
    assert [reign.at for reign in history] == sorted(reign.at for reign in history)


def test_projects_do_not_meet(store: FileStore, pointer: ChampionPointer) -> None:
    pointer.promote("v1", pointer.take_fence())
    other = ChampionPointer(store, ProjectKey("localhost-8080", 70))
    assert other.read() == Pointers()
    assert other.take_fence() == 1


def test_fences_taken_by_many_processes_are_all_different(tmp_path: Path) -> None:
    taken = contest(take_fences, str(tmp_path), "12")
    assert sorted(fence for fences in taken for fence in fences) == list(range(1, 49))
    assert all(fences == sorted(fences) for fences in taken)


@pytest.mark.parametrize("content", [b"", b"[]", b'"x"', b'{"history": [{"who": 1}]}', b'{"history": 3}', b"\xff"])
def test_a_damaged_object_is_named(store: FileStore, pointer: ChampionPointer, content: bytes) -> None:
    store.write(f"{PROJECT}/champion.json", content)
    with pytest.raises(StoreError, match=r"localhost-8080/7/champion\.json is damaged"):
        pointer.read()
    with pytest.raises(StoreError, match="damaged"):
        pointer.take_fence()
    assert store.read(f"{PROJECT}/champion.json").content == content


def test_a_field_of_a_newer_release_is_passed_over(store: FileStore, pointer: ChampionPointer) -> None:
    store.write(f"{PROJECT}/champion.json", b'{"champion": "v3", "announced": "v2", "fence": 9, "colour": "red"}')
    assert (pointer.read().champion, pointer.take_fence()) == ("v3", 10)


WORKERS = st.sampled_from(["ann", "bob", "cleo"])
VERSIONS = st.sampled_from(["v1", "v2", "v3"])


class Workers(RuleBasedStateMachine):
    """Several workers at one project, any of which may sleep, wake with an old fence, or die in a step."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.store = FileStore(Path(self.folder.name))
        self.pointer = ChampionPointer(self.store, PROJECT)
        self.held: dict[str, int] = {}
        self.given: set[int] = set()
        self.newest = 0
        self.champions: list[str] = []
        self.announced: str | None = None

    @rule(worker=WORKERS)
    def take_fence(self, worker: str) -> None:
        fence = self.pointer.take_fence()
        assert fence > self.newest
        assert fence not in self.given
        self.given.add(fence)
        self.held[worker] = self.newest = fence

    @rule(worker=WORKERS, version=VERSIONS)
    def promote(self, worker: str, version: str) -> None:
        fence = self.held.get(worker, 0)
        if fence and fence == self.newest:
            self.pointer.promote(version, fence)
            self._is_champion_now(version)
        else:
            self._is_refused(lambda: self.pointer.promote(version, fence), Fenced)

    @rule(worker=WORKERS, version=VERSIONS)
    def announce(self, worker: str, version: str) -> None:
        fence = self.held.get(worker, 0)
        if not fence or fence != self.newest:
            self._is_refused(lambda: self.pointer.announce(version, fence), Fenced)
        elif self.champions[-1:] != [version]:
            self._is_refused(lambda: self.pointer.announce(version, fence), Conflict)
        else:
            self.pointer.announce(version, fence)
            self.announced = version

    @rule(worker=WORKERS, version=VERSIONS, step=st.sampled_from(["fence", "promote", "announce"]), after=st.booleans())
    def die(self, worker: str, version: str, step: str, after: bool) -> None:
        """Die just before or just after the one write of a step; what was written stays, what was held is gone."""
        pointer = ChampionPointer(CrashStore(self.store, 0, after=after), PROJECT)
        fence = self.held.pop(worker, 0)
        before = self.pointer.read()
        try:
            if step == "fence":
                pointer.take_fence()
            elif step == "promote":
                pointer.promote(version, fence)
            else:
                pointer.announce(version, fence)
        except (Killed, Fenced, Conflict):
            pass
        now = self.pointer.read()
        if not after or (step != "fence" and fence != self.newest):
            assert now == before
        self.newest = now.fence
        if now.champion != before.champion:
            self._is_champion_now(version)
        self.announced = now.announced

    @rule(sleeper=WORKERS, other=WORKERS, version=VERSIONS)
    def a_newer_worker_comes_between_reading_and_writing(self, sleeper: str, other: str, version: str) -> None:
        fence = self.held.get(sleeper, 0)
        taken: list[int] = []
        pointer = ChampionPointer(Sleeper(self.store, lambda: taken.append(self.pointer.take_fence())), PROJECT)
        if fence and fence == self.newest and self.champions[-1:] == [version]:
            return  # It is champion already: nothing is to be written, so nothing can come between.
        with pytest.raises(Fenced):
            pointer.promote(version, fence)
        if taken:
            self.newest = taken[0]
            self.given.update(taken)
            self.held[other] = taken[0]

    @invariant()
    def the_store_is_what_the_newest_workers_made_of_it(self) -> None:
        now = self.pointer.read()
        assert now.fence == self.newest
        assert [reign.version for reign in now.history] == self.champions
        assert now.champion == (self.champions[-1] if self.champions else None)
        assert now.announced == self.announced
        assert now.announced is None or now.announced in self.champions

    def _is_champion_now(self, version: str) -> None:
        if self.champions[-1:] != [version]:
            self.champions.append(version)

    def _is_refused(self, step, error: type[Exception]) -> None:  # type: ignore[no-untyped-def]
        before = self.pointer.read()
        with pytest.raises(error):
            step()
        assert self.pointer.read() == before

    def teardown(self) -> None:
        self.folder.cleanup()


class Sleeper(CrashStore):
    """A store whose user falls asleep before its first write; ``meanwhile`` happens then."""

    def __init__(self, store: FileStore, meanwhile) -> None:  # type: ignore[no-untyped-def]
        super().__init__(store, at=1_000)
        self._meanwhile = meanwhile

    def swap(self, path: str, content: bytes, tag: str) -> None:
        meanwhile, self._meanwhile = self._meanwhile, lambda: None
        meanwhile()
        super().swap(path, content, tag)


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=examples(25), stateful_step_count=20)
