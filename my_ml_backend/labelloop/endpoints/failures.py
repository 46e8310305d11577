"""How a call of an endpoint fails; callers outside this package only see EndpointError.

EndpointError
├── Refused     it is alive, this request was at fault
├── Late        the caller's deadline came first: that tells nothing about the endpoint
└── Unwell      it is at fault; the circuit breaker counts these
    ├── Denied       it will not serve us before somebody has mended something
    ├── Busy         it asks for another try
    ├── TooSlow      no whole answer in time
    ├── Stumbled     (by input) it answered with an error of its own
    ├── CutOff       (by input) the connection broke before the whole answer was there
    └── WrongAnswer  (by input) the answer is not what was agreed
        └── WrongCount   it has another number of items than several inputs: that is no input's doing

By input: an endpoint that is out of order fails so, and one that is well with an input that its model cannot bear. One
failure does not tell which; the breaker finds out.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from labelloop.errors import CredentialsError, EndpointError

INPUT_AT_FAULT = (400, 413, 415, 422)
"""What an endpoint, or the model in it, answers when it can do nothing with this input, though with others."""


class Refused(EndpointError):
    """The endpoint, or the model in it, answered ``status``, a 4xx; ``reason`` is what it said about this request."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class Late(EndpointError):
    """The caller had less patience than the endpoint is given."""


class Unwell(EndpointError):
    """The endpoint cannot be reached or failed by itself."""

    tries = 1
    """How many calls in all such a failure is worth."""


class Denied(Unwell):
    """Credentials, permissions or the endpoint itself are missing: asking again does not help."""


@contextmanager
def credentials_checked() -> Iterator[None]:
    """Turn a CredentialsError of the block into Denied, or Unwell where another try may succeed."""
    try:
        yield
    except CredentialsError as error:
        raise (Unwell if error.passing else Denied)(str(error)) from None


class Busy(Unwell):
    """The endpoint asks for another try; ``pause``: after so many seconds, None: it does not say."""

    tries = 3

    def __init__(self, message: str, pause: float | None = None, tries: int = 3) -> None:
        super().__init__(message)
        self.pause = pause
        self.tries = tries


class Stumbled(Busy):
    """It answered with an error of its own, 500 for one: its model failed, at this input or at all."""

    by_input = True

    def __init__(self, message: str, pause: float | None = None, tries: int = 1) -> None:
        super().__init__(message, pause, tries)


class TooSlow(Unwell):
    """There was no whole answer in time."""


class CutOff(Unwell):
    """The connection broke before the whole answer was there: an input may have killed the process that answers."""

    tries = 2
    by_input = True


class WrongAnswer(Unwell):
    """The answer is not what was agreed."""

    by_input = True


class WrongCount(WrongAnswer):
    """The answer has more or fewer items than inputs were sent."""

    by_input = False


def of_handler(content: bytes) -> bool:
    """Whether a 503 says that the model's code failed, as TorchServe's does, also through a cloud: nothing is busy."""
    return b"InternalServerException" in content


_LONGEST = 300
_KEYS = ("error", "message", "Message", "detail")


def reason_of(content: bytes | str) -> str:
    """What an error answer says, as one short printable line; empty when it says nothing.

    Known forms: ``{"error": "..."}`` (LabelLoop, Hugging Face), ``{"error": {"message": "..."}}`` (Google, OpenAI), in
    a list, too, ``{"message": "..."}`` (AWS), ``{"detail": "..."}`` and ``{"detail": [{"loc", "msg"}]}`` (FastAPI).
    """
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    return words_of(answer)


def one_line(text: object) -> str:
    """Make a short printable line of a foreign text; empty for anything else."""
    if not isinstance(text, str):
        return ""
    return "".join(c if c.isprintable() else " " for c in text[:_LONGEST]).strip()


def words_of(error: Any, depth: int = 6) -> str:
    """Make a short printable line of an error in any known form; empty where it says nothing."""
    if depth == 0:
        return ""
    if isinstance(error, list):
        return next((words for one in error if (words := words_of(one, depth - 1))), "")
    if not isinstance(error, dict):
        return one_line(error)
    if isinstance(error.get("msg"), str):
        place = ".".join(map(str, error["loc"])) if isinstance(error.get("loc"), list) else ""
        return one_line(": ".join(filter(None, (place, error["msg"]))))
    return next((words for key in _KEYS if (words := words_of(error.get(key), depth - 1))), "")
