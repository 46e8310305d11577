"""What every way to make a call of an endpoint has in common: what goes in, what comes out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from labelloop.endpoints.requests.formats import Body
from labelloop.types import Input, Target

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
    """What came back: the answer's body and type, and the version where the transport tells one."""

    content: bytes
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
