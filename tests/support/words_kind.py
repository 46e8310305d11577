"""A tiny kind of regions: words of a text, found again by looking them up in a dictionary. It trains in no time.

It is what a package of its own under ``labelloop/kinds`` would be, and shows what one has to say.
"""

# ruff: noqa: ARG002 - a kind is asked in one way, whatever it needs of that

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from labelloop.bundle_info import BundleInfo
from labelloop.data.split import splits
from labelloop.errors import BundleError
from labelloop.kinds.regions import Learnable, Regions
from labelloop.regions import read_regions
from labelloop.run.context import Context
from labelloop.run.matching import score_of
from labelloop.settings import Settings
from labelloop.types import HALF, Failure, Findings, Item, Json, Region, Span

NAME = "words"
MODEL = "words.json"
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Dictionary:
    """The hyperparameters: there is little to choose."""

    seed: int
    recipes: tuple[str, ...] = ("lookup",)

    def to_json(self) -> Json:
        return asdict(self)

    def fingerprint(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()


class LookupEngine:
    """Finds the words that the dictionary has, as sure as they were labeled often; ``least`` must be shown."""

    def __init__(self, directory: Path, info: BundleInfo, least: float = HALF) -> None:
        self.info = info
        self._directory, self._least = directory, least
        try:
            self._words: dict[str, tuple[str, float]] = json.loads((directory / MODEL).read_bytes())
        except (OSError, ValueError) as error:
            raise BundleError(f"{directory} cannot be loaded: {error}") from error

    @property
    def measured(self) -> "LookupEngine":
        return LookupEngine(self._directory, self.info, 0.0)

    def pixels(self, contents: Sequence[bytes]) -> int:
        return 0

    def predict(self, contents: Sequence[bytes], version: str) -> list[Findings | Failure]:
        return [self._answer(content, version) for content in contents]

    def _answer(self, content: bytes, version: str) -> Findings | Failure:
        try:
            text = content.decode()
        except UnicodeDecodeError:
            return Failure("it is no text")
        found = ((self._words[match[0]], match.span()) for match in _WORD.finditer(text) if match[0] in self._words)
        regions = (Region(label, Span(*span), score) for (label, score), span in found)
        return Findings(tuple(region for region in regions if score_of(region) >= self._least), version)


class Words(Regions):
    """Parts of a text that are one word each."""

    name = NAME
    item = "text"
    shape = Span
    figure = "span F1"
    label_configs = (("Labels", ("Text",)),)
    recipes: Mapping[str, int] = {"lookup": 1}
    settings = ()
    weights = (MODEL,)

    def overlaps(self, ones: Sequence[Region], others: Sequence[Region]) -> npt.NDArray[np.float64]:
        first, second = (
            np.array([(one.shape.start, one.shape.end) for one in regions if isinstance(one.shape, Span)]).reshape(
                -1, 2
            )
            for regions in (ones, others)
        )
        starts, ends = (first[:, None, at] for at in (0, 1))
        common = np.clip(np.minimum(ends, second[:, 1]) - np.maximum(starts, second[:, 0]), 0, None)
        return np.asarray(common / (ends - starts + second[:, 1] - second[:, 0] - common))

    def learnable(self, context: Context, item: Item) -> Learnable:
        """Leave out what is no single word."""
        drawn = read_regions(item.result or "[]")
        words = [match.span() for match in _WORD.finditer(item.text)]
        kept = [one for one in drawn if isinstance(one.shape, Span) and (one.shape.start, one.shape.end) in words]
        return Learnable(tuple(kept), ("it is no single word",) * (len(drawn) - len(kept)))

    def shown(self, info: BundleInfo, region: Region) -> bool:
        return score_of(region) >= HALF

    def check(self, content: bytes) -> None:
        """Take any bytes: what is no text is found out by the engine."""

    def competing(self, settings: Settings) -> tuple[str, ...]:
        return tuple(self.recipes)

    def hyperparameters(self, settings: Settings) -> Dictionary:
        return Dictionary(settings.seed)

    def check_settings(self, settings: Settings, *, thorough: bool) -> None:
        """There is nothing to get wrong."""

    def prepare(self, context: Context, items: Iterable[Item], total: int) -> Mapping[str, str]:
        return {}

    def train(self, context: Context) -> Json:
        manifest = context.manifest
        labeled: dict[str, Counter[str]] = defaultdict(Counter)
        for item in splits(manifest, context.named_sides)["train"]:
            known = {one.shape: one.label for one in self.learnable(context, item).regions}
            for match in _WORD.finditer(item.text):
                labeled[match[0]][known.get(Span(*match.span()), "")] += 1
        best = {word: labels.most_common(1)[0] + (labels.total(),) for word, labels in labeled.items()}
        words = {word: (label, count / total) for word, (label, count, total) in best.items() if label}
        write_bundle(context.folder.bundle, manifest.classes, words)
        return {
            "recipe": "lookup",
            "validation": {},
            "seconds": {},
            "left_out": {},
            "notes": self.aside_notes(context),
            "calibration": {},
            "device": "cpu",
        }

    def describe(self, raw: Json) -> BundleInfo:
        return BundleInfo.read(raw)

    def problems(self, info: BundleInfo) -> Iterator[str]:
        if MODEL not in info.files:
            yield f"has no hash of {MODEL}: nothing could be served"

    def served(self, engine: str) -> tuple[str, ...]:
        return (MODEL,)

    def open(self, directory: Path, info: BundleInfo, engine: str) -> LookupEngine:
        return LookupEngine(directory, info)


def write_bundle(folder: Path, classes: Sequence[str], words: Mapping[str, tuple[str, float]]) -> None:
    """Write a bundle of a dictionary: each word's label, and how sure it is."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(words).encode()
    (folder / MODEL).write_bytes(content)
    files = {MODEL: hashlib.sha256(content).hexdigest()}
    (folder / "model.json").write_text(BundleInfo(tuple(classes), "multiple", "lookup", files, kind=NAME).to_json())


KIND = Words()
