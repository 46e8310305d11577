"""The queue of events in the stand-in, and what others write into it."""

import json
from collections.abc import Iterable
from typing import Any

from support.google.stand_in import LOCATION, PROJECT, StandIn

QUEUE = f"pubsub://{PROJECT}/events"
"""What LABELLOOP_EVENTS says of it."""

TOPIC, SUBSCRIPTION = f"projects/{PROJECT}/topics/events", f"projects/{PROJECT}/subscriptions/events"
DEAD_TOPIC, DEAD = f"projects/{PROJECT}/topics/dead", f"projects/{PROJECT}/subscriptions/dead"


class EventQueue:
    """The subscription ``events``, which hides what is taken for a minute and gives up on it after five times."""

    def __init__(self, google: StandIn) -> None:
        self._google, self.pubsub = google, google.pubsub
        for topic in (TOPIC, DEAD_TOPIC):
            self.pubsub.topics[topic] = {"name": topic}
        policy = {"deadLetterTopic": DEAD_TOPIC, "maxDeliveryAttempts": 5}
        self.pubsub.subscribe(SUBSCRIPTION, {"topic": TOPIC, "ackDeadlineSeconds": 60, "deadLetterPolicy": policy})
        self.pubsub.subscribe(DEAD, {"topic": DEAD_TOPIC, "ackDeadlineSeconds": 60})

    def send(self, *bodies: object, **attributes: str) -> None:
        """Let somebody write messages; what is no text is written as JSON."""
        self.pubsub.send(TOPIC, *bodies, **attributes)

    def tell(self, *told: tuple[dict[str, str], dict[str, Any]]) -> None:
        """Let Cloud Storage write messages, as ``told`` gives them."""
        for attributes, resource in told:
            self.pubsub.send(TOPIC, json.dumps(resource), **attributes)

    def reappear(self) -> None:
        """Show what is taken and was not acknowledged."""
        self.pubsub.reappear()

    def count(self, subscription: str = SUBSCRIPTION) -> int:
        """How many messages there are, hidden ones too."""
        return self.pubsub.left(subscription)

    def watch(self, bucket: str, prefix: str = "") -> None:
        """Make a bucket whose changes are told to the queue."""
        self._google.storage.buckets.make(bucket, LOCATION)
        self.pubsub.watch(bucket, TOPIC, prefix)


def told(address: str, what: str = "OBJECT_FINALIZE", *, at: str = "2026-11-30T08:00:00.000000Z", **more: str) -> Any:
    """Write what Cloud Storage says of an object, ``bucket/name``: the attributes of a message, and its data."""
    bucket, _, name = address.partition("/")
    attributes = {
        "notificationConfig": f"projects/_/buckets/{bucket}/notificationConfigs/1",
        "eventType": what,
        "payloadFormat": "JSON_API_V1",
        "bucketId": bucket,
        "objectId": name,
        "objectGeneration": "1",
        "eventTime": at,
    }
    return attributes | more, {"kind": "storage#object", "bucket": bucket, "name": name, "generation": "1"}


def annotations(numbers: Iterable[int], **more: str) -> list[Any]:
    """Messages of annotations that Label Studio has written below ``labels/cats``."""
    return [told(f"labels/cats/{number}", **more) for number in numbers]
