"""A tiny second kind: numbers in a task's text, and the class whose mean is nearest. It trains in no time.

It is what a package of its own under ``labelloop/kinds`` would be, and shows what one has to say.
"""

# ruff: noqa: ARG002 - a kind is asked in one way, whatever it needs of that

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from labelloop.bundle_info import BundleInfo
from labelloop.data.split import splits
from labelloop.errors import BundleError, TrainingError, Unreadable
from labelloop.kinds.base import Supported
from labelloop.kinds.classification import Classification
from labelloop.run.context import Context
from labelloop.settings import Settings
from labelloop.types import Failure, Item, Json, Output

NAME = "numbers"
MODEL = "means.json"


@dataclass(frozen=True)
class Means:
    """The hyperparameters: there is little to choose."""

    seed: int
    recipes: tuple[str, ...] = ("nearest",)
    sharpness: float = 1.0

    def to_json(self) -> Json:
        return asdict(self)

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()


class MeansEngine:
    """Scores a number by its distance from each class's mean."""

    def __init__(self, directory: Path, info: BundleInfo) -> None:
        self.info = info
        try:
            self._means: dict[str, float] = json.loads((directory / MODEL).read_bytes())
        except (OSError, ValueError) as error:
            raise BundleError(f"{directory} cannot be loaded: {error}") from error

    @property
    def measured(self) -> Self:
        return self

    def pixels(self, contents: Sequence[bytes]) -> int:
        return 0

    def predict(self, contents: Sequence[bytes], version: str) -> list[Output | Failure]:
        return [self._answer(content, version) for content in contents]

    def _answer(self, content: bytes, version: str) -> Output | Failure:
        try:
            number = read(content)
        except Unreadable as error:
            return Failure(str(error))
        nearness = {name: math.exp(-abs(number - mean)) for name, mean in self._means.items()}
        total = sum(nearness.values()) or 1.0
        scores = {name: nearness.get(name, 0.0) / total for name in self.info.classes}
        best = max(scores, key=scores.__getitem__)
        return Output(best, scores[best], scores, version, self.info.choice)


class NumbersRefit:
    """Items whose classes' means are taken anew without some of them."""

    def __init__(self, classes: Sequence[str], items: Sequence[Item]) -> None:
        self._classes, self._items = classes, items

    def answers(self, held: Sequence[Item]) -> npt.NDArray[np.bool_]:
        unseen = {item.content for item in held}
        found = means(self._classes, [item for item in self._items if item.content not in unseen])
        nearest = [min(found, key=lambda name: abs(float(item.text) - found[name])) for item in held]
        return np.array([[name == one for name in self._classes] for one in nearest])


class Numbers(Classification):
    """Classes of numbers."""

    name = NAME
    item = "number"
    whoever_trains = True
    label_configs: Supported = (("Choices", ("Text",)),)
    recipes: Mapping[str, int] = {"nearest": 1}
    refits = ("nearest",)
    settings: tuple[str, ...] = ()
    weights: tuple[str, ...] = (MODEL,)

    def check(self, content: bytes) -> None:
        read(content)

    def competing(self, settings: Settings) -> tuple[str, ...]:
        return tuple(self.recipes)

    def hyperparameters(self, settings: Settings) -> Means:
        return Means(settings.seed)

    def check_settings(self, settings: Settings, *, thorough: bool) -> None:
        if settings.seed < 0:
            raise TrainingError("LABELLOOP_SEED: numbers are learned with a seed from 0 on")

    def prepare(self, context: Context, items: Iterable[Item], total: int) -> Mapping[str, str]:
        return {}

    def train(self, context: Context) -> Json:
        manifest, folder = context.manifest, context.folder.bundle
        items = splits(manifest, context.named_sides)["train"]
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(means(manifest.classes, items)).encode()
        (folder / MODEL).write_bytes(content)
        files = {MODEL: hashlib.sha256(content).hexdigest()}
        info = BundleInfo(manifest.classes, manifest.choice, "nearest", files, kind=NAME)
        (folder / "model.json").write_text(info.to_json())
        return {
            "recipe": "nearest",
            "validation": {},
            "seconds": {},
            "left_out": {},
            "notes": [],
            "calibration": {},
            "device": "cpu",
        }

    def refit(self, context: Context, items: Sequence[Item], others: Sequence[Item]) -> NumbersRefit:
        return NumbersRefit(context.manifest.classes, items)

    def analyse(self, context: Context) -> None:
        """Figures of numbers need no explanation."""

    def describe(self, raw: Json) -> BundleInfo:
        return BundleInfo.read(raw)

    def problems(self, info: BundleInfo) -> Iterator[str]:
        if MODEL not in info.files:
            yield f"has no hash of {MODEL}: nothing could be served"

    def served(self, engine: str) -> tuple[str, ...]:
        return (MODEL,)

    def open(self, directory: Path, info: BundleInfo, engine: str) -> MeansEngine:
        return MeansEngine(directory, info)


KIND = Numbers()


def means(classes: Sequence[str], items: Iterable[Item]) -> dict[str, float]:
    """Give the mean number of each class that an item has."""
    held = list(items)
    shown = {name: [float(item.text) for item in held if name in item.labels] for name in classes}
    return {name: sum(numbers) / len(numbers) for name, numbers in shown.items() if numbers}


def read(content: bytes) -> float:
    """Read a number; raises Unreadable."""
    try:
        found = float(content)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise Unreadable("it is no number")
    return found
