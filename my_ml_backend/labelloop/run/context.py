"""What every stage is given: the run's folder, the settings, this machine's caches, and whom to tell of progress."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from labelloop.data.cache import PictureCache
from labelloop.data.manifest import Manifest
from labelloop.errors import StoreError
from labelloop.run.folder import RunFolder
from labelloop.run.train_settings import train_settings
from labelloop.settings import Settings
from labelloop.types import Json, Progress, Side, TrainSettings


@dataclass(frozen=True)
class Context:
    """One run as its stages see it; what earlier stages wrote is read when first asked for."""

    folder: RunFolder
    settings: Settings
    progress: Progress

    @property
    def pictures(self) -> PictureCache:
        """The pictures on this machine."""
        return PictureCache(self.settings.directory / "cache" / "pictures")

    @property
    def caches(self) -> Path:
        """Where pixels, features and exported backbones of all runs are kept."""
        return self.settings.directory / "cache" / "train"

    @cached_property
    def training(self) -> TrainSettings:
        """What training takes from the settings."""
        return train_settings(self.settings)

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest; raises StoreError when there is none, or a damaged one."""
        return Manifest.from_jsonl(read_text(self.folder.manifest, "fetch"))

    @cached_property
    def named_sides(self) -> dict[str, Side]:
        """The sides that the source named, by picture."""
        sides: dict[str, Side] = self._sides["sides"]
        return sides

    @property
    def moved(self) -> list[Json]:
        """Tasks whose picture the source put on another side as well: ``task`` and ``reason``."""
        moved: list[Json] = self._sides["moved"]
        return moved

    @cached_property
    def _sides(self) -> Json:
        return read_json(self.folder.sides, "fetch")


def read_text(path: Path, stage: str) -> str:
    """Read what a stage wrote; raises StoreError naming that stage when it is not there."""
    try:
        return path.read_text()
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read ({error.strerror}): run the {stage} stage of this run first"
        ) from error


def read_json(path: Path, stage: str) -> Json:
    """Read a JSON object that a stage wrote; raises StoreError."""
    try:
        found: Json = json.loads(read_text(path, stage))
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}): remove it and run the {stage} stage again") from error
    return found


def write_json(path: Path, value: object) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.partial")
    aside.write_text(text)
    aside.replace(path)
