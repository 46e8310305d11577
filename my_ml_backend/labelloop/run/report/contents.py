"""What a section of the report is, and what a run's folder holds for it: any of it may be missing, or cut short."""

import base64
import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from labelloop import pictures
from labelloop.errors import StoreError, Unreadable
from labelloop.run.folder import RunFolder
from labelloop.run.scoring import Scored
from labelloop.run.search.search_folder import SearchFolder
from labelloop.types import Json

THUMBNAIL = 160
"""Pixels of a thumbnail's longer side."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report: ``name`` is its template and anchor, ``tells`` one sentence on what to make of it.

    ``view`` is what the template shows: plain values, numbers already formatted.
    """

    name: str
    title: str
    tells: str
    view: dict[str, Any] = field(default_factory=dict)


MOST_BYTES = 4_000_000
"""Bytes of all pictures in one report, as text; what comes after is left out and counted."""

_MOST_READ = 20_000_000
"""Bytes of one file that is opened at all."""


@dataclass
class Inline:
    """Hands out data URIs until ``most`` bytes are spent; ``left_out`` counts what had no room."""

    most: int = MOST_BYTES
    spent: int = 0
    left_out: int = 0

    def uri(self, path: Path, width: int) -> str:
        """Give a picture file as a data URI, at most ``width`` pixels wide and high; empty where it cannot be.

        Every picture is decoded and written anew, so that nothing but pixels comes into the file.
        """
        if not path.is_file() or path.stat().st_size > _MOST_READ:
            return ""
        try:
            text = _encoded(path.read_bytes(), width)
        except (Unreadable, OSError):
            return ""
        if self.spent + len(text) > self.most:
            self.left_out += 1
            return ""
        self.spent += len(text)
        return text


def _encoded(content: bytes, width: int) -> str:
    image = pictures.decode(content)
    image.thumbnail((width, width), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


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

    @property
    def item(self) -> str:
        """What the kind calls an input; it was a picture before others were learned."""
        return str(self.data.get("item") or "picture")

    @property
    def items(self) -> str:
        """Several of them."""
        return f"{self.item}s"

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
