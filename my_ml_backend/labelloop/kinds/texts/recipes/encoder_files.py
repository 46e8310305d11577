"""Where an encoder's files are: in a folder, or on the hub and from then on in its cache. None is opened but JSON."""

import json
import re
from pathlib import Path

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from labelloop.errors import TrainingError
from labelloop.train.weights import reach
from labelloop.types import Json

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PART = re.compile(r"[\w.-]+\.safetensors")
_PICKLED = "pytorch_model.bin"
_VOCABULARY = ("vocab.txt", "vocab.json", "merges.txt", "special_tokens_map.json", "sentencepiece.bpe.model")
_WAYS_OUT = (
    "Ways out: LABELLOOP_ENCODER=FOLDER (an encoder you have, with its safetensors file and tokenizer); fetch it once "
    "where the hub can be reached and set HF_HOME to that cache, with HF_HUB_OFFLINE=1; or LABELLOOP_ENCODER= for none"
)


def folder_of(named: str) -> Path:
    """Give the folder of an encoder, from the hub where the name is of none; raises TrainingError."""
    path = Path(named).expanduser()
    if path.is_dir():
        if not any((path / name).is_file() for name in (_WEIGHTS, _INDEX)):
            raise TrainingError(_unfit(f"folder {named}", pickled=(path / _PICKLED).is_file()))
        return path
    if named.startswith(("/", "~", ".")) or named.count("/") > 1:
        raise TrainingError(f"encoder {named!r}: there is no such folder; set LABELLOOP_ENCODER")
    return _from_hub(named)


def _unfit(what: str, *, pickled: bool) -> str:
    found = f"only {_PICKLED}, which is pickled and can run code" if pickled else f"no {_WEIGHTS}"
    return (
        f"encoder {what}: it holds {found}; only safetensors files are read. Convert it with transformers' "
        "save_pretrained, which writes them, or choose another LABELLOOP_ENCODER"
    )


def _from_hub(repository: str) -> Path:
    """Fetch what an encoder needs, all of one commit, from the hub's cache as far as it is there."""
    hub = _Hub(repository)
    config = hub.file(CONFIG)
    if config is None:
        raise TrainingError(f"encoder {repository!r}: the hub has no {CONFIG} of it; set LABELLOOP_ENCODER")
    hub.commit = config.parent.name
    hub.file(TOKENIZER_CONFIG)
    if hub.file(TOKENIZER) is None:
        for name in _VOCABULARY:
            hub.file(name)
    if hub.file(_WEIGHTS) is not None:
        return config.parent
    index = hub.file(_INDEX)
    if index is None:
        raise TrainingError(_unfit(f"{repository!r} on the hub", pickled=hub.has(_PICKLED)))
    for name in sorted(set(read_json(index, repository).get("weight_map", {}).values())):
        if not _PART.fullmatch(str(name)):
            raise TrainingError(
                f"encoder {repository!r}: {_INDEX} names {str(name)[:60]!r}, which is no safetensors file"
            )
        hub.file(str(name))
    return config.parent


class _Hub:
    """One repository of the hub: asked once whether it can be reached, as its client goes on retrying for minutes."""

    def __init__(self, repository: str) -> None:
        self._repository, self._reached = repository, False
        self.commit: str | None = None

    def file(self, name: str) -> Path | None:
        """Give a file, None where the repository has none of that name; raises TrainingError."""
        held = try_to_load_from_cache(self._repository, name, revision=self.commit)
        if held is not None:
            return Path(held) if isinstance(held, str) else None
        if not self._reached:
            address = f"{constants.ENDPOINT}/{self._repository}/resolve/main/{CONFIG}"
            reach(address, f"encoder {self._repository}", _WAYS_OUT)
            self._reached = True
        try:
            return Path(hf_hub_download(self._repository, name, revision=self.commit))
        except LocalEntryNotFoundError as error:
            raise self._failed(error) from error
        except EntryNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def has(self, name: str) -> bool:
        """Tell whether there is a file, without fetching it."""
        try:
            get_hf_file_metadata(hf_hub_url(self._repository, name, revision=self.commit))
        except (OSError, ValueError):
            return False
        return True

    def _failed(self, error: Exception) -> TrainingError:
        reason = first_line(error)
        return TrainingError(f"encoder {self._repository} could not be fetched from the hub: {reason}. {_WAYS_OUT}")


def read_json(path: Path, named: str, *, needed: bool = True) -> Json:
    """Read one of an encoder's JSON files, {} where it is not ``needed`` and not there; raises TrainingError."""
    if not needed and not path.is_file():
        return {}
    try:
        found: Json = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"encoder {named!r}: {path.name} cannot be read ({error}); set LABELLOOP_ENCODER"
        ) from error
    if not isinstance(found, dict):
        raise TrainingError(f"encoder {named!r}: {path.name} is no JSON object; set LABELLOOP_ENCODER")
    return found


def first_line(error: Exception) -> str:
    """Give what an error says first: others' errors go on for pages."""
    return next(iter(str(error).splitlines()), type(error).__name__)
