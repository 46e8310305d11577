"""What a cloud's events leave in the loop: a real Redis, boto3 against a queue, a stand-in for Label Studio."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from labelloop.cli.doctor import diagnose
from labelloop.data.site_events import LabelsChanged
from labelloop.loop import jobs
from labelloop.loop.cloud_events import read_events
from labelloop.loop.hub import Hub
from labelloop.loop.intake import note
from labelloop.loop.project_registry import remember_project
from labelloop.loop.queue import LONG
from labelloop.loop.redis_client import as_text, key_of
from labelloop.loop.status import project_status
from labelloop.loop.storages import Arrivals, storages_of
from labelloop.loop.sweep import sweep_project
from labelloop.types import Finding, ProjectKey
from support.aws import StandIn, dying_at
from support.aws.queue import QUEUE, EventQueue, annotations, large_queue, told
from support.crash_store import Killed
from support.studio_api import StudioApi

from .conftest import MakeHub, of_this_process
from .test_consider import scheduled, waiting
from .test_jobs import champion as promoted
from .test_standalone import NO_TORCH
from .test_sweep import learned, scans, seen


@pytest.fixture
def aws(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """AWS as new; this process finds it by its environment, and tries again without a pause."""
    stand_in.reset()
    stand_in.use(monkeypatch)
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    return stand_in


@pytest.fixture
def queue(aws: StandIn) -> EventQueue:
    return EventQueue(aws)


@pytest.fixture
def events_hub(make_hub: MakeHub, studio: StudioApi, queue: EventQueue) -> Hub:
    """A hub that hears the queue; project 7 writes its labels to ``labels/cats``, its data lie in ``data/cats``."""
    studio.store_in("labels/cats", "data/cats")
    studio.add_tasks(3)
    made = make_hub(events=QUEUE)
    remember_project(made, made.project(7), None)
    # As after some weeks.
    [_, data] = storages_of(made, made.project(7))
    Arrivals(made.redis, made.project(7)).take(data, 0, time.time() + 3600)
    return made


@pytest.fixture
def events_job_hub(events_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The same for jobs."""
    yield from of_this_process(events_hub, monkeypatch)


@pytest.fixture
def project(events_hub: Hub) -> ProjectKey:
    return events_hub.project(7)


def changed(hub: Hub, project: ProjectKey) -> list[str]:
    return sorted(as_text(name) for name, _ in hub.redis.zscan_iter(key_of(project, "changed")))


def prelabels(hub: Hub) -> int:
    """How many pre-annotations are planned."""
    return scheduled(hub).count("prelabel")


# Labels.
def test_an_annotation_that_is_written_deleted_and_told_by_a_webhook_too_is_one_changed_label(
    events_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    s3 = queue.watch("labels")
    note(events_hub, LabelsChanged(7, (41,)))
    s3.put_object(Bucket="labels", Key="cats/41", Body=b"{}")
    s3.put_object(Bucket="labels", Key="cats/41", Body=b"{}")
    s3.put_object(Bucket="labels", Key="cats/42", Body=b"{}")
    s3.delete_object(Bucket="labels", Key="cats/42")

    assert read_events(events_hub) == "4 of labels"
    assert changed(events_hub, project) == ["a41", "a42"]
    assert queue.count() == 0
    assert read_events(events_hub) == "none"


def test_an_object_may_be_called_by_its_task(events_hub: Hub, project: ProjectKey, queue: EventQueue) -> None:
    queue.send(told("labels/cats/7.json"), told("labels/cats//8"))
    read_events(events_hub)
    assert changed(events_hub, project) == ["a8", "t7"]


def test_a_name_that_tells_no_label_calls_for_a_scan(events_hub: Hub, project: ProjectKey, queue: EventQueue) -> None:
    studio_counters = replace(events_hub.state(project).seen(), annotations=5)
    events_hub.state(project).see(studio_counters)
    queue.send(told("labels/cats/readme.txt"))
    read_events(events_hub)
    assert not changed(events_hub, project)
    assert events_hub.state(project).seen().annotations == -1


def test_what_a_manifest_holds_already_is_no_change(
    studio: StudioApi, events_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    """Events may come minutes after a webhook did, and be read after the run that the webhook led to."""
    events_hub.state(project).see(seen(studio, ago=60))
    queue.send(*annotations([1, 2], ago=75), *annotations([3, 4], ago=65), *annotations([5]))
    read_events(events_hub)
    # Clocks differ by some seconds: rather a label twice than one lost.
    assert changed(events_hub, project) == ["a3", "a4", "a5"]
    assert queue.count() == 0


def test_an_event_that_comes_late_does_not_put_a_run_off(
    events_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    note(events_hub, LabelsChanged(7, (1, 2, 3)))
    due = events_hub.state(project).due()
    queue.send(*annotations([1, 2, 3], ago=30))
    read_events(events_hub)
    assert events_hub.state(project).due() == due


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "the other way round"])
def test_the_latest_moment_of_a_label_counts_whatever_comes_first(
    events_hub: Hub, project: ProjectKey, queue: EventQueue, order: int
) -> None:
    queue.send(*[told("labels/cats/1", ago=300), told("labels/cats/1", "Object Deleted", ago=100)][::order])
    read_events(events_hub)
    assert events_hub.state(project).changes.pending().last == pytest.approx(time.time() - 90, abs=3)


def test_very_many_annotations_lead_to_one_run(
    studio: StudioApi, events_job_hub: Hub, project: ProjectKey, aws: StandIn
) -> None:
    """Some of them come twice, the last first, and more of them while the queue is read."""
    events_job_hub.state(project).see(seen(studio, ago=600))
    numbers = list(range(1400))
    studio.add_tasks(len(numbers))
    for number in numbers:
        studio.annotate(number + 1, "cat", id=number)
    with large_queue(aws) as queue:
        queue.waiting += map(json.dumps, [*annotations(numbers[700::-1], ago=60), *annotations(numbers[::7], ago=60)])
        aws.after("sqs:ReceiveMessage", lambda _: queue.waiting.extend(map(json.dumps, annotations(numbers, ago=60))))
        assert jobs.sweep()["events"] == f"{701 + 200 + 1400} of labels"
        jobs.consider(str(project))
        jobs.sweep()
        assert queue.left == 0

    assert events_job_hub.state(project).changes.pending().changed == 1400
    assert [job.args[1] for job in waiting(events_job_hub, LONG)] == ["1400 changed labels"]


def test_a_run_that_is_due_waits_for_what_was_annotated_a_moment_ago(
    events_job_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    events_job_hub.state(project).changes.add(["a1", "a2", "a3"], time.time() - 60)
    queue.send(*annotations([4]))
    assert jobs.consider(str(project)) == "4 changed labels wait for their moment"
    assert not waiting(events_job_hub, LONG)
    assert scheduled(events_job_hub).count("consider") >= 1


def test_of_places_within_each_other_the_innermost_counts_and_two_projects_may_share_one(
    studio: StudioApi, events_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    studio.others.add(8)
    studio.store_in("labels", "")
    studio.targets.append(studio.targets[0] | {"id": 9, "project": 8})
    remember_project(events_hub, events_hub.project(8), None)
    storages_of(events_hub, project, fresh=True)
    queue.send(told("labels/cats/1"), told("labels/dogs/2"), told("labelsandmore/cats/3"))
    assert read_events(events_hub) == "2 of labels, 1 of no project"
    assert changed(events_hub, project) == ["a1", "a2"]
    assert changed(events_hub, events_hub.project(8)) == ["a1"]


def test_a_storage_that_was_connected_a_moment_ago_is_found(
    studio: StudioApi, events_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    studio.store_in("more")
    queue.send(told("more/5"), told("more/6"), told("other/7"))
    asked = studio.count("GET /api/storages")
    assert read_events(events_hub) == "2 of labels, 1 of no project"
    assert changed(events_hub, project) == ["a5", "a6"]
    assert studio.count("GET /api/storages") == asked + 4


def test_a_bucket_of_another_region_is_as_any_other(events_hub: Hub, project: ProjectKey, queue: EventQueue) -> None:
    queue.send(told("labels/cats/1", region="us-west-2"))
    read_events(events_hub)
    assert changed(events_hub, project) == ["a1"]


# Data.
def test_new_data_are_taken_in_once_and_their_tasks_are_pre_annotated(
    studio: StudioApi, events_job_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    promoted(events_job_hub, "v1")
    s3 = queue.watch("data")
    studio.before_sync = lambda _: studio.add_tasks(2)
    for number in range(5):
        s3.put_object(Bucket="data", Key=f"cats/{number}.png", Body=b"picture")
    assert read_events(events_job_hub) == "5 of data"
    assert prelabels(events_job_hub) == 1
    assert queue.count() == 0

    assert "5 tasks pre-annotated" in jobs.prelabel(str(project))
    assert studio.count("POST /api/storages/s3/1/sync") == 1
    assert studio.versions_of(5)
    read_events(events_job_hub)
    jobs.prelabel(str(project))
    assert studio.count("POST /api/storages/s3/1/sync") == 1


def test_data_that_are_deleted_change_nothing(studio: StudioApi, events_hub: Hub, queue: EventQueue) -> None:
    queue.send(told("data/cats/1.png", "Object Deleted"))
    assert read_events(events_hub) == "1 of data"
    assert prelabels(events_hub) == 0


def test_data_are_taken_in_when_first_seen_and_after_redis_was_wiped_and_after_a_long_while(
    studio: StudioApi, events_job_hub: Hub, project: ProjectKey
) -> None:
    hub = events_job_hub
    for _ in range(2):
        hub.redis.flushall()
        remember_project(hub, project, None)
        read_events(hub)
        assert prelabels(hub) == 1
        jobs.prelabel(str(project))
    assert studio.count("POST /api/storages/s3/1/sync") == 2
    [_, data] = storages_of(hub, project)
    arrivals = Arrivals(hub.redis, project)
    while_ago = 12 * hub.settings.scan_seconds
    assert not arrivals.is_due(data, time.time() + while_ago - 60)
    assert arrivals.is_due(data, time.time() + while_ago + 60)


def test_what_comes_while_data_are_taken_in_is_taken_in_after_that(
    studio: StudioApi, events_job_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    queue.send(told("data/cats/1.png"))
    read_events(events_job_hub)
    queue.send(told("data/cats/2.png"))
    studio.before_sync = lambda _: read_events(events_job_hub)
    jobs.prelabel(str(project))
    studio.before_sync = lambda _: None
    read_events(events_job_hub)
    jobs.prelabel(str(project))
    jobs.prelabel(str(project))
    assert studio.count("POST /api/storages/s3/1/sync") == 2


def test_a_storage_that_label_studio_is_at_already_is_asked_again(
    studio: StudioApi, events_job_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    queue.send(told("data/cats/1.png"))
    read_events(events_job_hub)
    studio.sources[0]["status"] = "in_progress"
    for _ in range(3):
        jobs.prelabel(str(project))
    assert studio.count("POST /api/storages/s3/1/sync") == 2


def test_a_storage_that_fails_is_told_and_takes_nothing_from_the_tasks_that_are_there(
    studio: StudioApi, events_job_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    def fail(source: dict[str, object]) -> None:
        source |= {"status": "failed", "traceback": "Traceback...\nClientError: InvalidAccessKeyId"}

    promoted(events_job_hub, "v1")
    studio.before_sync = fail
    queue.send(told("data/cats/1.png"))
    read_events(events_job_hub)
    for _ in range(2):
        jobs.prelabel(str(project))
    assert [studio.versions_of(task) for task in (1, 2, 3)] == [["v1"]] * 3
    trouble = project_status(events_job_hub, project).trouble
    assert trouble == (
        "what is new in s3://data/cats could not be taken in: "
        "Label Studio could not sync its source storage 1: ClientError: InvalidAccessKeyId"
    )
    assert studio.count("POST /api/storages/s3/1/sync") == 1  # again after a while, or when an event tells of it

    studio.before_sync = lambda _: None
    queue.send(told("data/cats/2.png"))
    read_events(events_job_hub)
    jobs.prelabel(str(project))
    assert project_status(events_job_hub, project).trouble == ""


def test_a_storage_that_is_not_to_be_synced_is_left_alone(
    studio: StudioApi, events_job_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    studio.sources[0]["synchronizable"] = False
    storages_of(events_job_hub, project, fresh=True)
    queue.send(told("data/cats/1.png"))
    assert read_events(events_job_hub) == "1 of no project"


def test_a_storage_without_a_bucket_claims_no_events(
    studio: StudioApi, events_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    studio.store_in("/", "/")
    storages_of(events_hub, project, fresh=True)
    queue.send(told("others/1"))
    assert read_events(events_hub) == "1 of no project"


# When something is away.
def test_while_label_studio_is_away_events_stay_where_they_are(
    studio: StudioApi, events_hub: Hub, project: ProjectKey, aws: StandIn, queue: EventQueue
) -> None:
    events_hub.redis.delete(key_of(project, "storages"))
    queue.send(*annotations([1]))
    studio.refusing = 503
    assert "answered 503" in read_events(events_hub)
    assert "sqs:ReceiveMessage" not in aws.calls
    studio.refusing = 0
    assert read_events(events_hub) == "1 of labels"


def test_an_event_of_a_project_that_cannot_be_asked_comes_again(
    studio: StudioApi, events_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    events_hub.redis.delete(key_of(project, "storages"))
    studio.refusing = 403
    queue.send(*annotations([1]), told("data/cats/1.png"))
    assert read_events(events_hub) == "2 of a project unknown"
    assert queue.count() == 2
    assert "whether events are of this project is not known" in project_status(events_hub, project).trouble


def test_without_redis_nothing_is_taken_off_the_queue(make_hub: MakeHub, studio: StudioApi, queue: EventQueue) -> None:
    queue.send(*annotations([1]))
    hub = make_hub(events=QUEUE, redis_url="redis://127.0.0.1:1/0")
    hub.store.write(f"{hub.project(7)}/project.json", b'{"backend_url": ""}')
    assert "Redis cannot be reached" in read_events(hub)
    assert queue.count() == 1


def test_events_that_cannot_be_taken_off_the_queue_are_noted_and_come_again(
    events_hub: Hub, project: ProjectKey, aws: StandIn, queue: EventQueue
) -> None:
    queue.send(*annotations(range(5)))
    aws.fail("sqs:DeleteMessageBatch", "ServiceUnavailable", 503, times=None)
    assert "ServiceUnavailable" in read_events(events_hub)
    assert changed(events_hub, project) == [f"a{number}" for number in range(5)]
    assert queue.count() == 5


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(6))
def test_a_worker_that_dies_at_any_call_loses_none(
    studio: StudioApi, events_hub: Hub, project: ProjectKey, aws: StandIn, number: int, after: bool
) -> None:
    with large_queue(aws) as queue:
        queue.waiting += map(json.dumps, [*annotations(range(12)), told("data/cats/1.png")])
        with dying_at(number, after=after), pytest.raises(Killed):
            read_events(events_hub)
        queue.reappear()
        read_events(events_hub)
        assert queue.left == 0
    assert changed(events_hub, project) == sorted(f"a{one}" for one in range(12))
    assert prelabels(events_hub) == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AccessDenied", "let the role of this process do sqs:receivemessage on arn:aws:sqs:eu-west-1:1:events"),
        ("ExpiredToken", "the credentials have expired or are wrong"),
        ("RequestThrottled", "RequestThrottled"),
        ("AWS.SimpleQueueService.NonExistentQueue", "NonExistentQueue"),
    ],
)
def test_a_queue_that_cannot_be_read_is_told_and_takes_nothing_from_the_sweep(
    studio: StudioApi, events_job_hub: Hub, project: ProjectKey, aws: StandIn, queue: EventQueue, code: str, said: str
) -> None:
    message = "User: u is not authorized to perform: sqs:receivemessage on resource: arn:aws:sqs:eu-west-1:1:events"
    aws.fail("sqs:ReceiveMessage", code, 403, message if code == "AccessDenied" else "", times=8)
    swept = jobs.sweep()
    assert said in swept["events"]
    assert swept[str(project)] == "nothing has changed"
    assert said in project_status(events_job_hub, project).trouble
    aws.reset()
    EventQueue(aws)
    jobs.sweep()
    assert project_status(events_job_hub, project).trouble == ""


def test_a_queue_that_cannot_be_read_keeps_no_data_from_being_taken_in(
    events_hub: Hub, project: ProjectKey, aws: StandIn, queue: EventQueue
) -> None:
    [_, data] = storages_of(events_hub, project)
    Arrivals(events_hub.redis, project).take(data, 0, time.time() - 1)  # a long while is over
    aws.deny("sqs:ReceiveMessage")
    assert read_events(events_hub).startswith("failed")
    assert prelabels(events_hub) == 1


def test_what_is_said_of_a_queue_ends_with_its_setting(
    studio: StudioApi, make_hub: MakeHub, events_hub: Hub, project: ProjectKey, aws: StandIn
) -> None:
    aws.deny("sqs:ReceiveMessage")
    read_events(events_hub)
    assert "sqs:ReceiveMessage" in project_status(events_hub, project).trouble
    without = make_hub()
    sweep_project(without, project)
    assert project_status(without, project).trouble == ""


def test_what_was_in_a_queue_that_was_purged_a_look_finds(
    studio: StudioApi, events_job_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    learned(events_job_hub, {})
    events_job_hub.state(project).see(seen(studio, ago=3700))
    studio.annotate(1, "cat")
    queue.send(*annotations([100]))
    queue.sqs.purge_queue(QueueUrl=queue.url)
    jobs.sweep()
    assert scans(studio) == 0
    assert changed(events_job_hub, project) == ["t1"]


def test_what_cannot_be_read_takes_nothing_from_the_others(
    events_hub: Hub, project: ProjectKey, queue: EventQueue
) -> None:
    queue.send("not JSON", *annotations([1]), told("labels/cats/2", "Object Tags Added"), json.dumps({"Records": []}))
    assert read_events(events_hub) == "1 of labels, 2 of nothing, 1 unreadable"
    assert changed(events_hub, project) == ["a1"]
    assert queue.count() == 1


def test_doctor_asks_the_queue_and_says_which_storages_are_heard_of(
    studio: StudioApi, make_hub: MakeHub, events_hub: Hub, aws: StandIn
) -> None:
    def found() -> dict[str, Finding]:
        return {finding.name: finding for finding in diagnose(make_hub(events=QUEUE, **NO_TORCH), 7)}

    well = found()
    assert well["events"].detail == "queue events in eu-west-1 can be read, about 0 events wait"
    assert well["project's storages"].detail == "its labels lie in s3://labels/cats; its data lie in s3://data/cats"
    studio.targets, studio.sources = [], []
    aws.deny("sqs:ReceiveMessage", "arn:aws:sqs:eu-west-1:123456789012:events")
    bad = found()
    assert not bad["events"].ok
    assert "do sqs:ReceiveMessage on arn:aws:sqs:eu-west-1:123456789012:events" in bad["events"].detail
    assert "so no event is of this project" in bad["project's storages"].detail


def test_without_a_queue_nobody_is_asked(studio: StudioApi, studio_hub: Hub, aws: StandIn) -> None:
    assert read_events(studio_hub) == ""
    assert aws.calls == []
    assert studio.asked == []
