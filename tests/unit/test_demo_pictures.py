"""The demo's pictures: what is shown, what is held out."""

from pathlib import Path

import pytest
from PIL import Image

from labelloop.demo.examples import digits, folder_per_class
from labelloop.demo.run import label_config
from labelloop.errors import SettingsError
from labelloop.pictures import decode
from labelloop.studio.label_config import parse_trained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of ten pictures, and something that is no picture."""
    for name in ("cat & co", "dog"):
        (tmp_path / name).mkdir()
        for number in range(10):
            Image.new("L", (4, 4), number).save(tmp_path / name / f"{number}.png")
        (tmp_path / name / "notes.txt").write_text("not a picture")
    return tmp_path


def test_thirty_percent_of_a_small_folder_are_held_out(folder: Path) -> None:
    pictures = folder_per_class(folder, None, seed=0)

    assert pictures.classes == ("cat & co", "dog")
    assert (len(pictures.shown), len(pictures.held_out)) == (14, 6)
    assert not {one.path for one in pictures.shown} & {one.path for one in pictures.held_out}


def test_the_seed_chooses_the_order(folder: Path) -> None:
    assert folder_per_class(folder, None, seed=1) == folder_per_class(folder, None, seed=1)
    assert folder_per_class(folder, None, seed=1) != folder_per_class(folder, None, seed=2)


def test_a_folder_of_tests_leaves_all_others_to_be_shown(folder: Path) -> None:
    pictures = folder_per_class(folder, folder, seed=0)

    assert (len(pictures.shown), len(pictures.held_out)) == (20, 20)


def test_a_folder_without_classes_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expected a folder per class"):
        folder_per_class(tmp_path, None, seed=0)


def test_what_is_no_class_is_skipped_by_name(folder: Path) -> None:
    for name in (".hidden", "__pycache__", "empty"):
        (folder / name).mkdir()
    Image.new("L", (4, 4)).save(folder / ".hidden" / "a.png")
    Image.new("L", (4, 4)).save(folder / "__pycache__" / "a.png")
    pictures = folder_per_class(folder, None, seed=0)

    assert pictures.classes == ("cat & co", "dog")
    assert pictures.skipped == (".hidden", "__pycache__", "empty")
    assert len(pictures.shown) + len(pictures.held_out) == 20


def test_one_class_and_what_is_none_are_named(tmp_path: Path) -> None:
    for name in ("cat", "empty"):
        (tmp_path / name).mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "cat" / "a.png")
    with pytest.raises(SettingsError, match="at least two classes; found cat; no class: empty"):
        folder_per_class(tmp_path, None, seed=0)


def test_too_few_pictures_for_a_first_version_are_counted(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"20 pictures, of which 14 are shown .* a first version needs 40"):
        folder_per_class(folder, None, seed=0, least=40)


def test_tests_without_a_known_class_are_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(SettingsError, match=r"no picture in a folder named after a class \(cat & co, dog\)"):
        folder_per_class(folder, tmp_path_factory.mktemp("empty"), seed=0)


def test_any_class_name_makes_a_valid_label_config() -> None:
    tag = parse_trained(label_config(('a "quoted" <name>', "b & c"))).tags[0]

    assert [label.name for label in tag.labels] == ['a "quoted" <name>', "b & c"]
    assert (tag.name, tag.to_name, tag.target.data_key, tag.choice) == ("label", "image", "image", "single")


@pytest.mark.train
def test_digits_are_pictures_of_ten_classes(tmp_path: Path) -> None:
    pictures = digits(tmp_path, seed=0, tasks=800)

    assert (len(pictures.shown), len(pictures.held_out)) == (800, 997)
    assert {one.label for one in pictures.shown} == set("0123456789")
    assert decode(pictures.shown[0].path.read_bytes()).size == (96, 96)
