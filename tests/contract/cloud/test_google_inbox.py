"""The queue of events on Google Cloud: what Cloud Storage tells by Pub/Sub, and what Pub/Sub refuses."""

import logging

import pytest

from labelloop.cloud.base import CloudEvent, Inbox
from labelloop.cloud.opening import open_inbox
from labelloop.errors import CloudAway, CloudDenied, CloudError, CloudMissing, SettingsError
from labelloop.settings import Settings
from support.google import PROJECT, StandIn
from support.google.queue import SUBSCRIPTION, TOPIC, EventQueue

ADDRESS = f"pubsub://{PROJECT}/{SUBSCRIPTION.rpartition('/')[2]}"
PULL = "pubsub:POST subscriptions/*:pull"


@pytest.fixture
def queue(google: StandIn) -> EventQueue:
    return EventQueue(google)


@pytest.fixture
def inbox(queue: EventQueue, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    monkeypatch.setattr("time.sleep", lambda _: None)
    return open_inbox(ADDRESS)


def told(google: StandIn, name: str, kind: str = "OBJECT_FINALIZE", **more: str) -> None:
    attributes = {"eventType": kind, "bucketId": "labels", "objectId": name, **more}
    google.pubsub.send(TOPIC, {}, **attributes)


def test_objects_written_replaced_and_deleted_are_told(google: StandIn, queue: EventQueue, inbox: Inbox) -> None:
    google.bucket("labels")
    google.pubsub.watch("labels", TOPIC)
    for _ in range(2):
        google.objects.write("gs://labels/annotations/7 ä+b", b"{}")
    google.objects.delete("gs://labels/annotations/7 ä+b")

    found = [one for one in inbox.take(10) if one.kind != "other"]
    assert [(one.kind, one.place, one.gone) for one in found] == [
        ("object", "gs://labels/annotations/7 ä+b", False),
        ("object", "gs://labels/annotations/7 ä+b", False),
        ("object", "gs://labels/annotations/7 ä+b", True),
    ]
    assert found[0].at > 1_700_000_000
    inbox.done(found)


@pytest.mark.parametrize("kind", ["OBJECT_METADATA_UPDATE", "OBJECT_OF_TOMORROW"])
def test_what_concerns_nobody_is_told_as_that(google: StandIn, queue: EventQueue, inbox: Inbox, kind: str) -> None:
    told(google, "a/1", kind)
    [event] = inbox.take(10)
    assert (event.kind, event.place) == ("other", kind)


def test_what_cannot_be_read_is_logged_once_and_left(
    google: StandIn, queue: EventQueue, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    google.pubsub.send(TOPIC, "not of Cloud Storage")
    google.pubsub.send(TOPIC, {}, eventType="OBJECT_FINALIZE", bucketId="labels")
    for _ in range(2):
        assert [one.kind for one in inbox.take(10)] == ["unreadable"] * 2
        google.pubsub.reappear()
    assert len(caplog.records) == 2
    assert "not of Cloud Storage" not in caplog.text


def test_many_are_taken_at_once_and_what_is_not_done_comes_again(
    google: StandIn, queue: EventQueue, inbox: Inbox
) -> None:
    for number in range(25):
        told(google, f"a/{number}")
    found = inbox.take(23)
    assert len({one.place for one in found}) == 23
    inbox.done(found[:12])
    assert len(inbox.take(100)) == 2
    google.pubsub.reappear()
    assert len(inbox.take(100)) == 13


def test_workers_beside_each_other_share_the_events(google: StandIn, queue: EventQueue, inbox: Inbox) -> None:
    for number in range(20):
        told(google, f"a/{number}")
    other = open_inbox(ADDRESS)
    taken = [event for one in (inbox, other) for event in one.take(10)]
    assert len({event.place for event in taken}) == 20
    inbox.done(taken)
    assert google.pubsub.left(SUBSCRIPTION) == 0


@pytest.mark.parametrize(
    ("status", "error"),
    [("UNAVAILABLE", CloudAway), ("RESOURCE_EXHAUSTED", CloudAway), ("INVALID_ARGUMENT", CloudError)],
)
def test_refusals_say_what_was_asked_of_which_subscription(
    google: StandIn, inbox: Inbox, status: str, error: type[Exception]
) -> None:
    google.fail(PULL, status, times=None)
    with pytest.raises(error, match=f"subscription {SUBSCRIPTION.rpartition('/')[2]} in project {PROJECT}"):
        inbox.take(10)


def test_an_account_that_lacks_the_permission_is_told_which(google: StandIn, inbox: Inbox) -> None:
    google.deny("pubsub.subscriptions.consume")
    with pytest.raises(CloudDenied, match=r"pubsub\.subscriptions\.consume"):
        inbox.take(10)


def test_a_subscription_that_is_not_there_is_named_with_what_to_do(google: StandIn) -> None:
    missing = open_inbox(f"pubsub://{PROJECT}/nothing")
    for ask in (missing.check, lambda: missing.take(1)):
        with pytest.raises(CloudMissing, match=r"subscription nothing in project .* correct LABELLOOP_EVENTS"):
            ask()


def test_check_says_where_messages_come_from(google: StandIn, queue: EventQueue, inbox: Inbox) -> None:
    assert f"can be read, of topic {TOPIC.rpartition('/')[2]}" in inbox.check()
    plain = f"projects/{PROJECT}/subscriptions/plain"
    google.pubsub.subscribe(plain, {"topic": TOPIC, "ackDeadlineSeconds": 10})
    assert "it has no dead-letter topic" in open_inbox(f"pubsub://{PROJECT}/plain").check()
    pushed = {"topic": TOPIC, "ackDeadlineSeconds": 10, "pushConfig": {"pushEndpoint": "https://a.example"}}
    google.pubsub.subscribe(plain, pushed)
    with pytest.raises(CloudError, match="pushes its messages elsewhere"):
        open_inbox(f"pubsub://{PROJECT}/plain").check()


def test_an_event_that_is_done_twice_is_done(google: StandIn, queue: EventQueue, inbox: Inbox) -> None:
    told(google, "a/1")
    events: list[CloudEvent] = list(inbox.take(1))
    inbox.done(events)
    inbox.done(events)
    assert google.pubsub.left(SUBSCRIPTION) == 0


@pytest.mark.parametrize("address", ["pubsub://shop-1", "pubsub://shop-1/a/b", "pubsub://shop-1/events?wait=1"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="LABELLOOP_EVENTS"):
        open_inbox(address)
    with pytest.raises(SettingsError, match="LABELLOOP_EVENTS"):
        Settings.from_environment({"LABELLOOP_EVENTS": "pubsub://shop-1"})
