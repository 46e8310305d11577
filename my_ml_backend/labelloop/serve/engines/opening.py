"""Opening a bundle with the engine that the settings name."""

from importlib.util import find_spec
from pathlib import Path

from labelloop.errors import SettingsError
from labelloop.kinds.base import find
from labelloop.models.bundle import describe
from labelloop.serve.engines.base import Engine
from labelloop.settings import Settings


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
    return find(describe(directory).kind).open(directory, engine)
