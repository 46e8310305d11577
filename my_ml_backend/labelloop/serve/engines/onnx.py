"""The engine for ``model.onnx``: onnxruntime on the CPU, without torch."""

from pathlib import Path
from typing import Any

import onnxruntime

from labelloop.bundle_info import NetworkInfo
from labelloop.errors import BundleError
from labelloop.serve.engines.network import Array, NetworkEngine


class OnnxEngine(NetworkEngine):
    """Runs ``model.onnx``: one float32 input (pictures, 3, height, width), logits (pictures, classes) out."""

    file = "model.onnx"

    def __init__(self, directory: Path, info: NetworkInfo) -> None:
        self._session = open_session(directory / self.file)
        self._input = self._session.get_inputs()[0].name
        super().__init__(info)

    def logits(self, pictures: Array) -> Array:
        """Run the network; see NetworkEngine."""
        logits: Array = self._session.run(None, {self._input: pictures})[0]
        return logits


def open_session(file: Path) -> Any:
    """Open an ONNX file, on the CPU and with one thread; raises BundleError."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base of their own
        raise BundleError(f"{file} cannot be loaded: {error}") from error
