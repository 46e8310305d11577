"""Tasks in, predictions out: reads the pictures, asks the endpoint, speaks the label config's language.

Prediction never breaks annotation: whatever happens to one task stays with that task.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from labelloop.errors import EndpointError, LabelConfigError, LabelLoopError, MediaError
from labelloop.loop.hub import Hub
from labelloop.studio.control import Control, parse_control, picture_url
from labelloop.studio.labels import label_map, to_prediction
from labelloop.types import Failure, Input, Json, Output, ProjectKey, Target

_log = logging.getLogger(__name__)

_THREADS = 16
_TASKS_PER_CALL = 8

Prediction = Json | list[Json]
"""What ``/predict`` answers for one task: a prediction, or ``[]``, the clean way to skip it (contract, section 2)."""


@dataclass(frozen=True, slots=True)
class Unpredicted:
    """A task without a prediction, and why; ``endpoint`` says that the endpoint as a whole is at fault."""

    reason: str
    endpoint: bool = False


def predict_tasks(
    hub: Hub, project: ProjectKey, label_config: str, tasks: Sequence[Json], version: str | None, deadline: float
) -> list[Prediction]:
    """Predict for ``/predict``: one item per task, in order, ``[]`` where there is none. Never raises.

    ``deadline`` is a ``time.monotonic()`` moment; what is not ready then is ``[]``.
    """
    try:
        control = parse_control(label_config)
        found = predict_batch(hub, project, control, tasks, version, deadline)
    except LabelLoopError as error:
        _log.warning("project %s: no predictions for %d tasks: %s", project, len(tasks), error)
        return [[] for _ in tasks]
    reasons = {item.reason for item in found if isinstance(item, Unpredicted)}
    for reason in sorted(reasons):
        _log.warning("project %s: a task has no prediction: %s", project, reason)
    return [[] if isinstance(item, Unpredicted) else item for item in found]


def predict_batch(
    hub: Hub, project: ProjectKey, control: Control, tasks: Sequence[Json], version: str | None, deadline: float
) -> list[Json | Unpredicted]:
    """Predict tasks with one version of the project's model (None: the endpoint's own choice), in order."""
    hub.endpoint, hub.media  # noqa: B018 - a wrong setting is said once, not once a task
    groups = [tasks[at : at + _TASKS_PER_CALL] for at in range(0, len(tasks), _TASKS_PER_CALL)]
    pool = ThreadPoolExecutor(min(_THREADS, max(1, len(groups))), thread_name_prefix="predict")
    try:
        futures = [pool.submit(_predict_group, hub, project, control, group, version, deadline) for group in groups]
        wait(futures, timeout=max(0.0, deadline - time.monotonic()))
        return [item for future, group in zip(futures, groups, strict=True) for item in _outcome(future, group)]
    finally:
        # What is still under way ends by its own timeouts; the annotator does not wait for it.
        pool.shutdown(wait=False, cancel_futures=True)


def _outcome(future: "Future[list[Json | Unpredicted]]", group: Sequence[Json]) -> list[Json | Unpredicted]:
    if not future.done():
        return [Unpredicted("it was not ready within LABELLOOP_PREDICT_DEADLINE") for _ in group]
    return future.result()


def _predict_group(
    hub: Hub, project: ProjectKey, control: Control, tasks: Sequence[Json], version: str | None, deadline: float
) -> list[Json | Unpredicted]:
    pictures = [_read(hub, control, task) for task in tasks]
    inputs = [picture for picture in pictures if isinstance(picture, Input)]
    if not inputs:
        return [picture for picture in pictures if isinstance(picture, Unpredicted)]
    try:
        outputs = iter(hub.endpoint.invoke(inputs, Target(project, version), deadline))
    except EndpointError as error:
        return [Unpredicted(str(error), endpoint=True) for _ in tasks]
    return [picture if isinstance(picture, Unpredicted) else decode(control, next(outputs)) for picture in pictures]


def _read(hub: Hub, control: Control, task: Json) -> Input | Unpredicted:
    url = picture_url(control, task)
    if url is None:
        return Unpredicted(
            f"task {task.get('id')} has no {control.data_key!r} in its data, which the label config shows"
        )
    try:
        task_id = task.get("id")
        return Input(hub.media.read(url, task_id if isinstance(task_id, int) else None))
    except MediaError as error:
        return Unpredicted(str(error))


def decode(control: Control, output: Output | Failure) -> Json | Unpredicted:
    """Put an endpoint's output into the label config's words, or say why it cannot be."""
    if isinstance(output, Failure):
        return Unpredicted(output.reason)
    try:
        prediction = to_prediction(control, output, label_map(control, tuple(output.scores)))
    except LabelConfigError as error:
        return Unpredicted(str(error))
    return prediction or Unpredicted("none of the model's classes is a label of the label config any more")
