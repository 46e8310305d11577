"""What moto answers, but not as AWS does: a bucket's notifications by EventBridge, and how a queue's JSON is spaced."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from werkzeug import Response

from support.aws.front import Handler
from support.aws.wire import Call

_POLICIES = ("RedrivePolicy", "RedriveAllowPolicy")


@dataclass(frozen=True, slots=True)
class Corrections:
    """Answers of moto's, put right; ``pass_on`` lets it answer a call."""

    pass_on: Callable[[Call], Response]

    def operations(self) -> dict[str, Handler]:
        """Give what is answered here."""
        return {
            "s3:GetBucketNotificationConfiguration": self._notifications,
            "sqs:GetQueueAttributes": self._attributes,
        }

    def forget(self) -> None:
        """Forget nothing: there is nothing."""

    def _notifications(self, call: Call) -> Response:
        """Tell that events go to EventBridge, which moto does and keeps to itself."""
        answer = self.pass_on(call)
        bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.get(call.request.path.strip("/"))
        told = bucket.notification_configuration if bucket else None
        if told is not None and told.event_bridge is not None:
            name = "NotificationConfiguration"
            text = answer.get_data(as_text=True)
            if f"</{name}>" not in text:
                text = f'<{name} xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></{name}>'
            answer.set_data(text.replace(f"</{name}>", f"<EventBridgeConfiguration/></{name}>"))
        return answer

    def _attributes(self, call: Call) -> Response:
        """Write policies as they are written to AWS, without spaces."""
        answer = self.pass_on(call)
        if call.protocol == "json" and answer.status_code == 200:
            told = json.loads(answer.get_data())
            attributes = told.get("Attributes") or {}
            for name in _POLICIES:
                if name in attributes:
                    attributes[name] = json.dumps(json.loads(attributes[name]), separators=(",", ":"))
            answer.set_data(json.dumps(told))
        return answer
