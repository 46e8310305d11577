"""Predicting without end: a project's tasks stream through the endpoint, in order and in constant memory."""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from labelloop.errors import EndpointError
from labelloop.loop.predict import Found, Unpredicted, predict_call, threads_for
from labelloop.loop.serving import Plan
from labelloop.types import Json, chunks

_AHEAD = 1024
"""Tasks under way or waiting: enough that the endpoint is busy while Label Studio gives the next page."""

_SHARES = tuple(2.0**power for power in range(-6, 0))
"""Pauses between two tries when the endpoint as a whole fails, as shares of ``LABELLOOP_RETRY_SECONDS``."""


def predict_stream(plan: Plan, tasks: Iterable[Json]) -> Generator[tuple[Json, Found], None, None]:
    """Yield every task with its prediction, in order; ``tasks`` is read as they are needed.

    An endpoint that fails is tried again for ``LABELLOOP_RETRY_SECONDS``. Raises EndpointError when it fails for good,
    after what was predicted by then; where it fails for one call alone, the tasks at fault have no prediction.
    """
    ended, answered = threading.Event(), _Answered()
    waiting: deque[tuple[list[Json], Future[list[Found]]]] = deque()
    pool = ThreadPoolExecutor(threads_for(plan), thread_name_prefix="bulk")
    try:
        for call in chunks(tasks, plan.endpoint.batch):
            waiting.append((call, pool.submit(_patiently, plan, call, ended, answered)))
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
            yield from (pair for pair in zip(call, future.result(), strict=True) if isinstance(pair[1], dict))


class _Answered:
    """Counts the calls that were answered."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls = 0

    def one_more(self) -> None:
        with self._lock:
            self.calls += 1


def _patiently(plan: Plan, call: list[Json], ended: threading.Event, answered: _Answered) -> list[Found]:
    before = None
    for share in (*_SHARES, 0.0):
        found = predict_call(plan, call)
        failure = _failure(found)
        if failure is None:
            answered.one_more()
            return found
        if before is None:
            before = answered.calls
        if ended.wait(share * plan.hub.settings.retry_seconds):
            return found
    # More calls than were under way at its first failure have been answered since: the endpoint is well.
    if before is not None and answered.calls - before > threads_for(plan):
        return found if len(call) == 1 else [predict_call(plan, [task])[0] for task in call]
    raise EndpointError(failure.reason if failure else "")


def _failure(found: list[Found]) -> Unpredicted | None:
    return next((item for item in found if isinstance(item, Unpredicted) and item.endpoint), None)
