"""Files in the shapes that tools and clouds write: what they hold is read and counted right, or refused by its name."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from support.real_files import ROOT, check, count, expected, put_pictures

FOLDERS = sorted(file.parent for file in ROOT.rglob("expected.json"))
FILES = [(folder, name, row) for folder in FOLDERS for name, row in expected(folder).items()]
"""Every file, and every folder that is read as a whole, with what is to come of it."""

COUNTED = [one for one in FILES if "items" in one[2]]


def _ids(files: list[tuple[Path, str, dict[str, Any]]]) -> list[str]:
    return [f"{folder.relative_to(ROOT)}/{name}" for folder, name, _ in files]


@pytest.mark.parametrize(("folder", "name", "row"), FILES, ids=_ids(FILES))
def test_it_is_read_and_counted_or_refused_by_its_kind(
    folder: Path, name: str, row: dict[str, Any], tmp_path: Path
) -> None:
    if "pictures" not in row:
        check(folder / name, row)
        return
    top = name.partition("/")[0]
    if (folder / top).exists():
        shutil.copytree(folder / top, tmp_path / top)
    put_pictures(tmp_path / top, row)
    check(tmp_path / name, row)


@pytest.mark.parametrize(("folder", "name", "row"), COUNTED, ids=_ids(COUNTED))
def test_the_counts_beside_it_are_right(folder: Path, name: str, row: dict[str, Any]) -> None:
    if row["labels"]:
        items, labels = count(folder / name)
        assert (items, labels) == (row["items"], Counter(row["labels"]))
