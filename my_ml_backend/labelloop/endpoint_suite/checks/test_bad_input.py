"""Whether bad input does harm."""

from collections.abc import Callable

from labelloop.endpoint_suite.bad import Bad
from labelloop.endpoint_suite.compare import Answers, Wrong, require_equal
from labelloop.endpoint_suite.suite import Suite
from labelloop.endpoints.failures import Refused
from labelloop.errors import EndpointError
from labelloop.types import Failure


def test_bad_input(suite: Suite, singles: Answers, bad: Bad, note: Callable[[str], None]) -> None:
    """A wrong request is refused with a 4xx, or an error in its place, and the endpoint lives on.

    A client's mistake counts as the server's: load balancers take the container out, callers try again in vain; or a
    wrong picture gets a prediction that somebody will believe.
    """
    note(_refusal(suite, bad))
    first = suite.samples[0]
    try:
        (after,) = suite.deployed.ask([first])
    except EndpointError as error:
        raise Wrong(f"after it, a good picture is not answered: {error}") from error
    try:
        require_equal({first.name: singles[first.name]}, {first.name: after}, suite.tolerance)
    except Wrong as wrong:
        raise Wrong(f"after it, a good picture is answered differently: {wrong}") from None


def _refusal(suite: Suite, bad: Bad) -> str:
    try:
        answers = suite.deployed.send(bad.body, bad.pictures)
    except Refused as refused:
        return f"refused with {refused.status}"
    except EndpointError as error:
        raise Wrong(str(error)) from error
    if not all(isinstance(answer, Failure) for answer in answers):
        raise Wrong("it was answered with a prediction")
    return "an error in its place"
