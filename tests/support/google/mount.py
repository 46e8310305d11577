"""Buckets as a container of Vertex AI sees them below /gcs: a folder that is brought, and taken back as it changes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from labelloop.types import Json
from support.google.gcs import Objects

_BUCKETS = re.compile(r"(?:gs://|/gcs/)([a-z0-9][a-z0-9._-]+[a-z0-9])")
_GCS = re.compile(r"(?<![\w/.-])/gcs(?=/|$|\W)")


@dataclass
class Mount:
    """The folder that stands for /gcs in one container. Only what has changed since it was last looked at is taken."""

    folder: Path
    objects: Objects
    _seen: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def bring(self, request: Json | str) -> None:
        """Lay out the buckets that a job's request speaks of."""
        for bucket in dict.fromkeys(_BUCKETS.findall(str(request))):
            (self.folder / bucket).mkdir(parents=True, exist_ok=True)
            self.objects.bring(f"gs://{bucket}", self.folder / bucket)
        self._seen = {path: _state(path) for path in self._files()}

    def take(self) -> None:
        """Write to the buckets what was written here."""
        for path in self._files():
            try:
                state = _state(path)
                if self._seen.get(path) == state:
                    continue
                content = path.read_bytes()
            except FileNotFoundError:  # its program is writing still, or has thought better of it
                continue
            self.objects.write("gs://" + path.relative_to(self.folder).as_posix(), content)
            self._seen[path] = state
        for path in [one for one in self._seen if not one.exists()]:
            self.objects.delete("gs://" + path.relative_to(self.folder).as_posix())
            del self._seen[path]

    def below(self, text: str) -> str:
        """Write a path of the container as that of the folder that stands for it."""
        return _GCS.sub(str(self.folder), text)

    def _files(self) -> Iterable[Path]:
        return [path for path in sorted(self.folder.rglob("*")) if path.is_file()]


def _state(path: Path) -> tuple[int, int]:
    told = path.stat()
    return told.st_mtime_ns, told.st_size
