"""A run that a loop has handed over to a training elsewhere: how its labels are known and read there, how far it is."""

import json
import logging
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from labelloop.cloud.places import MANIFEST, SHARDS, SIDES
from labelloop.data import shards
from labelloop.data.picture_cache import PictureCache
from labelloop.errors import Damaged
from labelloop.run.container import Container, mounted
from labelloop.run.context import Labeled, write_json
from labelloop.run.folder import RunFolder
from labelloop.run.source import Source

_log = logging.getLogger(__name__)

_FORM = re.compile(r"(s3|gs)://[^/]+/.+/source/[^/]+/")

_EVERY_SECONDS = 15.0
"""How often it is told how far a run is: each time an object is written, which Cloud Storage takes once a second."""


def is_handed_over(location: str) -> bool:
    """Whether a location is that of labels which a loop has handed over, by its form (cloud/places.py)."""
    return _FORM.fullmatch(location) is not None


def mounted_source(container: Container, folder: RunFolder, location: str, cache: PictureCache) -> Source | None:
    """Give what reads the labels, and their pictures, of a location whose bucket is mounted; None for another one."""
    if container.mount is None or not is_handed_over(location):
        return None
    mount, place = container.mount, mounted("train_location", location, container.mount)
    if not (place / SHARDS).is_file():
        return None

    def read(_: object) -> Labeled:
        for name in (MANIFEST, SIDES):
            shutil.copyfile(place / name, folder.path / name)
        prefix, names = _listed(place / SHARDS)
        held = sum(shards.unpack(mounted(SHARDS, prefix, mount) / name, cache) for name in names)
        _log.info("%d pictures from %d shards", held, len(names))
        return Labeled.read(folder)

    return read


def _listed(path: Path) -> tuple[str, list[str]]:
    """Read a list of shards: the address of their folder, and their names; raises Damaged."""
    try:
        prefix, *names = json.loads(path.read_bytes())
        return str(prefix["prefix"]), [str(name) for name in names]
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged(f"{path} is no list of shards ({error!r}): begin the run's training anew") from error


@dataclass
class Progress:
    """Tells ``reporter`` how far a run is, and, every 15 s, a file that whoever has begun the job reads."""

    reporter: Callable[[str, int, int], None]
    path: Path
    clock: Callable[[], float] = time.monotonic
    _stage: str = ""
    _due: float = field(default=0.0)

    def stage(self, name: str) -> None:
        """Say that a stage begins."""
        self._stage, self._due = name, 0.0
        self(name, 0, 0)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say how much of something is done; a file that cannot be written is no reason to fail."""
        self.reporter(what, done, total)
        if (now := self.clock()) < self._due:
            return
        self._due = now + _EVERY_SECONDS
        try:
            write_json(self.path, {"stage": self._stage, "what": what, "done": done, "total": total})
        except OSError as error:
            _log.warning("%s cannot be written: %s", self.path, error.strerror or error)
