"""The bundle of a model that classifies texts: what its ``model.json`` says, and which files it has."""

from collections.abc import Iterator
from dataclasses import dataclass

from labelloop.bundle_info import BACKBONE_TOKENIZER, HEAD, ClassesInfo
from labelloop.files import is_sha256
from labelloop.kinds.texts.encoder_bundle import BACKBONE, DETAILS, FILES, MODEL

ARRAYS, VOCABULARY = "head.npz", "vocabulary.json"

HEAD_FILES = (ARRAYS, VOCABULARY)
"""The files that a head cannot do without; one with embeddings has their tokenizer, too."""

BACKBONE_FILES = (BACKBONE, BACKBONE_TOKENIZER, DETAILS)
"""An encoder without its last layer, and what cuts texts for it."""

LAST_LAYER_FILES = (HEAD, *BACKBONE_FILES)
"""Those of a last layer beside the encoder that it was learned on."""

WEIGHTS = (*HEAD_FILES, *FILES, *LAST_LAYER_FILES[:-1])
"""The files that a bundle of any recipe may hold beside ``model.json`` and the report."""

FEATURES = "text features 1"
"""Names how an encoder takes features: to be raised where those of the same texts become others, as by other cuts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInfo(ClassesInfo):
    """What such a bundle says, which is what all say that give classes."""

    @property
    def needed(self) -> tuple[str, ...]:
        """The files that it cannot be served without."""
        if self.features:
            return LAST_LAYER_FILES
        return FILES if MODEL in self.files else HEAD_FILES

    def problems(self) -> Iterator[str]:
        """Say what can never be served, the first thing first."""
        known = isinstance(self.thresholds, dict) and set(self.thresholds) <= set(self.classes)
        if not known or not all(isinstance(one, int | float) and 0 < one < 1 for one in self.thresholds.values()):
            yield "has a threshold that is of no class, or not between 0 and 1"
        if self.features and not is_sha256(self.features):
            yield "names features by what is no sha256"
        if missing := [name for name in self.needed if name not in self.files]:
            yield f"has no hash of {missing[0]}: nothing could be served"
