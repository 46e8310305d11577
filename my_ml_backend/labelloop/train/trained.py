"""What a run's training hands back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model: its bundle (a folder, ``model.json`` written last) and how it came about.

    ``recipe`` is the winner; ``validation`` maps each recipe that ran to its accuracy on the validation side (empty
    without validation pictures); ``seconds`` maps each stage to its duration; ``left_out`` maps unreadable pictures
    (sha256) to the reason; ``notes`` are sentences for the run's record. ``curves`` maps each recipe to what its epochs
    reached (recipes.base.Epoch), ``policy`` is how a finetune changed its pictures ("" without one). ``flips``,
    ``balance`` and ``temperature`` are the winner's; ``calibration`` holds the validation log-loss before and after the
    temperature. ``device`` is where the winner was trained.
    """

    bundle: Path
    recipe: str
    validation: Mapping[str, float]
    seconds: Mapping[str, float]
    left_out: Mapping[str, str]
    notes: tuple[str, ...] = ()
    curves: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    flips: bool = False
    balance: str = "none"
    policy: str = ""
    temperature: float = 1.0
    calibration: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"
