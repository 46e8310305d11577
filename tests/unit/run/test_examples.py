"""Texts with regions marked, and pictures with boxes drawn over them, in the report."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from labelloop.run.folder import RunFolder
from labelloop.run.located import Located
from labelloop.run.matching import Matches
from labelloop.run.report.contents import Files
from labelloop.run.report.examples import examples_section, write_examples
from labelloop.run.report.html import write_report
from labelloop.run.report.marked import marked_text
from labelloop.types import Box, Json, Region, Span

from .test_report import Page


def span(start: int, end: int, label: str = "ORG", mark: str = "right") -> Json:
    return {"span": [start, end], "label": label, "mark": mark}


def written(parts: list[Json]) -> str:
    return "".join(
        f"[{one['text']}|{one['mark']}|{','.join(one['labels'])}]" if one["mark"] else one["text"] for one in parts
    )


def test_regions_that_lie_in_each_other_are_marked_by_the_shortest() -> None:
    parts = marked_text("Bank of Rome paid", [span(0, 12, mark="missed"), span(8, 12, "LOC")])
    assert written(parts) == "[Bank of |missed|][Rome|right|ORG,LOC] paid"
    assert written(marked_text("abc", [])) == "abc"
    assert written(marked_text("abcdef", [span(0, 2), span(5, 6)], 1, 4)) == "[b|right|ORG]cd"


@given(st.text(max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5))
def test_no_character_is_lost_or_doubled(text: str, places: list[tuple[int, int]]) -> None:
    regions = [span(start, end) for start, end in places]
    assert "".join(one["text"] for one in marked_text(text, regions)) == text


def example(
    given_regions: tuple[Region, ...], true: tuple[Region, ...], met: Matches, name: str = "a"
) -> tuple[Located, Matches]:
    return Located(name, 7, true, given_regions), met


def test_a_text_shows_both_sides_and_what_is_in_it_is_escaped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    org, place = Region("ORG", Span(0, 4)), Region("<b>", Span(8, 11), 0.5)
    met = Matches(((0, 0),), (), (1,), (), ())
    write_examples(folder, [example((org, place), (org,), met)], lambda _: "Acme in <i>", Path)
    page = Page(write_report(folder))
    assert "task 7: 1 right, 0 missed, 1 invented" in page.text
    assert [one["class"] for one in page.of("mark")] == [
        "right",
        "missed",
        "label",
        "border",
        "right",
        "right",
        "invented",
    ]
    assert "Acme in <i>" in page.text.replace("ORG", "").replace("<b>", "")
    assert not page.of("b")
    assert not page.of("i")


def test_of_a_long_text_the_first_mistake_is_shown(tmp_path: Path) -> None:
    folder, text = RunFolder(tmp_path), "x" * 5000 + "Acme" + "y" * 5000
    right, missed = Region("ORG", Span(0, 4)), Region("ORG", Span(5000, 5004))
    write_examples(
        folder, [example((right,), (right, missed), Matches(((0, 0),), (1,), (), (), ()))], lambda _: text, Path
    )
    section = examples_section(Files(folder))
    assert section
    (row,) = section.view["rows"]
    assert row["more"] == (True, True)
    for _, parts in row["sides"]:
        shown = "".join(part["text"] for part in parts)
        assert len(shown) == 1200
        assert "Acme" in shown


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    content = io.BytesIO()
    Image.new("RGB", (400, 200), "white").save(content, "png")
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "a").write_bytes(content.getvalue())
    return folder


def test_boxes_lie_over_their_picture_in_its_pixels(tmp_path: Path, pictures: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    true = (Region("RBC", Box(0.25, 0.5, 0.25, 0.25)), Region("WBC", Box(0.5, 0.5, 0.1, 0.2, 30.0)))
    found = (Region("RBC", Box(0.25, 0.5, 0.25, 0.25), 0.875),)
    met = Matches(((0, 0),), (1,), (), (), ())
    places = [example(found, true, met), example(found, true, met, "gone")]
    write_examples(folder, places, None, lambda name: pictures / name)
    page = Page(write_report(folder))
    # What is right is drawn once, as it was found.
    rows = [{name: one[name] for name in ("x", "y", "width", "height")} for one in page.of("rect")]
    assert {"x": "100.0", "y": "100.0", "width": "100.0", "height": "50.0"} in rows
    assert len(rows) == 2
    assert [one.get("transform") for one in page.of("g")] == ["rotate(30.0 200.0 100.0)", None]
    assert "RBC 0.88" in page.text
    assert page.of("image")[0]["href"].startswith("data:image/jpeg;base64,")
    assert "no picture" in page.text


def test_the_worst_come_first_then_some_without_mistakes(tmp_path: Path) -> None:
    folder, region = RunFolder(tmp_path), Region("ORG", Span(0, 1))
    wrong = [
        example((), (region,) * (at + 1), Matches((), tuple(range(at + 1)), (), (), ()), f"w{at:02}")
        for at in range(14)
    ]
    right = [example((region,), (region,), Matches(((0, 0),), (), (), (), ()), f"r{at}") for at in range(6)]
    empty = [example((), (), Matches((), (), (), (), ()), "e")]
    write_examples(folder, [*empty, *right, *wrong], lambda _: "ab", Path)
    found = json.loads((folder.evaluation / "examples.json").read_text())
    assert [one["picture"] for one in found] == [f"w{at:02}" for at in range(13, 1, -1)] + ["r0", "r1", "r2", "r3"]


def test_without_examples_there_is_no_section(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_examples(folder, [], lambda _: "", Path)
    assert examples_section(Files(folder)) is None
