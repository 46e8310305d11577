"""The border of prediction: whatever goes wrong behind it, Label Studio gets one well-formed item per task.

Section 2 of the contract: an answer of another length, an error, or one malformed item makes Label Studio drop the
whole batch, and tell the annotator that all is well; ``[]`` skips one task and is asked again.
"""

import logging
import math
import time
from collections.abc import Sequence

from labelloop.errors import LabelLoopError
from labelloop.loop.hub import Hub
from labelloop.loop.predict import Prediction, predict_tasks
from labelloop.studio.events import identity
from labelloop.types import Json

_log = logging.getLogger(__name__)


def predict(
    hub: Hub, project_uid: str | int, label_config: str, tasks: Sequence[object], context: object = None
) -> list[Prediction]:
    """Predict with the announced version: one prediction or ``[]`` per task, in order. Never raises.

    ``project_uid`` is a project's number, or number and creation time as Label Studio writes them: ``7.1795187589``.
    ``context`` is what an annotator drew who waits for the answer: there is less time then.
    """
    settings = hub.settings
    deadline = time.monotonic() + (settings.interactive_deadline if context else settings.predict_deadline)
    try:
        project = hub.project(identity(project_uid))
        readable = [task if isinstance(task, dict) else {} for task in tasks]
        found = predict_tasks(hub, project, label_config, readable, deadline, context)
    except LabelLoopError as error:
        _log.warning("project %s: no predictions for %d tasks: %s", project_uid, len(tasks), error)
        return [[] for _ in tasks]
    except Exception:  # noqa: BLE001 - border: an annotator is waiting, and nothing is stored either way
        _log.exception("no predictions for %d tasks of project %s", len(tasks), project_uid)
        return [[] for _ in tasks]
    if len(found) != len(tasks):
        _log.error("%d predictions for %d tasks of project %s; none is answered", len(found), len(tasks), project_uid)
        return [[] for _ in tasks]
    return [item if is_prediction(item) else [] for item in found]


def is_prediction(item: Prediction) -> bool:
    """Say whether Label Studio will store this item: a result, a finite score, a version that is not empty."""
    return isinstance(item, dict) and _is_stored(item)


def _is_stored(item: Json) -> bool:
    score, version, result = item.get("score"), item.get("model_version"), item.get("result")
    return (
        isinstance(score, float)
        and math.isfinite(score)
        and isinstance(version, str)
        and version != ""
        and isinstance(result, list)
    )
