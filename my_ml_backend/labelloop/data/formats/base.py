"""What a format is, and what may be said about a source that the source does not say itself."""

from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labelloop.data.listing import Listing
from labelloop.types import Choice

Carried = Literal[
    "sides", "several labels", "task ids", "hashes", "left out", "classes", "names", "texts", "kind", "results"
]
"""What a format may be able to carry beside an address and a label."""


@dataclass(frozen=True, slots=True)
class Hints:
    """What is known of a source from elsewhere; all of it may be left to the source.

    ``label_attribute`` names what holds the labels: an augmented manifest's attribute, a control tag, a column;
    ``picture_field`` the field or column of the address. ``separator`` parts the labels in one cell of a table.
    ``choice`` and ``classes`` are believed where they are given.
    """

    label_attribute: str = ""
    picture_field: str = ""
    separator: str = ""
    choice: Choice | None = None
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """One format. ``read`` takes a local path, hints, and the base that relative addresses are relative to.

    ``write`` takes a listing that holds only what the format carries. Both raise ManifestError, whatever they find.
    ``suffix`` ends the names of its files; of folders it is empty.
    """

    name: str
    about: str
    carries: Set[Carried]
    read: Callable[[Path, Hints, str], Listing]
    write: Callable[[Listing, Path, Hints], None]
    suffix: str = ".jsonl"
