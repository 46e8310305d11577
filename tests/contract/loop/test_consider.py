"""What a project needs next, read off its state: real Redis, real RQ, real store."""

import time
from dataclasses import replace

from rq.job import Job

from labelloop.data.site_events import LabelsChanged, TasksCreated, TrainingRequested
from labelloop.kinds.base import find
from labelloop.loop import later_predictions, new_tasks
from labelloop.loop.consider import consider
from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.lease import Lease
from labelloop.loop.moments import first, planned
from labelloop.loop.project_registry import forget
from labelloop.loop.queue import LONG, SHORT, job_status, queue
from labelloop.loop.retrain_policy import LOOK_AHEAD, RetrainPolicy
from labelloop.loop.status import project_status
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord, Runs
from labelloop.run.parameters import methods_of
from labelloop.types import IMAGES, Json

from .conftest import PROJECT


def waiting(hub: Hub, name: str) -> list[Job]:
    """The jobs of a queue."""
    return queue(hub.redis, name).get_jobs()


def scheduled(hub: Hub) -> list[str]:
    """The functions of the jobs that are planned."""
    return [job.name for job in planned(hub.redis)]


def record(**given: object) -> RunRecord:
    values: Json = {"key": "k1", "project": str(PROJECT), "manifest": "m", "settings": "s", "seed": 0}
    return RunRecord(**{**values, "methods": methods_of(find(IMAGES).recipes, find(IMAGES).recipes), **given})


def test_nothing_changed_needs_nothing(hub: Hub) -> None:
    assert consider(hub, PROJECT) == "nothing has changed"
    assert not waiting(hub, LONG)


def test_a_due_project_gets_one_run(hub: Hub) -> None:
    hub.state(PROJECT).changes.add(["a1", "a2", "a3"], now=time.time() - 60)

    assert consider(hub, PROJECT) == "run enqueued: 3 changed labels"
    consider(hub, PROJECT)
    assert [job.args for job in waiting(hub, LONG)] == [[str(PROJECT), "3 changed labels", False]]


def test_a_part_of_what_a_version_has_left_gives_way_to_the_next_run(hub: Hub) -> None:
    state, policy = hub.state(PROJECT), RetrainPolicy.of(hub.settings)
    assert policy.retrain_after == 3
    Runs(hub.store, PROJECT).save(record(state="promoted", version="v1"))
    later_predictions.begin(hub, PROJECT)
    assert not new_tasks.run_is_near(hub, PROJECT), "nothing has changed"
    state.changes.add(["a1"], time.time() - 40)
    assert not new_tasks.run_is_near(hub, PROJECT)
    state.changes.add(["a2"], time.time() - 40)
    assert not new_tasks.run_is_near(hub, PROJECT), "half of the labels, and nobody goes on"
    state.changes.add(["a2"], time.time())
    assert new_tasks.run_is_near(hub, PROJECT), "somebody goes on"
    state.changes.add(["a1", "a2", "a3"], time.time() - 60)
    assert new_tasks._predict(hub, PROJECT, "v1") == "a run is near, whose version comes first"
    assert scheduled(hub) == ["prelabel"]
    assert "as soon as no run is near" in later_predictions.told(state.notes()[later_predictions.NOTE])
    state.want_again("Start Training")
    assert new_tasks.run_is_near(hub, PROJECT)
    assert later_predictions.may_give_way(hub, PROJECT)
    state.note(later_predictions.NOTE, f"{time.time() - 121} 60.0")
    assert not later_predictions.may_give_way(hub, PROJECT), "it may come late, or not at all"


def test_a_run_that_is_held_for_a_moment_is_near(hub: Hub) -> None:
    Runs(hub.store, PROJECT).save(record(state="promoted", version="v1"))
    hub.state(PROJECT).changes.add(["a1", "a2", "a3"], time.time() - 60)
    for cool_down, near in ((3, True), (3000, False)):
        held = Hub(replace(hub.settings, cool_down_seconds=cool_down), hub.tool)
        assert new_tasks.run_is_near(held, PROJECT) == near


def test_a_spent_budget_is_the_stores_and_outlives_a_wiped_redis(hub: Hub) -> None:
    bounded = Hub(replace(hub.settings, runs_a_day=1), hub.tool)
    Runs(hub.store, PROJECT).save(record(state="promoted", seconds={"train": 12.5}))
    for _ in range(2):
        hub.redis.flushall()
        bounded.state(PROJECT).changes.add(["a1", "a2", "a3"], now=time.time() - 60)
        for _ in range(2):
            assert consider(bounded, PROJECT) == "3 changed labels wait for their moment"
        assert [(ran.seconds, ran.began <= time.time()) for ran in bounded.state(PROJECT).ran().values()] == [
            (12.5, True)
        ]
        assert scheduled(hub) == ["consider"]
    shown = project_status(hub, PROJECT).outlook
    assert shown is not None
    assert (shown.hold and shown.hold.what, shown.changed) == ("runs", 3), "by the worker's policy, not by who asks"
    assert consider(hub, PROJECT) == "run enqueued: 3 changed labels"


def test_a_run_that_failed_long_ago_is_read_no_more_for_the_budget(hub: Hub) -> None:
    bounded, long_ago = Hub(replace(hub.settings, runs_a_day=1), hub.tool), "2020-01-01T00:00:00+00:00"
    for key, created in (("old", long_ago), ("new", "")):
        Runs(hub.store, PROJECT).save(record(key=key, state="failed", final=True, created=created))
    consider(bounded, PROJECT)
    assert [*bounded.state(PROJECT).ran()] == ["old"]


def test_a_webhook_storm_plans_one_look(hub: Hub) -> None:
    began = time.time()
    for annotation in range(50):
        note(hub, LabelsChanged(7, (annotation,)))

    # Planned for the longest wait by the first change, and for a moment before the quiet one by the third.
    assert scheduled(hub) == ["consider"]
    assert began + 5 <= (first(hub.redis) or 0) + LOOK_AHEAD <= time.time() + 5
    assert hub.state(hub.project(7)).changes.pending().changed == 50


def test_an_import_in_several_webhooks_schedules_one_prelabel(hub: Hub) -> None:
    note(hub, TasksCreated(7, (1, 2)))
    note(hub, TasksCreated(7, (3,)))

    assert scheduled(hub) == ["prelabel"]


def test_start_training_gives_the_id_of_the_one_job(hub: Hub) -> None:
    job = note(hub, TrainingRequested(7))

    assert job is not None
    assert note(hub, TrainingRequested(7)) == job
    assert job_status(hub.redis, job) == "queued"
    assert job_status(hub.redis, "no such job") is None


def test_while_a_run_is_in_progress_nothing_is_enqueued(hub: Hub) -> None:
    hub.state(PROJECT).changes.add(["a1", "a2", "a3"], now=time.time() - 60)
    with Lease(hub, PROJECT):
        assert consider(hub, PROJECT) == "a run is in progress"
    assert not waiting(hub, LONG)


def test_a_run_wanted_during_a_run_follows_it(hub: Hub) -> None:
    hub.state(PROJECT).want_again("Start Training")

    assert consider(hub, PROJECT) == "run enqueued: Start Training"
    assert [job.args[1] for job in waiting(hub, LONG)] == ["Start Training"]


def test_a_run_whose_worker_was_killed_is_taken_up(hub: Hub) -> None:
    Runs(hub.store, PROJECT).save(record(state="running", attempts=1, trigger="3 changed labels"))

    assert consider(hub, PROJECT) == "run enqueued: 3 changed labels"


def test_a_failed_run_is_tried_again_in_time(hub: Hub) -> None:
    Runs(hub.store, PROJECT).save(record(state="failed", attempts=1, reason="no disk"))

    assert consider(hub, PROJECT) == "a failed run is tried again later"
    assert scheduled(hub) == ["consider"]
    assert not waiting(hub, LONG)


def test_a_run_that_failed_too_often_is_left_alone(hub: Hub) -> None:
    Runs(hub.store, PROJECT).save(record(state="failed", attempts=3, reason="no disk"))

    assert consider(hub, PROJECT) == "nothing has changed"
    assert not scheduled(hub)


def test_a_champion_that_was_never_announced_is_announced(hub: Hub) -> None:
    pointer = ChampionPointer(hub.store, PROJECT)
    pointer.promote("v1", pointer.take_fence())

    assert consider(hub, PROJECT) == "v1 is to be announced"
    assert [job.func_name for job in waiting(hub, SHORT)] == ["labelloop.loop.jobs.deploy"]


def test_forgetting_leaves_the_store_alone(hub: Hub) -> None:
    pointer = ChampionPointer(hub.store, PROJECT)
    pointer.promote("v1", pointer.take_fence())
    hub.state(PROJECT).changes.add(["a1"], now=1)
    hub.queue(PROJECT).retrain("test")

    forget(hub, PROJECT)

    assert hub.state(PROJECT).changes.pending().changed == 0
    assert pointer.read().champion == "v1"


def test_an_improved_recipe_is_a_reason_to_train_once(hub: Hub) -> None:
    methods = methods_of(hub.settings.recipes, find(IMAGES).recipes)
    Runs(hub.store, PROJECT).save(record(state="promoted", methods=methods | {"head": 0}))
    assert consider(hub, PROJECT) == "run enqueued: head improved"

    hub.state(PROJECT).note("missing", "3 more labels")
    assert consider(hub, PROJECT) == "nothing has changed"
    hub.state(PROJECT).note("missing", "")
    Runs(hub.store, PROJECT).save(record(state="promoted", methods=methods))
    assert consider(hub, PROJECT) == "nothing has changed"


def test_what_cannot_be_read_here_keeps_no_changed_label_from_its_run(hub: Hub) -> None:
    hub.state(PROJECT).changes.add(["a1", "a2", "a3"], now=time.time() - 60)
    gone = Hub(replace(hub.settings, weights="/nowhere/weights.safetensors"), hub.tool)
    for given in ({"kind": IMAGES}, {"kind": "of a later release"}):
        Runs(hub.store, PROJECT).save(record(state="promoted", **given))
        assert consider(gone, PROJECT) == "run enqueued: 3 changed labels"
