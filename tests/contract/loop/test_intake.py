"""What each event of Label Studio leaves in Redis."""

import time

import pytest

from labelloop.data.site_events import (
    Event,
    Ignored,
    LabelConfigChanged,
    LabelsChanged,
    TasksCreated,
    TrainingRequested,
)
from labelloop.errors import QueueError
from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.moments import first
from labelloop.loop.process import open_hub
from labelloop.loop.queue import LONG, queue
from labelloop.settings import Settings

from .test_consider import scheduled, waiting


def test_changed_labels_are_noted_by_annotation_and_a_look_is_scheduled(hub: Hub) -> None:
    began = time.time()
    assert note(hub, LabelsChanged(7, (1, 2))) is None

    found = hub.state(hub.project(7)).changes.pending()
    assert found.changed == 2
    assert began <= found.first <= found.last <= time.time()
    assert scheduled(hub) == ["consider"]
    assert hub.state(hub.project(7)).due() == pytest.approx(found.first + hub.settings.max_wait_seconds)


def test_a_project_that_lacks_labels_is_due_after_any_change(hub: Hub) -> None:
    hub.state(hub.project(7)).note("missing", "12 more labels")
    note(hub, LabelsChanged(7, (1,)))

    found = hub.state(hub.project(7)).changes.pending()
    assert hub.state(hub.project(7)).due() == pytest.approx(found.last + hub.settings.quiet_seconds)


def test_a_changed_label_config_asks_for_a_look_at_once(hub: Hub) -> None:
    note(hub, LabelConfigChanged(7))

    assert scheduled(hub) == ["consider"]
    assert (first(hub.redis) or 0) <= time.time()


def test_what_is_ignored_leaves_nothing(hub: Hub) -> None:
    assert note(hub, Ignored("PROJECT_CREATED", "no use")) is None
    assert hub.redis.dbsize() == 0


def test_a_requested_training_is_one_job_however_many_press(hub: Hub) -> None:
    found = {note(hub, TrainingRequested(7)) for _ in range(3)}

    assert [job.id for job in waiting(hub, LONG)] == list(found)
    assert waiting(hub, LONG)[0].args == [str(hub.project(7)), "Start Training", False]


@pytest.mark.parametrize(
    "event", [LabelsChanged(7, (1,)), TasksCreated(7, (1,)), TrainingRequested(7), LabelConfigChanged(7)]
)
def test_without_redis_an_event_is_refused_with_the_remedy(event: Event) -> None:
    gone = open_hub(Settings(redis_url="redis://127.0.0.1:1/0"))
    with pytest.raises(QueueError, match="Start it, or correct LABELLOOP_REDIS_URL"):
        note(gone, event)


def test_projects_of_two_instances_do_not_meet(hub: Hub) -> None:
    other = open_hub(Settings(redis_url=hub.settings.redis_url, label_studio_url="http://elsewhere:8080"))
    note(other, LabelsChanged(7, (1,)))

    assert hub.state(hub.project(7)).changes.pending().changed == 0
    assert other.state(other.project(7)).changes.pending().changed == 1
    assert queue(hub.redis, LONG).count == 0
    other.redis.close()
