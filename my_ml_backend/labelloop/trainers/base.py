"""The interface of every trainer, and what it says of a training."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from labelloop.errors import CloudAway, CloudDenied, CloudError, TrainerAway, TrainingDied, TrainingError
from labelloop.types import Answer, Failure, Input, Json

if TYPE_CHECKING:
    from labelloop.run.context import Context


@dataclass(frozen=True, slots=True)
class Training:
    """How a training stands: ``done`` of ``total`` (0: unknown) of ``what``, or why it failed."""

    state: Literal["running", "done", "failed"]
    what: str = "training"
    done: int = 0
    total: int = 0
    reason: str = ""


class Trainer(Protocol):
    """Makes a run's bundle of its labels.

    Every method raises TrainingError or CloudError, or an Outage where it may help to wait.

    ``name`` is short and holds no secret: the recipe of what it makes where nothing else names one. What is started
    ``elsewhere`` goes on when this process ends; otherwise ``start`` comes back when the training is over. ``predicts``
    says that it can be asked what a model of its own makes of inputs. ``ours``: it trains by our stages, with all the
    parameters that the kind has.
    """

    name: str
    elsewhere: bool
    predicts: bool
    ours: bool

    def check(self, *, thorough: bool) -> None:
        """Raise TrainingError where it cannot be started from here; nothing is begun, and nothing costs.

        ``thorough``: what is away from this machine is asked, too. Raises CloudDenied where it refuses who we are.
        """

    def start(self, context: "Context", key: str) -> str:
        """Begin the training of the run of that key, unless it has begun: give the handle it is known by from now on.

        What has begun is looked up by the key first, so that whoever is killed in here pays for nothing twice. One that
        has failed is begun anew.
        """

    def find(self, key: str) -> str:
        """Give the handle of the newest training that was begun for a key, whatever became of it; empty for none."""

    def poll(self, handle: str) -> Training:
        """Say how it stands."""

    def collect(self, handle: str, context: "Context") -> Json:
        """Write the folder's ``bundle/`` when it is done, and give what ``train.json`` is to hold; may be repeated.

        Where ``stages`` are among it, the folder holds what these made elsewhere, too: they are mapped to the hash of
        what each was made from, by which the run knows whether it needs them anew.
        """

    def cancel(self, handle: str) -> None:
        """End it, unless it has ended; may be repeated."""

    def predict(self, model: str, inputs: Sequence[Input], classes: tuple[str, ...] = ()) -> list[Answer | Failure]:
        """Ask a model that it made, by the name it gave, for one answer per input, in order.

        ``classes`` are those of its labels, for answers that only hold numbers.
        """


def run_trainer(
    trainer: Trainer,
    context: "Context",
    key: str,
    every: float,
    handle: str = "",
    wait: Callable[[float], None] = time.sleep,
) -> Json:
    """Go from ``start``, unless that is known to have been, to ``collect``; gives what that gives.

    In between it is looked ``every`` so many seconds how it stands. ``handle`` is that of a training that has been
    started. Raises TrainingDied when the training failed, TrainingError when it was cancelled for its time limit.
    """
    handle = handle or trainer.start(context, key)
    seconds = context.settings.training_seconds
    late = time.monotonic() + seconds
    while (stands := trainer.poll(handle)).state == "running":
        context.progress(stands.what, stands.done, stands.total)
        if time.monotonic() > late:
            trainer.cancel(handle)
            raise over_time(trainer.name, f"was cancelled after {seconds:g} s")
        wait(every)
    if stands.state == "failed":
        raise TrainingDied(f"the training of run {key} by {trainer.name} failed: {stands.reason}")
    return trainer.collect(handle, context)


def over_time(name: str, ending: str) -> TrainingError:
    """Say of a trainer, by name, that its training took longer than it may, and how that ended it."""
    return TrainingError(f"the training by {name} {ending}: LABELLOOP_TRAINING_SECONDS is its limit")


@contextmanager
def waited_for() -> Iterator[None]:
    """Let what may be better later be waited for: what goes on in a cloud goes on meanwhile."""
    try:
        yield
    except (CloudAway, CloudDenied) as error:
        raise TrainerAway(str(error)) from error


@contextmanager
def looked_at(name: str) -> Iterator[None]:
    """Turn what a cloud refuses, as a trainer of that name is checked, into a TrainingError that says so."""
    try:
        yield
    except (CloudAway, CloudDenied):
        # No setting of ours is at fault: that may be mended while this process goes on.
        raise
    except CloudError as error:
        raise TrainingError(f"{name} cannot train: {error}") from error
