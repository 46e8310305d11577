"""Pub/Sub as the loop's inbox: what Cloud Storage tells of its objects, by notifications of a bucket.

cloud.google.com/storage/docs/pubsub-notifications and cloud.google.com/pubsub/docs/reference/rest
"""

import logging
from collections.abc import Iterable

from labelloop.cloud.base import CloudEvent, moment
from labelloop.cloud.google.client import Google
from labelloop.errors import CloudError, CloudMissing
from labelloop.types import Json, chunks

_log = logging.getLogger(__name__)

_BATCH = 1000
"""Messages of one call."""

_WRITTEN, _GONE = "OBJECT_FINALIZE", ("OBJECT_DELETE", "OBJECT_ARCHIVE")


class PubSubInbox:
    """One subscription that is pulled. Nothing is asked before the first call. Safe to share between threads.

    What a message says of its object is among its attributes, whatever form its content has.
    """

    def __init__(self, google: Google, subscription: str) -> None:
        self.name = f"pubsub://{google.project}/{subscription}"
        self._google, self._subscription = google, subscription
        self._path = f"projects/{google.project}/subscriptions/{subscription}"

    def check(self) -> str:
        """Say where its messages come from and where unreadable ones go; none is taken."""
        try:
            found = self._google.ask("GET", self._path, service="pubsub", what=self._named)
        except CloudMissing as error:
            raise self._missing(error) from error
        topic = str(found.get("topic", "")).rpartition("/")[2]
        told = f"{self._named} can be read, of topic {topic}"
        if found.get("pushConfig", {}).get("pushEndpoint"):
            raise CloudError(f"{self._named} pushes its messages elsewhere: make one that is pulled (LABELLOOP_EVENTS)")
        if not found.get("deadLetterPolicy"):
            return f"{told}; it has no dead-letter topic, so that what cannot be read comes again for days"
        return told

    def take(self, most: int) -> list[CloudEvent]:
        """Take messages until there are so many, or none just now; each is hidden for the subscription's deadline.

        What was taken before a call failed is given; the next call tells of the failure.
        """
        events: list[CloudEvent] = []
        while len(events) < most:
            try:
                messages = self._pull(min(_BATCH, most - len(events)))
            except CloudMissing as error:
                raise self._missing(error) from error
            except CloudError:
                if events:
                    break
                raise
            if not messages:
                break
            events += map(read_message, messages)
        return events

    def done(self, events: Iterable[CloudEvent]) -> None:
        """Acknowledge the messages of these; one that is too late comes again, which the loop is made for."""
        for receipts in chunks(dict.fromkeys(event.receipt for event in events), _BATCH):
            what = f"the acknowledgement of messages of {self._named}"
            self._google.ask("POST", f"{self._path}:acknowledge", {"ackIds": receipts}, service="pubsub", what=what)

    def _pull(self, most: int) -> list[Json]:
        # Without it Pub/Sub answers an empty queue after a minute and a half, and the sweep has more to do.
        asked = {"maxMessages": most, "returnImmediately": True}
        found = self._google.ask("POST", f"{self._path}:pull", asked, service="pubsub", what=self._named)
        messages: list[Json] = found.get("receivedMessages", [])
        return messages

    @property
    def _named(self) -> str:
        return f"subscription {self._subscription} in project {self._google.project}"

    def _missing(self, error: CloudMissing) -> CloudMissing:
        return CloudMissing(
            f"{error}: correct LABELLOOP_EVENTS, create the subscription, or let this process be a "
            "roles/pubsub.subscriber of it"
        )


def read_message(received: Json) -> CloudEvent:
    """Read a message as Pub/Sub gives it; one that is of no object, or of no known form, is told as that."""
    receipt = str(received["ackId"])
    try:
        said = received["message"].get("attributes", {})
        kind, at = said["eventType"], moment(said.get("eventTime"))
        if kind == _WRITTEN or kind in _GONE:
            place = f"gs://{said['bucketId']}/{said['objectId']}"
            # What replaces an object tells of both: that it is written, and that the one before is gone.
            replaced = kind in _GONE and "overwrittenByGeneration" in said
            return CloudEvent("other" if replaced else "object", place, receipt, at, gone=kind in _GONE)
        return CloudEvent("other", str(kind), receipt, at)
    except (KeyError, TypeError, AttributeError) as error:
        if received.get("deliveryAttempt", 1) == 1:
            # Not what it says: anybody may have written it.
            _log.warning("a message is no event that is known (%s)", type(error).__name__)
        return CloudEvent("unreadable", "", receipt)
