"""From a torch module to the two formats that are served: ONNX and TorchScript. Input ``images``, output ``logits``."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from torch import nn

from labelloop.errors import TrainingError

IMAGES, FEATURES, LOGITS = "images", "features", "logits"

Array = npt.NDArray[np.float32]


def session(path: Path) -> onnxruntime.InferenceSession:
    """Open an ONNX file on the CPU with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def write_onnx(model: nn.Module, example: torch.Tensor, path: Path, *outputs: str) -> None:
    """Export with a free batch size and the weights inside. ``example`` holds at least two pictures."""
    export_onnx(model, {IMAGES: (example, {0: torch.export.Dim("batch")})}, path, outputs, "choose another backbone")


def export_onnx(
    model: nn.Module,
    inputs: Mapping[str, tuple[torch.Tensor, Mapping[int, Any]]],
    path: Path,
    outputs: Sequence[str],
    remedy: str,
) -> None:
    """Export a module with its weights inside: ``inputs`` by name, in its own order, each with the sizes left free.

    ``remedy`` says what to do about a TrainingError, raised where that cannot be.
    """
    with _quiet():
        try:
            program = torch.onnx.export(
                model,
                tuple(example for example, _ in inputs.values()),
                dynamo=True,
                dynamic_shapes=tuple(dict(free) for _, free in inputs.values()),
                input_names=list(inputs),
                output_names=list(outputs),
                external_data=False,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise TrainingError(
                f"{type(model).__name__} cannot be exported to ONNX ({str(error).splitlines()[0]}); {remedy}"
            ) from error
    if program is None:
        raise TrainingError(f"{type(model).__name__} was exported to nothing; {remedy}")
    onnx.save(_plain(program.model_proto), str(path))


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the exporter notes down on every node: names and source paths of the machine that trained."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    return model


def write_torchscript(model: nn.Module, example: torch.Tensor, path: Path) -> None:
    """Trace and write. A module that was itself read from TorchScript may be part of ``model``."""
    with _quiet(), torch.inference_mode():
        traced = torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, str(path))


def read_torchscript(path: Path) -> nn.Module:
    """Read a traced module, on the CPU."""
    with _quiet():
        module: nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    return module


def run_onnx(path: Path, images: Array) -> Array:
    """Give an ONNX file's output for pictures (n, 3, height, width)."""
    output: Array = session(path).run(None, {IMAGES: images})[0]
    return output


def run_torch(model: nn.Module, images: Array) -> Array:
    """Give a module's output for pictures (n, 3, height, width)."""
    with torch.inference_mode():
        output: Any = model(torch.from_numpy(images))
    array: Array = output.numpy()
    return array


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch says of TorchScript's age, and the exporter's account of its steps."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*`?torch\.jit\.", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r".*`?torch\.jit\.", category=DeprecationWarning)
        # Inputs that are of one size share its name.
        warnings.filterwarnings("ignore", message=".*The axis name", category=UserWarning)
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
