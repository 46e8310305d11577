"""Pictures at work: how many pixels at a time, and in which order."""

import threading

import pytest

from labelloop.serve.answering import PixelBudget
from labelloop.serve.refusal import NotReady
from support.waiting import wait_until


class Worker:
    """Holds some pixels in a thread of its own until it is let go."""

    def __init__(self, budget: PixelBudget, pixels: int) -> None:
        self.at_work, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(budget, pixels))
        self._thread.start()

    def _run(self, budget: PixelBudget, pixels: int) -> None:
        with budget.holding(pixels):
            self.at_work.set()
            self._go.wait(10)

    def end(self) -> None:
        self._go.set()
        self._thread.join(10)


def test_pictures_beyond_the_budget_wait_in_their_order() -> None:
    budget = PixelBudget(100)
    first, second = Worker(budget, 60), Worker(budget, 40)
    wait_until(lambda: first.at_work.is_set() and second.at_work.is_set(), "both fit")
    third = Worker(budget, 80)
    assert not third.at_work.wait(0.05)
    wait_until(budget._turn.locked, "it is the next")
    fourth = Worker(budget, 1)
    first.end()
    assert not third.at_work.wait(0.05)
    assert not fourth.at_work.is_set(), "nobody overtakes"
    second.end()
    wait_until(lambda: third.at_work.is_set() and fourth.at_work.is_set(), "room for both")
    third.end()
    fourth.end()


def test_nobody_waits_for_ever() -> None:
    budget = PixelBudget(100, seconds=0.05)
    first = Worker(budget, 100)
    wait_until(first.at_work.is_set, "it fits")
    with pytest.raises(NotReady, match="busy"), budget.holding(1):
        pass
    first.end()
    with budget.holding(100):
        pass


def test_a_picture_beyond_the_budget_is_alone_at_work() -> None:
    budget = PixelBudget(100)
    small = Worker(budget, 1)
    wait_until(small.at_work.is_set, "it fits")
    large = Worker(budget, 500)
    assert not large.at_work.wait(0.05)
    small.end()
    wait_until(large.at_work.is_set, "it is alone")
    large.end()
