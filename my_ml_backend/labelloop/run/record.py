"""``run.json``: what a run was asked for, what it ran on, and which of its stages are done."""

import json
import platform
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from labelloop.errors import SettingsError, StoreError
from labelloop.files import cores
from labelloop.models.records import now
from labelloop.run.context import write_json
from labelloop.run.folder import RunFolder
from labelloop.settings import Settings

_PACKAGES = (
    "labelloop",
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "albumentations",
    "numpy",
    "pillow",
    "scikit-learn",
    "onnx",
    "onnxruntime",
)


_GIT_SECONDS = 5


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
            machine=describe_machine(),
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
    names = (*_NEEDED, *_OF_CLOUDS.get(settings.trainer.partition("-")[0], ()))
    rows = {entry.metadata["name"]: getattr(settings, entry.name) for entry in fields(settings)}
    needed = {name: value for name, value in rows.items() if name in names}
    differing = {name: str(value) for name, value in needed.items() if value != _BUILT_IN[name]}
    if "MODEL_DIR" in differing:
        differing["MODEL_DIR"] = str(settings.directory)
    spelled = {name: _absolute(name, value) for name, value in parameters.items() if value}
    words = (f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in spelled.items())
    variables = (f"{name}={shlex.quote(value)}" for name, value in differing.items())
    return " ".join((*variables, "labelloop train --run RUN --no-register", *words))


_NEEDED = ("MODEL_DIR", "LABELLOOP_TRAINER", "LABELLOOP_MIN_LABELS", "LABELLOOP_ALLOW_PRIVATE_ADDRESSES")

_OF_CLOUDS = {
    "sagemaker": ("LABELLOOP_AWS_ROLE", "LABELLOOP_AWS_LOCATION"),
    "vertex": (
        "LABELLOOP_GOOGLE_FOLDER",
        "LABELLOOP_GOOGLE_TRAINING_IMAGE",
        "LABELLOOP_GOOGLE_SERVICE_ACCOUNT",
    ),
}
"""Those that a training in a cloud needs beside, by how its address begins."""

_BUILT_IN = {entry.metadata["name"]: entry.default for entry in fields(Settings)}


_FILES = ("train_location", "validation_location", "test_location", "weights", "augmentations")


def _absolute(name: str, value: str) -> str:
    """Spell a file's path so that it holds in every working directory; addresses and names stay."""
    if name not in _FILES or "://" in value or (name in ("weights", "augmentations") and not Path(value).is_file()):
        return value
    return str(Path(value).expanduser().absolute())


def packages() -> dict[str, str]:
    """Give the versions of what has a part in the result; what is not installed is left out."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Give the commit that this code was checked out at, with ``+changes`` where files differ; empty outside of git."""
    git, here = shutil.which("git"), Path(__file__).parent
    if git is None:
        return ""
    head = _git(git, here, "rev-parse", "HEAD")
    changed = head and _git(git, here, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{head}+changes" if changed else head


def describe_machine() -> dict[str, str | int]:
    """Describe Python and machine in a few words."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
    }


def peak_memory() -> int:
    """Give the most memory that this process, or one of its ended children, has held: bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _git(git: str, folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [git, "-C", str(folder), *arguments], capture_output=True, text=True, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
