"""The bundle of a model that classifies texts: what its ``model.json`` says, and which files it has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from labelloop.bundle_info import BundleInfo
from labelloop.types import Json

if TYPE_CHECKING:
    from labelloop.kinds.texts.windows import EncoderSpec

ARRAYS, VOCABULARY, TOKENIZER, NETWORK = "head.npz", "vocabulary.json", "tokenizer.json", "model.onnx"

HEAD, ENCODER = (ARRAYS, VOCABULARY), (NETWORK, TOKENIZER)
"""The files that a head and an encoder cannot do without; a head with embeddings has their tokenizer, too."""

WEIGHTS = (*HEAD, *ENCODER)
"""The files that a bundle of either recipe may hold beside ``model.json`` and the report."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a recipe has written: the names of files, and what ``model.json`` is to say of an encoder (none: a head)."""

    files: tuple[str, ...]
    encoder: "EncoderSpec | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInfo(BundleInfo):
    """What such a bundle says beside.

    ``temperature`` is what the logits were divided by, so that scores are calibrated; the files hold it already.
    ``thresholds`` maps classes to the scores from which on they are given, with choice ``multiple``; a half for the
    others. ``encoder`` says how an encoder reads texts; a head has none.
    """

    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    encoder: "EncoderSpec | None" = None

    @classmethod
    def _own(cls, values: Json) -> Json:
        if values.get("encoder") is None:
            return values
        from labelloop.kinds.texts.windows import EncoderSpec

        return {**values, "encoder": EncoderSpec.read(values["encoder"])}

    def problems(self) -> Iterator[str]:
        """Say what can never be served, the first thing first."""
        known = isinstance(self.thresholds, dict) and set(self.thresholds) <= set(self.classes)
        if not known or not all(isinstance(one, int | float) and 0 < one < 1 for one in self.thresholds.values()):
            yield "has a threshold that is of no class, or not between 0 and 1"
        needed = ENCODER if self.encoder else HEAD
        if missing := [name for name in needed if name not in self.files]:
            yield f"has no hash of {missing[0]}: nothing could be served"
