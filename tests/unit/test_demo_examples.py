"""The demo's examples: what is shown, what is held out, what annotators see of it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from labelloop.demo.examples import Examples
from labelloop.demo.layouts import LAYOUTS, label_config
from labelloop.demo.pictures import canvases, digits
from labelloop.demo.texts import documentation, notes
from labelloop.errors import SettingsError
from labelloop.kinds.annotations.correctness import is_right
from labelloop.pictures import decode
from labelloop.studio.label_config import parse_label_config
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS, Box, Span, side


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten pictures."""
    for name in ("cat & co", "dog"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.new("L", (4, 4), number).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_thirty_percent_of_a_small_folder_are_held_out(folder: Path) -> None:
    found = Examples.read(folder, None, seed=0)

    assert (found.kind, found.classes) == (IMAGES, ("cat & co", "dog"))
    assert (len(found.shown), len(found.held_out)) == (14, 6)
    assert not {one.path for one in found.shown} & {one.path for one in found.held_out}


def test_the_seed_chooses_the_order(folder: Path) -> None:
    assert Examples.read(folder, None, seed=1) == Examples.read(folder, None, seed=1)
    assert Examples.read(folder, None, seed=1) != Examples.read(folder, None, seed=2)


def test_data_of_tests_leave_all_others_to_be_shown(folder: Path) -> None:
    found = Examples.read(folder, folder, seed=0)

    assert (len(found.shown), len(found.held_out)) == (20, 20)


def test_a_test_side_of_the_data_is_held_out(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                Image.new("L", (4, 4), number).save(tmp_path / part / name / f"{number}.png")
    found = Examples.read(tmp_path, None, seed=0)

    assert {one.path.parts[-3] for one in found.held_out if one.path} == {"test"}
    assert (len(found.shown), len(found.held_out)) == (12, 4)


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"--data {tmp_path}"):
        Examples.read(tmp_path, None, seed=0)


def test_too_few_for_a_first_version_are_counted(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"20 pictures, of which 14 are shown .* a first version needs 40"):
        Examples.read(folder, None, seed=0, least=40)


def test_tests_without_a_known_class_are_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    for name in ("fish", "bird"):
        (other / name).mkdir()
        Image.new("L", (4, 4)).save(other / name / "a.png")
    with pytest.raises(SettingsError, match="none of its labels is one of cat & co, dog"):
        Examples.read(folder, other, seed=0)


def test_any_class_name_makes_a_valid_label_config(folder: Path) -> None:
    tag = parse_label_config(label_config(Examples(('a "quoted" <name>', "b & c"), (), ()))).tags[0]

    assert [label.name for label in tag.labels] == ['a "quoted" <name>', "b & c"]
    assert (tag.name, tag.to_name, tag.target.data_key, tag.choice) == ("label", "image", "image", "single")


@pytest.mark.train
def test_digits_are_pictures_of_ten_classes(tmp_path: Path) -> None:
    found = digits(tmp_path, seed=0, tasks=800)

    assert (len(found.shown), len(found.held_out)) == (800, 997)
    assert {one.labels for one in found.shown} == {(name,) for name in "0123456789"}
    assert decode(found.shown[0].content).size == (96, 96)


@pytest.mark.train
def test_canvases_have_boxes_that_lie_apart_or_none(tmp_path: Path) -> None:
    found = canvases(tmp_path, seed=0, tasks=300)

    assert (found.kind, len(found.shown), len(found.held_out)) == (BOXES, 300, 100)
    assert {label for one in found.shown for label in one.labels} == set(found.classes)
    assert any(not one.regions for one in found.shown)
    assert len({one.content for one in found.shown}) == 300
    for one in found.shown:
        boxes = [region.shape for region in one.regions]
        assert all(isinstance(box, Box) and box.x + box.width <= 1 and box.y + box.height <= 1 for box in boxes)


def test_documentation_is_real_text_of_one_topic_each() -> None:
    found = documentation(seed=0, tasks=800)

    assert (found.kind, len(found.shown)) == (TEXTS, 800)
    assert len(found.held_out) > 1000
    assert all(len(one.labels) == 1 and len(one.text.split()) >= 2 for one in found.shown)
    assert {one.labels[0] for one in found.shown} == set(found.classes)
    assert len({one.text for one in (*found.shown, *found.held_out)}) == len(found.shown) + len(found.held_out)


def test_notes_say_where_their_names_are() -> None:
    found = notes(seed=0, tasks=300)

    assert (found.kind, len(found.shown)) == (SPANS, 300)
    assert any(not one.regions for one in found.shown)
    spans = [(one.text, region) for one in found.shown for region in one.regions]
    assert {region.label for _, region in spans} == set(found.classes)
    assert all(isinstance(region.shape, Span) for _, region in spans)
    places = {
        text[at.shape.start : at.shape.end] for text, at in spans if at.label == "PLACE" and type(at.shape) is Span
    }
    assert {"Lisbon", "New York", "Zürich"} <= places


@pytest.mark.parametrize("make", [documentation, notes], ids=["text", "spans"])
def test_the_right_result_is_right(make: Callable[[int, int], Examples]) -> None:
    found = make(0, 20)
    layout = LAYOUTS[found.kind]
    for one in found.shown:
        assert is_right(layout.result(one), layout.result(one)) is True
    different = [one for one in found.shown if one.labels != found.shown[0].labels]
    assert is_right(layout.result(found.shown[0]), layout.result(different[0])) is False


def test_every_side_of_the_split_has_texts() -> None:
    found = notes(seed=0, tasks=300)
    sides = {side(hashlib.sha256(one.text.encode()).hexdigest()) for one in found.shown[:60]}
    assert sides == {"train", "validation", "test"}
