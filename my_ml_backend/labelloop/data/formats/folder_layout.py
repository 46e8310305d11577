"""What the folders above labeled pictures are: sides, classes, or the wrapping of an archive."""

import os
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labelloop.data.classes import Find
from labelloop.data.formats.entries import FILLERS, side_and_rest, side_named
from labelloop.errors import ManifestError
from labelloop.types import Side

Parts = tuple[str, ...]
"""The names of a path, from the outermost folder on."""


def files_below(root: Path) -> Iterator[str]:
    """Give the names of all files below a folder, relative to it; hidden folders are not looked into."""
    for where, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(where, root)
        start = "" if below == "." else f"{below}/"
        yield from (f"{start}{name}" for name in files)


@dataclass(frozen=True, slots=True)
class FolderLayout:
    """The folders of a source: those ``inside`` each, those that pictures lie in, and whether a name is a known class.

    The homes of classes are the folders that theirs lie in: those of the sides, else the source itself. A folder that
    is the only one there and holds nothing but folders is a wrapping of an archive, and none of these.
    """

    source: str
    inside: Mapping[Parts, Mapping[str, None]]
    pictured: Set[Parts]
    find: Find

    @classmethod
    def of(cls, source: str, folders: Set[Parts], pictured: Set[Parts], find: Find) -> Self:
        """Read it off all folders, and those that pictures lie in; raises ManifestError where there are none."""
        inside: dict[Parts, dict[str, None]] = {}
        for folder in sorted(folders):
            for depth, name in enumerate(folder):
                inside.setdefault(folder[:depth], {})[name] = None
        if not inside:
            raise ManifestError(f"{source} has no folders; an ImageFolder has one for each class")
        return cls(source, inside, pictured, find)

    def homes(self) -> dict[Parts, Side | None]:
        """Map the homes of classes to their sides; raises ManifestError for sides and classes side by side."""
        at: Parts = ()
        while not (sides := self._sides(at)) and (only := self._only(at)) and self.find(only) is None:
            at = (*at, only)
        return {self._within((*at, name)): side for name, side in sides.items()} or {at: None}

    def are_sides_within(self, homes: Mapping[Parts, Side | None]) -> bool:
        """Whether every class has folders for sides, and nothing beside them, as in ``cat/train/1.jpg``."""
        classes = [(*home, name) for home, side in homes.items() if side is None for name in self.inside.get(home, ())]
        return bool(classes) and all(
            one not in self.pictured and one in self.inside and all(map(side_named, self.inside[one]))
            for one in classes
        )

    def remarks(self, homes: Mapping[Parts, Side | None]) -> tuple[str, ...]:
        """Say so where a folder could have been meant as the only class."""
        return tuple(
            f"{'/'.join(home)!a} is the only folder of {self.source}: those in it are taken as the classes"
            for home, side in homes.items()
            if home and side is None
        )

    def _sides(self, at: Parts) -> dict[str, Side]:
        """Map the folders that are sides to them. They hold folders; what else is called like a side has no classes.

        All of them may have a word in common, as ``seg_train`` and ``seg_test`` have.
        """
        tops = list(self.inside.get(at, ()))
        found = {name: meant for name in tops if (meant := side_and_rest(name)) is not None}
        common = len(found) == len(tops) > 1 and len({rest for _, rest in found.values()}) == 1
        sides = {name: side for name, (side, rest) in found.items() if common or not rest}
        deep = {name: side for name, side in sides.items() if (*at, name) in self.inside}
        others = [name for name in tops if name not in sides]
        if deep and others:
            if all(self.find(name) is not None for name in tops):
                return {}
            raise ManifestError(
                f"{self.source} has folders for sides ({', '.join(deep)}) and others beside them "
                f"({', '.join(others[:5])}): move the classes below a side, or the others away. "
                "If all of them are classes, name these (--classes)"
            )
        return deep

    def _only(self, at: Parts) -> str:
        """Give the folder that wraps all others, if there is one."""
        names = list(self.inside[at])
        wraps = len(names) == 1 and at not in self.pictured and (*at, names[0]) not in self.pictured
        return names[0] if wraps and (*at, names[0]) in self.inside else ""

    def _within(self, side: Parts) -> Parts:
        """Give the home of a side's classes: an archive may name the side twice, or wrap it in ``images``."""
        only = self._only(side)
        means_nothing = bool(only) and (only == side[-1] or only.lower() in FILLERS or side_named(only) is not None)
        return self._within((*side, only)) if means_nothing else side
