"""The engine for ``model.onnx``: onnxruntime on the CPU, without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from labelloop.errors import BundleError, MediaError
from labelloop.pictures import prepare
from labelloop.serve.engines.scores import outputs
from labelloop.types import BundleInfo, Failure, Output

BATCH = 8
"""Most pictures in one run of the network: bounds memory, and more bring no speed on a CPU (docs/inference.md)."""


class OnnxEngine:
    """Runs one bundle, single-threaded: several requests at once use several cores.

    The network takes one float32 input (pictures, 3, height, width) and gives logits (pictures, classes). Raises
    BundleError when the folder's model.json or model.onnx cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.info = _read_info(directory)
        self._session = _open_session(directory / "model.onnx")
        self._input = self._session.get_inputs()[0].name
        spec = self.info.picture
        self._run(np.zeros((1, 3, spec.height, spec.width), dtype=np.float32))

    def predict(self, contents: Sequence[bytes], version: str) -> list[Output | Failure]:
        """Answer for every encoded picture, in order; see Engine."""
        answers: list[Output | Failure] = []
        for start in range(0, len(contents), BATCH):
            answers += self._predict_batch(contents[start : start + BATCH], version)
        return answers

    def _predict_batch(self, contents: Sequence[bytes], version: str) -> list[Output | Failure]:
        prepared = [self._prepare(content) for content in contents]
        tensors = [tensor for tensor in prepared if not isinstance(tensor, Failure)]
        if not tensors:
            return [failure for failure in prepared if isinstance(failure, Failure)]
        results = iter(outputs(self._run(np.stack(tensors)), self.info.classes, self.info.kind, version))
        return [item if isinstance(item, Failure) else next(results) for item in prepared]

    def _prepare(self, content: bytes) -> npt.NDArray[np.float32] | Failure:
        try:
            return prepare(content, self.info.picture)
        except MediaError as error:
            return Failure(str(error))

    def _run(self, pictures: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        try:
            logits: npt.NDArray[np.float32] = self._session.run(None, {self._input: pictures})[0]
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise BundleError(f"model.onnx cannot be run: {error}") from error
        expected = (len(pictures), len(self.info.classes))
        if logits.shape != expected:
            raise BundleError(f"model.onnx gives {logits.shape} where model.json calls for {expected}; export it anew")
        return logits


def _read_info(directory: Path) -> BundleInfo:
    try:
        return BundleInfo.from_json((directory / "model.json").read_bytes())
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{directory / 'model.json'} cannot be read: {error!r}") from error


def _open_session(file: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise BundleError(f"{file} cannot be loaded: {error}") from error
