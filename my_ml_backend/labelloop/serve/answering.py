"""From a request to its predictions, whatever the shape of the URL it came to."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from labelloop.pictures import MAX_PIXELS
from labelloop.serve.counters import ServeCounters
from labelloop.serve.engines.head import HeadEngine, Seen
from labelloop.serve.references import References
from labelloop.serve.refusal import BadRequest, NotReady
from labelloop.serve.registry import Catalog, ModelChoice
from labelloop.serve.wire import Item, Reference, is_json, read_body
from labelloop.types import Answer, Failure, Target

T = TypeVar("T")

_AT_ONCE = 8

_BUSY = "the server is busy; ask again in a moment"


class PixelBudget:
    """Lets pictures of ``most`` pixels in all be at work at a time: decoded, each pixel takes four to eight bytes.

    Who comes first goes first; a picture beyond the budget is alone at work. Who waits longer than ``seconds`` is
    turned away. Safe to share between threads.
    """

    def __init__(self, most: int, seconds: float = 60.0) -> None:
        self._most, self._seconds = most, seconds
        self._turn = threading.Lock()
        self._free = threading.Condition()
        self._held = 0

    @contextmanager
    def holding(self, pixels: int) -> Iterator[None]:
        """Wait for room for so many pixels, and hold it; raises NotReady when none comes."""
        give_up = time.monotonic() + self._seconds
        if not self._turn.acquire(timeout=self._seconds):
            raise NotReady(_BUSY)
        try:
            with self._free:
                left = max(0.0, give_up - time.monotonic())
                if not self._free.wait_for(lambda: self._held == 0 or self._held + pixels <= self._most, left):
                    raise NotReady(_BUSY)
                self._held += pixels
        finally:
            self._turn.release()
        try:
            yield
        finally:
            with self._free:
                self._held -= pixels
                self._free.notify_all()


class Admission:
    """Lets ``working`` requests compute at a time and ``present`` be there at all; turns away what is beyond that.

    Each at work holds a picture and the network's memory for it, and a server whose every thread waits cannot answer
    /ping. Safe to share between threads.
    """

    def __init__(self, working: int, present: int) -> None:
        self.working = working
        self._present = threading.BoundedSemaphore(present)
        self._working = threading.BoundedSemaphore(working)
        self._pixels = PixelBudget(MAX_PIXELS)

    @contextmanager
    def present(self) -> Iterator[None]:
        """Hold a place in the house; raises NotReady when there is none."""
        if not self._present.acquire(blocking=False):
            raise NotReady(_BUSY)
        try:
            yield
        finally:
            self._present.release()

    @contextmanager
    def decoding(self, pixels: int) -> Iterator[None]:
        """Hold a place in the house and room to decode a picture of so many pixels; raises NotReady when none comes."""
        with self.present(), self._pixels.holding(pixels):
            yield

    @contextmanager
    def at_work(self, pixels: int = 0) -> Iterator[None]:
        """Wait for a place to compute on pictures of at most so many pixels, one after the other, and hold it."""
        with self._pixels.holding(pixels), self._working:
            yield


class Answered(NamedTuple):
    """One answer for each picture of a request, in order, and the version that gave them; whose features it gave."""

    answers: Sequence[Answer | Failure | Seen]
    version: str
    features_of: str = ""


class Answering:
    """Reads the current Flask request, fetches what it only names, and has the model it asks for predict."""

    def __init__(self, catalog: Catalog, admission: Admission, references: References, counters: ServeCounters) -> None:
        self._catalog = catalog
        self._admission = admission
        self._references = references
        self._counters = counters

    def answer(self, target: Target, *, json: bool = False) -> Answered:
        """Answer the request; ``json``: its body is JSON, whatever its media type says.

        A picture that stands alone, not in ``instances``, fails the request when it fails. Raises what Catalog.choose
        does, NotReady when no place is free, BadRequest, and RequestEntityTooLarge.
        """
        with self._admission.present():
            body = _read()
            if not (json or is_json(request.mimetype, body)):
                return self._alone(_picture(body), self._catalog.choose(target), features=target.features)
            asked = read_body(body)
            choice, features = self._catalog.choose(target), target.features or asked.features
            if isinstance(asked.items, Reference):
                return self._alone(asked.items, choice, features=features)
            return self._answered(asked.items, choice, features=features)

    def about(self, shown: Sequence[bytes | str]) -> list[Answer | Failure]:
        """Answer what a person shows, a few at a time, so that others get their turn; raises as ``answer``."""
        items = [one.encode() if isinstance(one, str) else one for one in shown]
        with self._admission.present():
            choice = self._catalog.choose(Target())
            parts = (items[at : at + _AT_ONCE] for at in range(0, len(items), _AT_ONCE))
            return [answer for part in parts for answer in self._predict(part, choice)]

    def _alone(self, item: Item, choice: ModelChoice, *, features: bool) -> Answered:
        answered = self._answered([item], choice, features=features)
        (answer,) = answered.answers
        if isinstance(answer, Failure):
            raise BadRequest(answer.reason)
        return answered

    def _answered(self, items: Sequence[Item], choice: ModelChoice, *, features: bool) -> Answered:
        if not features:
            return Answered(self._predict(items, choice), choice.version)
        engine = choice.engine
        if not isinstance(engine, HeadEngine):
            raise BadRequest(
                f"{choice.version} gives no features: it is no head beside its backbone (docs/inference.md#features)"
            )
        found = self._worked(items, choice, engine.see)
        return Answered(found, choice.version, engine.features_of)

    def _predict(self, items: Sequence[Item], choice: ModelChoice) -> list[Answer | Failure]:
        return self._worked(items, choice, choice.engine.predict)

    def _worked(
        self, items: Sequence[Item], choice: ModelChoice, work: Callable[[list[bytes], str], Sequence[T]]
    ) -> list[T | Failure]:
        pictures = self._fetched(items)
        contents = [one for one in pictures if isinstance(one, bytes)]
        with self._admission.at_work(choice.engine.pixels(contents)):
            began = time.perf_counter()
            answers = work(contents, choice.version)
            self._counters.worked(answers, time.perf_counter() - began)
        following = iter(answers)
        found = [one if isinstance(one, Failure) else next(following) for one in pictures]
        self._counters.answered(found)
        return found

    def _fetched(self, items: Sequence[Item]) -> list[bytes | Failure]:
        uris = [item.uri for item in items if isinstance(item, Reference)]
        contents = iter(self._references.read(uris) if uris else ())
        return [next(contents) if isinstance(item, Reference) else item for item in items]


def _read() -> bytes:
    body = request.get_data(cache=False)
    if request.content_length is None and len(body) >= (request.max_content_length or 0):
        # A body sent in chunks is cut off at the limit without a word.
        raise RequestEntityTooLarge
    return body


def _picture(body: bytes) -> bytes:
    if not body:
        raise BadRequest("the body is empty: send a picture")
    return body
