"""Tasks in, predictions out: resolves them, asks the endpoint, speaks the label config's language, all at a time.

Prediction never breaks annotation: whatever happens to one task stays with that task.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from labelloop.chunks import chunks
from labelloop.errors import EndpointError, LabelConfigError, LabelLoopError
from labelloop.loop.hub import Hub
from labelloop.loop.plan import Plan, plan_of
from labelloop.loop.resolve import Unpredicted, resolve_all
from labelloop.loop.served import note_served
from labelloop.studio.label_config import LabelConfig
from labelloop.studio.rendering import Rendering, render
from labelloop.types import Answer, Failure, Input, Json, ProjectKey

_log = logging.getLogger(__name__)

_MOST_THREADS = 128
_REASONS = 10
"""Different reasons of one request that are logged; an address may stand in each."""

Prediction = Json | list[Json]
"""What ``/predict`` answers for one task: a prediction, or ``[]``, the clean way to skip it (contract, section 2)."""

Found = Json | Unpredicted


def predict_tasks(
    hub: Hub,
    project: ProjectKey,
    label_config: str,
    tasks: Sequence[Json],
    version: str,
    deadline: float,
    context: object = None,
) -> list[Prediction]:
    """Predict for ``/predict``: one item per task, in order, ``[]`` where there is none. Never raises.

    ``deadline`` is a ``time.monotonic()`` moment; what is not ready then is ``[]``.
    """
    try:
        plan = plan_of(hub, project, label_config, version, context)
        found = predict_batch(plan, tasks, deadline)
    except LabelLoopError as error:
        _log.warning("project %s: no predictions for %d tasks: %s", project, len(tasks), error)
        return [[] for _ in tasks]
    reasons = sorted({item.reason for item in found if isinstance(item, Unpredicted)})
    for reason in reasons[:_REASONS]:
        _log.warning("project %s: a task has no prediction: %s", project, reason)
    if len(reasons) > _REASONS:
        _log.warning("project %s: and %d more reasons of that kind", project, len(reasons) - _REASONS)
    return [[] if isinstance(item, Unpredicted) else item for item in found]


def predict_batch(plan: Plan, tasks: Sequence[Json], deadline: float) -> list[Found]:
    """Predict tasks, in order, as many calls at a time as the endpoint takes; what is not ready in time has none."""
    plan.hub.media  # noqa: B018 - a wrong setting is said once, not once a task
    calls = list(chunks(tasks, plan.endpoint.batch))
    found = predict_call(plan, tasks, deadline) if len(calls) <= 1 else _predict_calls(plan, calls, deadline)
    note_versions(plan, (item["model_version"] for item in found if isinstance(item, dict)))
    return found


def predict_call(plan: Plan, tasks: Sequence[Json], deadline: float | None = None) -> list[Found]:
    """Predict as many tasks as one call of the endpoint takes, in order; what was predicted before is not asked for.

    This is the border of a task: whatever one of them brings, the others have their predictions.
    """
    try:
        return _predict_call(plan, tasks, deadline)
    except Exception as error:  # noqa: BLE001 - border: one odd task must not cost the others their predictions
        if len(tasks) > 1:
            return [predict_call(plan, [task], deadline)[0] for task in tasks]
        _log.exception("project %s: task %s could not be predicted", plan.project, tasks[0].get("id"))
        return [Unpredicted(f"a task brought an unforeseen {type(error).__name__}; the log has the traceback")]


def _predict_call(plan: Plan, tasks: Sequence[Json], deadline: float | None) -> list[Found]:
    resolved = resolve_all(plan, tasks, deadline)
    keys = [plan.key(item) if isinstance(item, Input) else b"" for item in resolved]
    known = [plan.hub.cache.get(_kept_as(key, plan.version)) if key else None for key in keys]
    asked = [
        (item, key)
        for item, key, found in zip(resolved, keys, known, strict=True)
        if isinstance(item, Input) and found is None
    ]
    answers = iter(_ask(plan, asked, deadline))
    return [
        item if isinstance(item, Unpredicted) else found if found is not None else next(answers)
        for item, found in zip(resolved, known, strict=True)
    ]


def threads_for(plan: Plan) -> int:
    """Threads that keep the endpoint busy: some resolve tasks while others wait for its answers."""
    return min(_MOST_THREADS, plan.endpoint.concurrency * 3 // 2 + 2)


def note_versions(plan: Plan, versions: Iterable[str]) -> str:
    """Note with which version an endpoint that stands alone answered; gives what ``/setup`` reports from now on."""
    if plan.endpoint.follows:
        return plan.version
    return note_served(plan.hub, plan.project, plan.options.endpoint, plan.version, versions)


def _predict_calls(plan: Plan, calls: Sequence[Sequence[Json]], deadline: float) -> list[Found]:
    pool = ThreadPoolExecutor(min(threads_for(plan), len(calls)), thread_name_prefix="predict")
    try:
        futures = [pool.submit(predict_call, plan, call, deadline) for call in calls]
        wait(futures, timeout=max(0.0, deadline - time.monotonic()))
        return [item for future, call in zip(futures, calls, strict=True) for item in _outcome(future, call)]
    finally:
        # What is still under way ends by its own timeouts; the annotator does not wait for it.
        pool.shutdown(wait=False, cancel_futures=True)


def _outcome(future: "Future[list[Found]]", call: Sequence[Json]) -> list[Found]:
    if not future.done():
        return [Unpredicted("it was not ready within LABELLOOP_PREDICT_DEADLINE") for _ in call]
    return future.result()


def _ask(plan: Plan, asked: Sequence[tuple[Input, bytes]], deadline: float | None) -> list[Found]:
    if not asked:
        return []
    try:
        answers = plan.endpoint.invoke([item for item, _ in asked], plan.target, deadline)
    except EndpointError as error:
        return [Unpredicted(str(error), endpoint=True) for _ in asked]
    return [_rendered(plan, item, key, answer) for (item, key), answer in zip(asked, answers, strict=True)]


def _rendered(plan: Plan, item: Input, key: bytes, answer: Answer | Failure) -> Found:
    try:
        found = decode(plan.config, plan.options.rendering, item, answer)
    except Exception as error:  # noqa: BLE001 - border: the other tasks, of a request or of a million, go on
        _log.exception("project %s: an answer could not be made a prediction", plan.project)
        return Unpredicted(f"its answer brought an unforeseen {type(error).__name__}; the log has the traceback")
    if not isinstance(found, Unpredicted):
        plan.hub.cache.put(_kept_as(key, found["model_version"]), found)
    return found


def _kept_as(key: bytes, version: str) -> bytes:
    """Name a prediction in the cache by its own version, which may be another one than was expected."""
    return key + version.encode(errors="surrogatepass")


def decode(config: LabelConfig, rendering: Rendering, item: Input, answer: Answer | Failure) -> Found:
    """Put an endpoint's answer into the label config's words, or say why it cannot be."""
    if isinstance(answer, Failure):
        return Unpredicted(answer.reason)
    try:
        return render(config, answer, rendering, text=item.text, prompt=item.prompt)
    except LabelConfigError as error:
        return Unpredicted(str(error))
