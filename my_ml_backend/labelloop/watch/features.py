"""What a version's own network makes of a picture just before its last layer, as numbers to compare by.

A head's are its backbone's; of a whole network's ONNX file the last layer is left out. Descriptions see that pictures
are darker or blurred; these numbers see that something else is in them, which scores hardly show.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from labelloop.bundle_info import NetworkInfo
from labelloop.errors import BundleError
from labelloop.models.bundle import read_bundle_info
from labelloop.pictures import prepare
from labelloop.serve.engines.base import open_measured
from labelloop.serve.engines.head import HeadEngine

Row = npt.NDArray[np.floating[Any]]


class FeatureExtractor:
    """Takes features of pictures; several threads may do so at a time. Raises BundleError for an unsuitable bundle."""

    def __init__(self, bundle: Path) -> None:
        info = read_bundle_info(bundle)
        if not isinstance(info, NetworkInfo):
            raise BundleError(f"bundle {bundle.name} holds no network of pictures to take features with")
        self._spec = info.picture
        engine = open_measured(bundle) if info.features else None
        self._taken = engine.features if isinstance(engine, HeadEngine) else _of_network(bundle / "model.onnx", info)

    def __call__(self, content: bytes) -> Row:
        """Give as many numbers of an encoded picture as its last layer takes. Raises MediaError for what is none."""
        return comparable(self._taken(prepare(content, self._spec)[None])[0])


def _of_network(file: Path, info: NetworkInfo) -> Callable[[Row], Row]:
    """Open a whole network as far as its features: from pictures (n, 3, height, width) to (n, features)."""
    session = _without_last_layer(file)

    def taken(images: Row) -> Row:
        try:
            found: Row = session.run(None, {session.get_inputs()[0].name: images})[0]
        except Exception as error:  # onnxruntime's errors have no common base of their own
            raise BundleError(f"{file} cannot be run as far as its features: {error}") from error
        if found.ndim != 2:
            raise BundleError(f"{file}: its last layer takes {found.shape}, which are no features of a picture")
        return found

    taken(np.zeros((1, 3, info.picture.height, info.picture.width), dtype=np.float32))
    return taken


def _without_last_layer(file: Path) -> Any:
    """Open the graph as far as what its last layer takes, (pictures, features)."""
    try:
        import onnx

        from labelloop.train.onnx_graph import cut_last_layer
    except ImportError as error:
        raise BundleError(f"{file}: features need the package onnx, which comes with labelloop[train]") from error
    model = onnx.load(str(file))
    if cut_last_layer(model) is None:
        raise BundleError(f"{file} has no last layer of weights that could be left out")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base of their own
        raise BundleError(f"{file} cannot be run without its last layer: {error}") from error


def comparable(taken: Row) -> Row:
    """Give features (n,) as a row that is ten long, of their roots: so no single one outweighs the rest."""
    roots = np.sign(taken) * np.sqrt(np.abs(taken))
    row: Row = 10 * roots / max(float(np.linalg.norm(roots)), 1e-9)
    return row
