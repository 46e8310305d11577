"""Which models are loaded, which champion answers: under many threads and failing stores."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from labelloop.errors import BundleError, LabelLoopError, NotFound, StoreError
from labelloop.models.file_store import FileStore
from labelloop.serve.engines.base import Engine, open_engine
from labelloop.serve.pinned import PinnedCatalog, version_of
from labelloop.serve.refusal import BadRequest, NotReady
from labelloop.serve.registry import MOST_FAILED, UNKNOWN_SECONDS, ModelKey, Registry
from labelloop.serve.stored import Champions, StoreCatalog
from labelloop.types import ProjectKey, Target
from support.bundles import make_bundle, picture, publish_bundle

PROJECT = ProjectKey("ls", 7)
OTHER = ProjectKey("ls", 8)
SECONDS = 10.0


def key(number: int) -> ModelKey:
    return ModelKey(PROJECT, f"v{number}")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    make_bundle(tmp_path / "bundle")
    return open_engine(tmp_path / "bundle", "onnx")


class Loader:
    """Loads when its gate is open, and counts."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.loads: list[ModelKey] = []
        self.error: Exception | None = None

    def __call__(self, wanted: ModelKey) -> Engine:
        self.loads.append(wanted)
        self.begun.set()
        assert self.gate.wait(SECONDS)
        if self.error:
            raise self.error
        return self.engine


@pytest.fixture
def loader(engine: Engine) -> Loader:
    return Loader(engine)


def in_threads(count: int, task: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=task) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_the_ones_asked_for_last_stay(loader: Loader) -> None:
    registry = Registry(loader, capacity=2)
    registry.get(key(1))
    registry.get(key(2))
    registry.get(key(1))
    registry.get(key(3))
    assert registry.loaded() == [key(1), key(3)]
    assert registry.ready(key(2)) is None
    assert loader.loads == [key(1), key(2), key(3)]


def test_many_requests_load_a_model_once_and_all_get_it(loader: Loader) -> None:
    registry = Registry(loader, capacity=2)
    loader.gate.clear()
    got: list[Engine] = []
    threads = in_threads(8, lambda: got.append(registry.get(key(1))))
    assert loader.begun.wait(SECONDS)
    loader.gate.set()
    join(threads)
    assert loader.loads == [key(1)]
    assert got == [loader.engine] * 8


def test_loading_one_model_does_not_hold_up_another(loader: Loader) -> None:
    registry = Registry(loader, capacity=2)
    registry.get(key(1))
    loader.gate.clear()
    loader.begun.clear()
    threads = in_threads(1, lambda: registry.get(key(2)))
    assert loader.begun.wait(SECONDS)
    assert registry.get(key(1)) is loader.engine
    assert registry.ready(key(2)) is None
    loader.gate.set()
    join(threads)


class Odd(Exception):
    """An error that cannot be copied: its constructor takes other arguments than it keeps."""

    def __init__(self, path: str, *, line: int) -> None:
        super().__init__(f"{path}:{line}")


@pytest.mark.parametrize(
    ("error", "said"), [(BundleError("damaged"), "damaged"), (Odd("model.onnx", line=3), "model.onnx:3")]
)
def test_everyone_who_waits_hears_of_a_failure_and_the_next_request_tries_again(
    loader: Loader, error: Exception, said: str
) -> None:
    registry = Registry(loader, capacity=2)
    loader.gate.clear()
    loader.error = error
    heard: list[str] = []

    def ask() -> None:
        try:
            registry.get(key(1))
        except type(error) as raised:
            heard.append(str(raised))

    threads = in_threads(4, ask)
    assert loader.begun.wait(SECONDS)
    loader.gate.set()
    join(threads)
    assert heard == [said] * 4
    loader.error = None
    assert registry.get(key(1)) is loader.engine


def test_prefetching_leaves_what_failed_alone_for_a_while(loader: Loader) -> None:
    now = [0.0]
    registry = Registry(loader, capacity=2, clock=lambda: now[0])
    loader.error = BundleError("damaged")
    with pytest.raises(BundleError):
        registry.get(key(1))
    registry.prefetch(key(1))
    assert loader.loads == [key(1)]
    now[0] += 10
    loader.error = None
    loader.begun.clear()
    registry.prefetch(key(1))
    assert loader.begun.wait(SECONDS)
    assert registry.get(key(1)) is loader.engine
    assert loader.loads == [key(1)] * 2


def test_versions_that_do_not_exist_are_looked_for_once_in_a_while_and_forgotten(loader: Loader) -> None:
    now = 0.0
    registry = Registry(loader, 2, clock=lambda: now)
    loader.error = NotFound("there is no such version")
    for _ in range(50):
        with pytest.raises(NotFound):
            registry.get(key(1))
    assert loader.loads == [key(1)]
    for number in range(5_000):
        with pytest.raises(NotFound):
            registry.get(key(number))
    assert len(registry._failed) <= MOST_FAILED

    now = UNKNOWN_SECONDS
    loader.error = None
    assert registry.get(key(1)) is loader.engine


def test_a_champion_is_read_once_in_a_while() -> None:
    now, stored, reads = [0.0], ["v1"], []

    def read(project: ProjectKey) -> str | None:
        reads.append(project)
        return stored[0]

    champions = Champions(read, fresh=1.0, clock=lambda: now[0])
    assert [champions.current(PROJECT) for _ in range(5)] == ["v1"] * 5
    stored[0] = "v2"
    assert champions.current(PROJECT) == "v1"
    now[0] += 1
    assert champions.current(PROJECT) == "v2"
    assert reads == [PROJECT] * 2


def test_a_failing_store_leaves_the_known_champion_and_hides_no_unknown_one() -> None:
    now, failing = [0.0], [False]

    def read(project: ProjectKey) -> str | None:
        if failing[0]:
            raise StoreError("unreachable")
        return "v1"

    champions = Champions(read, fresh=1.0, clock=lambda: now[0])
    champions.current(PROJECT)
    failing[0] = True
    now[0] += 5
    assert champions.current(PROJECT) == "v1"
    with pytest.raises(StoreError):
        champions.current(OTHER)


def test_a_champion_that_is_gone_is_none() -> None:
    now, stored = [0.0], ["v1"]
    champions = Champions(lambda _: stored[0] if stored else None, fresh=1.0, clock=lambda: now[0])
    assert champions.current(PROJECT) == "v1"
    stored.clear()
    now[0] += 1
    assert champions.current(PROJECT) is None


def test_a_project_without_champion_is_asked_for_again() -> None:
    stored: list[str | None] = [None]
    champions = Champions(lambda _: stored[0], fresh=1000)
    assert champions.current(PROJECT) is None
    stored[0] = "v1"
    assert champions.current(PROJECT) == "v1"


def test_while_one_request_reads_the_champion_the_others_go_on() -> None:
    now, gate, begun = [0.0], threading.Event(), threading.Event()
    gate.set()

    def read(project: ProjectKey) -> str | None:
        begun.set()
        assert gate.wait(SECONDS)
        return "v1"

    champions = Champions(read, fresh=1.0, clock=lambda: now[0])
    champions.current(PROJECT)
    now[0] += 1
    gate.clear()
    begun.clear()
    threads = in_threads(1, lambda: champions.current(PROJECT))
    assert begun.wait(SECONDS)
    assert champions.current(PROJECT) == "v1"
    gate.set()
    join(threads)


def test_a_pinned_version_is_served_once_it_is_loaded(loader: Loader) -> None:
    loader.gate.clear()
    catalog = PinnedCatalog("v3", lambda: loader(key(3)))
    catalog.start()
    with pytest.raises(NotReady, match="v3 is being loaded"):
        catalog.choose(Target())
    with pytest.raises(NotReady):
        catalog.state()
    loader.gate.set()
    assert catalog.settled.wait(SECONDS)
    assert catalog.choose(Target(PROJECT, "v3")) == (loader.engine, "v3")
    assert catalog.state() == {"mode": "pinned", "version": "v3"}
    with pytest.raises(NotFound, match="pinned to version v3 and has no version v4"):
        catalog.choose(Target(version="v4"))


def test_a_pinned_version_that_cannot_be_loaded_says_so(loader: Loader) -> None:
    loader.error = BundleError("damaged")
    catalog = PinnedCatalog("v3", lambda: loader(key(3)))
    catalog.start()
    assert catalog.settled.wait(SECONDS)
    with pytest.raises(NotReady, match="v3 cannot be loaded: damaged"):
        catalog.choose(Target())


def test_what_nobody_foresaw_is_no_loading_for_ever() -> None:
    def load() -> Engine:
        raise MemoryError

    catalog = PinnedCatalog("v1", load)
    catalog.start()
    assert catalog.settled.wait(SECONDS)
    with pytest.raises(LabelLoopError, match="version v1 cannot be loaded: the server's log says why"):
        catalog.state()


def test_a_bundle_without_a_name_goes_by_its_content(tmp_path: Path) -> None:
    make_bundle(tmp_path / "a")
    make_bundle(tmp_path / "b")
    make_bundle(tmp_path / "c", gain=2.0)
    assert version_of(tmp_path / "a") == version_of(tmp_path / "b") != version_of(tmp_path / "c")
    (tmp_path / "a" / "version.json").write_text('{"version": "v5"}')
    assert version_of(tmp_path / "a") == "v5"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


def test_the_store_is_served_by_project_and_version(store: FileStore, tmp_path: Path) -> None:
    publish_bundle(store, PROJECT, tmp_path / "7", run="one")
    publish_bundle(store, PROJECT, tmp_path / "7", run="two", champion=False, gain=2.0)
    publish_bundle(store, OTHER, tmp_path / "8", run="one", classes=("r", "g", "b"))
    catalog = StoreCatalog(store, tmp_path / "cache", capacity=4)
    red = picture("red")

    def label(target: Target) -> tuple[str, str]:
        engine, version = catalog.choose(target)
        output = engine.predict([red], version)[0]
        return getattr(output, "label", ""), version

    assert label(Target(PROJECT)) == ("red", "v1")
    assert label(Target(PROJECT, "v2")) == ("red", "v2")
    assert label(Target(OTHER)) == ("r", "v1")
    assert catalog.state() == {"mode": "store", "loaded": ["ls/7/v1", "ls/7/v2", "ls/8/v1"]}
    for missing in ("v3", "v0", "../../8/versions/v1", "champion"):
        with pytest.raises(NotFound):
            catalog.choose(Target(PROJECT, missing))
    with pytest.raises(NotFound, match="ls/9 has no champion"):
        catalog.choose(Target(ProjectKey("ls", 9)))
    with pytest.raises(BadRequest, match="name a project"):
        catalog.choose(Target())


def test_the_champion_before_answers_until_the_new_one_is_loaded(store: FileStore, tmp_path: Path) -> None:
    publish_bundle(store, PROJECT, tmp_path, run="one")
    now = [0.0]
    catalog = StoreCatalog(store, tmp_path / "cache", capacity=4, clock=lambda: now[0])
    assert catalog.choose(Target(PROJECT)).version == "v1"
    publish_bundle(store, PROJECT, tmp_path, run="two", gain=2.0)
    now[0] += 5
    assert catalog.choose(Target(PROJECT)).version == "v1"
    assert catalog.choose(Target(PROJECT, "v2")).version == "v2"  # returns when the load that was begun is done
    assert catalog.choose(Target(PROJECT)).version == "v2"


def test_a_damaged_champion_leaves_the_one_before_in_place(store: FileStore, tmp_path: Path) -> None:
    publish_bundle(store, PROJECT, tmp_path, run="one")
    now = [0.0]
    catalog = StoreCatalog(store, tmp_path / "cache", capacity=4, clock=lambda: now[0])
    catalog.choose(Target(PROJECT))
    publish_bundle(store, PROJECT, tmp_path, run="two", gain=2.0)
    damaged = next((tmp_path / "store").glob("ls/7/versions/v2/*/model.onnx"))
    damaged.write_bytes(b"")
    now[0] += 5
    catalog.choose(Target(PROJECT))
    with pytest.raises(BundleError):
        catalog.choose(Target(PROJECT, "v2"))
    now[0] += 5
    assert catalog.choose(Target(PROJECT)).version == "v1"
