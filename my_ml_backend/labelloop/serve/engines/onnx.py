"""Bundles' ONNX files: onnxruntime on the CPU, without torch."""

from pathlib import Path
from typing import Any

import onnxruntime

from labelloop.bundle_info import NetworkInfo
from labelloop.errors import BundleError
from labelloop.serve.engines.network import Array, Network


def open_network(directory: Path, info: NetworkInfo, file: str) -> Network:
    """Open one of a bundle's ONNX files: one float32 input (pictures, 3, height, width). Raises BundleError."""
    session = open_session(directory / file)
    given = session.get_inputs()[0].name

    def run(pictures: Array) -> Array:
        found: Array = session.run(None, {given: pictures})[0]
        return found

    return Network(file, run, info.picture)


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
