"""The bundle of a model that classifies texts: what its ``model.json`` says, and which files it has."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from labelloop.bundle_info import BundleInfo

ARRAYS, VOCABULARY, TOKENIZER, NETWORK = "head.npz", "vocabulary.json", "tokenizer.json", "model.onnx"

HEAD, ENCODER = (ARRAYS, VOCABULARY), (NETWORK, TOKENIZER, "encoder.json")
"""The files that a head and an encoder cannot do without; a head with embeddings has their tokenizer, too."""

WEIGHTS = (*HEAD, *ENCODER)
"""The files that a bundle of either recipe may hold beside ``model.json`` and the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInfo(BundleInfo):
    """What such a bundle says beside.

    ``temperature`` is what the logits were divided by, so that scores are calibrated; the files hold it already.
    ``thresholds`` maps classes to the scores from which on they are given, with choice ``multiple``; a half for the
    others.
    """

    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def encodes(self) -> bool:
        """Whether an encoder is behind it, and no head."""
        return NETWORK in self.files

    def problems(self) -> Iterator[str]:
        """Say what can never be served, the first thing first."""
        known = isinstance(self.thresholds, dict) and set(self.thresholds) <= set(self.classes)
        if not known or not all(isinstance(one, int | float) and 0 < one < 1 for one in self.thresholds.values()):
            yield "has a threshold that is of no class, or not between 0 and 1"
        needed = ENCODER if self.encodes else HEAD
        if missing := [name for name in needed if name not in self.files]:
            yield f"has no hash of {missing[0]}: nothing could be served"
