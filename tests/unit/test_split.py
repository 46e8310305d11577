import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.data.manifest import Manifest
from labelloop.data.split import SIDES, lacking_labels, missing, splits
from labelloop.kinds.base import find
from labelloop.types import IMAGES, Choice, Item, ProjectKey, side

PROJECT = ProjectKey("localhost-8080", 7)


def picture(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def manifest(*labels: tuple[str, ...], classes: tuple[str, ...] = ("a", "b"), choice: Choice = "single") -> Manifest:
    """Label the pictures 0, 1, 2, ..., of which the first 28 are on all three sides."""
    items = [Item(task + 1, picture(task), each) for task, each in enumerate(labels)]
    return Manifest.of(PROJECT, choice, classes, items)


def test_a_side_is_fixed_for_ever() -> None:
    sides = [side(picture(number)) for number in range(30)]
    assert [number for number in range(30) if sides[number] == "validation"] == [5, 22, 27, 28]
    assert [number for number in range(30) if sides[number] == "test"] == [1, 6, 10, 16, 21, 29]


def test_sides_are_80_10_10() -> None:
    counts = Counter(side(picture(number)) for number in range(20_000))
    assert counts["train"] == pytest.approx(16_000, abs=250)
    assert counts["validation"] == pytest.approx(2_000, abs=180)
    assert counts["test"] == pytest.approx(2_000, abs=180)


def test_a_side_says_nothing_about_the_hash_itself() -> None:
    first = Counter(picture(number)[0] for number in range(20_000) if side(picture(number)) == "test")
    assert len(first) == 16
    assert max(first.values()) < 2 * min(first.values())


@given(st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["a", "b"])), max_size=60))
def test_every_picture_is_on_its_own_side_once_and_never_against_itself(shown: list[tuple[int, str]]) -> None:
    items = [Item(task, picture(number), (label,)) for task, (number, label) in enumerate(shown)]
    parts = splits(Manifest.of(PROJECT, "single", ("a", "b"), items))
    assert tuple(parts) == SIDES
    found = [item for part in parts.values() for item in part]
    labels: dict[int, set[str]] = {}
    for number, label in shown:
        labels.setdefault(number, set()).add(label)
    agreed = {picture(number): answers for number, answers in labels.items() if len(answers) == 1}
    assert sorted(item.content for item in found) == sorted(agreed)
    assert all(set(item.labels) == agreed[item.content] for item in found)
    assert all(side(item.content) == name for name, part in parts.items() for item in part)


def test_a_split_does_not_move_when_the_project_grows() -> None:
    small = splits(manifest(*[("a",)] * 50))
    large = splits(manifest(*[("a",)] * 200))
    assert all(set(small[name]) <= set(large[name]) for name in SIDES)


AB = [("a",), ("b",)]


@pytest.mark.parametrize(
    ("made", "least", "sentence"),
    [
        (manifest(), 40, "40 more labels"),
        (manifest(*AB * 14), 40, "12 more labels"),
        (manifest(*AB * 14), 29, "1 more label"),
        (manifest(*AB * 14), 28, ""),
        (manifest(*AB * 14, classes=("a", "b", "7")), 40, "12 more labels; class 7 has none"),
        (manifest(*AB * 14, classes=("a", "b", "7")), 28, ""),
        (manifest(*AB * 14, classes=("7", "a", "b", "8", "9")), 40, "12 more labels; classes 7, 8 and 9 have none"),
        (
            manifest(*AB * 14, classes=(*"ab", *"123456789")),
            40,
            "12 more labels; classes 1, 2, 3, 4, 5 and 4 more have none",
        ),
        (
            manifest(*[("a",)] * 28),
            28,
            "every picture is labeled a, so there is nothing to tell apart; class b has none",
        ),
        (manifest(*[()] * 28, choice="multiple"), 28, "no picture has a label"),
        (
            manifest(*[("a", "b")] * 28, choice="multiple"),
            28,
            "every picture is labeled a and b, so there is nothing to tell apart",
        ),
        (manifest(*[("a",), ()] * 14, choice="multiple", classes=("a",)), 28, ""),
    ],
)
def test_what_is_missing_is_one_sentence(made: Manifest, least: int, sentence: str) -> None:
    assert missing(made, least) == sentence


def on(name: str, count: int) -> list[int]:
    return [number for number in range(500) if side(picture(number)) == name][:count]


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        (on("train", 8) + on("validation", 1) + on("test", 1), ""),
        (on("train", 8) + on("validation", 2), "class 7 has none; no test picture yet"),
        (on("train", 8) + on("test", 2), "class 7 has none; no validation picture yet"),
        (on("train", 10), "class 7 has none; no validation or test picture yet"),
        (on("test", 10), "class 7 has none; no training or validation picture yet"),
        (on("train", 5), "5 more labels; class 7 has none; no validation or test picture yet"),
    ],
)
def test_every_side_needs_a_picture(numbers: list[int], sentence: str) -> None:
    items = [Item(task, picture(number), ("ab"[task % 2],)) for task, number in enumerate(numbers)]
    assert missing(Manifest.of(PROJECT, "single", ("a", "b", "7"), items), 10) == sentence


def test_the_same_picture_again_is_no_more_labels() -> None:
    numbers = on("train", 4) + on("validation", 1) + on("test", 1)
    items = [Item(task, picture(number), ("ab"[number % 2],)) for task, number in enumerate(numbers * 5)]
    assert missing(Manifest.of(PROJECT, "single", ("a", "b"), items), 8) == "2 more labels"


def test_counts_tell_as_much_as_they_can() -> None:
    assert (
        lacking_labels(28, Counter(a=14, b=14), ("a", "b", "7"), 40, find(IMAGES)) == "12 more labels; class 7 has none"
    )
    assert lacking_labels(0, Counter(), ("a", "b"), 40, find(IMAGES)) == "40 more labels"
    assert lacking_labels(40, Counter(a=39, b=1), ("a", "b", "7"), 40, find(IMAGES)) == ""
    lacks = lacking_labels(40, Counter(a=38, b=2), ("a", "b", "7"), 40, find(IMAGES), per_class=3)
    assert lacks == "class b has 2 of 3 and class 7 has 0 of 3"
    assert lacking_labels(40, Counter(a=37, b=3), ("a", "b"), 40, find(IMAGES), per_class=3) == ""
    assert "nothing to tell apart" in lacking_labels(40, Counter(a=40), ("a", "b"), 40, find(IMAGES))
