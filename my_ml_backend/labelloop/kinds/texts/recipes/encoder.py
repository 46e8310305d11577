"""An encoder of ``transformers``: its safetensors weights alone, and never code that it brings."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import nn

from labelloop.errors import TrainingError
from labelloop.kinds.texts.recipes.encoder_files import (
    CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    first_line,
    folder_of,
    read_json,
)
from labelloop.kinds.texts.windows import Cutter, cutter
from labelloop.types import Json

_LONGEST = 512
"""Most sub-tokens of a window: what most encoders are trained with; attention to more costs more than all else."""

_UNUSED = "pooler."


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder's files on this machine, its configuration, and how it reads texts."""

    name: str
    folder: Path
    config: Any
    cutter: Cutter

    @property
    def width(self) -> int:
        """Numbers that it makes of each sub-token."""
        return int(self.config.hidden_size)


def find(named: str) -> Encoder:
    """Find an encoder by the folder or the name on the hub; weights are not read yet.

    Raises TrainingError where there is none, where it brings code or pickled weights, or is of no known architecture.
    """
    folder = folder_of(named)
    raw, told = read_json(folder / CONFIG, named), read_json(folder / TOKENIZER_CONFIG, named, needed=False)
    if "auto_map" in raw or "auto_map" in told:
        raise TrainingError(
            f"encoder {named!r} asks for code of its own (auto_map in its configuration), which is never run: choose "
            "one of an architecture that transformers knows"
        )
    config = _config(folder, named)
    tokenizer = _tokenizer(folder, named)
    length = min(_LONGEST, _positions(config, named), _stated(told))
    return Encoder(named, folder, config, cutter(tokenizer, named, length, _padding(config)))


def load(encoder: Encoder) -> nn.Module:
    """Read an encoder's weights (CPU, float32, eval mode); raises TrainingError."""
    from transformers import AutoModel

    try:
        with _quiet():
            body, told = AutoModel.from_pretrained(
                str(encoder.folder),
                config=encoder.config,
                trust_remote_code=False,
                use_safetensors=True,
                local_files_only=True,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # told below, in words
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise TrainingError(f"encoder {encoder.name!r} cannot be loaded: {first_line(error)}") from error
    strange = {*told["missing_keys"], *(name for name, *_ in told["mismatched_keys"])}
    if strange := {name for name in strange if not name.startswith(_UNUSED)}:
        raise TrainingError(
            f"the weights of encoder {encoder.name!r} are not of its configuration: {len(strange)} are missing or of "
            f"another shape, such as {min(strange)}; set LABELLOOP_ENCODER"
        )
    network: nn.Module = body.eval()
    return network


def _config(folder: Path, named: str) -> Any:
    from transformers import AutoConfig

    try:
        with _quiet():
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"encoder {named!r}: its {CONFIG} is of no architecture that transformers knows: {first_line(error)}"
        ) from error
    if getattr(config, "is_encoder_decoder", False) or not isinstance(getattr(config, "hidden_size", None), int):
        raise TrainingError(
            f"encoder {named!r} is of type {config.model_type!r}, which is no encoder of texts; choose one such as "
            "BERT, RoBERTa, DeBERTa, ELECTRA, MPNet or ModernBERT"
        )
    return config


def _tokenizer(folder: Path, named: str) -> Tokenizer:
    """Read ``tokenizer.json``, or let transformers make one of an older vocabulary."""
    try:
        if (folder / TOKENIZER).is_file():
            return Tokenizer.from_file(str(folder / TOKENIZER))
        from transformers import AutoTokenizer

        with _quiet():
            made = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
        found: Tokenizer = made.backend_tokenizer
    except Exception as error:  # tokenizers raises Exception itself, and converters whatever they come across
        raise TrainingError(
            f"encoder {named!r}: its tokenizer cannot be read ({first_line(error)}); it needs a {TOKENIZER}"
        ) from error
    return found


def _positions(config: Any, named: str) -> int:
    """Give the most sub-tokens that the network has positions for; RoBERTa's kin count them from behind the padding."""
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or most <= 0:
        return _LONGEST
    kin = config.model_type in _AFTER_PADDING
    usable = most - (_padding(config) + 1 if kin else 0)
    if usable < _SHORTEST:
        raise TrainingError(f"encoder {named!r} reads {usable} sub-tokens, too few for any text; set LABELLOOP_ENCODER")
    return usable


def _padding(config: Any) -> int:
    stated = getattr(config, "pad_token_id", None)
    return stated if isinstance(stated, int) and stated >= 0 else 0


_AFTER_PADDING = (
    "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer", "ibert", "data2vec-text",
    "roberta-prelayernorm", "xmod", "esm", "layoutlm", "lilt",
)  # fmt: skip
_SHORTEST = 16


def _stated(told: Json) -> int:
    stated = told.get("model_max_length")
    return stated if isinstance(stated, int) and stated >= _SHORTEST else _LONGEST


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what transformers says of layers that are not used, and its bar of progress."""
    from transformers.utils import logging as told

    level, bars = told.get_verbosity(), told.is_progress_bar_enabled()
    told.set_verbosity(logging.CRITICAL)
    told.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        told.set_verbosity(level)
        if bars:
            told.enable_progress_bar()  # type: ignore[no-untyped-call]
