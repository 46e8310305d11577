"""Cloud Monitoring: figures by project and version, as metrics ``custom.googleapis.com/labelloop/NAME``.

cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/create
"""

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from labelloop.cloud.base import Figure, sendable
from labelloop.cloud.google.client import Google
from labelloop.errors import CloudAway, CloudDenied, CloudError, CloudMissing
from labelloop.types import Json, chunks

_log = logging.getLogger(__name__)

_AT_ONCE = 200
"""Series of one request."""

_OLDEST, _NEWEST = 25 * 3600.0, 300.0
"""Monitoring takes no figure that is older than 25 hours, or five minutes ahead."""

_TOO_SOON = re.compile(r"more frequently than|older end time", re.IGNORECASE)
"""A series takes a point every five seconds, in order: the one that is there says as much."""

_LONGEST_VALUE = 1024


class MonitoringMeter:
    """Puts figures into one project of Google Cloud, with the labels ``project`` and ``version`` of ours.

    Of several figures of one series the last one is sent. What Monitoring would refuse is logged and left out: no
    number, too old, within five seconds of the one before.
    """

    def __init__(self, google: Google) -> None:
        self.google = google
        self.name = f"cloud-monitoring://{google.project}"

    def put(self, figures: Sequence[Figure]) -> None:
        """Keep these. Raises CloudError or one of its kinds; what came before in the sequence may be kept then."""
        latest = {(one.name, one.project, one.version): one for one in sendable(figures, _OLDEST, _NEWEST)}
        for some in chunks(latest.values(), _AT_ONCE):
            try:
                self.google.ask(
                    "POST",
                    f"projects/{self.google.project}/timeSeries",
                    {"timeSeries": [self._series(one) for one in some]},
                    service="monitoring",
                    what=f"figures for Cloud Monitoring in project {self.google.project}",
                )
            except (CloudAway, CloudDenied, CloudMissing):
                raise
            except CloudError as error:
                # The others of the request are written.
                if not _TOO_SOON.search(str(error)):
                    raise
                _log.info("%s has a figure of the last seconds already", self.name)

    def _series(self, figure: Figure) -> Json:
        labels = {"project": figure.project, "version": figure.version}
        at = datetime.fromtimestamp(figure.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "metric": {
                "type": f"custom.googleapis.com/labelloop/{figure.name}",
                "labels": {name: value[:_LONGEST_VALUE] for name, value in labels.items() if value},
            },
            "resource": {"type": "global", "labels": {"project_id": self.google.project}},
            "metricKind": "GAUGE",
            "valueType": "DOUBLE",
            "points": [{"interval": {"endTime": at}, "value": {"doubleValue": float(figure.value)}}],
        }
