"""Spans of texts, such as persons and places: found word by word, served without torch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.bundle_info import BundleInfo
from labelloop.errors import BundleError
from labelloop.kinds.base import Kind, Learned, Supported
from labelloop.kinds.named_entity_recognition.info import SpanInfo
from labelloop.kinds.regions import Learnable, Regions
from labelloop.kinds.texts import ComparedTexts, encoder_settings
from labelloop.kinds.texts.encoder_bundle import FILES
from labelloop.regions import read_regions
from labelloop.types import SPANS, Item, Json, Region, Span

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from labelloop.kinds.hyperparameters import OwnParameters
    from labelloop.run.context import Context
    from labelloop.run.located import Located
    from labelloop.serve.engines.base import Engine
    from labelloop.settings import Settings

_CRF = "crf.npz"
"""What a head is served from."""


class NamedEntityRecognition(ComparedTexts, Regions):
    """Which parts of a text are what: spans of whole words, none overlapping."""

    name = SPANS
    item = "text"
    shape = Span
    figure = "span F1"
    label_configs: Supported = (("Labels", ("Text",)),)
    recipes: Mapping[str, int] = {"head": 1, "finetune": 1}
    quick: tuple[str, ...] = ("head",)
    settings: tuple[str, ...] = encoder_settings.SETTINGS
    weights: tuple[str, ...] = (_CRF, *FILES)

    def overlaps(self, ones: Sequence[Region], others: Sequence[Region]) -> "npt.NDArray[np.float64]":
        """Give the share of their union that spans have in common; see Regions."""
        from labelloop.kinds.named_entity_recognition.spans import overlaps

        return overlaps(ones, others)

    def learnable(self, context: "Context", item: Item) -> Learnable:
        """Widen spans to whole words, and keep the longest of those that overlap; see Regions."""
        from labelloop.kinds.named_entity_recognition.spans import learnable
        from labelloop.kinds.named_entity_recognition.training import text_of

        return learnable(text_of(context, item), read_regions(item.result or "[]"))

    def further(self, context: "Context", items: Sequence["Located"]) -> Json:  # noqa: ARG002
        """Give what is right where any overlap counts."""
        from labelloop.kinds.named_entity_recognition.measures import by_overlap

        return {"by_overlap": by_overlap(items)}

    def check(self, content: bytes) -> None:
        """Raise Unreadable for what is no text."""
        from labelloop.kinds.named_entity_recognition.engine import read_text

        read_text(content)

    def competing(self, settings: "Settings") -> tuple[str, ...]:
        """Take those of the recipes that the settings name, a finetune where they name an encoder."""
        return encoder_settings.competing(self.recipes, settings)

    def hyperparameters(self, settings: "Settings") -> "OwnParameters":
        """Take the recipes, the seed, and what a finetune learns by."""
        from labelloop.kinds.hyperparameters import OwnParameters

        return OwnParameters.of(KIND, settings)

    def check_settings(self, settings: "Settings", *, thorough: bool) -> None:
        """Raise TrainingError, looked at ``thorough``ly, where a folder holds no encoder."""
        if thorough:
            encoder_settings.check(self.recipes, settings)

    def prepare(self, context: "Context", items: Iterable[Item], total: int) -> Mapping[str, str]:  # noqa: ARG002
        """Read every text once, and say which are none."""
        from labelloop.errors import Unreadable
        from labelloop.kinds.named_entity_recognition.engine import read_text

        unread: dict[str, str] = {}
        for item in items:
            if item.text:
                continue
            try:
                read_text(next(context.contents([item])))
            except Unreadable as error:
                unread[item.content] = str(error)
        return unread

    def train(self, context: "Context") -> Json:
        """Let the recipes compete on the validation side, and write the winner's bundle."""
        from labelloop.kinds.named_entity_recognition.recipes.contest import train
        from labelloop.kinds.named_entity_recognition.training import material_of

        trained = train(context, material_of(self, context))
        return {**trained, "notes": [*self.aside_notes(context), *trained["notes"]]}

    def analyse(self, context: "Context") -> None:
        """Show mistakes, robustness, explanations and probable label errors; write TensorBoard's events."""
        from labelloop.kinds.named_entity_recognition.analysis import analyse

        super().analyse(context)
        analyse(context, self)

    def label_errors(self, context: "Context", learned: Learned | None) -> Json:  # noqa: ARG002 - all is learned anew
        """Examine every span by CRFs that have not learned from its text; see Kind."""
        from labelloop.kinds.named_entity_recognition.recipes.doubts import find_doubts

        return find_doubts(context, self)

    def describe(self, raw: Json) -> SpanInfo:
        """Read ``model.json``."""
        return SpanInfo.read(raw)

    def problems(self, info: BundleInfo) -> Iterator[str]:
        """Refuse impossible thresholds, and a bundle without a model."""
        thresholds = info.thresholds if isinstance(info, SpanInfo) else None
        if not isinstance(thresholds, dict) or not all(map(_is_threshold, thresholds.values())):
            yield "has a threshold that is not between 0 and 1"
        if missing := [name for name in _files(info) if name not in info.files]:
            yield f"has no hash of {missing[0]}: nothing could be served"

    def served(self, engine: str) -> tuple[str, ...]:  # noqa: ARG002 - there is one model for all of them
        """Name the files of both recipes' models."""
        return self.weights

    def open(self, directory: Path, info: BundleInfo, engine: str) -> "Engine":  # noqa: ARG002
        """Load a bundle."""
        from labelloop.kinds.named_entity_recognition.engine import open_engine

        if not isinstance(info, SpanInfo):
            raise BundleError(f"bundle {directory}: its model finds no spans, it is for {info.kind}")
        return open_engine(directory, info)


def _files(info: BundleInfo) -> tuple[str, ...]:
    return FILES if info.recipe == "finetune" else (_CRF,)


def _is_threshold(value: object) -> bool:
    return isinstance(value, int | float) and 0 < value < 1


KIND: Kind = NamedEntityRecognition()
