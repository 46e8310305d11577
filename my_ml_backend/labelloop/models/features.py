"""A project's features in the store: what a frozen backbone says of each picture, taken once, in half precision.

They are found by the sha256 of the picture and the hash of the backbone, whoever took them. A head is trained, judged
and asked by a product with them; no picture is opened for that.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from labelloop.files import is_sha256
from labelloop.models.file_store import FileStore
from labelloop.models.records import readable_record
from labelloop.models.row_shard import packed
from labelloop.models.row_shards import RowShards
from labelloop.models.store import Store
from labelloop.settings import Settings
from labelloop.types import ProjectKey

Rows = npt.NDArray[np.float32]

_LARGEST = float(np.finfo(np.float16).max)

SIDES = ("straight", "mirrored")
"""Features of pictures, and of their mirror images: folders of a backbone's."""


class Features:
    """The features of a project's pictures by one backbone (its hash): ``width`` numbers each.

    ``cache`` is the folder of this machine, usually ``MODEL_DIR/cache/features``, where copies of what lies in the
    store are kept. Every method raises StoreError. Not to be shared between threads.
    """

    def __init__(self, store: Store, project: ProjectKey | None, backbone: str, width: int, cache: Path) -> None:
        self.backbone, self.width = backbone, width
        place, row = f"{features_of(project)}{backbone}/", ("<f2", (width,))
        self._sides = {side: RowShards(store, f"{place}{side}/", cache / place / side, row) for side in SIDES}

    @classmethod
    def beside(cls, folder: Path, backbone: str, width: int) -> Self:
        """Keep them in a folder of this machine alone, where no project has a store."""
        return cls(FileStore(folder), None, backbone, width, folder / "opened")

    def rows(self, contents: Sequence[str], *, mirrored: bool = False) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Give the features of pictures (sha256, hex): float32 (n, width), and which are at hand: bool, (n,).

        Rows that are not are zeros. With ``mirrored`` those of the mirror images.
        """
        rows, found = self._of(mirrored).find(contents)
        found &= np.isfinite(rows).all(axis=1)
        return rows.astype(np.float32), found

    def asked(self, contents: Sequence[str], *, flips: bool) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Give what a head answers for, as ``rows`` does: with ``flips`` the mean of picture and mirror image."""
        rows, there = self.rows(contents)
        if not flips:
            return rows, there
        mirrored, also = self.rows(contents, mirrored=True)
        return np.asarray((rows + mirrored) / 2, dtype=np.float32), there & also

    def keep(self, contents: Sequence[str], rows: npt.NDArray[np.floating], *, mirrored: bool = False) -> None:
        """Keep features of pictures, as ``rounded`` gives them."""
        self._of(mirrored).add(contents, rounded(rows).astype("<f2"))

    def _of(self, mirrored: bool) -> RowShards:
        return self._sides["mirrored" if mirrored else "straight"]


OpenFeatures = Callable[[str, int], Features]
"""Opens the features by a backbone, from its hash and width."""


def feature_folder(settings: Settings) -> Path:
    """Say where copies of projects' features, and of what their tasks show, are kept on this machine."""
    return settings.directory / "cache" / "features"


def rounded(rows: npt.NDArray[np.floating]) -> Rows:
    """Give features as they are read back: half precision, at most 65,504."""
    return np.clip(rows, -_LARGEST, _LARGEST).astype(np.float16).astype(np.float32)


def features_of(project: ProjectKey | None) -> str:
    """Give the prefix of a project's features in the store; without one, of those on this machine alone."""
    return f"{project}/features/" if project else "features/"


def backbones(store: Store, project: ProjectKey | None) -> list[str]:
    """Name the backbones (hashes) whose features a project has; raises StoreError."""
    return [name for name in store.names(features_of(project)) if is_sha256(name)]


def count_features(store: Store, project: ProjectKey, contents: Collection[str], cache: Path) -> int:
    """Count the rows that ``remove_features`` would remove. Raises StoreError."""
    return sum(
        int(np.isin(shard.keys, packed(sorted(contents))).sum())
        for shards in (_all_shards(store, project, cache) if contents else ())
        for shard in shards.shards()
    )


def remove_features(store: Store, project: ProjectKey | None, contents: Collection[str], cache: Path) -> int:
    """Remove the features of pictures (sha256, hex) by all backbones; gives how many rows that were. Raises StoreError.

    ``cache`` as for Features.
    """
    gone = packed(sorted(contents))
    opened = _all_shards(store, project, cache) if contents else ()
    return sum(shards.remove(lambda shard: np.isin(shard.keys, gone)) for shards in opened)


def remove_features_beside(folder: Path, contents: Collection[str]) -> int:
    """Remove those that ``Features.beside`` keeps in a folder, as ``remove_features`` does."""
    return remove_features(FileStore(folder), None, contents, folder / "opened")


@dataclass(frozen=True, slots=True)
class Taken:
    """``features/taken.json``: how far the features of a project are taken.

    ``kind`` is what is learned, empty for nothing; ``named`` by which settings features are taken of that, empty for
    none (Kind.featured), ``backbone`` and ``width`` what came of them. Of all tasks up to the number ``after``,
    ``done`` in all, they were taken, or could not be: ``failing`` maps some of the ``failed`` to the reason, which were
    looked at last ``at`` (Unix seconds). ``tasks`` is how many the project had when all were done. ``kept`` is how many
    bytes of pictures were kept on the way.
    """

    kind: str = ""
    named: str = ""
    backbone: str = ""
    width: int = 0
    after: int = 0
    done: int = 0
    tasks: int = -1
    failed: int = 0
    failing: dict[str, str] = field(default_factory=dict)
    at: float = 0.0
    kept: int = 0


def taken_path(project: ProjectKey) -> str:
    """Say where it lies how far the features of a project are taken."""
    return f"{features_of(project)}taken.json"


def read_taken(store: Store, project: ProjectKey) -> Taken:
    """Read how far the features of a project are taken; what is damaged counts as not begun. Raises StoreError."""
    return readable_record(store, taken_path(project), Taken) or Taken()


def _all_shards(store: Store, project: ProjectKey | None, cache: Path) -> Iterator[RowShards]:
    """Open the shards of all backbones and sides, whatever their width."""
    for backbone in backbones(store, project):
        for side in SIDES:
            place = f"{features_of(project)}{backbone}/{side}"
            yield RowShards(store, f"{place}/", cache / place, None)
