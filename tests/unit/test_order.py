import hashlib
from collections import Counter
from statistics import fmean, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.errors import StoreAway
from labelloop.loop.order import (
    KnownOrders,
    Order,
    Place,
    arms,
    is_control,
    is_held_out,
    keep_scores,
    note_places,
    order_score,
    packed,
    quantiles,
    read_order,
    score_at,
    unpacked,
)
from labelloop.models.store import Versioned
from labelloop.types import ProjectKey, side
from support.examples import examples
from support.memory_store import MemoryStore

PROJECT = ProjectKey("1795187589", 7)


def picture(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


PICTURES = [picture(number) for number in range(2000)]


def test_what_is_drawn_is_fixed_for_ever() -> None:
    drawn = [round(order_score(picture(number), "v3", ()), 4) for number in range(4)]
    assert drawn == [0.5397, 0.106, 0.8397, 0.4821]
    assert [number for number in range(60) if is_control(picture(number), "v3", 0.1)] == [7, 9, 19, 25, 40, 41, 43, 55]


@pytest.mark.parametrize("count", [1, 2, 7, 400, 3000])
def test_held_out_items_are_spread_over_the_others_evenly(count: int) -> None:
    """Whatever the scores are, and where most of them are nearly the same."""
    scores = [0.3 + 0.7 * (number / count) ** 4 for number in range(count)]
    table = quantiles(scores)
    assert len(table) <= 402
    below = Counter(sum(score < drawn for score in scores) * 4 // (count + 1) for drawn in _drawn(table))
    expected = Counter(rank * 4 // (count + 1) for rank in range(count + 1))
    for part, ranks in expected.items():
        if count > 1:
            assert below[part] / len(PICTURES) == pytest.approx(ranks / (count + 1), abs=0.05)


def _drawn(table: list[list[float]]) -> list[float]:
    return [order_score(content, "v1", table) for content in PICTURES]


def test_a_table_of_few_scores_stays_near_them() -> None:
    assert score_at([], 0.25) == 0.25
    assert score_at(quantiles([0.6]), 0.01) == 0.6
    table = quantiles([0.4, 0.5])
    assert score_at(table, 1 / 3) == pytest.approx(0.4)
    assert score_at(table, 0.5) == pytest.approx(0.45)
    assert 0.29 < score_at(table, 0.0) < 0.4
    assert 0.5 < score_at(table, 0.999) < 0.61
    assert score_at(quantiles([0.99, 1.0]), 0.999) == 1.0
    assert score_at(quantiles([0.0, 0.2]), 0.0) == 0.0


def test_another_version_draws_anew() -> None:
    def low(version: str) -> set[str]:
        return {content for content in PICTURES if order_score(content, version, ()) < 0.5}

    assert len(low("v1") & low("v2")) == pytest.approx(500, abs=70)


def test_control_items_are_a_share_of_the_held_out_ones_wherever_these_stand() -> None:
    order = Order("v1", quantiles([0.5, 0.7, 0.9]), 0.25)
    places = {content: order.place(content, 0.8) for content in PICTURES}
    for content, place in places.items():
        held_out = side(content) != "train"
        assert is_held_out(content) == held_out
        assert place.arm == ("random" if held_out else "ordered")
        if not held_out:
            assert place == Place(0.8, "ordered"), "the true score"
    random = [place for place in places.values() if place.arm == "random"]
    control = [place for place in random if place.control]
    assert len(control) / len(random) == pytest.approx(0.25, abs=0.07)
    assert sum(place.score for place in control) / len(control) == pytest.approx(0.7, abs=0.05)


@settings(max_examples=examples(100))
@given(st.sets(st.integers(0, 2**40)))
def test_ids_of_tasks_are_read_as_they_were_written(tasks: set[int]) -> None:
    assert list(unpacked(packed(tasks))) == sorted(tasks)


def test_a_million_tasks_take_little() -> None:
    assert len(packed(range(5, 200_005))) < 4_000
    fifth = (task for task in range(50_000) if is_held_out(picture(task)))
    assert len(packed(fifth)) * 20 < 240_000


def test_what_was_served_is_kept_with_the_version() -> None:
    store = MemoryStore()
    assert read_order(store, PROJECT, "v1") is None
    order = keep_scores(store, PROJECT, "v1", SCORES, 0.1)
    note_places(store, PROJECT, "v1", [(4, Place(0.6, "ordered")), (9, Place(0.5, "random", control=True))])
    note_places(store, PROJECT, "v1", [(5, Place(0.2, "random"))])
    found = read_order(store, PROJECT, "v1")
    assert found is not None
    assert (found.table, found.share) == (order.table, 0.1)
    assert [found.arm(task) for task in (3, 4, 5, 9)] == [None, "ordered", "random", "random"]
    assert [task for task in range(10) if found.is_control(task)] == [9]


SCORES = [0.5 + number / 1000 for number in range(150)]


def test_a_table_stands_when_it_is_large_enough_and_grows_until_then() -> None:
    store = MemoryStore()
    few = keep_scores(store, PROJECT, "v1", [0.9, 0.7], 0.1)
    assert few.may_grow
    assert [score for _, score in few.table] == [0.7, 0.9]
    more = keep_scores(store, PROJECT, "v1", SCORES, 0.5)
    assert [score for _, score in more.table] == sorted([0.7, 0.9, *SCORES])
    assert (more.may_grow, more.share) == (False, 0.1)
    assert keep_scores(store, PROJECT, "v1", [0.1] * 300, 0.5) == more
    assert keep_scores(store, PROJECT, "v2", [], 0.0).may_grow, "nothing but held-out tasks"


class _Away(MemoryStore):
    """A store that can be away, and counts what is read of it."""

    away = False
    reads = 0

    def read(self, path: str) -> Versioned:
        self.reads += 1
        if self.away:
            raise StoreAway("it is away")
        return super().read(path)


def test_a_process_reads_the_order_of_a_version_once() -> None:
    store, now = _Away(), [0.0]
    known = KnownOrders(lambda: store, lambda: now[0])
    order = keep_scores(store, PROJECT, "v1", SCORES, 0.1)
    store.reads = 0
    for _ in range(3):
        assert known.find(PROJECT, "v1") == order
        now[0] += 1000
    assert store.reads == 1
    keep_scores(store, PROJECT, "v2", [0.5], 0.1)
    found = known.find(PROJECT, "v2")
    keep_scores(store, PROJECT, "v2", SCORES, 0.1)
    assert known.find(PROJECT, "v2") == found
    now[0] += 61
    assert known.find(PROJECT, "v2") == read_order(store, PROJECT, "v2"), "one that could grow is read again"


def test_while_the_store_is_away_there_is_no_order_and_that_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    store, now = _Away(), [0.0]
    known = KnownOrders(lambda: store, lambda: now[0])
    order = keep_scores(store, PROJECT, "v1", SCORES, 0.1)
    store.away = True
    for seconds in (0, 1, 61, 62):
        now[0] = seconds
        assert known.find(PROJECT, "v1") is None
    assert [record.getMessage() for record in caplog.records] == [
        f"project {PROJECT}: predictions are ordered by their true scores: it is away"
    ]
    store.away = False
    now[0] = 130
    assert known.find(PROJECT, "v1") == order


def test_an_endpoint_may_call_its_model_whatever_it_likes() -> None:
    store = MemoryStore()
    for version in ("../../v1", "team/model:3", "", "v" * 300, "\ud800"):
        assert keep_scores(store, PROJECT, version, [0.5], 0).version == version
    assert read_order(store, PROJECT, "team/model:4") is None


def test_a_newer_release_may_keep_more_and_a_damaged_record_counts_as_none() -> None:
    store = MemoryStore()
    store.write(f"{PROJECT}/order/v1.json", b'{"version": "v1", "table": [], "more": 1}')
    store.write(f"{PROJECT}/order/v2.json", b'{"version": 2')
    assert read_order(store, PROJECT, "v1") == Order("v1")
    assert read_order(store, PROJECT, "v2") is None


HELD_OUT = [(number, content) for number, content in enumerate(PICTURES) if is_held_out(content)]


@settings(max_examples=examples(100))
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(1, 10**6), st.floats(0.05, 0.95))
def test_whoever_stops_anywhere_has_done_a_random_part_of_the_held_out_items(
    scores: list[float], seed: int, share: float
) -> None:
    """Whatever the true scores are: what is served first is no harder than what is served last."""
    order = Order(f"v{seed}", quantiles(scores))
    true = [scores[number % len(scores)] for number, _ in HELD_OUT]
    places = [order.place(content, score) for (_, content), score in zip(HELD_OUT, true, strict=True)]
    # Where places are equal, the task that came first is served first, as Label Studio does it.
    first = sorted(range(len(true)), key=lambda at: places[at].score)[: round(share * len(true))]
    # Five and a half standard errors of the mean of a part that is drawn without putting back.
    error = 5.5 * pstdev(true) * ((1 - share) / len(first)) ** 0.5
    assert fmean(true[at] for at in first) == pytest.approx(fmean(true), abs=error + 1e-9)


def test_a_task_is_random_where_every_version_that_served_it_did_so_by_chance() -> None:
    store = MemoryStore()
    random, ordered = Place(0.5, "random"), Place(0.5, "ordered")
    note_places(store, PROJECT, "v1", [(1, random), (2, ordered), (3, random), (4, ordered)])
    note_places(store, PROJECT, "v2", [(1, random), (2, ordered), (3, ordered), (4, random)])
    assert arms(store, PROJECT, [1, 2, 3, 4, 5]) == {1: "random", 2: "ordered", 3: "ordered", 4: "ordered"}
    assert arms(store, PROJECT, [5]) == {}
