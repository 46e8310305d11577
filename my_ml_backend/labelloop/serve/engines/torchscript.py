"""Bundles' TorchScript files: torch, on the GPU where there is one. No other module of ``serve`` imports torch."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from labelloop.bundle_info import NetworkInfo
from labelloop.errors import BundleError
from labelloop.models.bundle import read_hashed
from labelloop.serve.engines.network import Array, Network


def open_network(directory: Path, info: NetworkInfo, file: str) -> Network:
    """Load one of a bundle's traced files. It holds code, so the very bytes that are loaded are hashed first.

    Sets torch to one thread per request in the whole process. Raises BundleError.
    """
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = _load(directory / file, read_hashed(directory, info, file), device)

    def run(pictures: Array) -> Array:
        with torch.inference_mode():
            found: Array = module(torch.from_numpy(pictures).to(device)).cpu().numpy()
        return found

    return Network(file, run, info.picture)


def _load(file: Path, content: bytes, device: torch.device) -> Any:
    try:
        with _quiet():
            return torch.jit.load(io.BytesIO(content), map_location=device).eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise BundleError(f"{file} cannot be loaded: {first}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch says of TorchScript's age."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*`?torch\.jit\.", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r".*`?torch\.jit\.", category=DeprecationWarning)
        yield
