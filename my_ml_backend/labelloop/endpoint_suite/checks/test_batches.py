"""Whether pictures that go together are answered one by one."""

from collections.abc import Callable

import pytest

from labelloop.endpoint_suite.compare import Answers, Wrong, require_equal
from labelloop.endpoint_suite.suite import Suite
from labelloop.types import Output

MOST = 16


def test_batch_equals_single(suite: Suite, singles: Answers, note: Callable[[str], None]) -> None:
    """Pictures of one call get, in order, the answers they get alone.

    The container mixes up the order of a batch, answers for the first only, or its network depends on what else is
    in the batch (BatchNorm in training mode).
    """
    together = suite.deployed.together
    if together is None:
        pytest.skip(f"request format {suite.deployed.formats[0]} carries one picture")
    few = suite.samples[:MOST]
    given = {one.name: answer for one, answer in zip(few, suite.deployed.ask(few, together), strict=True)}
    alone = {name: singles[name] for name in given}
    try:
        largest = require_equal(alone, given, suite.tolerance)
    except Wrong as wrong:
        if _scores(alone) == _scores(given):
            raise Wrong(f"the answers are those of the single pictures in another order ({wrong})") from None
        raise
    note(f"{len(few)} pictures in one call, scores differ by at most {largest:.2g}")


def _scores(answers: Answers) -> list[tuple[tuple[str, float], ...]]:
    """Give the scores without their order, rounded to what two runs of a network agree in."""
    found = (answer for answer in answers.values() if isinstance(answer, Output))
    return sorted(tuple(sorted((name, round(score, 3)) for name, score in one.scores.items())) for one in found)
