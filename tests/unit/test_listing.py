import hashlib
from itertools import pairwise

import pytest

from labelloop.data.listing import Listing, Record
from labelloop.kinds.majority import Truth, Vote, counting, settle, votes_of
from labelloop.run.source import named_sides
from labelloop.types import Choice, LeftOut, Side


def record(task: int, *labels: str, side: Side | None = None) -> Record:
    return Record(f"s3://bucket/{task}.jpg", labels, task, side)


def test_one_label_each_is_a_single_choice() -> None:
    listing = Listing.of([record(1, "dog"), record(2, "cat")])
    assert (listing.choice, listing.classes) == ("single", ("cat", "dog"))


def test_several_labels_anywhere_are_a_multiple_choice_in_which_none_is_an_answer() -> None:
    listing = Listing.of([record(1, "cat", "dog"), record(2)])
    assert (listing.choice, len(listing.records), listing.left_out) == ("multiple", 2, ())


def test_what_has_not_exactly_one_label_is_no_answer_to_a_single_choice() -> None:
    listing = Listing.of([record(1, "cat"), record(2), record(3, "cat", "dog")], choice="single")
    assert listing.records == (record(1, "cat"),)
    assert listing.left_out == (
        LeftOut(2, "it has no label"),
        LeftOut(3, "2 labels where exactly one is expected"),
    )


def test_classes_are_in_the_order_that_the_source_says_and_taken_once() -> None:
    assert Listing.of([record(1, "cat")], classes=["dog", "cat", "dog"]).classes == ("dog", "cat")


def test_labels_become_the_classes_that_they_mean() -> None:
    records = [record(1, "Cat"), record(2, "bird"), record(3, "dog"), record(4, "CAT ")]
    found = Listing.of(records, classes=["cat", "dog"])
    assert [(one.task, one.labels) for one in found.records] == [(1, ("cat",)), (3, ("dog",)), (4, ("cat",))]
    assert found.left_out == (LeftOut(2, "labeled 'bird', which is none of the classes"),)
    assert (found.choice, found.classes, found.warnings) == ("single", ("cat", "dog"), ())


def test_beside_other_labels_one_that_is_no_class_is_dropped_which_is_said() -> None:
    records = [
        record(1, "bird", "cat"),
        record(2, "Cat", "cat"),
        record(3),
        record(4, "bird"),
        record(5, "bird", "fish"),
    ]
    found = Listing.of(records, classes=["cat", "dog"])
    assert [(one.task, one.labels) for one in found.records] == [(1, ("cat",)), (2, ("cat",)), (3, ())]
    assert [out.task for out in found.left_out] == [4, 5]
    assert found.warnings == ("'bird' is none of the classes: 1 records that have it were taken without it",)


def test_of_a_single_choice_no_label_is_dropped() -> None:
    found = Listing.of([record(1, "bird", "cat"), record(2, "Cat", "cat")], choice="single", classes=["cat", "dog"])
    assert [(one.task, one.labels) for one in found.records] == [(2, ("cat",))]
    assert found.left_out == (LeftOut(1, "2 labels where exactly one is expected"),)


def test_classes_of_two_listings_that_are_nearly_the_same_are_named() -> None:
    one, other = Listing.of([record(1, "cat")]), Listing.of([record(1, "Cat")])
    assert (one.warnings, other.warnings) == ((), ())
    [warning] = one.joined(other).warnings
    assert warning.startswith("'cat' and 'Cat' are different classes")


@pytest.mark.parametrize("names", [("A", "A-"), ("1", "-1"), ("ab", "a b"), ("cat", "cats"), ("C", "C++"), ("o", "ö")])
def test_classes_that_only_look_alike_at_a_glance_are_not_named(names: tuple[str, str]) -> None:
    assert Listing.of([record(1, names[0]), record(2, names[1])]).warnings == ()


def test_of_many_pairs_of_classes_the_first_are_named() -> None:
    names = [name for number in range(8) for name in (f"cat {number}", f"Cat {number}")]
    warnings = Listing.of(record(at, name) for at, name in enumerate(names, 1)).warnings
    assert len(warnings) == 6
    assert warnings[-1] == "3 more pairs of classes are as much alike"


def test_two_listings_become_one() -> None:
    one = Listing.of([record(1, "cat"), record(2, "dog")], [LeftOut(3, "skipped")])
    other = Listing.of([record(1, "bird", "cat")], [LeftOut(2, "blurred")])

    both = one.joined(other.on("test"))

    assert (both.choice, both.classes) == ("multiple", ("cat", "dog", "bird"))
    assert [(each.task, each.side) for each in both.records] == [(1, None), (2, None), (4, "test")]
    assert [out.task for out in both.left_out] == [3, 5]


def test_tasks_keep_their_ids_where_no_two_have_the_same() -> None:
    both = Listing.of([record(7, "cat")]).joined(Listing.of([record(3, "cat")]))
    assert [each.task for each in both.records] == [7, 3]


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def test_of_a_picture_on_two_sides_the_stricter_wins_and_the_others_are_listed() -> None:
    shown = [
        (record(1, "cat", side="train"), sha("a")),
        (record(2, "cat", side="test"), sha("a")),
        (record(3, "cat", side="validation"), sha("a")),
        (record(4, "dog", side="validation"), sha("b")),
        (record(5, "dog", side="train"), sha("b")),
        (record(6, "dog"), sha("b")),
        (record(7, "dog"), sha("c")),
    ]

    sides, moved = named_sides(shown)

    assert sides == {sha("a"): "test", sha("b"): "validation"}
    assert [out.task for out in moved] == [1, 3, 5]
    assert moved[0].reason == "what it shows is on the test side, too: it is taken for that one, not for train"
    assert named_sides(reversed(shown))[0] == sides


def vote(*labels: str) -> Vote:
    return Vote(frozenset(labels))


@pytest.mark.parametrize(
    ("choice", "votes", "truth"),
    [
        ("single", [vote("a"), vote("a"), vote("b")], Truth(("a",), confirmed=True)),
        ("single", [vote("a"), vote("b")], Truth(reason="its annotators disagree: 1 each say 'a', 'b'")),
        ("single", [vote("a"), Vote(reason="gone")], Truth(("a",))),
        ("single", [Vote(reason="gone")], Truth(reason="gone")),
        ("multiple", [vote("a", "b"), vote("a"), vote("a", "b", "c")], Truth(("a", "b"))),
        ("multiple", [vote("a", "b"), vote("a")], Truth(reason="half of its 2 annotators say 'b', half do not")),
        ("multiple", [vote(), vote(), vote("a")], Truth(confirmed=True)),
        ("single", [], Truth(reason="not annotated")),
    ],
)
def test_the_majority_is_right_and_a_tie_is_no_truth(choice: Choice, votes: list[Vote], truth: Truth) -> None:
    assert settle(votes, choice) == truth
    assert all(settle(votes[turn:] + votes[:turn], choice).labels == truth.labels for turn in range(len(votes)))


def test_skips_do_not_count_and_ground_truth_goes_before() -> None:
    given = {"id": 1}, {"was_cancelled": True}, {"id": 3, "ground_truth": True}, "nonsense"
    kept, skipped, marked = votes_of(given, lambda annotation: vote(str(annotation["id"])))
    assert (kept, skipped.skipped, marked.ground_truth) == (vote("1"), True, True)
    assert counting([kept, skipped]) == [kept]
    assert counting([kept, skipped, marked]) == [marked]
    assert settle([skipped], "single").reason == "skipped by its annotators"


@pytest.mark.parametrize(
    ("changed", "confirmed"),
    [
        ({"updated_at": "2026-11-20T15:47:04.1Z", "ground_truth": True}, True),
        ({"updated_at": "2026-11-20T15:46:57.5Z", "ground_truth": True}, False),
        ({"updated_at": "2026-11-20T15:47:04.1Z", "ground_truth": False}, False),
        ({"updated_at": None, "ground_truth": True}, False),
        ({"ground_truth": True}, False),
    ],
    ids=["marked later", "imported, which marks it", "edited", "without a moment", "without moments"],
)
def test_what_was_marked_after_it_was_made_is_confirmed(changed: dict[str, object], confirmed: bool) -> None:
    (said,) = votes_of([{"created_at": "2026-11-20T15:46:57.1Z"} | changed], lambda _: vote("a"))
    assert settle([said], "single") == Truth(("a",), confirmed=confirmed)


def test_a_mark_confirms_what_it_stands_at_alone() -> None:
    marked = [Vote(frozenset("a"), ground_truth=True, confirmed=True), Vote(frozenset("b"), ground_truth=True)]
    outvoted = [*marked, Vote(frozenset("b"), ground_truth=True)]
    assert not settle(marked, "single").confirmed
    assert settle(outvoted, "single") == Truth(("b",), confirmed=True)


def test_listings_of_a_million_share_their_labels() -> None:
    from pathlib import Path

    from labelloop.data.formats.base import Collector, Hints

    found = Collector(Path("list"), Hints())
    for task in range(1, 100):
        found.take(f"s3://bucket/{task}", [str(b"cat", "ascii")], task)
    records = found.listing().records
    assert all(one.labels is other.labels for one, other in pairwise(records))
