"""Whether requests disturb each other."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from labelloop.endpoint_suite.compare import Answers, require_equal
from labelloop.endpoint_suite.deployed import AT_ONCE
from labelloop.endpoint_suite.suite import Suite


def test_concurrent_requests(suite: Suite, singles: Answers, note: Callable[[str], None]) -> None:
    """Requests at the same time get the answers they get alone.

    The container shares state between threads, or fails under load.
    """
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = threads.map(lambda one: suite.deployed.ask([one])[0], suite.samples)
        given = {one.name: answer for one, answer in zip(suite.samples, answers, strict=True)}
    require_equal(singles, given, suite.tolerance)
    note(f"{len(given)} requests, {AT_ONCE} at a time")
