"""A stream of tasks, predicted: in order, in constant memory, as many at a time as the endpoint takes.

An endpoint that fails is waited for; a task that it always fails at costs the others nothing.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeGuard

from labelloop.errors import EndpointError
from labelloop.loop.predict import Found, Made, Unpredicted, predict_call, threads_for
from labelloop.loop.serving import PredictionPlan
from labelloop.retries import retries
from labelloop.tracing import DOING
from labelloop.types import Json, chunks

_AHEAD = 1024
"""Tasks under way or waiting: enough that the endpoint is busy while Label Studio gives the next page."""

_TRIES, _FIRST_SHARE = 7, 2.0**-6
"""Of a call where the endpoint as a whole fails; the pauses between them last ``LABELLOOP_RETRY_SECONDS`` together."""

_TRIES_OF_INPUT = 3
"""Of a call that fails while the endpoint is not left alone, so that its tasks may be at fault."""

_FEW = 5
"""Calls: when fewer fail in a row, it may be their tasks."""


def predict_stream(plan: PredictionPlan, tasks: Iterable[Json]) -> Generator[tuple[Json, Found], None, None]:
    """Yield every task with its prediction, in order; ``tasks`` is read as they are needed.

    An endpoint that fails is tried again for ``LABELLOOP_RETRY_SECONDS``. Raises EndpointError when it fails for good,
    after what was predicted by then; a task that it always fails at has no prediction, and ends nothing.
    """
    ended, outage = threading.Event(), _Outage()
    waiting: deque[tuple[list[Json], Future[list[Found]]]] = deque()
    batch, own, ahead = plan.endpoint.batch, plan.own, 0
    pool = ThreadPoolExecutor(threads_for(plan), "bulk", initializer=DOING.set, initargs=(DOING.get(),))
    try:
        for call in chunks(tasks, batch) if own is None else own.calls(tasks, batch):
            waiting.append((call, pool.submit(_patiently, plan, call, ended, outage)))
            ahead += len(call)
            while ahead >= _AHEAD:
                ahead -= len(waiting[0][0])
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
