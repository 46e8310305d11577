"""What was asked, as far as reading the answer needs it."""

from collections.abc import Sequence
from dataclasses import dataclass

from labelloop.types import Input


@dataclass(frozen=True, slots=True)
class Asked:
    """The inputs that were sent, in order, and what is known of the model.

    An answer's version is its own ``model_version``, else ``version``, else the ``deployedModelId`` of Vertex AI, else
    ``name``; with none of them it is refused. ``classes`` are the model's, in its order, for answers that only hold
    numbers. ``media_type`` is the answer's Content-Type, where the transport tells it.
    """

    inputs: Sequence[Input]
    version: str = ""
    classes: tuple[str, ...] = ()
    name: str = ""
    media_type: str = ""


@dataclass(frozen=True, slots=True)
class One:
    """One of the inputs: what was sent, which version answered, the classes of the model."""

    input: Input
    version: str
    classes: tuple[str, ...] = ()
