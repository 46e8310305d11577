"""Which recipes the settings let compete where texts are learned, and whether anything could be trained with them."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labelloop.settings import Settings

SETTINGS = ("recipes", "encoder", "epochs", "batch_size", "learning_rate")
"""The settings of what begins with an encoder."""

NO_ENCODER = "finetune is left out: LABELLOOP_ENCODER names no encoder that it could begin with"


def competing(recipes: Iterable[str], settings: "Settings") -> tuple[str, ...]:
    """Take those recipes that the settings name, a finetune where they name an encoder; the head where none is left."""
    found = tuple(name for name in recipes if name in settings.recipes and (name != "finetune" or settings.encoder))
    return found or ("head",)


def too_few(validation: int) -> str:
    """Say that so many validation texts would not tell whether a finetune is worse than a head; empty where they do."""
    from labelloop.train.selection import ENOUGH

    if validation >= ENOUGH:
        return ""
    return (
        f"finetune is left out: with {validation} validation texts it cannot win, from {ENOUGH} on it competes; "
        "LABELLOOP_RECIPES=finetune trains it alone"
    )


def check(recipes: Iterable[str], settings: "Settings") -> None:
    """Raise TrainingError where a folder that the settings name holds no encoder; seconds.

    Of one that is yet to be downloaded nothing is known.
    """
    if "finetune" in competing(recipes, settings) and Path(settings.encoder).expanduser().is_dir():
        # After what is wrong without it, for torch takes seconds.
        from labelloop.kinds.texts.recipes.encoder import find

        find(settings.encoder)
