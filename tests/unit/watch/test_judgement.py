"""One look: what is said of predictions that are as before, and of those that are not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from labelloop.errors import Damaged
from labelloop.models.file_store import FileStore
from labelloop.types import ProjectKey
from labelloop.watch.judgement import FEATURES, LEAST, MOST_TASKS, PICTURES, Observed, judge
from labelloop.watch.judgement import observed as read_observed
from labelloop.watch.records import Looks, Watched

CLASSES = ("cat", "dog", "owl")


def observed(count: int, seed: int, shares: Sequence[float] = (1, 1, 1), rows: float | None = 0.0) -> list[Observed]:
    """Predictions by a model that is rather sure; ``rows`` is where the descriptions lie, None for none."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(1, count + 1):
        best = rng.choice(len(CLASSES), p=np.array(shares) / sum(shares))
        scores = rng.dirichlet(np.where(np.arange(len(CLASSES)) == best, 8.0, 1.0))
        row = [] if rows is None else rng.normal(rows, 1, 4).tolist()
        found.append(Observed(number, float(number), dict(zip(CLASSES, scores.tolist(), strict=True)), row, []))
    return found


def test_what_is_as_before_is_said_to_be_so() -> None:
    found = judge("v1", observed(300, seed=1), observed(200, seed=2), at=1.0)
    assert not found.drifts
    assert (found.what, found.tasks) == ("", [])
    assert (found.new, found.reference, found.first, found.last) == (200, 300, 1.0, 200.0)
    assert str(found).endswith("are like the 300 that v1 made at first")


def test_a_class_that_comes_more_often_is_named_with_its_tasks() -> None:
    new = observed(200, seed=2, shares=(1, 4, 1))
    found = judge("v1", observed(300, seed=1), new, at=1.0)
    assert (found.drifts, found.what) == (True, "class dog")
    assert len(found.tasks) == MOST_TASKS
    assert all(new[task - 1].scores["dog"] > 0.5 for task in found.tasks)
    assert "differ from the 300 that v1 made at first, most in the scores of class dog (KS " in str(found)


def test_pictures_that_are_others_are_found_where_scores_are_as_before() -> None:
    found = judge("v1", observed(300, seed=1), observed(200, seed=2, rows=1.0), at=1.0)
    assert (found.drifts, found.what) == (True, PICTURES)
    assert found.ks_p > 0.01
    assert "most in the pictures (MMD " in str(found)


def test_without_descriptions_the_scores_have_all_of_the_level() -> None:
    """A change of which the p-value lies between a half of the level and all of it."""
    reference, new = observed(300, seed=1), observed(200, seed=2, shares=(2, 3, 2))
    before, after = ([one._replace(row=[]) for one in some] for some in (reference, new))
    p = judge("v1", before, after, at=1.0).ks_p
    assert judge("v1", before, after, at=1.0, level=1.5 * p).drifts
    assert not judge("v1", before, after, at=1.0, level=0.99 * p).drifts
    both = judge("v1", reference, new, at=1.0, level=1.5 * p)
    assert both.mmd_p is not None
    assert both.mmd_p > p
    assert (both.ks_p, both.drifts) == (p, False)


def test_too_few_descriptions_are_not_judged() -> None:
    some = [one._replace(row=[]) if one.task and one.task >= LEAST else one for one in observed(200, seed=2, rows=9.0)]
    found = judge("v1", observed(300, seed=1), some, at=1.0)
    assert (found.mmd, found.mmd_p, found.drifts) == (None, None, False)
    assert [one.name for one in found.figures("p/7")] == ["Drift", "DriftKS", "DriftPSI"]


def test_descriptions_of_another_release_are_not_compared() -> None:
    longer = [one._replace(row=[*one.row, 0.0]) for one in observed(200, seed=2)]
    assert judge("v1", observed(300, seed=1), longer, at=1.0).mmd is None


def with_features(some: Sequence[Observed], seed: int, unknown: int = 0) -> list[Observed]:
    """Give each what a network makes of it: one of two known kinds, or, of the last ``unknown`` ones, a third."""
    rng, kinds = np.random.default_rng(seed), 6 * np.eye(3)
    which = [2 if number >= len(some) - unknown else number % 2 for number in range(len(some))]
    rows = rng.normal(size=(len(some), 12))
    rows[:, :3] += kinds[which]
    return [one._replace(features=row.tolist()) for one, row in zip(some, rows, strict=True)]


def test_a_few_pictures_of_something_unknown_are_found_by_features_and_named_first() -> None:
    reference, new = with_features(observed(300, seed=1), 3), with_features(observed(300, seed=2), 4, unknown=50)
    found = judge("v1", reference, new, at=1.0)
    assert (found.drifts, found.what) == (True, FEATURES)
    assert min(found.ks_p, found.mmd_p or 0) > 0.01
    assert sum(task > 250 for task in found.tasks) >= 0.8 * MOST_TASKS
    assert "most in what the network sees in the pictures (MMD " in str(found)
    assert not judge("v1", reference, with_features(observed(300, seed=2), 4), at=1.0).drifts


def test_each_test_that_is_made_has_the_same_share_of_the_level() -> None:
    reference, new = with_features(observed(300, seed=1), 3), with_features(observed(300, seed=2), 4, unknown=36)
    p = judge("v1", reference, new, at=1.0).features_p
    assert p is not None
    assert 0.0001 < p < 0.01, "not the least that permutations give, and less than that of the others"
    assert judge("v1", reference, new, at=1.0, level=3.01 * p).drifts
    assert not judge("v1", reference, new, at=1.0, level=2.99 * p).drifts
    before, after = ([one._replace(row=[]) for one in some] for some in (reference, new))
    assert judge("v1", before, after, at=1.0, level=2.01 * p).what == FEATURES
    assert not judge("v1", before, after, at=1.0, level=1.99 * p).drifts


def test_a_reference_of_an_older_release_has_no_features_and_is_judged_without() -> None:
    kept = {"task": 1, "at": 2.0, "scores": {"cat": 1.0}, "row": [3.0]}
    assert read_observed(kept) == Observed(1, 2.0, {"cat": 1.0}, [3.0], [])
    found = judge("v1", observed(300, seed=1), with_features(observed(200, seed=2), 4, unknown=100), at=1.0)
    assert (found.features, found.features_p, found.drifts) == (None, None, False)
    assert found.mmd_p is not None


def test_a_task_is_named_once_and_what_has_no_task_is_not() -> None:
    new = [one._replace(task=None if number % 2 else 7) for number, one in enumerate(observed(200, 2, (1, 9, 1)))]
    assert judge("v1", observed(300, seed=1), new, at=1.0).tasks == [7]


def test_false_alarms_are_as_rare_as_the_level_says() -> None:
    """Of 80 looks at a level of 20 percent 16 are wrong at most, and more than 28 hardly ever (p < .001)."""
    looks = [
        judge("v1", observed(LEAST, seed=2 * turn), observed(LEAST, seed=2 * turn + 1), at=float(turn), level=0.2)
        for turn in range(80)
    ]
    assert 3 <= sum(one.drifts for one in looks) <= 28


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    watched = Watched(FileStore(tmp_path), ProjectKey("ls", 7), "v1")
    assert watched.reference() is None
    assert watched.looks() == Looks()
    first = observed(3, seed=1)
    watched.refer(first)
    assert watched.reference() == first
    found = judge("v1", observed(300, seed=1), observed(200, seed=2, rows=1.0), at=1.0)
    watched.note(lambda before: Looks(before.looks + 1, found.to_json() | {"newer": 1}, since=1.0))
    watched.note(lambda before: Looks(before.looks + 1, before.last, before.since))
    assert watched.looks().looks == 2
    assert watched.looks().judgement == found


@pytest.mark.parametrize("content", [b"{", b'{"predictions": [{"task": 1}]}', b'{"predictions": [1]}'])
def test_a_damaged_reference_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    store = FileStore(tmp_path)
    store.write("ls/7/watch/v1/reference.json", content)
    with pytest.raises(Damaged, match="remove it"):
        Watched(store, ProjectKey("ls", 7), "v1").reference()


def test_predictions_in_which_nothing_is_found_are_judged_like_others() -> None:
    empty = [Observed(number, float(number), {}, [], []) for number in range(1, 201)]
    assert not judge("v1", empty, empty, at=1.0).drifts
    found = [one._replace(scores={"cell": 0.9}) for one in empty]
    # What was never found, and is now, is a change; so is what is found no more.
    assert judge("v1", empty, found, at=1.0).what == judge("v1", found, empty, at=1.0).what == "class cell"
