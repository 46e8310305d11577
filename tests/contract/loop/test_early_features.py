"""The features of tasks are taken as these come, once, whoever is killed on the way; what cannot be read is told."""

import hashlib
import io
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from labelloop.data.picture_cache import PictureCache
from labelloop.data.site_events import TasksCreated
from labelloop.errors import MediaError, Unreadable
from labelloop.kinds.text_classification.reading import decode
from labelloop.loop import early_features, jobs, right_of_way
from labelloop.loop.background import machine_of
from labelloop.loop.early_features import look_for_features, take_features
from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.lease import Lease
from labelloop.loop.project_registry import site_of
from labelloop.loop.queue import BACKGROUND, LONG, machine_queue, queue
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.models.features import Rows, Taken, read_taken, taken_path
from labelloop.models.records import to_bytes
from labelloop.types import Item, ProjectKey
from support.crash_store import CrashStore, Killed
from support.number_tasks import NUMBERS
from support.studio_api import StudioApi

from .conftest import MakeHub, begin_job, end_job, of_this_process

pytestmark = pytest.mark.train


@pytest.fixture
def hub(make_hub: MakeHub, kept_networks: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub of jobs in this process, four tasks at a time: features are those of no learned weights."""
    monkeypatch.setattr(early_features, "_TOGETHER", 4)
    monkeypatch.setattr(early_features, "_FEW", 4)
    yield from of_this_process(make_hub(backbone="test_resnet", image_size=32), monkeypatch)


@pytest.fixture
def project(hub: Hub) -> ProjectKey:
    return hub.project(7)


class Watched(dict[str, bytes]):
    """The files of Label Studio, and which of them were read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.read: list[str] = []

    def get(self, path: str, default: bytes | None = None) -> bytes | None:  # type: ignore[override]
        self.read.append(path)
        return super().get(path, default)


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def add(studio: StudioApi, count: int) -> None:
    for number in range(len(studio.tasks) + 1, len(studio.tasks) + 1 + count):
        studio.pictures[f"/data/upload/7/{number}.png"] = picture(number)
        studio.add_tasks(1)


def sha(number: int) -> str:
    return hashlib.sha256(picture(number)).hexdigest()


def at_hand(hub: Hub, project: ProjectKey, numbers: range, *, mirrored: bool = False) -> list[bool]:
    taken = read_taken(hub.store, project)
    rows = hub.features(project)(taken.backbone, taken.width)
    return rows.rows([sha(number) for number in numbers], mirrored=mirrored)[1].tolist()  # type: ignore[no-any-return]


def waiting(hub: Hub) -> int:
    return len(queue(hub.redis, BACKGROUND).job_ids)


def look(hub: Hub, project: ProjectKey) -> int:
    """Look at the project as a sweep does; says how many jobs wait then."""
    look_for_features(hub, project, site_of(hub, project.id).overview().counters)
    return waiting(hub)


def test_features_are_taken_before_anybody_labels_and_each_file_is_read_once(
    hub: Hub, project: ProjectKey, studio: StudioApi
) -> None:
    add(studio, 9)
    studio.pictures["/data/upload/7/9.png"] = picture(8)
    assert jobs.features(str(project)) == "9 tasks looked at"
    assert at_hand(hub, project, range(1, 9)) == [True] * 8
    assert at_hand(hub, project, range(1, 9), mirrored=True) == [True] * 8
    shown = [(number, studio.tasks[number]["data"]["image"]) for number in (1, 8, 9)]
    assert hub.task_contents(project).find(shown) == [sha(1), sha(8), sha(8)]
    assert project_status(hub, project).features == ""

    studio.pictures = read = Watched(studio.pictures)
    add(studio, 2)
    assert jobs.features(str(project)) == "2 tasks looked at"
    assert sorted(read.read) == ["/data/upload/7/10.png", "/data/upload/7/11.png"]
    assert at_hand(hub, project, range(10, 12)) == [True, True]


def test_they_are_what_a_training_would_take(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    from labelloop.kinds.base import find
    from labelloop.loop.attempts import project_settings
    from labelloop.types import IMAGES, Item

    add(studio, 3)
    jobs.features(str(project))
    taken = read_taken(hub.store, project)
    early, _ = hub.features(project)(taken.backbone, taken.width).rows([sha(number) for number in range(1, 4)])
    items = [Item(number, sha(number), ()) for number in range(1, 4)]
    steps: list[str] = []

    def told(what: str, done: int, total: int) -> None:
        steps.append(what)

    settings = project_settings(hub, project)
    _, rows = find(IMAGES).features(items, settings, told, hub.features(project))
    np.testing.assert_array_equal(rows, early)
    assert "features" not in steps, "none is taken again"
    _, again = find(IMAGES).features(items, settings, told)
    np.testing.assert_allclose(again, early, atol=1e-2)


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_it_goes_on(hub: Hub, project: ProjectKey, studio: StudioApi, after: bool) -> None:
    add(studio, 10)
    kills = 0
    for step in range(200):
        dying = hub.over(hub.settings, hub.tool)
        dying.__dict__["_store"] = CrashStore(hub.store, at=step, after=after)
        try:
            take_features(dying, project)
        except Killed:
            kills += 1
            continue
        break
    assert kills >= 4
    assert at_hand(hub, project, range(1, 11)) == [True] * 10
    assert at_hand(hub, project, range(1, 11), mirrored=True) == [True] * 10
    taken = read_taken(hub.store, project)
    assert (taken.done, taken.tasks, taken.failed) == (10, 10, 0)


def test_what_cannot_be_read_is_told_and_looked_at_again(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    add(studio, 6)
    studio.pictures["/data/upload/7/2.png"] = b"no picture"
    del studio.pictures["/data/upload/7/5.png"]
    jobs.features(str(project))
    trouble = project_status(hub, project).trouble
    assert trouble.startswith("no features of 2 tasks, whose files are looked at again in an hour: task")
    assert "task 2: " in trouble
    assert "task 5: " in trouble
    assert look(hub, project) == 0, "not before an hour"

    add(studio, 1)
    studio.pictures |= {f"/data/upload/7/{number}.png": picture(number) for number in (2, 5)}
    taken = read_taken(hub.store, project)
    hub.store.write(taken_path(project), to_bytes(replace(taken, at=taken.at - 3601)))
    assert look(hub, project) == 1
    assert jobs.features(str(project)) == "3 tasks looked at"
    assert at_hand(hub, project, range(1, 8)) == [True] * 7
    assert project_status(hub, project).trouble == ""


def test_where_nothing_can_be_read_it_stops_and_goes_on_there(
    hub: Hub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_features, "_OUT_OF_ORDER", 3)
    add(studio, 8)
    for number in range(3, 9):
        del studio.pictures[f"/data/upload/7/{number}.png"]
    with pytest.raises(MediaError, match="3 tasks one after the other could not be read"):
        jobs.features(str(project))
    assert "one after the other" in project_status(hub, project).trouble
    assert look(hub, project) == 1, "the sweep asks again"
    studio.pictures |= {f"/data/upload/7/{number}.png": picture(number) for number in range(3, 9)}
    jobs.features(str(project))
    assert at_hand(hub, project, range(1, 9)) == [True] * 8
    assert project_status(hub, project).trouble == ""


class Lengths:
    """Takes the length of a text for its features, so that no encoder has to be trained."""

    mirrors, backbone, width = False, "1e" * 32, 1

    def take(self, contents: Sequence[bytes], *, mirrored: bool = False) -> tuple[Rows, dict[int, str]]:
        assert not mirrored
        rows, reasons = np.zeros((len(contents), 1), dtype=np.float32), dict[int, str]()
        for at, content in enumerate(contents):
            try:
                rows[at] = len(decode(content))
            except Unreadable as error:
                reasons[at] = str(error)
        return rows, reasons


def test_features_of_texts_are_found_by_what_runs_call_them_and_blank_ones_are_no_failures(
    hub: Hub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_features, "_named", lambda *_: "lengths")
    monkeypatch.setattr(early_features, "_taker", lambda *_: Lengths())
    studio.config = NUMBERS.replace("<Text", '<Text valueType="url"')
    studio.pictures |= {"/data/upload/7/1.txt": b"\xef\xbb\xbfdrei", "/data/upload/7/2.txt": b" "}
    studio.add_tasks(3)
    for number in (1, 2):
        studio.tasks[number]["data"] = {"number": f"/data/upload/7/{number}.txt"}
    studio.tasks[3]["data"] = {}
    assert jobs.features(str(project)) == "3 tasks looked at"
    rows, there = hub.features(project)(Lengths.backbone, 1).rows([Item.of_text(1, "drei", ()).content])
    assert (rows.tolist(), there.tolist()) == ([[4.0]], [True])
    assert read_taken(hub.store, project).failing == {"2": "it is an empty text"}

    studio.config = NUMBERS
    studio.tasks[2]["data"] = {"number": "  "}
    taken = read_taken(hub.store, project)
    hub.store.write(taken_path(project), to_bytes(replace(taken, at=taken.at - 3601)))
    assert look(hub, project) == 1
    assert jobs.features(str(project)) == "1 tasks looked at"
    assert read_taken(hub.store, project).failed == 0
    assert project_status(hub, project).trouble == ""


def test_with_another_network_they_are_taken_anew(
    hub: Hub, project: ProjectKey, studio: StudioApi, make_hub: MakeHub
) -> None:
    add(studio, 3)
    before = Taken("image-classification", "of a network of last week", "d" * 64, 4, after=3, done=3, tasks=3)
    hub.store.write(taken_path(project), to_bytes(before))
    assert look(hub, project) == 1
    assert jobs.features(str(project)) == "3 tasks looked at"
    taken = read_taken(hub.store, project)
    assert taken.backbone != before.backbone
    assert at_hand(hub, project, range(1, 4)) == [True] * 3
    queue(hub.redis, BACKGROUND).empty()  # type: ignore[no-untyped-call]
    assert look(hub, project) == 0
    assert look(make_hub(backbone="test_resnet", image_size=48), project) == 1


def test_webhooks_and_sweeps_ask_for_them_once(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    add(studio, 5)
    note(hub, TasksCreated(7, (1, 2, 3)))
    note(hub, TasksCreated(7, (4, 5)))
    assert waiting(hub) == 1
    assert look(hub, project) == 1
    (job,) = queue(hub.redis, BACKGROUND).jobs
    queue(hub.redis, BACKGROUND).empty()  # type: ignore[no-untyped-call]
    assert job.perform() == "5 tasks looked at"
    assert look(hub, project) == 0
    add(studio, 1)
    assert look(hub, project) == 1


def test_what_waits_for_the_background_comes_first(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    add(studio, 9)
    hub.queue(project).report(machine := machine_of(hub.settings.directory))
    assert jobs.features(str(project)) == "4 tasks looked at; it goes on when what waits is done"
    assert (waiting(hub), at_hand(hub, project, range(1, 10))) == (1, [True] * 4 + [False] * 5)
    queue(hub.redis, machine_queue(machine)).empty()  # type: ignore[no-untyped-call]
    queue(hub.redis, BACKGROUND).empty()  # type: ignore[no-untyped-call]
    assert jobs.features(str(project)) == "5 tasks looked at"
    assert (waiting(hub), at_hand(hub, project, range(1, 10))) == (0, [True] * 9)


def test_they_are_taken_slowly_while_a_run_of_another_project_asks_label_studio(
    hub: Hub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(right_of_way, "_LINGERING_SECONDS", 0.05)
    job = begin_job(hub, "retrain", within=LONG, stage="fetch", project=ProjectKey(project.instance, 8))
    add(studio, 6)
    notes: list[str] = []

    class Told(Watched):
        """Files of which the third one is asked for when that run is over."""

        def get(self, path: str, default: bytes | None = None) -> bytes | None:  # type: ignore[override]
            notes.append(project_status(hub, project).features)
            if len(notes) == 3:
                end_job(job)
            return super().get(path, default)

    studio.pictures = Told(studio.pictures)
    assert jobs.features(str(project)) == "6 tasks looked at"
    assert notes[0] == "features of 0 of 6 tasks are taken, slowly while a run comes first"
    assert project_status(hub, project).features == ""


def test_of_a_project_that_is_paused_or_another_takes_none_are_taken(
    hub: Hub, project: ProjectKey, studio: StudioApi
) -> None:
    add(studio, 5)
    hub.pauses(project).begin("Ada", "a look at the costs")
    assert "paused by Ada" in jobs.features(str(project))
    assert look(hub, project) == 0
    hub.pauses(project).end()
    with Lease(hub, project, features=True):
        assert jobs.features(str(project)) == "another worker is at it"
    assert read_taken(hub.store, project).done == 0


def test_who_has_lost_the_lease_writes_nothing_and_leaves_it_to_its_holder(
    hub: Hub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_features, "_LEASE_SECONDS", 0.03)
    key = f"labelloop:{project}:features"

    class Stalled(Watched):
        """Files that take so long to read that another one has the lease by then."""

        def get(self, path: str, default: bytes | None = None) -> bytes | None:  # type: ignore[override]
            hub.redis.set(key, "another's")
            while any(one.name == f"lease {project}" for one in threading.enumerate()):
                time.sleep(0.01)
            return super().get(path, default)

    add(studio, 2)
    studio.pictures = Stalled(studio.pictures)
    assert "another worker has taken project" in jobs.features(str(project))
    assert hub.redis.get(key) in ("another's", b"another's")
    assert not [*hub.store.walk(f"{project}/features/")]


def test_few_bytes_are_in_memory_at_a_time(
    hub: Hub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_features, "_TOGETHER_BYTES", 1)
    add(studio, 3)
    told = hub.over(hub.settings, hub.tool)
    told.__dict__["_store"] = store = CrashStore(hub.store, at=10_000)
    take_features(told, project)
    assert sum("/straight/" in path for path in store.written) == 3, "each file by itself"
    assert at_hand(hub, project, range(1, 4)) == [True] * 3


def test_pictures_are_kept_as_far_as_there_is_room(
    hub: Hub, project: ProjectKey, studio: StudioApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = PictureCache(hub.settings.directory / "cache" / "pictures")
    monkeypatch.setattr(early_features, "_KEPT_BYTES", len(picture(1)) + len(picture(2)))
    monkeypatch.setattr(early_features, "_FREE", 0.0)
    add(studio, 3)
    jobs.features(str(project))
    add(studio, 3)
    jobs.features(str(project))
    assert [cache.has(sha(number)) for number in range(1, 7)] == [True] * 2 + [False] * 4
    assert at_hand(hub, project, range(1, 7), mirrored=True) == [True] * 6
    monkeypatch.setattr(early_features, "_KEPT_BYTES", 1 << 30)
    monkeypatch.setattr(early_features, "_FREE", 1.0)
    add(studio, 1)
    jobs.features(str(project))
    assert not cache.has(sha(7)), "the disk is too full"


def test_it_tells_how_far_it_is(hub: Hub, project: ProjectKey, studio: StudioApi) -> None:
    add(studio, 6)
    hub.state(project).note("features", "features of 4 of 6 tasks are taken")
    assert "  features of 4 of 6 tasks are taken" in standing(project_status(hub, project))


def test_switched_off_nothing_is_taken(hub: Hub, project: ProjectKey, studio: StudioApi, make_hub: MakeHub) -> None:
    add(studio, 2)
    for given in ({"early_features": False}, {"recipes": ("finetune",)}):
        other = make_hub(**{"backbone": "test_resnet", "image_size": 32} | given)
        assert take_features(other, project) == "no features are taken of this project"
        assert look(other, project) == 0
    assert look(hub, project) == 1, "switched on again"
