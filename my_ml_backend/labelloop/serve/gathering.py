"""Requests that wait for the same model share its next run: several pictures together cost less than one by one."""

import threading
from collections import deque
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from labelloop.serve.admission import Admission
from labelloop.serve.engines.base import Engine
from labelloop.types import Failure, Output

MOST = 8
"""Pictures that are gathered for one run."""


class _Waiting:
    """One picture on its way through a model."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.answer: Output | Failure | Exception | None = None
        self.done = threading.Event()

    def settle(self, answer: Output | Failure | Exception) -> None:
        self.answer = answer
        self.done.set()


class Gathering:
    """Runs models, as many at a time as ``admission`` lets work. Safe to share between threads.

    Nobody waits for company: a picture that finds a place free is run at once. While all places are taken pictures
    gather, and whoever gets the next place takes along what waits for its model.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._lock = threading.Lock()
        self._queues: WeakKeyDictionary[Engine, deque[_Waiting]] = WeakKeyDictionary()

    def predict(self, engine: Engine, contents: Sequence[bytes], version: str) -> list[Output | Failure]:
        """Answer for every picture, in order; see Engine. ``version`` is that of the engine's model."""
        if len(contents) >= MOST:
            with self._admission.at_work():
                return engine.predict(contents, version)
        mine = [_Waiting(content) for content in contents]
        with self._lock:
            queue = self._queues.setdefault(engine, deque())
            queue.extend(mine)
        while not all(one.done.is_set() for one in mine):
            self._work(engine, version, queue, mine)
        return [_answer(one) for one in mine]

    def _work(self, engine: Engine, version: str, queue: deque[_Waiting], mine: Sequence[_Waiting]) -> None:
        """Take one turn; when there is nothing to take, somebody else has our pictures."""
        with self._admission.at_work():
            if all(one.done.is_set() for one in mine):
                return
            with self._lock:
                taken = [queue.popleft() for _ in range(min(MOST, len(queue)))]
            if taken:
                _run(engine, version, taken)
                return
        for one in mine:
            one.done.wait()


def _run(engine: Engine, version: str, taken: Sequence[_Waiting]) -> None:
    try:
        answers: Sequence[Output | Failure | Exception] = engine.predict([one.content for one in taken], version)
    except Exception as error:  # noqa: BLE001 - each request that waits must hear of it, whatever it is
        answers = [error] * len(taken)
    for one, answer in zip(taken, answers, strict=True):
        one.settle(answer)


def _answer(one: _Waiting) -> Output | Failure:
    if isinstance(one.answer, Exception):
        raise one.answer
    assert one.answer is not None  # noqa: S101 - it is done
    return one.answer
