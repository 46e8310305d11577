"""Whether every request format is understood."""

from collections.abc import Callable

from labelloop.endpoint_suite.compare import Answers, require_equal
from labelloop.endpoint_suite.suite import Suite


def test_format(suite: Suite, singles: Answers, request_format: str, note: Callable[[str], None]) -> None:
    """One picture gets the same answer in every request format that the endpoint is asked in.

    The container, or a gateway before it, does not read this format, or reads it differently. Name the one it is made
    for with LABELLOOP_REQUEST_FORMAT.
    """
    few = suite.samples[:4]
    given = {one.name: suite.deployed.ask([one], request_format)[0] for one in few}
    require_equal({name: singles[name] for name in given}, given, suite.tolerance)
    note(f"{len(few)} pictures")
