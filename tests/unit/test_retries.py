"""Trying again after a pause."""

import threading

import pytest

from labelloop.retries import retries


def test_there_is_a_pause_between_two_tries_each_twice_as_long() -> None:
    waits: list[float] = []
    assert list(retries(5, 0.5, wait=waits.append)) == [4, 3, 2, 1, 0]
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_there_is_none_before_the_first_nor_for_who_has_succeeded() -> None:
    waits: list[float] = []
    for left in retries(9, 1.0, wait=waits.append):
        if left == 7:
            break
    assert waits == [1.0]
    assert list(retries(1, 1.0, wait=waits.append)) == [0]
    assert waits == [1.0]


def test_no_pause_is_longer_than_the_most() -> None:
    waits: list[float] = []
    list(retries(2000, 0.001, most=0.3, wait=waits.append))
    assert max(waits) == waits[-1] == pytest.approx(0.3)


def test_pauses_vary_as_much_as_is_said() -> None:
    waits: list[float] = []
    for _ in range(200):
        list(retries(2, 1.0, spread=0.25, wait=waits.append))
    assert all(0.75 <= one <= 1.25 for one in waits)
    assert max(waits) - min(waits) > 0.1


def test_who_waits_for_something_else_too_is_not_held_up() -> None:
    ended = threading.Event()
    ended.set()
    assert list(retries(3, 3600.0, wait=ended.wait)) == [2, 1, 0]
