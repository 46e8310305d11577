"""A network's first weights: from the hub or from a safetensors file. Pickled files are never opened."""

from collections.abc import Collection, Mapping
from pathlib import Path

import httpx
import torch
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils._headers import build_hf_headers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from labelloop.errors import TrainingError

State = dict[str, torch.Tensor]

_HUB_TIMEOUT = httpx.Timeout(5.0, connect=3.05)
_WAYS_OUT = (
    "Ways out: LABELLOOP_WEIGHTS=FILE.safetensors (weights you have) or LABELLOOP_WEIGHTS=none (do without); "
    "fetch them once where the hub can be reached and set HF_HOME to that cache, with HF_HUB_OFFLINE=1; "
    "or set LABELLOOP_BACKBONE to a network that is in the cache"
)


def first_weights(weights: str, model: nn.Module, backbone: str) -> State | None:
    """Read the weights that ``weights`` names (``pretrained``, a safetensors file, ``none``) for a fresh ``model``.

    The classifier's own entries are the model's: what the file says of them is ignored. None for ``none``. Raises
    TrainingError when they cannot be had.
    """
    if weights == "none":
        return None
    path = _from_hub(model, backbone) if weights == "pretrained" else _local(weights)
    given = read_state(path)
    own = {key: tensor for key, tensor in model.state_dict().items() if _is_own(key, model)}
    return {key: tensor for key, tensor in given.items() if not _is_own(key, model)} | own


def read_state(path: Path) -> State:
    """Read a safetensors file; raises TrainingError."""
    try:
        state: State = load_file(path)
    except (SafetensorError, OSError) as error:
        raise TrainingError(f"weights {path.name} are no readable safetensors file: {error}") from error
    return state


def _local(weights: str) -> Path:
    path = Path(weights).expanduser()
    if path.suffix != ".safetensors":
        raise TrainingError(
            f"weights {path.name!r}: only safetensors files are read, for a pickled .pth or .bin can run code; "
            "convert it with safetensors.torch.save_file, or set LABELLOOP_WEIGHTS to pretrained or none"
        )
    if not path.is_file():
        raise TrainingError(f"weights {weights!r}: there is no such file; set LABELLOOP_WEIGHTS")
    return path


def _from_hub(model: nn.Module, backbone: str) -> Path:
    source: Mapping[str, str] = model.pretrained_cfg  # type: ignore[assignment]
    repository, file = source.get("hf_hub_id") or "", source.get("hf_hub_filename") or "model.safetensors"
    if not repository or not file.endswith(".safetensors"):
        raise TrainingError(f"the hub has no safetensors weights for backbone {backbone!r}. {_WAYS_OUT}")
    try:
        return Path(hf_hub_download(repository, file, local_files_only=True))
    except LocalEntryNotFoundError:
        reach(f"{constants.ENDPOINT}/{repository}/resolve/main/{file}", f"weights {repository}", _WAYS_OUT)
    try:
        return Path(hf_hub_download(repository, file))
    except (OSError, ValueError) as error:
        raise TrainingError(f"weights {repository} could not be fetched from the hub: {error}. {_WAYS_OUT}") from error


def reach(url: str, what: str, ways_out: str) -> None:
    """Ask the hub once, so that its client does not go on retrying for minutes where there is none."""
    if constants.HF_HUB_OFFLINE:
        raise TrainingError(f"{what} are not in the hub's cache and HF_HUB_OFFLINE is set. {ways_out}")
    try:
        status = httpx.head(url, headers=build_hf_headers(), timeout=_HUB_TIMEOUT).status_code
    except httpx.HTTPError as error:
        reason = type(error).__name__
        raise TrainingError(f"{what}: the hub cannot be reached ({reason}). {ways_out}") from error
    if status >= 400:
        raise TrainingError(f"{what}: the hub answered {status}. {ways_out}")


def difference(weights: State, model: nn.Module) -> str:
    """Say in a few words how ``weights`` differ from ``model``: names missing, unexpected, of another shape."""
    expected: State = model.state_dict()
    both = expected.keys() & weights.keys()
    parts = {
        "missing": expected.keys() - both,
        "unexpected": weights.keys() - both,
        "of another shape": {key for key in both if expected[key].shape != weights[key].shape},
    }
    return "; ".join(f"{what}: {_few(keys)}" for what, keys in parts.items() if keys) or "nothing by name or shape"


def _is_own(key: str, model: nn.Module) -> bool:
    if key.endswith("num_batches_tracked"):
        return True
    names: str | tuple[str, ...] = model.pretrained_cfg["classifier"]  # type: ignore[index, assignment]
    names = (names,) if isinstance(names, str) else names
    return any(key in (f"{name}.weight", f"{name}.bias") for name in names)


def _few(keys: Collection[str]) -> str:
    first = ", ".join(sorted(keys)[:4])
    return f"{len(keys)} ({first}{', ...' if len(keys) > 4 else ''})" if keys else "none"
