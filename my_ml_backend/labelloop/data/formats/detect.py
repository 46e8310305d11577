"""Tells a source's format by what it is: a folder, the first object of a file, or a table's header."""

import json
from collections.abc import Mapping
from pathlib import Path

from labelloop.data.formats.csv_table import columns_of
from labelloop.data.formats.labelloop import is_labelloop
from labelloop.data.formats.lines import opened
from labelloop.errors import ManifestError
from labelloop.types import Json

_FIRST_LINE = 1_000_000


def detect(path: Path, formats: Mapping[str, str]) -> str:
    """Name the format of a source; raises ManifestError listing the formats (name to what it is) and what was seen."""
    if path.is_dir():
        return "imagefolder"
    with opened(path) as file:
        first = file.readline(_FIRST_LINE).strip()
        while not first and (line := file.readline(_FIRST_LINE)):
            first = line.strip()
    found, seen = _by_line(first)
    if not found:
        known = "; ".join(f"{name}: {about}" for name, about in formats.items())
        raise ManifestError(f"{path} is of no known format: {seen}. Name the format, one of {known}")
    return found


def _by_line(first: str) -> tuple[str, str]:
    """Give the format, or what was seen instead."""
    if first.startswith("["):
        return "label-studio", ""
    if first.startswith("{"):
        return _by_object(first)
    try:
        columns_of(first)
    except ManifestError as error:
        return "", str(error) if first else "it is empty"
    return "csv", ""


def _by_object(first: str) -> tuple[str, str]:
    try:
        value: Json = json.loads(first)
    except (ValueError, RecursionError):
        return "", "it begins like JSON, but its first line is none"
    if "imageGcsUri" in value:
        return "vertex", ""
    if "source-ref" in value:
        return "augmented", ""
    if is_labelloop(value):
        return "labelloop", ""
    return "", f"its first line has the keys {', '.join(value)[:200]!r}"
