"""Serves a bundle that classifies texts: numpy and tokenizers, and onnxruntime where an encoder is behind it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import numpy.typing as npt

from labelloop.errors import BundleError, Unreadable
from labelloop.kinds.text_classification.bundle import BACKBONE_FILES, HEAD_FILES, TextInfo
from labelloop.kinds.text_classification.reading import decode
from labelloop.serve.engines.network import outputs
from labelloop.types import Failure, Output

if TYPE_CHECKING:
    from labelloop.kinds.texts.encoder_engine import EncoderSession
    from labelloop.serve.engines.head import Head

Array = npt.NDArray[np.float32]


class TextModel(Protocol):
    """What gives logits (texts, classes)."""

    def logits(self, texts: Sequence[str]) -> Array:
        """Give logits; raises BundleError where the model itself fails."""


class TextEngine:
    """Reads texts and scores them; see Engine. Raises BundleError for a bundle that cannot be used."""

    def __init__(self, directory: Path, info: TextInfo) -> None:
        self.info = info
        self._model = _opened(directory, info)

    @property
    def measured(self) -> Self:
        """The engine itself: all scores are given anyway; see Engine."""
        return self

    def pixels(self, contents: Sequence[bytes]) -> int:  # noqa: ARG002 - every engine takes them
        """Hold none: texts are no pictures."""
        return 0

    def logits(self, texts: Sequence[str]) -> Array:
        """Give logits (texts, classes)."""
        found = self._model.logits(texts)
        if found.shape != (len(texts), len(self.info.classes)):
            raise BundleError(f"the model gives {found.shape} for {len(texts)} texts; export the version again")
        return found

    def predict(self, contents: Sequence[bytes], version: str) -> list[Output | Failure]:
        """Answer for every text, in order; see Engine."""
        read = [_read(content) for content in contents]
        texts = [text for text in read if isinstance(text, str)]
        if not texts:
            return [text for text in read if isinstance(text, Failure)]
        info = self.info
        found = iter(outputs(self.logits(texts), info.classes, info.choice, version, info.thresholds))
        return [text if isinstance(text, Failure) else next(found) for text in read]


def _read(content: bytes) -> str | Failure:
    try:
        return decode(content)
    except Unreadable as error:
        return Failure(str(error))


def _opened(directory: Path, info: TextInfo) -> TextModel:
    """Load what the bundle holds; what an encoder needs is imported only where there is one."""
    if info.needed == HEAD_FILES:
        from labelloop.kinds.text_classification.linear_text_model import LinearTextModel

        return LinearTextModel.read(directory, len(info.classes))
    from labelloop.kinds.texts.encoder_engine import EncoderSession

    if not info.features:
        return _Encoder(EncoderSession(directory))
    from labelloop.serve.engines.head import LOADED, Head

    head = Head.read(directory, info)
    # By what the files are: which features they give is only what model.json says.
    hashes = " ".join(info.files[name] for name in BACKBONE_FILES)
    return _Encoder(LOADED.get(hashes, lambda: EncoderSession.without_last_layer(directory)), head)


class _Encoder:
    """An encoder with its last layer, which reads the beginning of a text; ``head`` is the layer where it is apart."""

    def __init__(self, session: "EncoderSession", head: "Head[TextInfo] | None" = None) -> None:
        self._session, self._head = session, head

    def logits(self, texts: Sequence[str]) -> Array:
        given = self._session.pooled(texts)
        if self._head is None:
            return given
        if given.shape[1] != self._head.width:
            raise BundleError(
                f"the encoder gives {given.shape[1]} features where its last layer takes {self._head.width}; publish "
                "the version again"
            )
        return self._head.logits(given)
