"""Requests that wait for the same model share its next run."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.errors import BundleError
from labelloop.serve.admission import Admission
from labelloop.serve.gathering import MOST, Gathering
from labelloop.types import BundleInfo, Failure, Output, PictureSpec
from support.waiting import wait_until

INFO = BundleInfo(("a", "b"), "single", "none", "head", PictureSpec(1, 1, (0, 0, 0), (1, 1, 1)))


class Held:
    """An engine that answers with the content itself, once ``go`` is set; ``runs`` are the contents of each run."""

    info = INFO

    def __init__(self) -> None:
        self.go = threading.Event()
        self.runs: list[list[bytes]] = []
        self.broken = False

    def predict(self, contents: Sequence[bytes], version: str) -> list[Output | Failure]:
        self.runs.append(list(contents))
        assert self.go.wait(30)
        if self.broken:
            raise BundleError("the model cannot be run")
        return [Output(content.decode(), 1.0, {content.decode(): 1.0}, version) for content in contents]


def labels(answers: Sequence[Output | Failure]) -> list[str]:
    return [answer.label if isinstance(answer, Output) else answer.reason for answer in answers]


class Requests:
    """Requests at the same time, each in a thread of its own."""

    def __init__(self, places: int = 1) -> None:
        self.gathering = Gathering(Admission(places, 100))
        self.threads = ThreadPoolExecutor(40)

    def ask(self, engine: Held, *contents: bytes) -> "Future[list[Output | Failure]]":
        return self.threads.submit(self.gathering.predict, engine, contents, "v1")

    def waiting(self, engine: Held) -> int:
        return len(self.gathering._queues.get(engine, ()))


def test_pictures_that_wait_are_run_together_and_each_request_gets_its_own() -> None:
    requests, engine = Requests(), Held()
    first = requests.ask(engine, b"first")
    wait_until(lambda: bool(engine.runs), "the first is being run")
    others = [requests.ask(engine, f"{number}a".encode(), f"{number}b".encode()) for number in range(3)]
    wait_until(lambda: requests.waiting(engine) == 6, "all others wait")
    engine.go.set()

    assert labels(first.result(30)) == ["first"]
    assert [labels(one.result(30)) for one in others] == [[f"{number}a", f"{number}b"] for number in range(3)]
    assert [len(run) for run in engine.runs] == [1, 6]


def test_a_run_is_never_larger_than_agreed_and_many_pictures_do_not_gather() -> None:
    requests, engine = Requests(), Held()
    first = requests.ask(engine, b"first")
    wait_until(lambda: bool(engine.runs), "the first is being run")
    others = [requests.ask(engine, str(number).encode()) for number in range(MOST + 3)]
    wait_until(lambda: requests.waiting(engine) == MOST + 3, "all others wait")
    engine.go.set()
    assert [labels(one.result(30)) for one in (first, *others)] == [["first"], *([str(n)] for n in range(MOST + 3))]
    assert [len(run) for run in engine.runs] == [1, MOST, 3]

    assert len(requests.ask(engine, *[b"x"] * 20).result(30)) == 20
    assert len(engine.runs[-1]) == 20


def test_models_do_not_mix() -> None:
    requests, held, other = Requests(), Held(), Held()
    first = requests.ask(held, b"first")
    wait_until(lambda: bool(held.runs), "the first is being run")
    mine, others = requests.ask(held, b"mine"), requests.ask(other, b"other")
    wait_until(lambda: requests.waiting(held) == requests.waiting(other) == 1, "both wait")
    held.go.set()
    other.go.set()

    assert [labels(one.result(30)) for one in (first, mine, others)] == [["first"], ["mine"], ["other"]]
    assert other.runs == [[b"other"]]


def test_a_model_that_fails_fails_all_who_wait_for_that_run_and_nobody_after() -> None:
    requests, engine = Requests(), Held()
    engine.broken = True
    asked = [requests.ask(engine, b"first")]
    wait_until(lambda: bool(engine.runs), "the first is being run")
    asked += [requests.ask(engine, b"x") for _ in range(3)]
    wait_until(lambda: requests.waiting(engine) == 3, "the others wait")
    engine.go.set()
    for one in asked:
        with pytest.raises(BundleError):
            one.result(30)

    engine.broken = False
    assert labels(requests.ask(engine, b"well").result(30)) == ["well"]


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, MOST + 2), min_size=1, max_size=20), places=st.integers(1, 4))
def test_whoever_asks_together_everyone_is_answered(sizes: list[int], places: int) -> None:
    requests, engine = Requests(places), Held()
    engine.go.set()
    asked = {
        number: requests.ask(engine, *(f"{number}.{at}".encode() for at in range(size)))
        for number, size in enumerate(sizes)
    }
    for number, one in asked.items():
        assert labels(one.result(30)) == [f"{number}.{at}" for at in range(sizes[number])]
    requests.threads.shutdown()
