"""The queue of events, as boto3 finds it: what S3, EventBridge and SNS write into it, and what SQS refuses."""

import json
import logging
from typing import Any

import pytest

from labelloop.cloud.base import CloudEvent, Inbox
from labelloop.cloud.opening import open_inbox
from labelloop.errors import CloudAway, CloudDenied, CloudMissing, SettingsError
from labelloop.settings import Settings
from support.aws import StandIn
from support.aws.queue import QUEUE, EventQueue, told

S3_KEY = "annotations/7 ä+b"


@pytest.fixture
def queue(aws: StandIn) -> EventQueue:
    return EventQueue(aws)


@pytest.fixture
def inbox(queue: EventQueue) -> Inbox:
    return open_inbox(QUEUE)


@pytest.mark.parametrize(
    "configuration",
    [
        {"EventBridgeConfiguration": {}},
        {
            "QueueConfigurations": [
                {
                    "QueueArn": "arn:aws:sqs:eu-west-1:123456789012:events",
                    "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                }
            ]
        },
    ],
    ids=["by EventBridge", "by S3 itself"],
)
def test_objects_written_and_deleted_are_told(
    aws: StandIn, queue: EventQueue, inbox: Inbox, configuration: dict[str, Any]
) -> None:
    s3 = queue.watch("labels", configuration)
    s3.put_object(Bucket="labels", Key=S3_KEY, Body=b"{}")
    s3.delete_object(Bucket="labels", Key=S3_KEY)

    found = [one for one in inbox.take(10) if one.kind != "other"]
    assert [(one.kind, one.place, one.gone) for one in found] == [
        ("object", f"s3://labels/{S3_KEY}", False),
        ("object", f"s3://labels/{S3_KEY}", True),
    ]
    assert found[0].at > 1_700_000_000


def test_an_approval_is_told_by_its_group(queue: EventQueue, inbox: Inbox) -> None:
    detail = {"ModelPackageGroupName": "loop-7", "ModelApprovalStatus": "Approved"}
    queue.send(
        {"detail-type": "SageMaker Model Package State Change", "source": "aws.sagemaker", "detail": detail},
    )
    assert [(one.kind, one.place, one.at) for one in inbox.take(10)] == [("approval", "loop-7", 0.0)]


def test_one_message_may_hold_several_events_and_sns_may_have_wrapped_it(queue: EventQueue, inbox: Inbox) -> None:
    def record(name: str, key: str) -> dict[str, Any]:
        s3 = {"bucket": {"name": "labels"}, "object": {"key": key}}
        return {"eventSource": "aws:s3", "eventTime": "2026-11-29T21:35:51.749Z", "eventName": name, "s3": s3}

    both = {"Records": [record("ObjectCreated:Put", "a%2F1+%C3%A4"), record("s3:ObjectRemoved:Delete", "a/2")]}
    queue.send({"Type": "Notification", "MessageId": "1", "TopicArn": "arn", "Message": json.dumps(both)})

    first, second = inbox.take(10)
    assert (first.place, second.place, second.gone) == ("s3://labels/a/1 ä", "s3://labels/a/2", True)
    assert first.at == pytest.approx(1795988151.749)
    assert first.receipt == second.receipt
    inbox.done([first, second])
    assert queue.count() == 0


@pytest.mark.parametrize(
    "body",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-29T21:35:51.744Z", "Bucket": "labels"},
        {"Records": []},
        told("labels/a/1", "Object Tags Added"),
        told("labels/a/1", "Object Created", source="custom.app"),
        {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectRestore:Post", "s3": {}}]},
    ],
    ids=["test", "empty", "tags", "another source", "restored"],
)
def test_what_concerns_nobody_is_told_as_that(queue: EventQueue, inbox: Inbox, body: object) -> None:
    queue.send(body)
    [event] = inbox.take(10)
    assert event.kind == "other"


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[" * 100_000,
        "[]",
        '"text"',
        "null",
        "{}",
        {"Event": []},
        {"detail-type": "Object Created", "source": "aws.s3", "detail": {"object": {"key": "a"}}},
        {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": None}}]},
        {"Records": [told("labels/a")]},
        {"Records": 7},
        {"Type": "Notification", "Message": "not JSON"},
    ],
    ids=lambda body: str(body)[:40],
)
def test_what_cannot_be_read_is_logged_once_and_left_to_the_dead_letter_queue(
    queue: EventQueue, inbox: Inbox, caplog: pytest.LogCaptureFixture, body: object
) -> None:
    caplog.set_level(logging.WARNING)
    queue.hide(0)
    queue.send(body)
    for _ in range(2):
        assert [one.kind for one in inbox.take(1)] == ["unreadable"]
    assert inbox.take(1) == []
    assert (queue.count(), queue.count(queue.dead)) == (0, 1)
    assert len(caplog.records) == 1
    assert json.dumps(body)[:40] not in caplog.text


def test_many_are_taken_at_once_and_what_is_not_done_comes_again(queue: EventQueue, inbox: Inbox) -> None:
    queue.send(*(told(f"labels/a/{number}") for number in range(25)))
    found = inbox.take(23)
    assert len({one.place for one in found}) == 23
    inbox.done(found[:12])
    assert (len(inbox.take(100)), queue.count()) == (2, 13)


def test_workers_beside_each_other_share_the_events(queue: EventQueue, inbox: Inbox) -> None:
    queue.send(*(told(f"labels/a/{number}") for number in range(20)))
    other = open_inbox(QUEUE)
    taken: list[CloudEvent] = []
    for one in (inbox, other):
        taken += one.take(10)
    assert len({event.place for event in taken}) == 20
    inbox.done(taken)  # a receipt is good for whoever has it
    assert queue.count() == 0


def test_messages_that_sqs_does_not_delete_are_tried_once_more(aws: StandIn, queue: EventQueue, inbox: Inbox) -> None:
    queue.send(told("labels/a/1"), told("labels/a/2"))
    asked: list[int] = []

    def fail_first(call: Any) -> dict[str, Any] | None:
        asked.append(len(call.parameters["Entries"]))
        if len(asked) > 1:
            return None
        failed = {"Id": "1", "SenderFault": False, "Code": "InternalError"}
        return {"Successful": [{"Id": "0"}], "Failed": [failed]}

    aws.operations["sqs:DeleteMessageBatch"] = fail_first
    try:
        inbox.done(inbox.take(10))
    finally:
        del aws.operations["sqs:DeleteMessageBatch"]
    assert asked == [2, 1]


def test_a_receipt_that_is_none_takes_nothing_from_the_others(queue: EventQueue, inbox: Inbox) -> None:
    queue.send(told("labels/a/1"))
    inbox.done([CloudEvent("object", "s3://labels/x", "bogus"), *inbox.take(10)])
    assert queue.count() == 0


def test_what_was_taken_before_a_failure_is_given_and_the_failure_is_told_next(
    aws: StandIn, queue: EventQueue, inbox: Inbox
) -> None:
    queue.send(*(told(f"labels/a/{number}") for number in range(12)))
    aws.after("sqs:ReceiveMessage", lambda _: aws.fail("sqs:ReceiveMessage", "ExpiredToken", 403, times=2))
    assert len(inbox.take(100)) == 10
    with pytest.raises(CloudDenied, match="have expired"):
        inbox.take(100)


@pytest.mark.parametrize(
    ("refusal", "error", "said"),
    [
        (("RequestThrottled", 403), CloudAway, "RequestThrottled"),
        (("ThrottlingException", 400), CloudAway, "ThrottlingException"),
        (("ExpiredToken", 403), CloudDenied, "credentials have expired"),
        (("ServiceUnavailable", 503), CloudAway, "ServiceUnavailable"),
        (("KmsAccessDenied", 400), CloudDenied, "KmsAccessDenied"),
    ],
)
def test_refusals_say_what_was_asked_of_which_queue(
    aws: StandIn, inbox: Inbox, refusal: tuple[str, int], error: type[Exception], said: str
) -> None:
    aws.fail("sqs:ReceiveMessage", *refusal, times=None)
    with pytest.raises(error, match=f"the messages of queue events in eu-west-1.*{said}"):
        inbox.take(10)


def test_a_role_that_lacks_an_action_is_told_which(aws: StandIn, inbox: Inbox) -> None:
    arn = "arn:aws:sqs:eu-west-1:123456789012:events"
    aws.deny("sqs:ReceiveMessage", arn, times=None)
    for ask in (inbox.check, lambda: inbox.take(1)):
        with pytest.raises(CloudDenied, match=f"let the role of this process do sqs:ReceiveMessage on {arn}"):
            ask()


def test_a_queue_that_is_not_there_is_told_with_its_region(aws: StandIn, queue: EventQueue) -> None:
    for address in ("sqs://other?region=eu-west-1", "sqs://events?region=eu-central-1"):
        with pytest.raises(CloudMissing, match=r"queue \w+ in eu-[\w-]+: .*correct LABELLOOP_EVENTS"):
            open_inbox(address).take(10)


def test_a_queue_of_another_account_is_asked_for_by_its_number(aws: StandIn, queue: EventQueue) -> None:
    asked: list[object] = []
    aws.before("sqs:GetQueueUrl", lambda call: asked.append(call.parameters), times=None)
    open_inbox(f"{QUEUE}&account=123456789012").take(1)
    assert asked == [{"QueueName": "events", "QueueOwnerAWSAccountId": "123456789012"}]


def test_doctor_is_told_how_much_waits_and_whether_there_is_a_dead_letter_queue(
    aws: StandIn, queue: EventQueue, inbox: Inbox
) -> None:
    queue.send(told("labels/a/1"), told("labels/a/2"))
    assert inbox.check() == "queue events in eu-west-1 can be read, about 2 events wait"
    assert len(inbox.take(10)) == 2  # a look takes none away
    queue.sqs.create_queue(QueueName="bare")
    assert "it has no dead-letter queue" in open_inbox("sqs://bare?region=eu-west-1").check()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("amqp://x", "'amqp' is no kind of queue"),
        ("sqs://events?regoin=eu-west-1", "'regoin' is no option"),
        ("sqs://events?region=eu-west-1&account=12", "account is no account number"),
        ("sqs://events?region=eu-west-1&wait=21", "wait is no number of seconds"),
        ("sqs://events?region=nowhere at all", "cannot be asked"),
    ],
)
def test_addresses_are_checked_before_anything_is_asked(aws: StandIn, address: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        open_inbox(address).take(1)
    assert aws.calls == []


@pytest.mark.parametrize("value", ["events", "sqs://", "sqs://a b", "https://sqs.eu-west-1.amazonaws.com/1/events"])
def test_a_setting_of_another_form_is_refused(value: str) -> None:
    assert "LABELLOOP_EVENTS" in Settings.read({"LABELLOOP_EVENTS": value})[1]
    assert not Settings.read({"LABELLOOP_EVENTS": QUEUE})[1]
