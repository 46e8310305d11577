"""The circuit breaker opens after failures in a row, probes, and closes again."""

import threading

import pytest

from labelloop.endpoints.breaker import Breaker
from labelloop.errors import CircuitOpen


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("http://x", limit=3, rest=10.0, clock=clock)


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed("it is on fire")


def is_open(breaker: Breaker) -> bool:
    try:
        breaker.peek()
    except CircuitOpen:
        return True
    return False


def test_opens_after_the_limit_and_says_why(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.admit()
    fail(breaker, 1)
    with pytest.raises(CircuitOpen, match=r"http://x failed 3 times .* 10 s more; the last reason: it is on fire"):
        breaker.admit()


def test_only_failures_in_a_row_count(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.succeeded()
    fail(breaker, 2)
    breaker.admit()


def test_one_probe_for_each_rest(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 9.9
    assert is_open(breaker)
    clock.now += 0.1
    assert not is_open(breaker)
    breaker.admit()
    assert is_open(breaker), "a second call got through beside the probe"


def test_a_failed_probe_opens_for_another_rest(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    breaker.admit()
    clock.now += 5
    fail(breaker, 1)
    clock.now += 9
    assert is_open(breaker)
    clock.now += 1
    breaker.admit()


def test_a_good_probe_closes_it(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    breaker.admit()
    breaker.succeeded()
    fail(breaker, 2)
    breaker.admit()
    breaker.admit()


def test_a_probe_that_never_reports_back_does_not_keep_it_open(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    breaker.admit()
    clock.now += 10
    breaker.admit()


def test_many_threads_get_one_probe(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    admitted = []
    start = threading.Barrier(16)

    def ask(number: int) -> None:
        start.wait()
        try:
            breaker.admit()
        except CircuitOpen:
            return
        admitted.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 1


def test_before_the_last_failure_one_finds_out_whether_the_endpoint_is_well(breaker: Breaker) -> None:
    assert not breaker.failed("it stumbled", asks=True)
    assert breaker.failed("it stumbled", asks=True), "one more would open it"
    assert not breaker.failed("it stumbled", asks=True), "one asks at a time"
    assert not is_open(breaker), "it waits for what is found out"
    breaker.succeeded()
    assert not breaker.failed("it stumbled", asks=True), "it counts anew"
    assert breaker.failed("it stumbled", asks=True)
    breaker.failed("it is on fire")
    assert is_open(breaker)


def test_what_is_not_found_out_or_never_told_counts_for_nothing(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 1)
    assert breaker.failed("it stumbled", asks=True)
    breaker.unknown()
    assert not is_open(breaker), "two failures are too few"
    assert breaker.failed("it stumbled", asks=True)
    breaker.unknown()
    assert is_open(breaker)
    clock.now += 10
    breaker.admit()
    assert breaker.failed("the probe stumbled", asks=True), "of a probe, too, it is found out"
    clock.now += 10
    assert not is_open(breaker)
    assert breaker.failed("it stumbled", asks=True), "who was to find out has never told"


def test_with_a_limit_of_one_nobody_asks() -> None:
    breaker = Breaker("x", limit=1)
    assert not breaker.failed("it stumbled", asks=True)
    assert is_open(breaker)
