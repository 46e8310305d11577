"""``run.json``: what a run was asked for, what it ran on, and which of its stages are done."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from labelloop.errors import SettingsError, StoreError
from labelloop.models.records import now
from labelloop.run.context import write_json
from labelloop.run.folder import RunFolder
from labelloop.run.packages import commit, machine, packages
from labelloop.settings import Settings


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The record of one run folder.

    ``parameters`` are spelled as on the command line, ``command`` repeats the run. ``stages`` maps every stage that is
    done to the hash of all it was made from; ``seconds`` maps it to its duration. ``key`` names the run by manifest,
    settings and seed, once the manifest is known.
    """

    created: str
    parameters: Mapping[str, str]
    command: str = ""
    key: str = ""
    manifest: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    git: str = ""
    device: str = ""
    peak_memory_bytes: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, parameters: Mapping[str, str]) -> Self:
        """Begin a record on this machine, now."""
        return cls(
            created=now(),
            parameters=dict(parameters),
            packages=packages(),
            machine=machine(),
            git=commit(),
        )

    @classmethod
    def read(cls, folder: RunFolder) -> Self | None:
        """Read a folder's record; None where there is none yet. Raises StoreError when it is damaged."""
        try:
            return cls(**json.loads(folder.record.read_text())).checked()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(f"{folder.record} is damaged ({error}): begin the run in another folder") from error

    def checked(self) -> Self:
        """Give this record; raises TypeError where its parts are not what they should be."""
        if not all(isinstance(held, dict) for held in (self.parameters, self.seconds, self.stages)):
            raise TypeError("parameters, seconds and stages must be objects")
        return self

    def write(self, folder: RunFolder) -> Self:
        """Write the record and give it back."""
        write_json(folder.record, asdict(self))
        return self

    def agreeing(self, given: Mapping[str, str]) -> Self:
        """Give this record, with parameters that it has not yet; raises SettingsError where it has another value.

        Until a stage is done they may still be corrected.
        """
        for name, value in given.items():
            held = self.parameters.get(name, value)
            if held != value and self.stages:
                raise SettingsError(
                    f"this run has {name}={held}, and now {name}={value} is asked for: "
                    "leave it out to go on with the run, or begin another one in another folder"
                )
        parameters = {**self.parameters, **given}
        return replace(self, parameters=parameters)


def command(parameters: Mapping[str, str], settings: Settings) -> str:
    """Spell the command line that makes a run again, in any working directory of this machine, as a shell reads it.

    Every parameter is spelled out; of the other settings those that the run needs and that are not the built-in ones
    are variables before it. Nothing is registered: the version is already there.
    """
    needed = {entry.metadata["name"]: getattr(settings, entry.name) for entry in fields(settings) if _counts(entry)}
    differing = {name: str(value) for name, value in needed.items() if value != _BUILT_IN[name]}
    if "MODEL_DIR" in differing:
        differing["MODEL_DIR"] = str(settings.directory)
    spelled = {name: _absolute(name, value) for name, value in parameters.items() if value}
    words = (f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in spelled.items())
    variables = (f"{name}={shlex.quote(value)}" for name, value in differing.items())
    return " ".join((*variables, "labelloop train --run RUN --no-register", *words))


_NEEDED = ("MODEL_DIR", "LABELLOOP_TRAINER", "LABELLOOP_MIN_LABELS", "LABELLOOP_ALLOW_PRIVATE_ADDRESSES")
_BUILT_IN = {entry.metadata["name"]: entry.default for entry in fields(Settings)}
_FILES = ("train_location", "validation_location", "test_location", "weights", "augmentations")


def _counts(entry: "Field[Any]") -> bool:
    return entry.metadata["name"] in _NEEDED


def _absolute(name: str, value: str) -> str:
    """Spell a file's path so that it holds in every working directory; addresses and names stay."""
    if name not in _FILES or "://" in value or (name in ("weights", "augmentations") and not Path(value).is_file()):
        return value
    return str(Path(value).expanduser().absolute())
