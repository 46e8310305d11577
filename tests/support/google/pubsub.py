"""Pub/Sub, version v1: topics, subscriptions that are pulled from, and what Cloud Storage tells of its objects.

A message that is pulled is hidden until its deadline, and comes again unless it is acknowledged: by the clock, or when
a test says ``reappear``.
"""

import base64
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count, islice
from typing import Any

from labelloop.types import Json
from support.google.buckets import Object
from support.google.front import Route
from support.google.names import check_labels
from support.google.operations import Operations
from support.google.wire import Call, Refused, invalid, missing, now, page, violation

_NAME = r"projects/[^/]+/(topics|subscriptions)/(?!goog)[A-Za-z][\w.~+%-]{2,254}"
_MOST_BYTES = 10_000_000
_MOST_PULLED = 1000


@dataclass
class Message:
    """One message in one subscription: hidden until ``until``, and taken ``attempts`` times."""

    told: Json
    until: float = 0.0
    attempts: int = 0
    receipt: str = ""


@dataclass
class Subscription:
    """What a subscription holds: messages by their ids, the oldest first."""

    name: str
    told: Json
    messages: dict[str, Message] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        return str(self.told["topic"])

    @property
    def deadline(self) -> float:
        """Seconds for which a message that is taken is hidden."""
        return float(self.told["ackDeadlineSeconds"])


@dataclass
class PubSub:
    """All topics and subscriptions; ``clock`` gives seconds."""

    operations: Operations
    clock: Callable[[], float] = time.monotonic
    topics: dict[str, Json] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    _watched: list[tuple[str, str, str]] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: count(1))

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        topic, subscription = "pubsub:{} topics{}".format, "pubsub:{} subscriptions{}".format
        verb = "subscriptions"
        return [
            Route(topic("PUT", "/*"), "topics.create", self._make_topic, "Topic"),
            Route(topic("GET", "/*"), "topics.get", lambda call: self._topic(call.resource)),
            Route(topic("DELETE", "/*"), "topics.delete", self._delete_topic),
            Route(topic("POST", "/*:publish"), "topics.publish", self._publish, "PublishRequest"),
            Route(subscription("PUT", "/*"), f"{verb}.create", self._subscribe, "Subscription"),
            Route(subscription("GET", ""), f"{verb}.list", self._list, query=("pageSize", "pageToken")),
            Route(subscription("GET", "/*"), f"{verb}.get", lambda call: self._told(self._named(call))),
            Route(subscription("DELETE", "/*"), f"{verb}.delete", self._delete),
            Route(subscription("POST", "/*:pull"), f"{verb}.consume", self._pull, "PullRequest"),
            Route(subscription("POST", "/*:acknowledge"), f"{verb}.consume", self._acknowledge, "AcknowledgeRequest"),
            Route(
                subscription("POST", "/*:modifyAckDeadline"),
                f"{verb}.consume",
                self._modify,
                "ModifyAckDeadlineRequest",
            ),
        ]

    def forget(self) -> None:
        """Forget everything."""
        self.topics.clear()
        self.subscriptions.clear()
        self._watched.clear()
        self.clock = time.monotonic

    # What a test does.
    def send(self, topic: str, *bodies: object, **attributes: str) -> None:
        """Publish messages to a topic (``projects/P/topics/T``); what is no text is written as JSON."""
        for body in bodies:
            content = (body if isinstance(body, str) else json.dumps(body)).encode()
            self._deliver(topic, content, attributes)

    def subscribe(self, name: str, told: Json) -> Subscription:
        """Make a subscription (``projects/P/subscriptions/S``) as it is told."""
        self.subscriptions[name] = Subscription(name, told)
        return self.subscriptions[name]

    def watch(self, bucket: str, topic: str, prefix: str = "") -> None:
        """Let what happens to a bucket's objects be told to a topic, which is made."""
        self.topics.setdefault(topic, {"name": topic})
        self._watched.append((bucket, topic, prefix))

    def object_changed(self, what: str, one: Object, more: dict[str, str]) -> None:
        """Tell of an object: ``OBJECT_FINALIZE`` or ``OBJECT_DELETE`` (Cloud Storage, "Pub/Sub notifications")."""
        for number, (bucket, topic, prefix) in enumerate(self._watched, 1):
            if bucket != one.bucket or not one.name.startswith(prefix):
                continue
            attributes = {
                "notificationConfig": f"projects/_/buckets/{bucket}/notificationConfigs/{number}",
                "eventType": what,
                "payloadFormat": "JSON_API_V1",
                "bucketId": bucket,
                "objectId": one.name,
                "objectGeneration": str(one.generation),
                "eventTime": now(),
                **more,
            }
            self._deliver(topic, json.dumps(one.resource).encode(), attributes)

    def reappear(self) -> None:
        """Show what was pulled and not acknowledged, as after its deadline."""
        for subscription in self.subscriptions.values():
            for message in subscription.messages.values():
                message.until = 0.0

    def left(self, subscription: str) -> int:
        """How many messages there are (``projects/P/subscriptions/S``), hidden ones too."""
        return len(self.subscriptions[subscription].messages)

    def _deliver(self, topic: str, content: bytes, attributes: dict[str, str]) -> str:
        with self.operations.lock:
            number = str(next(self._numbers))
            told = {"messageId": number, "publishTime": now(), "attributes": attributes}
            if content:
                told["data"] = base64.b64encode(content).decode()
            for one in self.subscriptions.values():
                if one.topic == topic:
                    one.messages[number] = Message({name: value for name, value in told.items() if value})
            return number

    # What Pub/Sub answers.
    def _make_topic(self, call: Call) -> Json:
        _check_name(call.resource)
        check_labels(call.body.get("labels", {}))
        if call.resource in self.topics:
            raise Refused("ALREADY_EXISTS", f"Resource already exists in the project (resource={call.resource}).")
        self.topics[call.resource] = {"name": call.resource, **call.body}
        return self.topics[call.resource]

    def _topic(self, name: str) -> Json:
        if name not in self.topics:
            raise missing("Topic", name)
        return self.topics[name]

    def _delete_topic(self, call: Call) -> Json:
        self._topic(call.resource)
        del self.topics[call.resource]
        for one in self.subscriptions.values():
            if one.topic == call.resource:
                one.told["topic"] = "_deleted-topic_"
        return {}

    def _publish(self, call: Call) -> Json:
        self._topic(call.resource)
        contents = [(_decoded(one), one.get("attributes", {})) for one in call.body["messages"]]
        if not all(content or attributes for content, attributes in contents):
            raise invalid("One or more messages in the publish request is empty.")
        if sum(len(content) for content, _ in contents) > _MOST_BYTES:
            raise invalid(f"Request payload size exceeds the limit: {_MOST_BYTES} bytes.")
        return {"messageIds": [self._deliver(call.resource, *one) for one in contents]}

    def _subscribe(self, call: Call) -> Json:
        _check_name(call.resource)
        told = {"ackDeadlineSeconds": 10, **call.body}
        if not 10 <= told["ackDeadlineSeconds"] <= 600:
            raise invalid(f"Invalid ack deadline given: ackDeadlineSeconds={told['ackDeadlineSeconds']}.")
        self._topic(told["topic"])
        if call.resource in self.subscriptions:
            raise Refused("ALREADY_EXISTS", f"Resource already exists in the project (resource={call.resource}).")
        return self._told(self.subscribe(call.resource, told))

    def _told(self, one: Subscription) -> Json:
        return {"name": one.name, **one.told, "state": "ACTIVE"}

    def _list(self, call: Call) -> Json:
        found = [self._told(one) for one in self.subscriptions.values() if one.name.startswith(f"{call.parent}/")]
        return page(call, found, "subscriptions")

    def _delete(self, call: Call) -> Json:
        del self.subscriptions[self._named(call).name]
        return {}

    def _pull(self, call: Call) -> Json:
        one, most = self._named(call), call.body["maxMessages"]
        if most < 1:
            raise invalid("The max_messages of a pull has to be positive.")
        with self.operations.lock:
            self._give_up(one)
            shown = (message for message in one.messages.values() if message.until <= self.clock())
            taken = list(islice(shown, min(most, _MOST_PULLED)))
            for message in taken:
                message.until, message.attempts = self.clock() + one.deadline, message.attempts + 1
                message.receipt = f"{secrets.token_hex(24)}:{message.told['messageId']}"
            dead = "deadLetterPolicy" in one.told
            told = [
                {
                    "ackId": message.receipt,
                    "message": message.told,
                    **({"deliveryAttempt": message.attempts} if dead else {}),
                }
                for message in taken
            ]
        return {"receivedMessages": told} if told else {}

    def _give_up(self, one: Subscription) -> None:
        """Hand on what has been taken too often."""
        policy = one.told.get("deadLetterPolicy")
        if not policy:
            return
        most = policy.get("maxDeliveryAttempts", 5)
        gone = [each for each in one.messages.values() if each.attempts >= most and each.until <= self.clock()]
        for message in gone:
            del one.messages[message.told["messageId"]]
            content = base64.b64decode(message.told.get("data", ""))
            self._deliver(policy["deadLetterTopic"], content, message.told.get("attributes", {}))

    def _acknowledge(self, call: Call) -> Json:
        """Forget messages; one whose receipt is not the newest any more comes again, and nobody is told."""
        one = self._named(call)
        with self.operations.lock:
            for message in self._of(one, call.body["ackIds"]):
                del one.messages[message.told["messageId"]]
        return {}

    def _modify(self, call: Call) -> Json:
        one, seconds = self._named(call), call.body["ackDeadlineSeconds"]
        if not 0 <= seconds <= 600:
            raise invalid(f"Invalid ack deadline: {seconds}.")
        with self.operations.lock:
            for message in self._of(one, call.body["ackIds"]):
                message.until = self.clock() + seconds if seconds else 0.0
        return {}

    def _of(self, one: Subscription, receipts: Iterable[str]) -> list[Message]:
        """Find messages by their receipts that hold still; raises Refused for what is no receipt."""
        wanted = list(receipts)
        if any(not re.fullmatch(r"[0-9a-f]{48}:\d+", receipt) for receipt in wanted):
            raise invalid("Some acknowledgement ids in the request were invalid.")
        found = {receipt: one.messages.get(receipt.partition(":")[2]) for receipt in wanted}
        return [each for told, each in found.items() if each and each.receipt == told and each.until > self.clock()]

    def _named(self, call: Call) -> Subscription:
        if call.resource not in self.subscriptions:
            raise missing("Subscription", call.resource)
        return self.subscriptions[call.resource]


def _check_name(name: str) -> None:
    if not re.fullmatch(_NAME, name):
        raise invalid(f"Invalid resource name given (name={name}).")


def _decoded(message: Json) -> bytes:
    try:
        return base64.b64decode(message.get("data", ""), validate=True)
    except ValueError:
        raise violation(
            "messages", "Invalid value at 'messages[0].data' (TYPE_BYTES), Base64 decoding failed."
        ) from None
