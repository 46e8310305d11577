"""Runs an encoder's ``model.onnx`` beside its ``tokenizer.json``: onnxruntime and numpy, without torch."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Tokenizer

from labelloop.bundle_info import BACKBONE_TOKENIZER
from labelloop.errors import BundleError
from labelloop.kinds.texts.encoder_bundle import BACKBONE, DETAILS, MODEL, TOKENIZER
from labelloop.kinds.texts.windows import Cutter, EncoderSpec, Floats, Ids, Tokens, batches, merged, padded
from labelloop.train.metrics import softmax
from labelloop.types import Json

IDS, MASK, LOGITS = "input_ids", "attention_mask", "logits"

Array = npt.NDArray[np.float32]

_AT_ONCE = 2048
"""Sub-tokens, with what fills them up, in one run of the network: bounds memory, and more bring no speed on a CPU."""


class EncoderSession:
    """One loaded encoder with its last layer, or without; safe to share between threads. Raises BundleError.

    ``details`` is what ``encoder.json`` holds.
    """

    def __init__(self, directory: Path, model: str = MODEL, tokenizer: str = TOKENIZER) -> None:
        self.details = _details(directory / DETAILS)
        self.cutter = Cutter(_tokenizer(directory / tokenizer), _spec(self.details, directory / DETAILS))
        self._session, self._path = _session(directory / model), directory / model

    @classmethod
    def without_last_layer(cls, directory: Path) -> Self:
        """Load the backbone of a folder: it gives what last layers see."""
        return cls(directory, BACKBONE, BACKBONE_TOKENIZER)

    def pooled(self, texts: Sequence[str]) -> Array:
        """Give logits (texts, classes), or features (texts, width), by the beginning of each text, at least one."""
        return np.stack(self.run([self.cutter.beginning(text) for text in texts]))

    def tags(self, texts: Sequence[str]) -> list[tuple[Tokens, Floats]]:
        """Give each text's sub-tokens with the probabilities of their tags, (sub-tokens, tags)."""
        cut = [self.cutter.tokens(text) for text in texts]
        places = [self.cutter.places(tokens) for tokens in cut]
        windows = [
            self.cutter.window(tokens, first, last)
            for tokens, spread in zip(cut, places, strict=True)
            for first, last in spread
        ]
        outputs = iter(self.run(windows))
        return [
            (tokens, tag_probabilities(self.cutter.spec, tokens, spread, [next(outputs) for _ in spread]))
            for tokens, spread in zip(cut, places, strict=True)
        ]

    def run(self, rows: Sequence[Ids]) -> list[Array]:
        """Run the network on windows, in order: (classes,), (width,) or (its ids, tags) of each. Raises BundleError."""
        given: list[Array] = [np.empty(0, dtype=np.float32)] * len(rows)
        for at in batches(rows, _AT_ONCE):
            ids, mask = padded([rows[one] for one in at], self.cutter.spec.pad)
            for one, output in zip(at.tolist(), self._run(ids, mask), strict=True):
                given[one] = output[: len(rows[one])] if output.ndim == 2 else output
        return given

    def _run(self, ids: Ids, mask: Ids) -> Array:
        try:
            found: Array = self._session.run(None, {IDS: ids, MASK: mask})[0]
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise BundleError(f"{self._path} cannot be run: {error}") from error
        return found


def tag_probabilities(
    spec: EncoderSpec, tokens: Tokens, places: Sequence[tuple[int, int]], outputs: Sequence[Array]
) -> Floats:
    """Make the probabilities of a text's tags, (sub-tokens, tags), from the logits of all its windows."""
    begin = len(spec.before)
    windows = [
        softmax(output[begin : begin + last - first].astype(np.float64))
        for (first, last), output in zip(places, outputs, strict=True)
    ]
    return merged(len(tokens.ids), places, windows)


def write_details(path: Path, spec: EncoderSpec, kinds: Json) -> None:
    """Write ``encoder.json``: how texts are cut, and the ``kinds`` own part."""
    path.write_text(json.dumps({"spec": asdict(spec), **kinds}, sort_keys=True), encoding="ascii")


def _details(path: Path) -> Json:
    try:
        found = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise BundleError(f"{path} is no JSON object: train the version again")
    return found


def _spec(details: Json, path: Path) -> EncoderSpec:
    try:
        return EncoderSpec.read(details["spec"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path} is of an unknown form ({error!r}): train the version again") from error


def _tokenizer(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises Exception itself
        raise BundleError(f"{path} cannot be read: {error}") from error


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base of their own
        raise BundleError(f"{path} cannot be loaded: {error}") from error
