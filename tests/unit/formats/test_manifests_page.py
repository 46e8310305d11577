"""Every example on the page of manifests is read as the page says, and its table says what formats carry."""

import re
from pathlib import Path

import pytest

from labelloop.data.formats import FORMATS, read_listing
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS
from support.real_files import PIXEL

PAGE = (Path(__file__).parents[3] / "docs/manifests.md").read_text()
SECTION = PAGE.partition("## The formats")[2].partition("## What is not read")[0]
BLOCKS = [
    (name, re.sub("^    ", "", block, flags=re.MULTILINE))
    for name, text in re.findall(r"^\*\*`(\S+)`\*\*(.*?)(?=^\*\*`|\Z)", SECTION, re.DOTALL | re.MULTILINE)
    for block in re.findall(r"(?:^    \S.*\n(?:^     ?\S.*\n)*)+", text, re.MULTILINE)
]
KINDS = (IMAGES, TEXTS, SPANS, BOXES)


def test_each_format_has_an_example() -> None:
    assert {name for name, _ in BLOCKS} == FORMATS.keys() - {"imagefolder", "label-studio"}
    assert len(BLOCKS) == 18


@pytest.mark.parametrize(("name", "example"), BLOCKS, ids=[f"{name}-{at}" for at, (name, _) in enumerate(BLOCKS)])
def test_an_example_is_recognised_and_read(name: str, example: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    if name == "yolo":
        for file, text in (("classes.txt", "cat\n"), ("labels/1.txt", example), ("images/1.jpg", "")):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_bytes(text.encode() or PIXEL)
        path = tmp_path
    else:
        # A line that goes on is indented.
        path.write_text(re.sub("<sha256[^>]*>", "0" * 64, example.replace("\n ", " ")))
    found = read_listing(path, "auto" if name != "voc" else "voc")
    assert found.records
    assert found.kind in FORMATS[name].kinds
    assert all(record.labels for record in found.records if "nobody" not in record.text and "2.jpg" not in record.uri)


ROWS = re.findall(r"^\| `(\S+)` \| [^|]+ \|(.+)\|$", PAGE.partition("## What each can carry")[2], re.MULTILINE)[:12]


def test_the_table_says_what_each_carries() -> None:
    assert {name for name, _ in ROWS} == FORMATS.keys()
    for name, row in ROWS:
        cells = [cell.strip() for cell in row.split("|")]
        form = FORMATS[name]
        written = [cell in ("yes", "one each") for cell in cells[:4]]
        assert written == [kind in form.kinds for kind in KINDS], name
        told = ["sides", "task ids", "hashes", "classes"]
        assert [bool(cell) for cell in cells[4:]] == [one in form.carries for one in told], name
        assert ("several labels" not in form.carries) == (cells[0] == "one each")
