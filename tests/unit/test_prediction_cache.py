"""Predictions made a moment ago: given again, for a while, in so much memory."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from labelloop.loop.hub import ENTRY_BYTES, PredictionCache


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_prediction_is_given_again_until_its_time_is_over() -> None:
    clock = Clock()
    cache = PredictionCache(1000, 10.0, clock)
    cache.put(b"a", {"score": 0.5})

    clock.now += 9.9
    assert cache.get(b"a") == {"score": 0.5}
    clock.now += 0.2
    assert cache.get(b"a") is None
    assert cache.get(b"b") is None


def test_what_is_given_is_not_shared() -> None:
    cache = PredictionCache(1000, 10.0)
    cache.put(b"a", {"result": []})
    first = cache.get(b"a")
    assert first is not None
    first["result"].append("changed")
    assert cache.get(b"a") == {"result": []}


def test_those_asked_for_longest_ago_make_room() -> None:
    cache = PredictionCache(3 * (len('{"v": 1}') + ENTRY_BYTES), 10.0)
    for number in range(3):
        cache.put(bytes([number]), {"v": number})
    cache.get(b"\0")
    cache.put(b"\3", {"v": 3})

    assert [number for number in range(4) if cache.get(bytes([number]))] == [0, 2, 3]


def test_none_is_kept_when_there_is_no_room_or_no_time() -> None:
    for cache in (PredictionCache(0, 10.0), PredictionCache(1000, 0.0), PredictionCache(5, 10.0)):
        cache.put(b"a", {"score": 0.5})
        assert cache.get(b"a") is None


@given(st.lists(st.tuples(st.integers(0, 5), st.text(max_size=20)), max_size=40), st.integers(0, 2000))
def test_it_never_holds_more_than_it_may(steps: list[tuple[int, str]], most: int) -> None:
    cache = PredictionCache(most, 10.0)
    for number, text in steps:
        cache.put(bytes([number]), {"v": text})
    kept = [len(content) + ENTRY_BYTES for _, content in cache._kept.values()]
    assert sum(kept) == cache._bytes <= most


def test_threads_may_share_it() -> None:
    cache = PredictionCache(1500, 10.0)

    def work(number: int) -> None:
        for step in range(500):
            cache.put(bytes([(number + step) % 7]), {"v": step})
            cache.get(bytes([step % 7]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(content) + ENTRY_BYTES for _, content in cache._kept.values()) == cache._bytes <= 1500
