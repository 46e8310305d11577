"""Pre-annotation in bulk: a prediction for every task that waits for an annotator and has none of this version.

A project's tasks stream through the endpoint, in order and in constant memory. Before them come as many that chance
chooses as the table takes by which held-out tasks are ordered (loop/order.py): the others may be sorted by class.
"""

import hashlib
import heapq
import json
import logging
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from typing import TypeGuard

from labelloop.data.site import Site
from labelloop.errors import DeployError, EndpointError
from labelloop.loop import batch as batching
from labelloop.loop.endpoint_features import features_kept
from labelloop.loop.hub import Hub
from labelloop.loop.imports import Imports
from labelloop.loop.order import Place, is_held_out, keep_scores, note_places
from labelloop.loop.predict import Found, Made, Unpredicted, in_order, note_versions, predict_call, threads_for
from labelloop.loop.project_registry import site_of
from labelloop.loop.serving import PredictionPlan, prediction_plan, serving
from labelloop.loop.watched import watching
from labelloop.retries import retries
from labelloop.tracing import DOING
from labelloop.types import Json, Progress, ProjectKey, chunks

_log = logging.getLogger(__name__)

_NOTED = 256
"""Predictions after which an endpoint's version is noted: ``/setup`` is to report it before the last task is done."""

_REASONS = 3

_AHEAD = 1024
"""Tasks under way or waiting: enough that the endpoint is busy while Label Studio gives the next page."""

_TRIES, _FIRST_SHARE = 7, 2.0**-6
"""Of a call where the endpoint as a whole fails; the pauses between them last ``LABELLOOP_RETRY_SECONDS`` together."""

_TRIES_OF_INPUT = 3
"""Of a call that fails while the endpoint is not left alone, so that its tasks may be at fault."""

_FEW = 5
"""Calls: when fewer fail in a row, it may be their tasks."""

_SAMPLE, _SAMPLE_SHARE, _MOST_SAMPLE, _SAMPLE_BYTES = 2000, 10, 20_000, 64_000_000
"""Tasks whose predictions are held back until there is a table of their scores: 2,000, or one in ten; masks fill memory
sooner."""


@dataclass(frozen=True, slots=True)
class Prelabeled:
    """How many tasks have got a prediction, how many could not be given one, and why: the first few reasons.

    While a batch job is at it nothing is predicted here, and ``job`` says so: whoever asks again gets its answers.
    """

    predicted: int
    left_out: int
    reasons: tuple[str, ...] = ()
    job: str = ""


def prelabel(
    hub: Hub,
    project: ProjectKey,
    version: str | None,
    report: Progress,
    *,
    dry_run: bool = False,
    batch: bool | None = None,
) -> Prelabeled:
    """Give every unlabeled task a prediction of ``version``; repeating it adds nothing, annotations are not touched.

    None: of the version that ``/setup`` answers, by whatever serves it. Where the endpoint is down, no other one is
    asked. ``batch`` says whether a batch job predicts (loop/batch.py); None: the settings do.

    Raises DeployError where the endpoint answers with another version, EndpointError when it fails as a whole,
    StudioError when Label Studio does; what was predicted before that is imported, and the next call goes on from
    there.
    """
    served = serving(hub, project, version)
    site = site_of(hub, project.id)
    plan = prediction_plan(hub, project, served, site.interface(served.subject))
    version = served.version
    deployed = plan.deployment
    if deployed.brought and not deployed.serves(version):
        raise DeployError(
            f"project {project.id} cannot be pre-annotated with {version}: its endpoint answers as "
            f"{deployed.answers or 'no version of this project'}"
        )
    total = site.count_waiting(version)
    job = None if dry_run else batching.take_up(plan, site, total, report, batch)
    if isinstance(job, str):
        return Prelabeled(0, 0, job=job)
    with batching.answered(replace(plan, ordered=plan.ordered and not dry_run), job) as asked:
        done = _prelabel(asked, site, report, total, dry_run=dry_run)
    if job is not None:
        batching.close(hub, project, job, done.left_out)
    for reason in done.reasons:
        _log.warning("project %s: of %d tasks without a prediction of %s: %s", project, done.left_out, version, reason)
    return done


def _prelabel(plan: PredictionPlan, site: Site, report: Progress, total: int, *, dry_run: bool) -> Prelabeled:
    """Predict what waits, and import it as it comes."""
    hub, project, version, deployed = plan.hub, plan.project, plan.version, plan.deployment
    report("tasks", 0, total)
    predicted = left_out = 0
    reasons: dict[str, None] = {}
    latest: Counter[str] = Counter()
    places = _Places(hub, project)
    # Closed first, whatever ends this: nothing is predicted any more while the rest is imported.
    with (
        nullcontext() if dry_run else watching(hub),
        nullcontext() if dry_run else Imports(site, project, places.keep) as imports,
        features_kept(hub, project),
        closing(_all_predicted(plan, site, report, total)) as stream,
    ):
        for task, found in stream:
            if isinstance(found, Made):
                if deployed.brought and found.version != version:
                    raise DeployError(
                        f"the endpoint answers as {found.version}, and {version} is to serve there: have the "
                        "model name the version that it was deployed as, or none"
                    )
                predicted += 1
                latest[found.version] += 1
                if imports is not None:
                    places.add(task["id"], found)
                    imports.add(task["id"], found.prediction)
            else:
                left_out += 1
                if len(reasons) < _REASONS:
                    reasons[found.reason] = None
            # The first one too: when this is killed after an import, the next start has to know what was imported.
            if predicted == 1 or latest.total() >= _NOTED:
                plan, latest = replace(plan, version=note_versions(plan, latest.elements())), Counter()
    note_versions(plan, latest.elements())
    return Prelabeled(predicted, left_out, tuple(reasons))


class _Places:
    """The places of predictions that are not imported yet."""

    def __init__(self, hub: Hub, project: ProjectKey) -> None:
        self._hub, self._project = hub, project
        self._places: dict[int, tuple[str, Place]] = {}

    def add(self, task: int, made: Made) -> None:
        """Take one in."""
        if made.place is not None:
            self._places[task] = made.version, made.place

    def keep(self, tasks: Sequence[int]) -> None:
        """Keep, with their versions, those of tasks that are imported now. Raises StoreError."""
        known = [(task, *self._places[task]) for task in tasks if task in self._places]
        for version in {version for _, version, _ in known}:
            placed = [(task, place) for task, by, place in known if by == version]
            note_places(self._hub.store, self._project, version, placed)
        # Not before: where the store fails, it is asked again at the end, and nothing is imported that is not kept.
        for task, _, _ in known:
            del self._places[task]


def _all_predicted(
    plan: PredictionPlan, site: Site, report: Progress, total: int
) -> Generator[tuple[Json, Found], None, None]:
    """Yield every task that waits, with its prediction; first those by which held-out ones are ordered."""
    told = _Told(report, total)
    # What comes of the sample may not be imported yet, and where masks fill memory, not all of it comes.
    done: set[int] = set()
    if _wants_scores(plan):
        for task, found in _scored(plan, _sample(plan, site, total), told):
            done.add(task["id"])
            yield task, found
    rest = (task for task in site.waiting(plan.version) if task["id"] not in done)
    with closing(told.each(predict_stream(plan, rest))) as stream:
        yield from stream


class _Told:
    """Tells how many tasks were predicted."""

    def __init__(self, report: Progress, total: int) -> None:
        self._report, self._total = report, total
        self._done = 0

    def each(self, stream: Generator[tuple[Json, Found], None, None]) -> Generator[tuple[Json, Found], None, None]:
        """Count what comes."""
        with closing(stream):
            for pair in stream:
                self._done += 1
                self._report("tasks", self._done, self._total if self._done <= self._total else 0)
                yield pair


def _wants_scores(plan: PredictionPlan) -> bool:
    """Whether held-out tasks are ordered, and there is no table yet, or one of few scores.

    A version that was announced before there were tables is left as it is: its tasks are in the order of their true
    scores already.
    """
    order = plan.hub.orders.find(plan.project, plan.version) if plan.ordered else None
    if order is not None:
        return order.may_grow
    return plan.ordered and plan.hub.pointer(plan.project).read().announced != plan.version


def _sample(plan: PredictionPlan, site: Site, total: int) -> list[Json]:
    """Choose some of ``total`` waiting tasks by chance, in an order of chance: any first part is a random sample, too.

    Who annotates 100 of a million sees the lowest scores alone, of which a small sample has none.
    """

    def rank(task: Json) -> bytes:
        return hashlib.sha256(f"{plan.version}\n{task['id']}".encode(errors="surrogatepass")).digest()

    size = min(_MOST_SAMPLE, max(_SAMPLE, total // _SAMPLE_SHARE))
    return heapq.nsmallest(size, site.waiting(plan.version), key=rank)


def _scored(plan: PredictionPlan, sample: Sequence[Json], told: "_Told") -> Generator[tuple[Json, Found], None, None]:
    """Yield tasks with their predictions when all are made, and there is a table of their scores.

    Where the endpoint fails for good, it is of those that there are by then. Raises EndpointError afterwards.
    """
    held: list[tuple[Json, Found]] = []
    failed, size = None, 0
    try:
        with closing(told.each(predict_stream(replace(plan, ordered=False), sample))) as stream:
            for pair in stream:
                held.append(pair)
                size += len(json.dumps(pair[1].prediction)) if isinstance(pair[1], Made) else 0
                if size > _SAMPLE_BYTES:
                    break
    except EndpointError as error:
        failed = error
    made = [found for _, found in held if isinstance(found, Made)]
    if made or failed is None:
        # Where nothing waits yet, what comes later is ordered all the same.
        version = Counter([*(one.version for one in made), plan.version]).most_common(1)[0][0]
        scores = [one.prediction["score"] for one in made if one.version == version and not is_held_out(one.content)]
        hub, project = plan.hub, plan.project
        order = keep_scores(hub.store, project, version, scores, hub.settings.control_share)
        hub.orders.remember(project, version, order)
    for task, found in held:
        yield task, in_order(plan, found) if isinstance(found, Made) else found
    if failed is not None:
        raise failed


def predict_stream(plan: PredictionPlan, tasks: Iterable[Json]) -> Generator[tuple[Json, Found], None, None]:
    """Yield every task with its prediction, in order; ``tasks`` is read as they are needed.

    An endpoint that fails is tried again for ``LABELLOOP_RETRY_SECONDS``. Raises EndpointError when it fails for good,
    after what was predicted by then; a task that it always fails at has no prediction, and ends nothing.
    """
    ended, outage = threading.Event(), _Outage()
    waiting: deque[tuple[list[Json], Future[list[Found]]]] = deque()
    pool = ThreadPoolExecutor(threads_for(plan), "bulk", initializer=DOING.set, initargs=(DOING.get(),))
    try:
        for call in chunks(tasks, plan.endpoint.batch):
            waiting.append((call, pool.submit(_patiently, plan, call, ended, outage)))
            if len(waiting) * plan.endpoint.batch >= _AHEAD:
                yield from _first(waiting)
        while waiting:
            yield from _first(waiting)
    except EndpointError:
        ended.set()
        yield from _rest(waiting)
        raise
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)


def _first(waiting: "deque[tuple[list[Json], Future[list[Found]]]]") -> Iterator[tuple[Json, Found]]:
    call, future = waiting.popleft()
    yield from zip(call, future.result(), strict=True)


def _rest(waiting: "deque[tuple[list[Json], Future[list[Found]]]]") -> Iterator[tuple[Json, Found]]:
    for call, future in waiting:
        if not future.cancel() and future.exception() is None:
            yield from (pair for pair in zip(call, future.result(), strict=True) if isinstance(pair[1], Made))


class _Outage:
    """Knows which calls have failed since the last one that was answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: set[int] = set()

    def note(self, call: list[Json], failure: Unpredicted | None) -> None:
        """Note what became of a call."""
        with self._lock:
            if failure is None:
                self._failed.clear()
            else:
                self._failed.add(id(call))

    def is_doubtful(self) -> bool:
        """Whether so few calls fail that it may be their tasks."""
        with self._lock:
            return len(self._failed) < _FEW


def _patiently(plan: PredictionPlan, call: list[Json], ended: threading.Event, outage: _Outage) -> list[Found]:
    """Predict the tasks of a call; those that the endpoint as a whole fails for are asked for again, after pauses.

    Where these tasks may be at fault themselves, they have no prediction in the end. Raises EndpointError where it is
    the endpoint.
    """
    found: list[Found] = []
    suspect, suspected = None, 0
    for _ in retries(_TRIES, _FIRST_SHARE * plan.hub.settings.retry_seconds, wait=ended.wait):
        if found and ended.is_set():
            return found
        found = _asked_again(plan, call, found)
        failure = _failure(found)
        outage.note(call, failure)
        if failure is None:
            return found
        if failure.by_input and sum(map(_is_of_endpoint, found)) == 1:
            suspect, suspected = failure, suspected + 1
        if suspected == _TRIES_OF_INPUT:
            return found
    if suspect is not None and outage.is_doubtful():
        return [suspect if _is_of_endpoint(item) else item for item in found]
    raise EndpointError(failure.reason if failure else "")


def _asked_again(plan: PredictionPlan, call: list[Json], found: list[Found]) -> list[Found]:
    """Ask for the tasks of a call that the endpoint as a whole has failed for; at first, for all."""
    if not found:
        return predict_call(plan, call)
    again = [at for at, item in enumerate(found) if _is_of_endpoint(item)]
    new = dict(zip(again, predict_call(plan, [call[at] for at in again]), strict=True))
    return [new.get(at, item) for at, item in enumerate(found)]


def _failure(found: list[Found]) -> Unpredicted | None:
    return next((item for item in found if _is_of_endpoint(item)), None)


def _is_of_endpoint(item: Found) -> TypeGuard[Unpredicted]:
    return isinstance(item, Unpredicted) and item.endpoint
