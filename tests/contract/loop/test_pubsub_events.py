"""What Pub/Sub's events leave in the loop: objects of Cloud Storage, a real Redis, a stand-in for Label Studio."""

import time
from collections.abc import Iterator

import pytest

from labelloop.data.site_events import LabelsChanged
from labelloop.loop import jobs
from labelloop.loop.cloud_events import read_events
from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.project_registry import remember_project
from labelloop.loop.status import project_status
from labelloop.loop.storages import Arrivals, storages_of
from labelloop.loop.sweep import sweep_project
from labelloop.types import ProjectKey
from support.google import StandIn
from support.google.queue import QUEUE, EventQueue, annotations
from support.google.wire import now
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_cloud_events import changed, prelabels
from .test_jobs import champion as promoted


@pytest.fixture
def google(google_session: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    google_session.reset()
    google_session.use(monkeypatch)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return google_session


@pytest.fixture
def queue(google: StandIn) -> EventQueue:
    return EventQueue(google)


@pytest.fixture
def hub(make_hub: MakeHub, studio: StudioApi, queue: EventQueue, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that hears the queue; project 7 writes its labels to ``labels/cats``, its data lie in ``data/cats``."""
    studio.cloud = "gcs"
    studio.store_in("labels/cats", "data/cats")
    studio.add_tasks(3)
    for made in of_this_process(make_hub(events=QUEUE), monkeypatch):
        remember_project(made, made.project(7), None)
        # As after some weeks.
        [_, data] = storages_of(made, made.project(7))
        Arrivals(made.redis, made.project(7)).take(data, 0, time.time() + 3600)
        yield made


@pytest.fixture
def project(hub: Hub) -> ProjectKey:
    return hub.project(7)


def test_an_annotation_that_is_written_deleted_and_told_by_a_webhook_too_is_one_changed_label(
    google: StandIn, hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    queue.watch("labels")
    note(hub, LabelsChanged(7, (41,)))
    for name in ("41", "41", "42"):
        google.objects.write(f"gs://labels/cats/{name}", b"{}")
    google.objects.delete("gs://labels/cats/42")

    # The older object is told of when it is replaced, which changes nothing.
    assert read_events(hub) == "4 of labels, 1 of nothing"
    assert changed(hub, project) == ["a41", "a42"]
    assert queue.count() == 0
    assert read_events(hub) == "none"


def test_new_data_are_taken_in_once_and_their_tasks_are_pre_annotated(
    google: StandIn, studio: StudioApi, hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    promoted(hub, "v1")
    queue.watch("data")
    studio.before_sync = lambda _: studio.add_tasks(2)
    for number in range(5):
        google.objects.write(f"gs://data/cats/{number}.png", b"picture")
    assert read_events(hub) == "5 of data"
    assert (prelabels(hub), queue.count()) == (1, 0)
    assert "5 tasks pre-annotated" in jobs.prelabel(str(project))
    assert studio.count("POST /api/storages/gcs/1/sync") == 1


def test_a_queue_that_cannot_be_read_is_told_and_takes_nothing_from_the_sweep(
    google: StandIn, studio: StudioApi, hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    queue.tell(*annotations([1, 2], at=now()))
    google.revoke()
    assert read_events(hub).startswith("failed: ")
    assert "service account is disabled" in project_status(hub, project).trouble
    sweep_project(hub, project)
    google.mend()
    assert read_events(hub) == "2 of labels"
    assert changed(hub, project) == ["a1", "a2"]
    assert "disabled" not in project_status(hub, project).trouble
