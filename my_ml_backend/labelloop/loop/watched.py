"""What a process predicts, taken off the way of a prediction to the sample in Redis that drift is judged by.

A prediction is put into a queue of the process, which never waits: what is too much for it is dropped, the oldest
first. A thread of the process takes it from there every few seconds, and asks Redis once for each project.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from labelloop.errors import QueueError
from labelloop.loop.hub import Hub
from labelloop.types import ProjectKey
from labelloop.watch.sample import Predicted

_log = logging.getLogger(__name__)

_SECONDS = 5.0
"""Between two looks of the thread at what was predicted."""


def keep_predicted(hub: Hub) -> None:
    """Take from the queue what was predicted, and add it to the samples; without Redis it is lost, which is logged."""
    by_project: dict[ProjectKey, list[Predicted]] = {}
    while hub.predicted:
        one = hub.predicted.popleft()
        by_project.setdefault(one.project, []).append(one)
    for project, predicted in by_project.items():
        try:
            hub.state(project).window.add(predicted)
        except QueueError as error:
            _log.warning("project %s: %d predictions are not watched: %s", project, len(predicted), error)


def keep_watching(hub: Hub, stop: threading.Event, seconds: float = _SECONDS) -> None:
    """Do that every few seconds until ``stop`` is set, and once more."""
    while True:
        ended = stop.wait(seconds)
        try:
            keep_predicted(hub)
        except Exception:  # noqa: BLE001 - border: nobody's prediction hangs on it
            _log.exception("what was predicted lately is not watched")
        if ended:
            return


@contextmanager
def watching(hub: Hub, seconds: float = _SECONDS) -> Iterator[None]:
    """Watch what this process predicts inside the block, unless the settings say that drift is off."""
    if hub.settings.drift == "off":
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=keep_watching, args=(hub, stop, seconds), name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
