"""Opening a trainer by its address, and the one that trains in this process."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from labelloop.errors import SettingsError, TrainingError
from labelloop.settings import Settings
from labelloop.trainers.base import Trainer, Training
from labelloop.trainers.command import CommandTrainer
from labelloop.types import Answer, Failure, Input, Json

if TYPE_CHECKING:
    from labelloop.run.context import Context


class LocalTrainer:
    """Trains where the run is: ``start`` comes back when it is done, and, begun again, goes on from its checkpoints."""

    name, elsewhere, predicts, ours = "local", False, False, True

    def __init__(self) -> None:
        self._trained: dict[str, Json] = {}

    def check(self, *, thorough: bool) -> None:
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


def _command(settings: Settings) -> Trainer:
    return CommandTrainer(settings.trainer)


def _sagemaker(settings: Settings) -> Trainer:
    # Imported here: botocore is worth a third of a second to whoever uses it alone.
    from labelloop.trainers.sagemaker import PipelineAddress
    from labelloop.trainers.sagemaker_foreign import ForeignPipeline
    from labelloop.trainers.sagemaker_own import OwnPipeline

    address = PipelineAddress.parse(settings.trainer)
    return OwnPipeline(address, settings) if address.ours else ForeignPipeline(address, settings)


def _automl(settings: Settings) -> Trainer:
    from labelloop.trainers.vertex_automl import AutoMlAddress, AutoMlTrainer

    return AutoMlTrainer(AutoMlAddress.parse(settings.trainer), settings)


def _vertex_job(settings: Settings) -> Trainer:
    # Imported here: nobody else needs Google's credentials.
    from labelloop.trainers.vertex_own import OwnJob

    return OwnJob.of(settings)


def _vertex_pipeline(settings: Settings) -> Trainer:
    from labelloop.trainers.vertex_foreign import ForeignJob

    return ForeignJob.of(settings)


ON_FEATURES = "features:"
"""How the trainer of a project is called whose endpoint gives features, before their name; nobody sets it."""

TRAINERS: dict[str, Callable[[Settings], Trainer]] = {
    "local": lambda _: LocalTrainer(),
    "command": _command,
    "sagemaker-pipeline": _sagemaker,
    "vertex-automl": _automl,
    "vertex-job": _vertex_job,
    "vertex-pipeline": _vertex_pipeline,
}
"""What opens each kind of trainer: by what stands before the colon of its address."""


def open_trainer(settings: Settings) -> Trainer:
    """Open the trainer of the settings; raises SettingsError saying what is wrong and what is possible."""
    if settings.trainer.startswith(ON_FEATURES):
        return LocalTrainer()
    kind = settings.trainer.partition(":")[0]
    if kind not in TRAINERS:
        raise SettingsError(f"LABELLOOP_TRAINER: {kind[:40]!r} is no kind of trainer. There are {', '.join(TRAINERS)}")
    return TRAINERS[kind](settings)
