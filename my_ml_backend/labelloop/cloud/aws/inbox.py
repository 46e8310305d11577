"""SQS as the loop's inbox: what S3 and SageMaker tell, by EventBridge, by S3 itself, or through SNS."""

import itertools
import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote_plus

from labelloop.cloud.aws.account import Account, asking
from labelloop.cloud.base import CloudEvent, moment
from labelloop.errors import CloudError, CloudMissing
from labelloop.types import Json, chunks

_log = logging.getLogger(__name__)

_BATCH = 10
"""Messages of one call, as SQS has it."""


class SqsInbox:
    """One queue of an account. Nothing is asked before the first call. Safe to share between threads.

    ``owner`` is the account number of a queue that is another's. ``wait`` is for how many seconds an empty queue is
    asked (0 to 20): without any, SQS looks at some of its servers only.
    """

    def __init__(self, account: Account, queue: str, *, owner: str = "", wait: int = 1) -> None:
        self.name = f"sqs://{queue}"
        self._account, self._queue, self._owner, self._wait = account, queue, owner, wait
        self._url = ""

    @property
    def _client(self) -> Any:
        return self._account.client("sqs")

    def check(self) -> str:
        """Say how much waits, and where unreadable messages go. Looks at one message, which counts as received."""
        url = self._find()
        with asking(f"the attributes of {self._named}"):
            found = self._client.get_queue_attributes(
                QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages", "RedrivePolicy", "VisibilityTimeout"]
            )["Attributes"]
        with asking(f"the messages of {self._named}"):
            self._client.receive_message(QueueUrl=url, MaxNumberOfMessages=1, WaitTimeSeconds=0, VisibilityTimeout=0)
        waiting = f"{self._named} can be read, about {found.get('ApproximateNumberOfMessages', '0')} events wait"
        if not found.get("RedrivePolicy"):
            return f"{waiting}; it has no dead-letter queue, so that what cannot be read comes again for days"
        return waiting

    def take(self, most: int) -> list[CloudEvent]:
        """Take messages until there are so many, or none just now; each is hidden for the queue's visibility timeout.

        What was taken before a call failed is given; the next call tells of the failure.
        """
        url, found = self._find(), 0
        events: list[CloudEvent] = []
        while found < most:
            try:
                messages = self._receive(url, min(_BATCH, most - found))
            except CloudError:
                if events:
                    break
                raise
            if not messages:
                break
            found += len(messages)
            events += itertools.chain.from_iterable(map(read_message, messages))
        return events

    def done(self, events: Iterable[CloudEvent]) -> None:
        """Delete the messages of these; one that SQS does not delete comes again, which the loop is made for."""
        url = self._find()
        for receipts in chunks(dict.fromkeys(event.receipt for event in events), _BATCH):
            for failure in self._delete(url, receipts):
                _log.info("%s: a message is not deleted (%s) and comes again", self._named, failure.get("Code"))

    def _receive(self, url: str, most: int) -> list[Json]:
        with asking(f"the messages of {self._named}"):
            answer = self._client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=most,
                WaitTimeSeconds=self._wait,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        found: list[Json] = answer.get("Messages", [])
        return found

    def _delete(self, url: str, receipts: list[str]) -> list[Json]:
        """Delete up to ten messages; those that SQS failed at, not we, are tried once more. Gives what is left."""
        failed: list[Json] = []
        for _ in range(2):
            entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(receipts)]
            with asking(f"the deletion of messages of {self._named}"):
                failed = self._client.delete_message_batch(QueueUrl=url, Entries=entries).get("Failed", [])
            receipts = [receipts[int(one["Id"])] for one in failed if not one.get("SenderFault")]
            if not receipts:
                break
        return failed

    @property
    def _named(self) -> str:
        return f"queue {self._queue} in {self._account.region}"

    def _find(self) -> str:
        """Give the queue's URL, asked for once; raises CloudMissing naming queue and region."""
        if not self._url:
            owner = {"QueueOwnerAWSAccountId": self._owner} if self._owner else {}
            try:
                with asking(self._named):
                    self._url = str(self._client.get_queue_url(QueueName=self._queue, **owner)["QueueUrl"])
            except CloudMissing as error:
                raise CloudMissing(
                    f"{error}: correct LABELLOOP_EVENTS (its region; &account= for another account's), create the "
                    "queue, or let the role of this process do sqs:GetQueueUrl on it"
                ) from error
        return self._url


def read_message(message: Json) -> Iterator[CloudEvent]:
    """Read a message as SQS gives it, which may hold several events; one of any other content is one unreadable."""
    receipt = message["ReceiptHandle"]
    try:
        yield from [*_read(_unwrapped(json.loads(message["Body"])), receipt)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if message.get("Attributes", {}).get("ApproximateReceiveCount", "1") == "1":
            # Not what it says: anybody may have written it.
            _log.warning("message %s is no event that is known (%s)", message.get("MessageId"), type(error).__name__)
        yield CloudEvent("unreadable", "", receipt)


def _unwrapped(body: Json) -> Json:
    """Take a notification of SNS apart."""
    if body.get("Type") == "Notification" and isinstance(body.get("Message"), str):
        inner: Json = json.loads(body["Message"])
        return inner
    return body


def _read(body: Json, receipt: str) -> Iterator[CloudEvent]:
    """Read EventBridge's shape, S3's own, or S3's word that a notification was set up; raises what a wrong one does."""
    if "detail-type" in body:
        yield _bridged(body, receipt)
    elif "Records" in body:
        for record in body["Records"]:
            yield _notified(record, receipt)
        if not body["Records"]:
            yield CloudEvent("other", "", receipt)
    elif body["Event"] == "s3:TestEvent":
        yield CloudEvent("other", "", receipt)
    else:
        raise ValueError("another shape")


def _bridged(event: Json, receipt: str) -> CloudEvent:
    what, detail, at = event["detail-type"], event["detail"], moment(event.get("time"))
    if event["source"] == "aws.s3" and what in ("Object Created", "Object Deleted"):
        place = f"s3://{detail['bucket']['name']}/{detail['object']['key']}"
        return CloudEvent("object", place, receipt, at, gone=what == "Object Deleted")
    if what == "SageMaker Model Package State Change":
        return CloudEvent("approval", str(detail["ModelPackageGroupName"]), receipt, at)
    return CloudEvent("other", str(what), receipt, at)


def _notified(record: Json, receipt: str) -> CloudEvent:
    name, at = record["eventName"], moment(record.get("eventTime"))
    kind, _, _ = name.removeprefix("s3:").partition(":")
    if record["eventSource"] != "aws:s3" or kind not in ("ObjectCreated", "ObjectRemoved"):
        return CloudEvent("other", str(name), receipt, at)
    # S3 writes keys here as in a form, and in its events as they are.
    place = f"s3://{record['s3']['bucket']['name']}/{unquote_plus(record['s3']['object']['key'])}"
    return CloudEvent("object", place, receipt, at, gone=kind == "ObjectRemoved")
