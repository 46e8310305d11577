"""The engine for ``model.ts.pt``: torch, on the GPU where there is one. No other module of ``serve`` imports torch."""

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
from labelloop.serve.engines.network import Array, NetworkEngine


class TorchScriptEngine(NetworkEngine):
    """Runs ``model.ts.pt``, traced. It holds code, so the very bytes that are loaded are hashed first.

    Sets torch to one thread per request in the whole process.
    """

    file = "model.ts.pt"

    def __init__(self, directory: Path, info: NetworkInfo) -> None:
        torch.set_num_threads(1)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._module = _load(directory, read_hashed(directory, info, self.file), self._device)
        super().__init__(info)

    def logits(self, pictures: Array) -> Array:
        """Run the network; see NetworkEngine."""
        with torch.inference_mode():
            logits: Array = self._module(torch.from_numpy(pictures).to(self._device)).cpu().numpy()
        return logits


def _load(directory: Path, content: bytes, device: torch.device) -> Any:
    try:
        with _quiet():
            return torch.jit.load(io.BytesIO(content), map_location=device).eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        first = next(iter(str(error).splitlines()), "")
        raise BundleError(f"{directory / TorchScriptEngine.file} cannot be loaded: {first}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch says of TorchScript's age."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*`?torch\.jit\.", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r".*`?torch\.jit\.", category=DeprecationWarning)
        yield
