"""What a run's training hands back."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model: its bundle (a folder, ``model.json`` written last) and how it came about.

    ``recipe`` is the winner; ``validation`` maps each recipe that ran to its accuracy on the validation side (empty
    without validation pictures); ``seconds`` maps each stage to its duration; ``left_out`` maps unreadable pictures
    (sha256) to the reason; ``notes`` are sentences for the run's record.
    """

    bundle: Path
    recipe: str
    validation: Mapping[str, float]
    seconds: Mapping[str, float]
    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()
