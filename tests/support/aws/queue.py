"""The queue of events in the stand-in, and what others write into it."""

import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

from labelloop.types import Json, chunks
from support.aws.stand_in import ACCOUNT, StandIn
from support.aws.wire import Call
from support.aws_wire import REGION

QUEUE = f"sqs://events?region={REGION}&wait=0"
"""What LABELLOOP_EVENTS says of it."""


class EventQueue:
    """The queue ``events``, which hides what is taken for a minute and gives up on it after two times."""

    def __init__(self, aws: StandIn) -> None:
        self._aws = aws
        self.sqs = aws.client("sqs")
        self.dead = self.sqs.create_queue(QueueName="dead")["QueueUrl"]
        self.arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:events"
        policy = {"deadLetterTargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead", "maxReceiveCount": 2}
        attributes = {"RedrivePolicy": json.dumps(policy), "VisibilityTimeout": "60"}
        self.url = self.sqs.create_queue(QueueName="events", Attributes=attributes)["QueueUrl"]

    def send(self, *bodies: object) -> None:
        """Let somebody write messages; what is no text is written as JSON."""
        texts = (body if isinstance(body, str) else json.dumps(body) for body in bodies)
        for some in chunks(texts, 10):
            entries = [{"Id": str(number), "MessageBody": text} for number, text in enumerate(some)]
            self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def hide(self, seconds: int) -> None:
        """Let messages that are taken be hidden for so long."""
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"VisibilityTimeout": str(seconds)})

    def count(self, url: str = "") -> int:
        """How many messages there are, hidden ones too."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.sqs.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)["Attributes"]
        return sum(map(int, told.values()))

    def watch(self, bucket: str, configuration: dict[str, Any] | None = None) -> Any:
        """Make a bucket whose changes are told to the queue, by EventBridge; gives boto3's client of S3."""
        s3, events = self._aws.client("s3"), self._aws.client("events")
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration=configuration or {"EventBridgeConfiguration": {}}
        )
        events.put_rule(Name="s3", EventPattern=json.dumps({"source": ["aws.s3"]}))
        events.put_targets(Rule="s3", Targets=[{"Id": "queue", "Arn": self.arn}])
        return s3


class LargeQueue:
    """The messages of a queue that may hold very many: moto looks at each of them for each one that it gives.

    What was taken is hidden until it is to reappear.
    """

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self._hidden: dict[str, str] = {}
        self._names = count()
        self._lock = threading.Lock()

    def receive(self, call: Call) -> Json:
        """Answer ReceiveMessage."""
        with self._lock:
            most = min(call.parameters["MaxNumberOfMessages"], len(self.waiting))
            given = {f"receipt-{next(self._names)}": self.waiting.popleft() for _ in range(most)}
            self._hidden |= given
        return {"Messages": [{"MessageId": one, "ReceiptHandle": one, "Body": body} for one, body in given.items()]}

    def delete(self, call: Call) -> Json:
        """Answer DeleteMessageBatch."""
        entries = call.parameters["Entries"]
        with self._lock:
            for one in entries:
                self._hidden.pop(one["ReceiptHandle"], None)
        return {"Successful": [{"Id": one["Id"]} for one in entries], "Failed": []}

    def reappear(self) -> None:
        """Show what was taken and not deleted, as after the visibility timeout."""
        with self._lock:
            self.waiting += self._hidden.values()
            self._hidden.clear()

    @property
    def left(self) -> int:
        """How many messages there are, hidden ones too."""
        return len(self.waiting) + len(self._hidden)


@contextmanager
def large_queue(aws: StandIn) -> Iterator[LargeQueue]:
    """Let all queues of the stand-in be this one."""
    queue = LargeQueue()
    answers = {"sqs:ReceiveMessage": queue.receive, "sqs:DeleteMessageBatch": queue.delete}
    aws.operations.update(answers)
    try:
        yield queue
    finally:
        for name in answers:
            del aws.operations[name]


def told(address: str, what: str = "Object Created", *, ago: float = 0.0, **more: Any) -> dict[str, Any]:
    """Write an event of S3 as EventBridge hands it on, ``bucket/key`` having changed so many seconds ago."""
    bucket, _, key = address.partition("/")
    moment = datetime.fromtimestamp(time.time() - ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    detail = {"version": "0", "bucket": {"name": bucket}, "object": {"key": key, "size": 2, "etag": "0"}}
    event = {"version": "0", "id": "1", "detail-type": what, "source": "aws.s3", "account": ACCOUNT}
    return event | {"time": moment, "region": REGION, "detail": detail} | more


def annotations(numbers: Iterable[int], **more: Any) -> list[dict[str, Any]]:
    """Events of annotations that Label Studio has written below ``labels/cats``."""
    return [told(f"labels/cats/{number}", **more) for number in numbers]
