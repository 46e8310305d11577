"""One object of a file that is read, and the checks of what it must hold."""

import re
from dataclasses import dataclass
from pathlib import Path

from labelloop.data.formats.addresses import resolve
from labelloop.errors import ManifestError
from labelloop.types import Json, Side

_SHA256 = re.compile(r"[0-9a-f]{64}")

_SIDES: dict[str, Side] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def side_named(text: str) -> Side | None:
    """Give the side that a word means, in any of its usual spellings; None for a word that means none."""
    return _SIDES.get(text.strip().lower())


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a file; ``number`` counts its lines or elements from 1."""

    source: Path
    number: int
    values: Json
    unit: str = "line"

    def wrong(self, what: str) -> ManifestError:
        """Make an error that says where it is."""
        return ManifestError(f"{self.source}, {self.unit} {self.number}: {what}")

    def text(self, key: str) -> str:
        """Take a text that must be there; raises ManifestError."""
        value = self.values.get(key)
        if not isinstance(value, str):
            raise self.wrong(f"{key!r} must be a text")
        return value

    def task(self, key: str) -> int | None:
        """Take a task id, None where there is none; raises ManifestError for anything but a number from 1 on."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**63:
            raise self.wrong(f"{key!r} must be a whole number from 1 on")
        return value

    def address(self, address: str, base: str) -> str:
        """Make an address whole; raises ManifestError (see ``resolve``)."""
        try:
            return resolve(address, base)
        except ManifestError as error:
            raise self.wrong(str(error)) from error

    def picture(self, value: object) -> str:
        """Read the sha256 of a picture, empty for none; raises ManifestError."""
        if value is None or value == "":
            return ""
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            raise self.wrong(f"{str(value)[:80]!r} is no sha256 in hexadecimal small letters")
        return value

    def side(self, text: object) -> Side | None:
        """Read the name of a side, None for none; raises ManifestError for one that is unknown."""
        if text is None or text == "":
            return None
        found = side_named(text) if isinstance(text, str) else None
        if found is None:
            raise self.wrong(f"{str(text)[:60]!r} is no side; expected train, validation or test")
        return found
