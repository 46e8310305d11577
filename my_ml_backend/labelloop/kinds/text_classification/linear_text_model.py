"""The head as it lies in a bundle: one linear layer on a text's features, and all that makes these (docs/bundle.md)."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from labelloop.errors import BundleError
from labelloop.kinds.text_classification.bundle import ARRAYS, VOCABULARY
from labelloop.kinds.text_classification.features import BLOCKS, Array, NGrams, Pooled, TextFeatures
from labelloop.kinds.texts.encoder_bundle import TOKENIZER
from labelloop.kinds.texts.static_embeddings import StaticEmbeddings


@dataclass(frozen=True, eq=False)
class LinearTextModel:
    """``logits = n-grams @ of_ngrams + pooled @ of_pooled + bias``, the first of these in half precision."""

    features: TextFeatures
    of_ngrams: npt.NDArray[np.float16]
    of_pooled: Array
    bias: Array

    def logits(self, texts: Sequence[str]) -> Array:
        """Give logits (texts, classes)."""
        sparse = self.features.ngrams.rows(texts)
        logits = self.features.dense(texts) @ self.of_pooled + self.bias
        for at, (start, end) in enumerate(zip(sparse.starts, sparse.starts[1:], strict=False)):
            logits[at] += sparse.values[start:end] @ self.of_ngrams[sparse.columns[start:end]].astype(np.float32)
        return logits

    def write(self, directory: Path) -> tuple[str, ...]:
        """Write the files; the same model makes the same bytes. Gives their names."""
        held: dict[str, npt.NDArray[Any]] = {
            "of_ngrams": self.of_ngrams,
            "of_pooled": self.of_pooled,
            "bias": self.bias,
        }
        held["rarity"] = self.features.ngrams.rarity
        names: tuple[str, ...] = (ARRAYS, VOCABULARY)
        if (pooled := self.features.pooled) is not None:
            held |= {"weights": pooled.weights, "vectors": pooled.embeddings.vectors}
            (directory / TOKENIZER).write_bytes(pooled.embeddings.spelled)
            names = (ARRAYS, VOCABULARY, TOKENIZER)
        _write_arrays(directory / ARRAYS, held)
        listed = [[*vocabulary] for vocabulary in self.features.ngrams.vocabularies]
        (directory / VOCABULARY).write_text(json.dumps(listed, ensure_ascii=False), encoding="utf-8")
        return names

    @classmethod
    def read(cls, directory: Path, classes: int) -> Self:
        """Read what ``write`` wrote, of so many classes; raises BundleError."""
        try:
            with (directory / ARRAYS).open("rb") as file, np.load(file, allow_pickle=False) as found:
                held = {name: found[name] for name in found.files}
            vocabularies = _numbered(json.loads((directory / VOCABULARY).read_text(encoding="utf-8")))
            pooled = None
            if "vectors" in held:
                spelled = (directory / TOKENIZER).read_bytes()
                pooled = Pooled(StaticEmbeddings.of(spelled, held["vectors"]), held["weights"])
            features = TextFeatures(NGrams(vocabularies, held["rarity"]), pooled)
            model = cls(features, held["of_ngrams"], held["of_pooled"], held["bias"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise BundleError(f"bundle {directory} cannot be loaded: {error!r}; export the version again") from error
        if problem := model._problem(classes):
            raise BundleError(f"bundle {directory}: {ARRAYS} {problem}; export the version again")
        return model

    def _problem(self, classes: int) -> str:
        """Say what does not fit together; "" where all does."""
        known = sum(map(len, self.features.ngrams.vocabularies))
        found = (self.of_ngrams.shape, self.of_pooled.shape, self.bias.shape, self.features.ngrams.rarity.shape)
        expected = ((known, classes), (self.features.width, classes), (classes,), (known,))
        if found != expected:
            return f"holds arrays of {found} where {expected} are needed"
        pooled = self.features.pooled
        if pooled is not None and pooled.weights.shape != (2, len(pooled.embeddings.vectors)):
            return f"weighs {pooled.weights.shape} sub-words where {len(pooled.embeddings.vectors)} have vectors"
        return ""


def _numbered(listed: object) -> tuple[dict[str, int], ...]:
    """Number n-grams through all blocks, in order."""
    if not isinstance(listed, list) or len(listed) != len(BLOCKS):
        raise ValueError(f"{VOCABULARY} is no list of {len(BLOCKS)} lists")
    found: list[dict[str, int]] = []
    begin = 0
    for names in listed:
        found.append({name: begin + at for at, name in enumerate(names)})
        begin += len(names)
    return tuple(found)


def _write_arrays(path: Path, held: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as numpy does, but for the time, which it would put in."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(held):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(held[name]), allow_pickle=False)  # type: ignore[no-untyped-call]
