"""CloudWatch: figures by project and version, in a namespace of ours."""

from collections.abc import Sequence
from datetime import UTC, datetime

from labelloop.cloud.aws.account import Account, asking
from labelloop.cloud.base import Figure, sendable
from labelloop.types import Json, chunks

_AT_ONCE = 500
"""Figures of one request: PutMetricData takes 1,000 and 1 MB."""

_OLDEST, _NEWEST = 14 * 24 * 3600.0, 2 * 3600.0
"""CloudWatch takes no figure that is older than two weeks, or two hours ahead."""

_LONGEST_VALUE = 1024


class CloudWatchMeter:
    """Puts figures into one namespace, with the dimensions Project and, where they are of a version, Version.

    What CloudWatch would refuse with all that is sent beside it, is logged and left out: no number, too old.
    """

    def __init__(self, account: Account, namespace: str) -> None:
        self.account, self.namespace = account, namespace
        self.name = f"cloudwatch://{namespace}"

    def put(self, figures: Sequence[Figure]) -> None:
        """Keep these. Raises CloudError or one of its kinds; what came before in the sequence may be kept then."""
        for some in chunks(sendable(figures, _OLDEST, _NEWEST), _AT_ONCE):
            with asking(f"figures for namespace {self.namespace} of CloudWatch in {self.account.region}"):
                self.account.client("cloudwatch").put_metric_data(
                    Namespace=self.namespace, MetricData=[_datum(one) for one in some]
                )


def _datum(figure: Figure) -> Json:
    dimensions = {"Project": figure.project, "Version": figure.version}
    return {
        "MetricName": figure.name,
        "Dimensions": [{"Name": name, "Value": _dimension(value)} for name, value in dimensions.items() if value],
        "Timestamp": datetime.fromtimestamp(figure.at, UTC),
        "Value": float(figure.value),
    }


def _dimension(value: str) -> str:
    """Write a value as CloudWatch takes it: ASCII, no control characters, not beginning with a colon."""
    printable = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in value)
    return printable[:_LONGEST_VALUE].lstrip(":") or "?"
