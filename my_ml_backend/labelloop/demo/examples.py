"""The demo's examples: inputs whose truth is known, some to be shown to annotators, others held out to measure."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labelloop.data.formats.listings import read_listing
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError, SettingsError
from labelloop.kinds.base import find
from labelloop.regions import read_regions
from labelloop.sources.urls import local_file
from labelloop.types import IMAGES, Choice, Region

_LEAST_TESTS = 500
_SHARE_OF_TESTS = 0.3


@dataclass(frozen=True, slots=True)
class Example:
    """One input, a picture's ``path`` or a ``text``, and what is true: the ``labels`` of the whole, or ``regions``."""

    path: Path | None = None
    labels: tuple[str, ...] = ()
    text: str = ""
    regions: tuple[Region, ...] = ()

    @property
    def content(self) -> bytes:
        """The picture's bytes."""
        if self.path is None:
            raise ValueError("it is a text")
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True)
class Examples:
    """``shown`` go to Label Studio, in this order; ``held_out`` never do: they measure the promoted versions.

    ``kind`` is what is learned of them. ``remarks`` say what of a source is no example.
    """

    classes: tuple[str, ...]
    shown: tuple[Example, ...]
    held_out: tuple[Example, ...]
    kind: str = IMAGES
    choice: Choice = "single"
    remarks: tuple[str, ...] = ()

    @classmethod
    def drawn(cls, classes: Sequence[str], examples: Iterable[Example], seed: int, tasks: int, kind: str) -> Self:
        """Show ``tasks`` of the examples, chosen by ``seed``, and hold the others out."""
        found = list(examples)
        random.Random(seed).shuffle(found)
        return cls(tuple(classes), tuple(found[:tasks]), tuple(found[tasks:]), kind)

    @classmethod
    def read(cls, data: Path, tests: Path | None, seed: int, least: int = 1) -> Self:
        """Read a list or a folder of any format that ``labelloop data`` knows; its files are on this machine.

        Held out are ``tests``, else what it says is its test side, else 500 or 30 % of it. Raises SettingsError for
        what cannot be read, and for fewer than ``least`` examples to be shown.
        """
        listing = _listing("--data", data)
        examples = {one: _example(one, data) for one in listing.records}
        random.Random(seed).shuffle(order := list(examples))
        if tests is not None:
            held_out = _tests(listing, tests)
            shown = list(examples.values())
            random.Random(seed).shuffle(shown)
        else:
            named = [one for one in order if one.side == "test"]
            held = named or order[: min(_LEAST_TESTS, round(_SHARE_OF_TESTS * len(order)))]
            taken = {one.task for one in held}
            held_out = [examples[one] for one in held]
            shown = [examples[one] for one in order if one.task not in taken]
        if len(shown) < least:
            raise SettingsError(
                f"--data {data}: {len(order)} {find(listing.kind).item}s, of which {len(shown)} are shown and the rest "
                f"held out to measure; a first version needs {least} (LABELLOOP_MIN_LABELS)"
            )
        left_out = [f"{one.reason}" for one in listing.left_out[:3]]
        more = [f"{len(listing.left_out)} entries are no examples, such as: {'; '.join(left_out)}"] if left_out else []
        return cls(
            listing.classes,
            tuple(shown),
            tuple(held_out),
            listing.kind,
            listing.choice,
            (*listing.remarks, *more),
        )


def _listing(option: str, place: Path) -> Listing:
    try:
        return read_listing(place)
    except ManifestError as error:
        raise SettingsError(f"{option} {place}: {error}") from error


def _tests(listing: Listing, tests: Path) -> list[Example]:
    other = _listing("--test-data", tests)
    if other.kind != listing.kind:
        raise SettingsError(f"--test-data {tests} is for {other.kind}, and --data for {listing.kind}")
    known = set(listing.classes)
    found = [_example(one, tests) for one in other.records if set(one.labels) <= known]
    if not found:
        raise SettingsError(f"--test-data {tests}: none of its labels is one of {', '.join(listing.classes)}")
    return found


def _example(record: Record, source: Path) -> Example:
    regions = read_regions(record.result) if record.result else ()
    if record.text:
        return Example(None, record.labels, record.text, regions)
    path = local_file(record.uri)
    if path is None or not path.is_file():
        raise SettingsError(f"{source}: {record.uri} is no file on this machine")
    return Example(path, record.labels, "", regions)
