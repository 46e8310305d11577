"""What a run's folder holds for its report: any of it may be missing, or cut short."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from labelloop.errors import StoreError
from labelloop.run.folder import RunFolder
from labelloop.run.report.inline import Inline
from labelloop.run.scoring import Scored
from labelloop.run.search.folder import SearchFolder
from labelloop.types import Json

THUMBNAIL = 160
"""Pixels of a thumbnail's longer side."""


@dataclass
class Files:
    """Reads a run's files, each once; ``unreadable`` collects the names of those that are damaged."""

    folder: RunFolder
    pictures: Inline = field(default_factory=Inline)
    unreadable: list[str] = field(default_factory=list)

    @cached_property
    def verdict(self) -> Json:
        """``verdict.json``; empty where it is missing, like all that follow."""
        return self._object(self.folder.verdict)

    @cached_property
    def data(self) -> Json:
        """``data.json``."""
        return self._object(self.folder.data)

    @cached_property
    def trained(self) -> Json:
        """``train.json``."""
        return self._object(self.folder.trained)

    @cached_property
    def record(self) -> Json:
        """``run.json``."""
        return self._object(self.folder.record)

    @cached_property
    def metrics(self) -> Json:
        """``evaluation/metrics.json``."""
        return self._object(self.folder.metrics)

    @cached_property
    def bundle(self) -> Json:
        """``bundle/model.json``."""
        return self._object(self.folder.bundle / "model.json")

    @cached_property
    def search(self) -> Json:
        """``search/search.json``."""
        return self._object(SearchFolder(self.folder).result)

    @cached_property
    def tested(self) -> Scored | None:
        """``evaluation/predictions.npz``; None where it is missing."""
        if not self.folder.predictions.is_file():
            return None
        try:
            return Scored.read(self.folder.predictions)
        except StoreError:
            self.unreadable.append(self.folder.predictions.name)
            return None

    @cached_property
    def classes(self) -> list[str]:
        """The classes, in the label config's order."""
        return list(self.metrics.get("classes") or self.data.get("classes") or [])

    @cached_property
    def task_of(self) -> dict[str, int]:
        """The task of each test picture."""
        if self.tested is None:
            return {}
        return dict(zip(self.tested.pictures, self.tested.tasks.tolist(), strict=True))

    def evaluation(self, name: str) -> Any:
        """Read a JSON file of ``evaluation/``; None where it is missing."""
        return self._json(self.folder.evaluation / name)

    def picture(self, name: str, width: int) -> str:
        """Give a picture of ``evaluation/`` as a data URI of at most ``width`` pixels; empty where there is none."""
        path = (self.folder.evaluation / name).resolve()
        if not path.is_relative_to(self.folder.evaluation.resolve()):
            return ""
        return self.pictures.uri(path, width)

    def thumbnail(self, picture: str) -> str:
        """Give the thumbnail of a picture (sha256); empty where there is none."""
        return self.picture(f"thumbnails/{picture}.jpg", THUMBNAIL)

    def _object(self, path: Path) -> Json:
        found = self._json(path)
        return found if isinstance(found, dict) else {}

    def _json(self, path: Path) -> Any:
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_bytes(), parse_constant=_nothing)
        except (OSError, ValueError):
            self.unreadable.append(path.name)
            return None


def _nothing(text: str) -> None:
    """Read what is no number as what it means here: not measured."""
