"""Importing a stream of predictions into Label Studio, many at a time, while more are being made."""

import json
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from labelloop.data.site import Site
from labelloop.errors import LeaseLost, StoreError, StudioAway, StudioError
from labelloop.types import Json, ProjectKey

_log = logging.getLogger(__name__)

_MOST = 5000
"""Predictions in one import; each costs as much as the project is large (contract, "Imports")."""

_MOST_BYTES = 16_000_000
"""Masks and long texts fill an import sooner."""


class Imports:
    """Collects predictions of one project and imports them when there are many, and at the end of the block.

    What was collected is imported also when the block fails, except when the project's lease is lost: another worker
    is at the same tasks then. At most two imports are held: the one being sent, and the one being collected. Before one
    is sent, ``before`` is called with the ids of its tasks. ``seconds`` is what the tool has been at it for. Raises
    StudioError, and what ``before`` raises.
    """

    def __init__(
        self, site: Site, project: ProjectKey, before: Callable[[Sequence[int]], None] = lambda _: None
    ) -> None:
        self._site, self._project, self._before = site, project, before
        self._sending = ThreadPoolExecutor(1, thread_name_prefix="import")
        self._sent: Future[None] | None = None
        self._items: list[Json] = []
        self._bytes = 0
        self.seconds = 0.0

    def __enter__(self) -> "Imports":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Import the rest; an error of the block goes before one of this."""
        try:
            if not isinstance(error, LeaseLost):
                self._send()
            self._settle()
        except (StudioError, StoreError) as failed:
            if error is None:
                raise
            _log.warning("project %s: the last predictions were not imported: %s", self._project, failed)
        finally:
            self._sending.shutdown(cancel_futures=True)

    def add(self, task: int, prediction: Json) -> None:
        """Collect one prediction."""
        self._items.append({"task": task, **prediction})
        self._bytes += len(json.dumps(prediction))
        if len(self._items) >= _MOST or self._bytes >= _MOST_BYTES:
            self._send()

    def flush(self) -> None:
        """Import what was collected, and wait until it is there."""
        self._send()
        self._settle()

    def _send(self) -> None:
        self._settle()
        if self._items:
            self._before([item["task"] for item in self._items])
            self._sent = self._sending.submit(self._import, self._items)
        self._items, self._bytes = [], 0

    def _settle(self) -> None:
        if self._sent is not None:
            self._sent.result()
            self._sent = None

    def _import(self, items: list[Json]) -> None:
        """Import; once more, without the tasks that are gone, when those made Label Studio refuse all."""
        began = time.monotonic()
        try:
            self._site.put_predictions(items)
        except StudioAway:
            # It may still be storing them: whoever sent them again now would store some twice.
            raise
        except StudioError as error:
            waiting = self._waiting(items)
            # When all of them still wait, something else is wrong.
            if len(waiting) == len(items):
                raise
            _log.warning("project %s: %d tasks wait no longer: %s", self._project, len(items) - len(waiting), error)
            self._site.put_predictions(waiting)
        finally:
            self.seconds += time.monotonic() - began

    def _waiting(self, items: list[Json]) -> list[Json]:
        """Find the predictions whose tasks are there and have none of their version."""
        found: list[Json] = []
        for version in {item["model_version"] for item in items}:
            given = {item["task"]: item for item in items if item["model_version"] == version}
            tasks = self._site.waiting(version)
            found += [given[task["id"]] for task in tasks if task["id"] in given]
        return found
