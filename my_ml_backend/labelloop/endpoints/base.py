"""The interface of every endpoint."""

from collections.abc import Sequence
from typing import Protocol

from labelloop.types import Failure, Input, Output, Target


class Endpoint(Protocol):
    """A deployed model. Implementations are safe to share between threads."""

    def invoke(self, inputs: Sequence[Input], target: Target, deadline: float | None = None) -> list[Output | Failure]:
        """Ask for one output per input, in order; what fails for one input alone is a Failure in its place.

        ``deadline`` is a ``time.monotonic()`` moment after which missing outputs become failures. Raises EndpointError
        when nothing at all could be asked, CircuitOpen at once while the endpoint is known to be down.
        """
        ...

    def check(self) -> str:
        """Ask the endpoint whether it is alive and say what answered, in one line; raises EndpointError."""
        ...
