"""Whether the deployed model is the bundle."""

from collections.abc import Callable

from labelloop.endpoint_suite.compare import Answers, Wrong, is_renamed, require_equal
from labelloop.endpoint_suite.suite import Suite


def test_golden_pictures(suite: Suite, singles: Answers, note: Callable[[str], None]) -> None:
    """Every picture gets the scores that the bundle gives it here.

    Another version is deployed, its classes are in another order, or it prepares pictures differently: size,
    interpolation, mean, order of the colours, EXIF orientation, transparency.
    """
    try:
        largest = require_equal(suite.expected, singles, suite.tolerance)
    except Wrong as wrong:
        if is_renamed(suite.expected, singles, suite.tolerance):
            raise Wrong(f"the scores are right, but under other classes ({wrong})") from None
        raise
    note(f"{len(singles)} pictures, scores differ by at most {largest:.2g}")
