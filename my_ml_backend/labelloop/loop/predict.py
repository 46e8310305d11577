"""Tasks in, predictions out: resolves them, asks the endpoint, speaks the site's language, all at a time.

Prediction never breaks annotation: whatever happens to one task stays with that task.
"""

import hashlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeGuard

from labelloop.data.labeling import Subject
from labelloop.data.site import Interface
from labelloop.errors import CircuitOpen, EndpointError, LabelConfigError, LabelLoopError, MediaError, NotFound
from labelloop.loop.hub import MOST_THREADS, Hub
from labelloop.loop.order import Place, without_version
from labelloop.loop.serving import PredictionPlan, Serving, fallback, note_served, prediction_plan, serving
from labelloop.sources.media import media_type_of
from labelloop.tracing import DOING
from labelloop.types import (
    FIRST_LABELS,
    NO_VERSION,
    Answer,
    Failure,
    Findings,
    Identity,
    Input,
    Json,
    Output,
    ProjectKey,
    chunks,
    from_both_ends,
)
from labelloop.watch.sample import Predicted

_log = logging.getLogger(__name__)

_READERS = 8
"""Files of one call that are read at a time."""

_REASONS = 10
"""Different reasons of one request that are logged; an address may stand in each."""

_USUAL = ("image/jpeg", "image/png")
"""What every endpoint for pictures reads."""

Prediction = Json | list[Json]
"""What ``/predict`` answers for one task: a prediction, or ``[]`` to skip it (contract, "Predictions")."""


@dataclass(frozen=True, slots=True)
class Unpredicted:
    """A task without a prediction, and why.

    ``endpoint`` says that the endpoint as a whole is at fault; ``by_input``, that it may be this task instead.
    """

    reason: str
    endpoint: bool = False
    by_input: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """The prediction of a task, as its tool takes it; ``content`` is the sha256 (hex) of what it is of.

    Of an input by reference that is its address. ``place`` is its place in the order; None where its score is true.
    """

    prediction: Json
    content: str
    place: Place | None = None

    @property
    def version(self) -> str:
        """The version that it is of."""
        return str(self.prediction["model_version"])


Found = Made | Unpredicted


class _Asked(NamedTuple):
    """A task that the endpoint is asked about: what of it, its content, and by which name the cache knows that."""

    task: Json
    item: Input
    content: str
    key: bytes


def predict_tasks(
    hub: Hub,
    project_uid: str | int,
    interface: Callable[[ProjectKey, Subject | None], Interface],
    tasks: Sequence[object],
    context: object = None,
    version: str | None = None,
) -> list[Prediction]:
    """Predict for ``/predict``: one well-formed prediction or ``[]`` per task, in order. Never raises.

    This is the border of a request: an answer of another length, an error, or one malformed item makes Label Studio
    drop the whole batch, and tell the annotator that all is well; ``[]`` skips one task and is asked again (contract,
    "Predictions"). ``project_uid`` is a project's number, or number and creation time as Label Studio writes them:
    ``7.1795187589``. ``interface`` reads what its annotators see, of what is learned alone or all of it.
    ``context`` is what an annotator drew who waits for the answer: there is less time then. ``version`` is the
    announced one where none is given.
    """
    began = time.monotonic()
    try:
        project = hub.project(Identity.parse(str(project_uid)))
        by = serving(hub, project, version)
        if by.version in (NO_VERSION, FIRST_LABELS):
            # Who waits with a smart tool in hand wants to see what is predicted, and that is nothing.
            return [[] for _ in tasks] if context else _unpredicted(hub, project, by.version, tasks)
        plan = prediction_plan(hub, project, by, interface(project, by.subject), context)
        seconds = hub.settings.interactive_deadline if context else hub.settings.predict_deadline
        asked, deadline = [task if isinstance(task, dict) else {} for task in tasks], began + seconds
        found = predict_batch(plan, asked, deadline)
        found = _fall_back(plan, by, interface, context, list(zip(asked, found, strict=True)), deadline)
        _log_reasons(project, found)
        return [item.prediction if _is_stored(item) else [] for _, item in zip(tasks, found, strict=True)]
    except LabelLoopError as error:
        _log.warning("project %s: no predictions for %d tasks: %s", project_uid, len(tasks), error)
    except Exception:  # noqa: BLE001 - border: an annotator is waiting, and nothing is stored either way
        _log.exception("no predictions for %d tasks of project %s", len(tasks), project_uid)
    return [[] for _ in tasks]


def _unpredicted(hub: Hub, project: ProjectKey, version: str, tasks: Sequence[object]) -> list[Prediction]:
    """Give what tasks get before anything predicts: nothing, or by which score they come (loop/first_labels.py)."""
    order = hub.orders.find(project, version) if version == FIRST_LABELS else None
    scores = {} if order is None else order.scores
    found = (scores.get(str(task.get("id"))) if isinstance(task, dict) else None for task in tasks)
    return [[] if score is None else without_version(score) for score in found]


def answers_alone(hub: Hub, project: ProjectKey) -> Callable[[Sequence[bytes | str]], list[Answer | Failure]]:
    """Give what answers files and texts by themselves, without a task: the project's endpoint, the announced version.

    Raises NotFound where there is nothing yet that could; what it gives raises EndpointError.
    """
    by = serving(hub, project)
    if by.version in (NO_VERSION, FIRST_LABELS):
        raise NotFound(f"project {project.id} has no version yet, and no bootstrap endpoint that predicts until then")

    def ask(items: Sequence[bytes | str]) -> list[Answer | Failure]:
        inputs = [Input(text=one) if isinstance(one, str) else Input(one, media_type_of(one)) for one in items]
        return by.endpoint.invoke(inputs, by.target_of(project), time.monotonic() + hub.settings.predict_deadline)

    return ask


def _fall_back(
    plan: PredictionPlan,
    by: Serving,
    interface: Callable[[ProjectKey, Subject | None], Interface],
    context: object,
    done: Sequence[tuple[Json, Found]],
    deadline: float,
) -> list[Found]:
    """Give what was found, and where the endpoint failed as a whole, what its bootstrap endpoint finds, if it has one.

    It answers under its own version.
    """
    found = [item for _, item in done]
    failed = [at for at, item in enumerate(found) if isinstance(item, Unpredicted) and item.endpoint]
    try:
        other = fallback(plan.hub, plan.project, by) if failed else None
        if other is None:
            return found
        _log_reasons(plan.project, [found[at] for at in failed])
        _log.warning("project %s: %s is asked instead for %d tasks", plan.project, other.endpoint.name, len(failed))
        instead = prediction_plan(plan.hub, plan.project, other, interface(plan.project, None), context)
        for at, item in zip(failed, predict_batch(instead, [done[at][0] for at in failed], deadline), strict=True):
            found[at] = item
    except LabelLoopError as error:
        _log.warning("project %s: its bootstrap endpoint cannot be asked: %s", plan.project, error)
    return found


def _log_reasons(project: ProjectKey, found: Sequence[Found]) -> None:
    reasons = sorted({item.reason for item in found if isinstance(item, Unpredicted)})
    for reason in reasons[:_REASONS]:
        _log.warning("project %s: a task has no prediction: %s", project, reason)
    if len(reasons) > _REASONS:
        _log.warning("project %s: and %d more reasons of that kind", project, len(reasons) - _REASONS)


def _is_stored(item: Found) -> TypeGuard[Made]:
    """Whether Label Studio stores a prediction: it has a result, a finite score, a version that is not empty."""
    if isinstance(item, Unpredicted):
        return False
    score, version, result = (item.prediction.get(name) for name in ("score", "model_version", "result"))
    is_scored = isinstance(score, float) and math.isfinite(score)
    return is_scored and isinstance(version, str) and version != "" and isinstance(result, list)


def predict_batch(plan: PredictionPlan, tasks: Sequence[Json], deadline: float) -> list[Found]:
    """Predict tasks, in order, as many calls at a time as the endpoint takes; what is not ready in time has none."""
    alone = len(tasks) <= plan.endpoint.batch
    found = predict_call(plan, tasks, deadline) if alone else _predict_many(plan, tasks, deadline)
    note_versions(plan, (item.version for item in found if isinstance(item, Made)))
    return found


def predict_call(plan: PredictionPlan, tasks: Sequence[Json], deadline: float | None = None) -> list[Found]:
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


def _predict_call(plan: PredictionPlan, tasks: Sequence[Json], deadline: float | None) -> list[Found]:
    resolved = resolve_all(plan, tasks, deadline)
    named = [_asked(plan, task, item) for task, item in zip(tasks, resolved, strict=True) if isinstance(item, Input)]
    # While two versions answer, which of them one answer was of may be a guess: nothing is kept of that.
    known = [plan.hub.cache.get(_kept_as(one.key, plan.expected)) if plan.expected else None for one in named]
    hits = sum(one is not None for one in known)
    plan.hub.counters.looked_up(hits, len(known) - hits)
    answers = iter(_ask(plan, [one for one, found in zip(named, known, strict=True) if found is None], deadline))
    # What is kept has its true score: the order may be made later, or be another one.
    made = iter(
        _placed(plan, found if found is not None else next(answers), one.content)
        for one, found in zip(named, known, strict=True)
    )
    return [item if isinstance(item, Unpredicted) else next(made) for item in resolved]


def _asked(plan: PredictionPlan, task: Json, item: Input) -> _Asked:
    sent = bytes.fromhex(item.known) if item.known else hashlib.sha256(item.content).digest()
    said = item.uri or "" if item.text is None else item.text
    content = sent if item.known or item.content else hashlib.sha256(said.encode(errors="surrogatepass")).digest()
    return _Asked(task, item, content.hex(), plan.key(item, sent))


def _placed(plan: PredictionPlan, found: Json | Unpredicted, content: str) -> Found:
    return found if isinstance(found, Unpredicted) else in_order(plan, Made(found, content))


def in_order(plan: PredictionPlan, made: Made) -> Made:
    """Give a prediction the score by which its task is ordered; one of a control task shows nothing.

    Only here: whatever else is made of a score, such as of those of its results, is made of the true one.
    """
    order = plan.hub.orders.find(plan.project, made.version) if plan.ordered else None
    if order is None:
        return made
    place = order.place(made.content, made.prediction["score"])
    shown: Json = {"result": []} if place.control else {}
    return replace(made, prediction=made.prediction | {"score": place.score} | shown, place=place)


def threads_for(plan: PredictionPlan) -> int:
    """Threads that keep the endpoint busy: some resolve tasks while others wait for its answers."""
    return min(MOST_THREADS, plan.endpoint.concurrency * 3 // 2 + 2)


def note_versions(plan: PredictionPlan, versions: Iterable[str]) -> str:
    """Note with which version an endpoint's own model answered; gives what ``/setup`` reports from now on."""
    if plan.by_name or plan.deployment.answers:
        return plan.version
    return note_served(plan.hub, plan.project, plan.options.endpoint, plan.version, versions)


def _predict_many(plan: PredictionPlan, tasks: Sequence[Json], deadline: float) -> list[Found]:
    """Predict at once what was predicted before, as far as all were from the first on, and the others in threads.

    Who looks at a page of tasks again asks for what is there: to wake fifty threads for that takes longer than itself.
    """
    known: list[Found] = []
    for task in tasks:
        if (made := _known(plan, task, deadline)) is None:
            break
        known.append(made)
    plan.hub.counters.looked_up(len(known), 0)
    return known + (_predict_calls(plan, tasks[len(known) :], deadline) if len(known) < len(tasks) else [])


def _known(plan: PredictionPlan, task: Json, deadline: float) -> Made | None:
    """Give what was predicted before of a task that holds a text, of which nothing is to be read; else None."""
    try:
        if not plan.expected or plan.own is not None or plan.interface.shows(task):
            return None
        item = _resolve(plan, task, deadline)
        asked = _asked(plan, task, item) if isinstance(item, Input) else None
        found = plan.hub.cache.get(_kept_as(asked.key, plan.expected)) if asked is not None else None
        return None if asked is None or found is None else in_order(plan, Made(found, asked.content))
    except Exception:  # noqa: BLE001 - border: what is odd about it, its own call finds and logs
        return None


def _predict_calls(plan: PredictionPlan, tasks: Sequence[Json], deadline: float) -> list[Found]:
    calls = list(chunks(tasks, plan.endpoint.batch))
    found: dict[int, list[Found]] = {}
    # Where many at one end fail, the breaker hears of a good one soon. Each thread takes the next by itself: to hand
    # every call over, and to wait for each, took a tenth of all that a call costs.
    left, doing = iter(from_both_ends(len(calls))), DOING.get()

    def work() -> None:
        DOING.set(doing)
        for at in left:
            found[at] = predict_call(plan, calls[at], deadline)

    threads = [plan.hub.threads.submit(work) for _ in range(min(threads_for(plan), len(calls)))]
    wait(threads, timeout=max(0.0, deadline - time.monotonic()))
    # What is still under way ends by its own timeouts; the annotator does not wait for it.
    deque(left, maxlen=0)
    late = Unpredicted("it was not ready within LABELLOOP_PREDICT_DEADLINE")
    return [item for at, call in enumerate(calls) for item in found.get(at, [late] * len(call))]


def _ask(plan: PredictionPlan, asked: Sequence[_Asked], deadline: float | None) -> list[Json | Unpredicted]:
    """Take what this process can answer itself, and ask the endpoint for the others."""
    own = plan.own.answers([one.item for one in asked]) if plan.own is not None else [None] * len(asked)
    left = [one for one, answer in zip(asked, own, strict=True) if answer is None]
    others = iter(_ask_endpoint(plan, left, deadline))
    return [
        next(others) if answer is None else _rendered(plan, one, answer) for one, answer in zip(asked, own, strict=True)
    ]


def _ask_endpoint(plan: PredictionPlan, asked: Sequence[_Asked], deadline: float | None) -> list[Json | Unpredicted]:
    if not asked:
        return []
    began = time.perf_counter()
    try:
        answers = plan.endpoint.invoke([one.item for one in asked], plan.target, deadline)
    except EndpointError as error:
        _count(plan, "left_alone" if isinstance(error, CircuitOpen) else "failed", began)
        told = [_reason(str(error), one.item) if error.by_input else str(error) for one in asked]
        return [Unpredicted(reason, endpoint=True, by_input=error.by_input) for reason in told]
    fails = any(isinstance(answer, Failure) and answer.endpoint for answer in answers)
    _count(plan, "failed" if fails else "answered", began)
    return [_rendered(plan, one, answer) for one, answer in zip(asked, answers, strict=True)]


def _count(plan: PredictionPlan, outcome: str, began: float) -> None:
    """Count a call of the endpoint that ``began`` then, for who watches figures; those of a cloud are of a project."""
    plan.hub.counters.called(plan.endpoint.name, outcome, time.perf_counter() - began)
    if outcome != "answered" and plan.hub.settings.metrics:
        plan.hub.state(plan.project).counted.endpoint_failed()


def _rendered(plan: PredictionPlan, asked: _Asked, answer: Answer | Failure) -> Json | Unpredicted:
    if isinstance(answer, Failure):
        return Unpredicted(answer.reason if answer.endpoint else _reason(answer.reason, asked.item), answer.endpoint)
    try:
        found = plan.interface.render(answer, plan.options.rendering, asked.item)
    except LabelConfigError as error:
        return Unpredicted(str(error))
    except Exception as error:  # noqa: BLE001 - border: the other tasks, of a request or of a million, go on
        _log.exception("project %s: an answer could not be made a prediction", plan.project)
        return Unpredicted(f"its answer brought an unforeseen {type(error).__name__}; the log has the traceback")
    for remark in answer.remarks if isinstance(answer, Findings) else ():
        _log.warning("project %s: of the answer to a task, %s", plan.project, remark)
    if plan.expected:
        plan.hub.cache.put(_kept_as(asked.key, found["model_version"]), found)
    if plan.serves != "alone":
        task = asked.task.get("id")
        # A queue of the process: nothing here waits for Redis (loop/watched.py).
        plan.hub.predicted.append(
            Predicted(
                plan.project,
                found["model_version"],
                asked.key,
                task if isinstance(task, int) else None,
                _scores(answer),
                time.time(),
            )
        )
    return found


def _scores(answer: Answer) -> Mapping[str, float]:
    """Give the score of each class, by which drift is looked for: of what was found, that of its surest region."""
    if isinstance(answer, Output):
        return answer.scores
    found: dict[str, float] = {}
    for region in answer.regions:
        if region.label:
            found[region.label] = max(found.get(region.label, 0.0), 1.0 if region.score is None else region.score)
    return found


def _reason(reason: str, item: Input) -> str:
    """Say with what an endpoint said of a file what it was sent as, where few endpoints read that."""
    return f"{reason} (it was sent as {item.media_type})" if item.content and item.media_type not in _USUAL else reason


def _kept_as(key: bytes, version: str) -> bytes:
    """Name a prediction in the cache by its own version, which may be another one than was expected."""
    return key + version.encode(errors="surrogatepass")


def resolve_all(plan: PredictionPlan, tasks: Sequence[Json], deadline: float | None) -> list[Input | Unpredicted]:
    """Resolve tasks, in order, several at a time; ``deadline`` is a ``time.monotonic()`` moment."""
    known = plan.own.known(tasks) if plan.own is not None else [None] * len(tasks)
    read = iter(_read_all(plan, [task for task, found in zip(tasks, known, strict=True) if found is None], deadline))
    return [next(read) if found is None else found for found in known]


def _read_all(plan: PredictionPlan, tasks: Sequence[Json], deadline: float | None) -> list[Input | Unpredicted]:
    if len(tasks) <= 1:
        return [_resolve(plan, task, deadline) for task in tasks]
    known = DOING.get()
    with ThreadPoolExecutor(min(_READERS, len(tasks)), "read", initializer=DOING.set, initargs=(known,)) as readers:
        return list(readers.map(lambda task: _resolve(plan, task, deadline), tasks))


def _resolve(plan: PredictionPlan, task: Json, deadline: float | None) -> Input | Unpredicted:
    referable = plan.options.endpoint.request == "reference"
    try:
        found = plan.interface.input_of(task, deadline, referable=referable)
        return replace(found, prompt=plan.prompt, assignment=plan.assignment)
    except MediaError as error:
        return Unpredicted(str(error))
