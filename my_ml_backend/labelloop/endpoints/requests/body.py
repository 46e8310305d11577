"""What every request format has in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from labelloop.errors import EndpointError
from labelloop.types import Input

Parameters = Mapping[str, Any]
"""A JSON object that goes along with the inputs."""


class Unwritable(EndpointError):
    """A request format cannot carry this input or these parameters; the text says which one can."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request as it goes on the wire."""

    content: bytes = field(repr=False)
    media_type: str


class RequestFormat(Protocol):
    """One way to write inputs."""

    @property
    def name(self) -> str:
        """What the setting calls it."""
        ...

    @property
    def together(self) -> bool:
        """Whether one body can hold several inputs."""
        ...

    def refusal(self, item: Input) -> str:
        """Say why this format cannot carry an input, and which one can; empty when it can."""
        ...

    def write(self, inputs: Sequence[Input], parameters: Parameters | None = None) -> Body:
        """Write one or more inputs. Raises Unwritable for an input or parameters that this format cannot carry."""
        ...
