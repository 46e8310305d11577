"""What is fixed of an endpoint before its first call."""

from collections.abc import Callable
from dataclasses import dataclass

from labelloop.endpoints.requests.formats import EndpointKind
from labelloop.endpoints.service import Service


@dataclass(frozen=True, slots=True)
class Plan:
    """One endpoint as its address describes it, with its kind's own limits.

    The kind ``loop`` is an inference container of ours, which follows the loop; the others stand alone.
    ``name`` and ``shown`` hold no secret; ``payload`` is in bytes of one request's body. ``service`` makes what a
    process needs to call it, given the number of calls at a time.
    """

    kind: EndpointKind
    name: str
    shown: str
    payload: int
    service: Callable[[int], Service]
    batch: int = 1
    concurrency: int = 32
