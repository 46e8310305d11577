"""What Labelbox is told while a model run is at work: one of its statuses, and in the metadata how far that is."""

import logging
import threading
import time
from collections.abc import Callable, Mapping

from labelloop.data.model_run_site import WAITS
from labelloop.errors import LabelboxAway, LabelboxDenied, LabelboxError, ModelRunGone
from labelloop.labelbox.client import Labelbox, Status

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 15.0
_MOST_SECONDS = 300.0
"""How long at most nothing is told where Labelbox is away: each time twice as long."""

_OF_TRAINING: Mapping[str, Status] = {
    "fetch": "EXPORTING_DATA",
    "manifest": "PREPARING_DATA",
    "preprocess": "PREPARING_DATA",
    "train": "TRAINING_MODEL",
}
_OF_INFERENCE: Mapping[str, Status] = {"fetch": "EXPORTING_DATA", "prelabel": "PREPARING_DATA"}


class StatusTeller:
    """Tells how far a model run is: at once where its status changes, else every 15 seconds, and later in an outage.

    ``client`` should give up soon, for whoever tells does its work meanwhile. Safe to share between threads.
    """

    def __init__(
        self, client: Labelbox, run: str, *, trains: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._run, self._clock = client, run, clock
        # Nothing is trained where an endpoint predicts: its rows are being prepared until they are uploaded.
        self._statuses = _OF_TRAINING if trains else _OF_INFERENCE
        self._otherwise: Status = "TRAINING_MODEL" if trains else "PREPARING_DATA"
        self._telling = threading.Lock()
        self._told: Status | None = None
        self._next, self._pause = 0.0, _EVERY_SECONDS

    def tell(self, stage: str, what: str, done: int, total: int) -> None:
        """Tell it, where it is time; raises ModelRunGone, and LabelboxDenied where nothing may be told."""
        # Labelbox has no status for what follows, which may follow no training at all: the one that it shows stays.
        status = self._statuses.get(stage, self._told or self._otherwise)
        if stage == WAITS:
            # Whoever waits says so once, and its process ends.
            status = self._told or "EXPORTING_DATA"
        elif status == self._told and self._clock() < self._next:
            return
        if not self._telling.acquire(blocking=False):
            return
        try:
            self._tell(status, {"stage": stage, "progress": _progress(what, done, total)})
        finally:
            self._telling.release()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _tell(self, status: Status, metadata: Mapping[str, str]) -> None:
        try:
            self._client.tell(self._run, status, metadata)
            self._told, self._pause = status, _EVERY_SECONDS
        except (ModelRunGone, LabelboxDenied):
            raise
        except LabelboxError as error:
            _log.warning("model run %s: that it is at %s is not told: %s", self._run, status, error)
            self._told = status
            self._pause = min(_MOST_SECONDS, 2 * self._pause) if isinstance(error, LabelboxAway) else _MOST_SECONDS
        self._next = self._clock() + self._pause


def _progress(what: str, done: int, total: int) -> str:
    return f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}" if done else what
