"""What annotators get next is imported first, then the version is announced, then the rest, whoever is killed."""

import time
from collections.abc import Iterator

import pytest

from labelloop.errors import EndpointError, Fenced, StudioAway
from labelloop.loop import deploy, jobs, next_tasks, waiting_tasks
from labelloop.loop import later_predictions as later
from labelloop.loop import prelabel as prelabeling
from labelloop.loop.hub import Hub
from labelloop.loop.imports import Imports
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.moments import planned
from labelloop.loop.order import read_order
from labelloop.loop.prelabel import Prelabeled, prelabel
from labelloop.loop.project_registry import site_of
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.loop.waiting_tasks import EarlyLook
from labelloop.types import ProjectKey
from support.crash_store import Killed
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process

NEXT = 10


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten tasks come first."""
    monkeypatch.setattr(next_tasks, "_NEXT", NEXT)


@pytest.fixture
def project(studio: StudioApi, studio_hub: Hub) -> ProjectKey:
    """A project whose v1 is announced and whose v2 has just become champion; 40 tasks wait."""
    studio.connect("v1")
    studio.add_tasks(40)
    key, pointer = studio_hub.project(7), studio_hub.pointer(studio_hub.project(7))
    prelabel(studio_hub, key, "v1", lambda *_: None)
    fence = pointer.take_fence()
    pointer.promote("v1", fence)
    pointer.announce("v1", fence)
    pointer.promote("v2", fence)
    return key


def announce(hub: Hub, project: ProjectKey, look: EarlyLook | None = None) -> Prelabeled | None:
    fence = hub.pointer(project).take_fence()
    with Lease(hub, project) as lease:
        reporter = ProgressReporter(hub, project, lease)
        try:
            return deploy.announce(hub, project, "v2", fence, reporter, look)
        finally:
            reporter.close()


def by_score(studio: StudioApi) -> list[int]:
    """The tasks with a prediction of v2, the lowest score first."""
    found = [one for one in studio.predictions if one["model_version"] == "v2"]
    return [one["task"] for one in sorted(found, key=lambda one: (one["score"], one["task"]))]


def at_the_flip(studio: StudioApi, hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Announce v2, and give the tasks that have its prediction when Label Studio is told of it."""
    seen: list[list[int]] = []
    flip = deploy._flip

    def watched(*given: object) -> None:
        seen.append([one["task"] for one in studio.predictions if one["model_version"] == "v2"])
        assert hub.pointer(project).read().announced == "v1"
        flip(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(deploy, "_flip", watched)
    assert announce(hub, project) == Prelabeled(40, 0)
    [first] = seen
    return first


def test_the_lowest_scores_are_there_when_the_version_is_announced_and_the_rest_follows(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = at_the_flip(studio, studio_hub, project, monkeypatch)
    assert first == by_score(studio)[:NEXT], "held-out tasks among them, at the places that chance gave them"
    assert all(studio.versions_of(task) == ["v1", "v2"] for task in studio.tasks)
    assert "unpredicted" not in studio_hub.state(project).notes()
    order = read_order(studio_hub.store, project, "v2")
    assert order is not None
    assert all(order.arm(task) for task in studio.tasks)


def test_in_sequence_the_first_tasks_come_first(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.sampling = "Sequential sampling"
    monkeypatch.setattr(next_tasks, "_SIZE", 30)
    assert at_the_flip(studio, studio_hub, project, monkeypatch) == [*range(1, NEXT + 1)]


def test_where_chance_decides_all_that_is_held_back_comes_first(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.sampling = "Uniform sampling"
    monkeypatch.setattr(next_tasks, "_SIZE", 25)
    assert len(at_the_flip(studio, studio_hub, project, monkeypatch)) == 25


def test_few_tasks_are_one_import(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_tasks, "_NEXT", 20)
    before = studio.count("POST")
    assert len(at_the_flip(studio, studio_hub, project, monkeypatch)) == 40
    assert studio.count("POST") == before + 1


@pytest.fixture
def look(studio_hub: Hub) -> Iterator[EarlyLook]:
    """What looks at what waits while a run is made."""
    with EarlyLook(site_of(studio_hub, 7), "a run's key") as made:
        yield made


def test_what_was_listed_while_a_version_was_made_is_not_asked_for_again(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, look: EarlyLook
) -> None:
    look.begin()
    assert look.found("v2") is not None
    studio.asked.clear()
    assert announce(studio_hub, project, look) == Prelabeled(40, 0)
    assert not any("/api/tasks/" in line or "/model-versions/" in line for line in studio.asked)
    assert sorted(by_score(studio)) == sorted(studio.tasks), "each once"


def test_what_has_changed_since_it_was_listed_keeps_no_task_from_its_prediction(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, look: EarlyLook
) -> None:
    look.begin()
    assert look.found("v2") is not None
    studio.add_tasks(2)
    studio.annotate(5, "cat")
    del studio.tasks[6]
    done = announce(studio_hub, project, look)
    assert done is not None
    assert sorted(set(by_score(studio)) - {5}) == sorted(studio.tasks.keys() - {5, 41, 42}), (
        "new tasks say so themselves"
    )
    assert len(by_score(studio)) == len(set(by_score(studio)))
    assert prelabel(studio_hub, project, "v2", lambda *_: None) == Prelabeled(2, 0)


@pytest.mark.parametrize("why", ["failed", "long ago", "never begun"])
def test_without_a_list_of_before_what_waits_is_listed_then(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, look: EarlyLook, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    studio.refusing = 401 if why == "failed" else 0
    if why != "never begun":
        look.begin()
    if why == "long ago":
        monkeypatch.setattr(waiting_tasks, "_FRESH", 0.0)
    assert look.found("v2") is None
    studio.refusing = 0
    studio.tasks.pop(7)
    assert announce(studio_hub, project, look) == Prelabeled(39, 0)
    assert sorted(by_score(studio)) == sorted(studio.tasks)


@pytest.mark.parametrize("wiped", [False, True])
def test_killed_after_the_flip_the_sweep_has_the_rest_predicted(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch, wiped: bool
) -> None:
    flip = deploy._flip

    def dying(*given: object) -> None:
        flip(*given)  # type: ignore[arg-type]
        raise Killed

    monkeypatch.setattr(deploy, "_flip", dying)
    with pytest.raises(Killed):
        announce(studio_hub, project)
    assert studio_hub.pointer(project).read().announced == studio.backends[0]["title"] == "v2"
    assert len(by_score(studio)) == NEXT
    assert later.wait(studio_hub, project) == 0.0, "in parts, where the note is left"
    if wiped:
        studio_hub.redis.flushall()

    for _ in of_this_process(studio_hub, monkeypatch):
        sweep_project(studio_hub, project)
        assert jobs.prelabel(str(project)) == "30 tasks pre-annotated with v2, 0 left out"
    assert all(studio.versions_of(task) == ["v1", "v2"] for task in studio.tasks)
    assert "unpredicted" not in studio_hub.state(project).notes()


def test_an_endpoint_that_fails_after_the_flip_leaves_the_rest_to_the_sweep(
    studio: StudioApi, make_hub: MakeHub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_tasks, "_SIZE", 16)
    hub = make_hub(endpoint="fake://?classes=cat,dog&script=ok,down*", retry_seconds=0.01)
    done = announce(hub, project)
    assert done is not None
    assert "the fake endpoint is down" in done.reasons[0]
    assert hub.pointer(project).read().announced == "v2"
    assert len(by_score(studio)) == 16
    assert {"unpredicted", later.NOTE} <= hub.state(project).notes().keys()


def test_one_that_fails_before_announces_nothing(studio: StudioApi, make_hub: MakeHub, project: ProjectKey) -> None:
    hub = make_hub(endpoint="fake://?classes=cat,dog&script=ok,down*", retry_seconds=0.01)
    with pytest.raises(EndpointError):
        announce(hub, project)
    assert hub.pointer(project).read().announced == "v1"
    assert by_score(studio), "what was predicted is not lost"
    assert "unpredicted" not in hub.state(project).notes()


def test_who_has_lost_the_right_to_announce_stops_at_the_flip(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = studio_hub.pointer(project)

    def take() -> None:
        taken.take_fence()

    studio.before_import = take
    with pytest.raises(Fenced):
        announce(studio_hub, project)
    assert taken.read().announced == studio.backends[0]["title"] == "v1"


def test_many_others_come_in_parts_when_label_studio_was_left_alone(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_tasks, "_SIZE", 16)
    for name, value in (("_SOON", 20), ("_PART", 15)):
        monkeypatch.setattr(prelabeling, name, value)
    assert announce(studio_hub, project) == Prelabeled(16, 0, more=True), "what the endpoint was asked for is kept"
    state = studio_hub.state(project)
    assert "unpredicted" in state.notes()
    assert "prelabel" in [job.name for job in planned(studio_hub.redis)]

    def waits(seconds: float) -> None:
        state.note(later.NOTE, f"{time.time() + seconds} 60.0")

    for _ in of_this_process(studio_hub, monkeypatch):
        waits(50)
        [line] = [line for line in standing(project_status(studio_hub, project)) if "predictions: " in line]
        assert "the next part is imported in" in line
        assert "imports take a tenth of Label Studio's time" in jobs.prelabel(str(project))
        assert len(by_score(studio)) == 16
        waits(5000)
        assert jobs.prelabel(str(project)).startswith("15 tasks"), "the clock was set back; a table of few scores grows"
        assert (later.wait(studio_hub, project) or 0) < 50
        took = later.last_part(studio_hub, project)
        assert took > 0
        later.put_off(studio_hub, project, Prelabeled(1, 0, importing=1.0, more=True), announced=True)
        assert later.wait(studio_hub, project) == pytest.approx(9 * (1.0 + took), abs=1), "the next part is paid for"
        waits(-1)
        assert jobs.prelabel(str(project)).startswith("9 tasks")
    assert all(studio.versions_of(task) == ["v1", "v2"] for task in studio.tasks)
    assert not {later.NOTE, "unpredicted"} & state.notes().keys()
    assert project_status(studio_hub, project).predictions == ""


def test_tasks_that_cannot_be_predicted_keep_no_others_from_it(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prelabeling, "_PART", 10)
    for task in range(1, 13):
        studio.tasks[task]["data"]["image"] = "/data/upload/7/gone.png"
    state = studio_hub.state(project)
    state.note("unpredicted", "tasks may be without a prediction")
    studio_hub.pointer(project).announce("v2", studio_hub.pointer(project).take_fence())
    state.announce("v2")
    state.note(later.NOTE, f"{time.time() - 1} 60.0")
    for _ in of_this_process(studio_hub, monkeypatch):
        assert jobs.prelabel(str(project)) == "0 tasks pre-annotated with v2, 10 left out"
        assert "unpredicted" in state.notes()
        assert later.wait(studio_hub, project) is None
        assert jobs.prelabel(str(project)) == "28 tasks pre-annotated with v2, 12 left out"


@pytest.mark.parametrize(
    ("predicted", "given", "one_by_one"),
    [(0, 1, True), (0, 2, False), (100, 3, True), (100, 4, False), (600, 12, True), (900, 13, False), (600, 51, False)],
)
def test_few_predictions_of_a_large_project_need_no_import(
    studio: StudioApi, studio_hub: Hub, predicted: int, given: int, one_by_one: bool
) -> None:
    studio.add_tasks(600)
    studio.predictions = [{"id": task, "task": task, "model_version": "v1"} for task in range(1, predicted + 1)]
    made = [{"task": task, "result": [], "score": 0.5, "model_version": "v2"} for task in range(1, given + 1)]
    site_of(studio_hub, 7).put_predictions(made)
    assert [{**one, "id": 0} for one in studio.predictions[predicted:]] == [
        {"id": 0, **({"project": 7} if one_by_one else {}), **one} for one in made
    ]
    assert studio.count("POST /api/predictions/") == (given if one_by_one else 0)


def test_label_studio_enterprise_is_not_asked_once_for_each(studio: StudioApi, studio_hub: Hub) -> None:
    studio.edition = "Enterprise"
    studio.add_tasks(600)
    site_of(studio_hub, 7).put_predictions([{"task": 1, "result": [], "score": 0.5, "model_version": "v1"}])
    assert (studio.versions_of(1), studio.count("POST /api/predictions/")) == (["v1"], 0)


def test_what_is_stored_one_by_one_was_made_for_the_label_config_of_now(studio: StudioApi, studio_hub: Hub) -> None:
    studio.add_tasks(600)
    site = site_of(studio_hub, 7)
    site.interface()
    made = [{"task": 1, "result": [], "score": 0.5, "model_version": "v1"}]
    site.put_predictions(made)
    studio.config = studio.config.replace("Choice", "Choice ", 1)
    site.put_predictions(made)
    assert studio.count("POST /api/predictions/") == 1, "an import compares with the label config"
    assert len(studio.predictions) == 2


def test_predictions_that_may_be_stored_yet_are_not_sent_again(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey
) -> None:
    studio.add_tasks(2000)

    def fail() -> None:
        studio.refusing = 503

    imports = Imports(site_of(studio_hub, 7), project)
    for task in (1, 2, 3, 4):
        imports.add(task, {"result": [], "score": 0.5, "model_version": "v2"})
    # Its counters, edition and versions are read, and two are stored.
    studio.between += [lambda: None] * 5 + [fail]
    with pytest.raises(StudioAway), imports:
        pass
    assert (studio.count("POST /api/predictions/"), by_score(studio)) == (3, [1, 2])


def test_a_task_that_is_gone_keeps_no_other_from_its_prediction(
    studio: StudioApi, studio_hub: Hub, project: ProjectKey
) -> None:
    studio.add_tasks(2000)
    announced_to = [studio.tasks[task] for task in (1, 2, 3, 4)]

    def remove() -> None:
        del studio.tasks[2]

    studio.before_import = remove
    with Imports(site_of(studio_hub, 7), project) as imports:
        for task in announced_to:
            imports.add(task["id"], {"result": [], "score": 0.5, "model_version": "v2"})
    assert studio.count("POST /api/predictions/") == 4, "each once"
    assert by_score(studio) == [1, 3, 4]
