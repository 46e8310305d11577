"""The interface of every endpoint, and of every way to make one call of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from labelloop.endpoints.requests.format import Body
from labelloop.types import Answer, Failure, Input, Target


class Endpoint(Protocol):
    """A deployed model. Implementations are safe to share between threads."""

    @property
    def name(self) -> str:
        """A short name without secrets, such as ``scenes``: the version of a model that names none."""
        ...

    @property
    def follows(self) -> bool:
        """Whether each request may ask it for a version of the store; otherwise it answers by the model it holds."""
        ...

    @property
    def batch(self) -> int:
        """Most inputs that one call takes."""
        ...

    @property
    def concurrency(self) -> int:
        """Most calls at a time, over all threads of a process."""
        ...

    def invoke(self, inputs: Sequence[Input], target: Target, deadline: float | None = None) -> list[Answer | Failure]:
        """Ask for one answer per input, in order; what fails for one input alone is a Failure in its place.

        At most ``batch`` inputs are one call, made by the calling thread. ``deadline`` is a ``time.monotonic()`` moment
        after which missing answers become failures. Raises EndpointError when nothing at all could be asked,
        CircuitOpen at once while the endpoint is known to be down.
        """
        ...

    def check(self) -> str:
        """Ask the endpoint whether it is alive and say what answered, in one line; raises EndpointError."""
        ...


CHECK_SECONDS = 5.0
"""What a check may take."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: ``inputs`` as written into ``body``; over at ``until``, a ``time.monotonic()`` moment."""

    inputs: Sequence[Input]
    body: Body
    target: Target
    until: float


@dataclass(frozen=True, slots=True)
class Told:
    """What came back, whatever its status: a body, and headers with their names in lower case.

    ``version`` is that of the model, where the transport tells one.
    """

    content: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    media_type: str = ""
    version: str = ""


class Service(Protocol):
    """Makes calls, each in the calling thread. Safe to share between threads, not between processes."""

    def call(self, call: Call) -> Told:
        """Make one call, once. Raises Refused or Unwell."""
        ...

    def check(self, until: float) -> str:
        """Say in words what of the endpoint was found to be there; raises EndpointError saying what is missing."""
        ...
