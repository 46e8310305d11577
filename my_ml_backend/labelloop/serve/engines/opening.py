"""Opening a bundle with the engine that the settings name."""

from importlib.util import find_spec
from pathlib import Path

from labelloop.errors import SettingsError
from labelloop.serve.engines.base import Engine

FILES = {"onnx": "model.onnx", "torchscript": "model.ts.pt"}
"""The engines, and the bundle's file that each of them runs."""


def check_engine(engine: str) -> None:
    """Raise SettingsError for an engine that is none, or whose libraries are not installed."""
    if engine not in FILES:
        raise SettingsError(f"ENGINE: {engine!r} is no engine. Possible are {', '.join(FILES)}.")
    if engine == "torchscript" and find_spec("torch") is None:
        raise SettingsError(
            "ENGINE=torchscript needs torch, which is not installed here: use the image of the target `worker` "
            "(docs/inference.md), or install requirements-train.txt; ENGINE=onnx needs neither"
        )


def open_engine(directory: Path, engine: str) -> Engine:
    """Load a bundle; raises BundleError when it cannot be used, SettingsError for an impossible engine.

    What an engine needs is imported here and not before: onnxruntime starts a thread when it is imported and aborts at
    the end of a process forked after that, and torch takes seconds.
    """
    check_engine(engine)
    if engine == "torchscript":
        from labelloop.serve.engines.torchscript import TorchScriptEngine

        return TorchScriptEngine(directory)
    from labelloop.serve.engines.onnx import OnnxEngine

    return OnnxEngine(directory)
