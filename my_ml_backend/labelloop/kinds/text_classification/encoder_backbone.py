"""The encoder of a finetune without its last layer: what last layers learn through, and are served behind.

It is cut out of the ``model.onnx`` that the finetune was published as, so that nothing is exported for it; torch is not
needed, but the package onnx is.
"""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import onnxruntime

from labelloop.bundle_info import BACKBONE_TOKENIZER
from labelloop.errors import BundleError, TrainingError, Unreadable
from labelloop.files import cores, keep_sha256, kept_sha256, link_or_copy, made_once, sha256
from labelloop.kinds.text_classification.bundle import BACKBONE_FILES, FEATURES, TextInfo
from labelloop.kinds.text_classification.reading import decode
from labelloop.kinds.texts.encoder_bundle import BACKBONE, DETAILS, FILES, MODEL, TOKENIZER
from labelloop.kinds.texts.encoder_engine import EncoderSession
from labelloop.models.bundle import read_bundle_info
from labelloop.models.features import Features, Rows, rounded
from labelloop.run.context import digest_of
from labelloop.serve.engines.head import Head
from labelloop.types import Progress, chunks

_FACTS = "backbone.json"

_BATCH, _TOGETHER = 32, 512
"""Texts that one core runs at a time; those whose features are kept at a time, which a killed run takes anew."""

_PROBE = ("a",)
_MULTIPLES = np.array([[1], [0], [-2]], dtype=np.float32)
"""Of one text's features: what is linear gives of the last what the first two foretell, and no activation does."""


@dataclass(frozen=True)
class EncoderBackbone:
    """What lies in a ``folder``; ``backbone`` names its features (hex) by all that decides them. See FeatureTaker.

    ``width`` is how many numbers a text gives. The network is loaded when it is first needed, and not before.
    """

    mirrors: ClassVar[bool] = False

    backbone: str
    folder: Path
    width: int

    @classmethod
    def of(cls, bundle: Path, caches: Path) -> Self:
        """Take that of a last layer's bundle, or cut it out of a finetune's: once, it is kept in ``caches``.

        Raises BundleError, TrainingError where it cannot be cut out, and StoreError where it cannot be kept.
        """
        info = read_bundle_info(bundle)
        if not isinstance(info, TextInfo) or not (info.features or MODEL in info.files):
            raise BundleError(f"bundle {bundle} has no encoder that classifies texts")
        if info.features:
            return cls(info.features, bundle, Head.read(bundle, info).width)
        backbone = digest_of(FEATURES, *(info.files[name] for name in FILES))
        folder = caches / "backbones" / backbone
        what = "an encoder without its last layer"
        return cls(backbone, folder, made_once(folder, what, lambda: _width(folder), lambda made: _write(bundle, made)))

    @property
    def files(self) -> Mapping[str, Path]:
        """Map the names that its files have in a bundle to the files."""
        return {name: self.folder / name for name in BACKBONE_FILES}

    @cached_property
    def _session(self) -> EncoderSession:
        return EncoderSession.without_last_layer(self.folder)

    def take(self, contents: Sequence[bytes], *, mirrored: bool = False) -> tuple[Rows, Mapping[int, str]]:  # noqa: ARG002
        """Give the features of texts, zeros where one is none, and why; texts have no mirror images."""
        rows, reasons = np.zeros((len(contents), self.width), dtype=np.float32), dict[int, str]()
        texts: dict[int, str] = {}
        for at, content in enumerate(contents):
            try:
                texts[at] = decode(content)
            except Unreadable as error:
                reasons[at] = str(error)
        if texts:
            rows[[*texts]] = self._rows([*texts.values()])
        return rows, reasons

    def rows(self, kept: Features, names: Sequence[str], texts: Sequence[str], progress: Progress) -> Rows:
        """Give the features of texts by their names (sha256): those that are ``kept``, and others, which are kept now.

        Whether they were at hand makes no difference: they are rounded as they are kept.
        """
        rows, there = kept.rows(names)
        lacking = np.flatnonzero(~there).tolist()
        for done, part in enumerate(chunks(lacking, _TOGETHER)):
            progress("features", done * _TOGETHER, len(lacking))
            taken = self._rows([texts[at] for at in part])
            kept.keep([names[at] for at in part], taken)
            rows[part] = rounded(taken)
        return rows

    def _rows(self, texts: Sequence[str]) -> Rows:
        with ThreadPoolExecutor(cores(), thread_name_prefix="features") as pool:
            return np.concatenate(list(pool.map(self._session.pooled, chunks(texts, _BATCH))))


def _width(folder: Path) -> int | None:
    """Read how many numbers a text gives; None where the folder is not whole. Notes that somebody uses it."""
    try:
        facts = json.loads((folder / _FACTS).read_bytes())
        if facts["files"] != {name: kept_sha256(folder / name) for name in BACKBONE_FILES}:
            return None
        os.utime(folder)
        return int(facts["width"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(bundle: Path, folder: Path) -> None:
    try:
        import onnx

        from labelloop.train.onnx_graph import cut_last_layer
    except ImportError as error:
        raise TrainingError("the package onnx is not installed: it comes with labelloop[train]") from error
    model = onnx.load(str(bundle / MODEL))
    layer = cut_last_layer(model)
    if layer is None:
        raise TrainingError(f"{bundle / MODEL} has no last layer of weights that could be left out")
    onnx.save(model, str(folder / BACKBONE))
    for name, source in ((BACKBONE_TOKENIZER, TOKENIZER), (DETAILS, DETAILS)):
        link_or_copy(bundle / source, folder / name)
    hashes = {name: sha256(folder / name) for name in BACKBONE_FILES}
    for name, known in hashes.items():
        keep_sha256(folder / name, known)
    taken = EncoderSession.without_last_layer(folder).pooled(_PROBE)
    _require_linear(layer.SerializeToString(), taken, EncoderSession(bundle).pooled(_PROBE), bundle / MODEL)
    (folder / _FACTS).write_text(json.dumps({"files": hashes, "width": taken.shape[1]}))


def _require_linear(layer: bytes, taken: Rows, logits: Rows, source: Path) -> None:
    """Raise TrainingError unless the layer makes of one text's features its logits, and of multiples of them lines."""
    if taken.ndim != 2:
        raise TrainingError(f"{source}: its last layer takes {taken.shape[1:]} of a text, which are no features of it")
    try:
        session = onnxruntime.InferenceSession(layer, providers=["CPUExecutionProvider"])
        once, none, back = session.run(None, {session.get_inputs()[0].name: taken * _MULTIPLES})[0]
    except Exception as error:  # onnxruntime's errors have no common base of their own
        raise TrainingError(f"{source}: its last layer cannot be run by itself: {error}") from error
    for given, expected in ((once, logits[0]), (back, 3 * none - 2 * once)):
        if given.shape != expected.shape or not np.allclose(given, expected, rtol=1e-3, atol=1e-3):
            raise TrainingError(f"{source}: what follows its features is more than one layer of weights")
