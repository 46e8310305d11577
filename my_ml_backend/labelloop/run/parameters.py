"""The parameters of a run: what a command line, a cloud's hyperparameters and a run's record call its settings."""

import difflib
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from labelloop.bundle_info import PictureSpec
from labelloop.errors import SettingsError, TrainingError
from labelloop.files import remembered_sha256, sha256
from labelloop.kinds.base import find
from labelloop.models.runs import RunRecord
from labelloop.settings import Settings
from labelloop.training_parameters import LOCATIONS, PARAMETERS, PictureParameters
from labelloop.types import IMAGES, Json, TrainSettings

_GATE = "gate"

_EXPECTED = {
    "LABELLOOP_WEIGHTS": "Name a safetensors file, or say pretrained or none",
    "LABELLOOP_AUGMENTATIONS": "Name a YAML file, or say auto, none, light, crop or realistic",
    "LABELLOOP_ENCODER": "Name a folder with an encoder, or one of the hub",
}


_HIDDEN = "***"


_ADDRESS = re.compile(r"((?!file:)[a-z][a-z0-9+.-]*://)([^/?#]*@)?([^?#]*)(.*)", re.IGNORECASE | re.DOTALL)
"""Scheme, user information, host and path, what follows them."""


def with_parameters(settings: Settings, given: Mapping[str, str]) -> Settings:
    """Give the settings with these parameters in place of theirs; raises SettingsError naming the first wrong one."""
    check_names(given)
    wanted = {field: given[name] for name, field in PARAMETERS.items() if given.get(name, "") != ""}
    return settings.changed(wanted)


def parameters_of(settings: Settings, own: Collection[str]) -> dict[str, str]:
    """Spell out the parameters of a kind whose settings are ``own``, so that ``with_parameters`` gives them back."""
    counting = {name: field for name, field in PARAMETERS.items() if field in own or field == "seed"}
    values = {name: getattr(settings, field) for name, field in counting.items()}
    return {name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in values.items()}


def check_names(given: Mapping[str, str]) -> None:
    """Raise SettingsError for a parameter that there is not, naming those there are."""
    allowed = (*PARAMETERS, *LOCATIONS)
    for name in given:
        if name not in allowed:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise SettingsError(f"there is no parameter {name!r}{hint}; a run takes {', '.join(allowed)}")


GATE: Mapping[str, int] = {_GATE: 2}
"""Raise it where the gate now gives another verdict: every project is trained and judged once more.

A kind names the versions of its recipes. A first version is part of no run's key, so that a recipe may be added without
another name for every run there is.
"""


def methods_of(recipes: Iterable[str], versions: Mapping[str, int]) -> dict[str, int]:
    """Give the versions that a run with these recipes is made with; ``versions`` are those of its kind."""
    known = {**GATE, **versions}
    return {name: known.get(name, 1) for name in sorted({*recipes, _GATE})}


def raised(recipes: Iterable[str], versions: Mapping[str, int]) -> tuple[str, ...]:
    """Name those of a run's methods that have another version than their first: ``head 2``; part of the run's key."""
    return tuple(f"{name} {number}" for name, number in methods_of(recipes, versions).items() if number != 1)


def improvement(last: RunRecord, recipes: Iterable[str], versions: Mapping[str, int]) -> str:
    """Say what has improved since a project's last run, ``head and gate improved``; empty where nothing has.

    A recipe that the run was not made with is news of the settings, and no improvement. Records of 0.1 name no methods:
    they were made with the first versions.
    """
    made_with = last.methods or dict.fromkeys((*recipes, _GATE), 1)
    newer = [name for name, number in methods_of(recipes, versions).items() if number > made_with.get(name, number)]
    return f"{' and '.join(newer)} improved" if newer else ""


def train_settings(settings: Settings) -> TrainSettings:
    """Take what training needs from the settings; raises TrainingError when a file they name cannot be read."""
    return TrainSettings(
        **{row.name: getattr(settings, row.name) for row in fields(PictureParameters)},
        raised=raised(settings.recipes, find(IMAGES).recipes),
        weights_hash=content_hash(settings, "weights"),
        augmentations_hash=content_hash(settings, "augmentations"),
    )


def content_hash(settings: Settings, field: str) -> str:
    """Hash what a setting names, where that is a file or a folder; empty where it is something else.

    Raises TrainingError where it cannot be read.
    """
    path = settings.file_of(field)
    if not path:
        return ""
    hashed = partial(remembered_sha256, memory=settings.directory / "cache" / "hashes")
    return _hash(f"LABELLOOP_{field.upper()}", path, hashed)


def _hash(setting: str, path: str, hashed: Callable[[Path], str] = sha256) -> str:
    try:
        place = Path(path).expanduser()
        return _folder_hash(place, hashed) if setting == "LABELLOOP_ENCODER" else hashed(place)
    except OSError as error:
        raise TrainingError(f"{setting}: {path} cannot be read ({error.strerror}). {_EXPECTED[setting]}") from error


def _folder_hash(folder: Path, hashed: Callable[[Path], str]) -> str:
    """Hash the files of a folder by their names and contents; what lies deeper is no part of an encoder."""
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    told = "".join(f"{hashed(file)} {file.name}\n" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()


class Described(Protocol):
    """A bundle's description that names a network and its pictures."""

    @property
    def backbone(self) -> str:
        """The name of the network."""

    @property
    def picture(self) -> PictureSpec:
        """Its pictures."""


def recorded_settings(recorded: Json, bundle: Described) -> TrainSettings:
    """Give what a version was trained with: as its record holds it, else what its bundle tells.

    Weights that are not on this machine as they were then count as none.
    """
    known = {entry.name for entry in fields(TrainSettings)}
    held = {name: value for name, value in recorded.items() if name in known}
    if "backbone" not in held:
        size = max(bundle.picture.width, bundle.picture.height)
        return train_settings(Settings(backbone=bundle.backbone, weights="none", image_size=size))
    lists: Json = {name: tuple(held[name]) for name in ("recipes", "raised") if name in held}
    found = TrainSettings(**{**held, **lists})
    return found if _at_hand(found) else replace(found, weights="none", weights_hash="")


def _at_hand(settings: TrainSettings) -> bool:
    if not settings.weights_hash:
        return True
    try:
        return _hash("LABELLOOP_WEIGHTS", settings.weights) == settings.weights_hash
    except TrainingError:
        return False


def recorded(location: str) -> str:
    """Spell a location for a run's record and report: user, password, query and fragment of an address are hidden.

    Any of them may be a secret, such as a link's signature. Names of files and objects stay as they are.
    """
    match = _ADDRESS.fullmatch(location)
    if match is None:
        return location
    scheme, user, place, secret = match.groups()
    hidden = f"?{_HIDDEN}" if secret and scheme.lower().startswith("http") else secret
    return f"{scheme}{f'{_HIDDEN}@' if user else ''}{place}{hidden}"


def is_hidden(location: str) -> bool:
    """Whether ``recorded`` has taken something out of an address, so that it cannot be read as it stands."""
    match = _ADDRESS.fullmatch(location)
    return match is not None and (match[2] == f"{_HIDDEN}@" or match[4] == f"?{_HIDDEN}")
