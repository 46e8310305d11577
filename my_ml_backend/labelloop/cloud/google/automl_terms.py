"""What AutoML takes for pictures: types of models, budgets, how many pictures of a label, and of which form.

cloud.google.com/vertex-ai, "Prepare image training data", and the inputs of its training tasks.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from labelloop.errors import CloudError, SettingsError, Unreadable
from labelloop.pictures import is_turned, shrink
from labelloop.sources.media import media_type_of
from labelloop.types import BOXES, IMAGES

LEAST_PICTURES = 10
"""Of a label, for classification and for boxes: "Prepare image training data", data requirements."""

LEARNED_BYTES, ASKED_BYTES = 30_000_000, 1_500_000
"""Most of a picture that is learned from, and of one that a model is asked about (the same page)."""

_TAKEN = ("image/jpeg", "image/png", "image/gif", "image/bmp", "image/x-icon")

_MOBILE = ("MOBILE_TF_LOW_LATENCY_1", "MOBILE_TF_VERSATILE_1", "MOBILE_TF_HIGH_ACCURACY_1")
_MOBILE_BUDGET = (1_000, 100_000)

MODELS: Mapping[str, Mapping[str, tuple[int, int]]] = {
    IMAGES: {"CLOUD": (8_000, 800_000), **dict.fromkeys(_MOBILE, _MOBILE_BUDGET)},
    BOXES: {
        "CLOUD_HIGH_ACCURACY_1": (20_000, 900_000),
        "CLOUD_LOW_LATENCY_1": (20_000, 900_000),
        **dict.fromkeys(_MOBILE, _MOBILE_BUDGET),
    },
}
"""The model types of each kind, its default first, and the least and the most milli node hours of each
(AutoMlImageClassificationInputs, AutoMlImageObjectDetectionInputs)."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be trained: a ``model`` type, for a ``budget`` of milli node hours.

    Empty, it is the first type of the kind, and the least that the type takes.
    """

    model: str = ""
    budget: int = 0

    def __post_init__(self) -> None:
        """Refuse what no kind has; raises SettingsError."""
        types = {name: budget for kind in MODELS.values() for name, budget in kind.items()}
        if self.model and self.model not in types:
            raise SettingsError(f"LABELLOOP_TRAINER: model {self.model[:40]!r} is none. There are {', '.join(types)}")
        if self.model and self.budget and (wrong := _wrong(self.budget, self.model, types[self.model])):
            raise SettingsError(f"LABELLOOP_TRAINER: {wrong}")

    def of(self, kind: str) -> "Wish":
        """Spell out what is meant for a kind; raises CloudError where that kind has no such model."""
        types = MODELS[kind]
        model = self.model or next(iter(types))
        if model not in types:
            raise CloudError(f"model={model} is not for {kind}: there are {', '.join(types)}")
        if self.budget and (wrong := _wrong(self.budget, model, types[model])):
            raise CloudError(wrong)
        return Wish(model, self.budget or types[model][0])

    @property
    def hours(self) -> str:
        """Say what it may cost."""
        return f"{self.budget / 1000:g} node hours"


def _wrong(budget: int, model: str, takes: tuple[int, int]) -> str:
    """Say what is wrong with a budget; empty where nothing is."""
    least, most = takes
    fine = least <= budget <= most
    return "" if fine else f"budget={budget} is none for {model}: it takes {least} to {most} milli node hours"


def taken(content: bytes, most: int) -> tuple[bytes, str]:
    """Give a picture as AutoML takes it, of at most so many bytes, and its media type.

    What is of another form, too large, or turned by EXIF, which Google says nothing about, becomes an upright JPEG.
    """
    media_type = media_type_of(content)
    if media_type not in _TAKEN or len(content) > most or is_turned(content):
        with suppress(Unreadable):
            return shrink(content, most), "image/jpeg"
    return content, "image/vnd.microsoft.icon" if media_type == "image/x-icon" else media_type
