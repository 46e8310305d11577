"""Opening a bundle with the engine that the settings name."""

from importlib.util import find_spec
from pathlib import Path

from labelloop.errors import BundleError, SettingsError
from labelloop.kinds.base import SCORED_BY, find
from labelloop.models.bundle import read_bundle_info
from labelloop.serve.engines.base import Engine, Predictor
from labelloop.serve.engines.recorded import RecordedEngine
from labelloop.settings import Settings
from labelloop.types import BundleInfo, ForeignInfo


def check_engine(engine: str) -> None:
    """Raise SettingsError for an engine that is none, or whose libraries are not installed."""
    possible = Settings.choices_of("engine")
    if engine not in possible:
        raise SettingsError(f"ENGINE: {engine!r} is no engine. Possible are {', '.join(possible)}.")
    if engine == "torchscript" and find_spec("torch") is None:
        raise SettingsError(
            "ENGINE=torchscript needs torch, which is not installed here: use the image of the target `worker` "
            "(docs/inference.md), or install requirements-train.txt; ENGINE=onnx needs neither"
        )


def open_engine(directory: Path, engine: str) -> Engine:
    """Load a bundle of any kind; raises BundleError when it cannot be used, SettingsError for an impossible engine."""
    check_engine(engine)
    info = require_model(read_bundle_info(directory), directory)
    return find(info.kind).open(directory, engine)


def require_model(info: BundleInfo, directory: Path) -> BundleInfo:
    """Give a description back; raises BundleError where the model lies elsewhere, so that nothing here can run it."""
    if isinstance(info, ForeignInfo):
        raise BundleError(
            f"bundle {directory}: its model lies elsewhere, as {info.model!r}, and cannot be served here: let "
            "LABELLOOP_ENDPOINT name the endpoint that serves it"
        )
    return info


def open_measured(directory: Path) -> Predictor:
    """Open a bundle of any kind as versions are measured: its model, or the answers of one that lies elsewhere.

    Raises BundleError.
    """
    info = read_bundle_info(directory)
    if isinstance(info, ForeignInfo):
        return RecordedEngine(directory, info)
    return find(info.kind).open(directory, SCORED_BY)
