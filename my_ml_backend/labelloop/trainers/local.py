"""Training in this process, by the recipes of the run's kind."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labelloop.errors import TrainingError
from labelloop.trainers.base import Training
from labelloop.types import Answer, Failure, Input, Json

if TYPE_CHECKING:
    from labelloop.run.context import Context


class LocalTrainer:
    """Trains where the run is: ``start`` comes back when it is done, and, begun again, goes on from its checkpoints."""

    name, elsewhere, predicts = "local", False, False

    def __init__(self) -> None:
        self._trained: dict[str, Json] = {}

    def check(self) -> None:
        """It is here; what its kind needs for training, the kind knows."""

    def start(self, context: "Context", key: str) -> str:
        """Train."""
        self._trained[key] = context.kind.train(context)
        return key

    def find(self, key: str) -> str:  # noqa: ARG002 - a trainer is asked in one way
        """What was begun here ended with its process."""
        return ""

    def poll(self, handle: str) -> Training:  # noqa: ARG002 - a trainer is asked in one way
        """It is done."""
        return Training("done")

    def collect(self, handle: str, context: "Context") -> Json:  # noqa: ARG002
        """Give what the training told; the bundle is there."""
        return self._trained.pop(handle)

    def cancel(self, handle: str) -> None:
        """Who holds the project's lease stops by itself."""

    def predict(
        self,
        model: str,
        inputs: Sequence[Input],  # noqa: ARG002
        classes: tuple[str, ...] = (),  # noqa: ARG002
    ) -> list[Answer | Failure]:
        """What is trained here answers by its bundle."""
        raise TrainingError(f"{model} was trained here: its bundle answers")
