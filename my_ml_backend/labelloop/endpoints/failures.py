"""How a call of an endpoint fails; callers outside this package only see EndpointError.

EndpointError
├── Refused     it answered 4xx: it is alive, this request was at fault
└── Unwell      it is at fault; the circuit breaker counts these
    ├── TooSlow      no whole answer in time
    ├── CutOff       the connection broke before the whole answer was there
    └── WrongAnswer  the answer is not what was agreed
"""

from labelloop.errors import EndpointError


class Refused(EndpointError):
    """The endpoint answered 4xx; ``reason`` is what it said about this request."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Unwell(EndpointError):
    """The endpoint cannot be reached or failed by itself."""


class TooSlow(Unwell):
    """There was no whole answer in time."""


class CutOff(Unwell):
    """The connection broke before the whole answer was there."""


class WrongAnswer(Unwell):
    """The answer is not what was agreed."""
