"""Class folders: read with sides or without, written under safe names."""

import io
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from labelloop.data.formats import Hints, read_listing, write_listing
from labelloop.data.formats.imagefolder import folder_names
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError


def picture(form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, form)
    return buffer.getvalue()


def tree(root: Path, *files: str) -> Path:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture())
    return root


def found_in(listing: Listing, root: Path) -> list[tuple[str, str, str | None]]:
    base = root.as_uri() + "/"
    return [(one.uri.removeprefix(base), one.labels[0], one.side) for one in listing.records]


def test_class_folders(tmp_path: Path) -> None:
    tree(tmp_path, "dog/2.jpg", "cat/sub/b c.JPEG", "cat/a.png", ".hidden/x.jpg", "cat/.DS_Store", "cat/notes.txt")
    (tmp_path / "bird").mkdir()
    found = read_listing(tmp_path)
    assert (found.choice, found.classes) == ("single", ("bird", "cat", "dog"))
    assert found_in(found, tmp_path) == [
        ("cat/a.png", "cat", None),
        ("cat/sub/b%20c.JPEG", "cat", None),
        ("dog/2.jpg", "dog", None),
    ]
    assert [out.reason for out in found.left_out] == ["'cat/notes.txt' is no picture by its name"]
    assert len(set(found.tasks())) == 4


def test_sides_above_the_classes(tmp_path: Path) -> None:
    tree(tmp_path, "train/dog/1.jpg", "val/cat/2.jpg", "Testing/dog/3.jpg")
    assert found_in(read_listing(tmp_path), tmp_path) == [
        ("train/dog/1.jpg", "dog", "train"),
        ("val/cat/2.jpg", "cat", "validation"),
        ("Testing/dog/3.jpg", "dog", "test"),
    ]


def test_a_class_may_be_called_like_a_side(tmp_path: Path) -> None:
    tree(tmp_path, "train/1.jpg", "bus/2.jpg")
    assert read_listing(tmp_path).classes == ("bus", "train")


def test_sides_and_classes_side_by_side_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "train/dog/1.jpg", "extra/2.jpg")
    with pytest.raises(ManifestError, match=r"folders for sides \(train\) and others beside them \(extra\)"):
        read_listing(tmp_path)


def test_classes_that_are_named_may_be_called_like_sides_and_hold_folders(tmp_path: Path) -> None:
    tree(tmp_path, "valid/a/1.jpg", "invalid/b/2.jpg")
    with pytest.raises(ManifestError, match=r"sides \(valid\) and others beside them .* name these \(--classes\)"):
        read_listing(tmp_path)
    found = read_listing(tmp_path, hints=Hints(classes=("valid", "invalid")))
    assert found_in(found, tmp_path) == [("invalid/b/2.jpg", "invalid", None), ("valid/a/1.jpg", "valid", None)]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    tree(tmp_path / "elsewhere", "secret.jpg")
    tree(tmp_path / "set", "cat/a.jpg")
    (tmp_path / "set/cat/more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(read_listing(tmp_path / "set").records) == 1


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["training_set/cat/1.jpg", "test_set/dog/2.jpg"], [("cat", "train"), ("dog", "test")]),
        (["trainset/cat/1.jpg", "valset/dog/2.jpg"], [("cat", "train"), ("dog", "validation")]),
        (["Train Images/cat/1.jpg", "TestData/dog/2.jpg"], [("cat", "train"), ("dog", "test")]),
        (["train2017/cat/1.jpg", "val2017/dog/2.jpg"], [("cat", "train"), ("dog", "validation")]),
        (["archive/train/cat/1.jpg", "archive/valid/dog/2.jpg"], [("cat", "train"), ("dog", "validation")]),
        (["images/train/cat/1.jpg", "images/test/dog/2.jpg"], [("cat", "train"), ("dog", "test")]),
        (["train/images/cat/1.jpg", "test/images/dog/2.jpg"], [("cat", "train"), ("dog", "test")]),
        (["seg_train/seg_train/cat/1.jpg", "seg_test/seg_test/dog/2.jpg"], [("cat", "train"), ("dog", "test")]),
        (["cats_train/cat/1.jpg", "cats_test/dog/2.jpg", "README.txt"], [("cat", "train"), ("dog", "test")]),
        (["cat/test/1.jpg", "dog/val/3.jpg"], [("cat", "test"), ("dog", "validation")]),
        (["flowers/flowers/rose/1.jpg", "flowers/flowers/iris/2.jpg"], [("iris", None), ("rose", None)]),
        (["seg_train/cat/1.jpg", "seg_train/dog/2.jpg"], [("cat", None), ("dog", None)]),
        (["set/cat/1.jpg", "set/dog/2.jpg", "__MACOSX/set/cat/._1.jpg"], [("cat", None), ("dog", None)]),
        # What only sounds like a side, or only looks like a wrapping.
        (["train_station/in/1.jpg", "test_tube/2.jpg"], [("test_tube", None), ("train_station", None)]),
        (["train_station/in/1.jpg", "test_tube/in/2.jpg"], [("test_tube", None), ("train_station", None)]),
        (["train/1.jpg", "test/2.jpg"], [("test", None), ("train", None)]),
        (["cat/old/1.jpg", "cat/2.jpg"], [("cat", None), ("cat", None)]),
        (["train/cat/1.jpg", "test/cat/old/2.jpg"], [("cat", "train"), ("cat", "test")]),
        (["cat/train/1.jpg", "cat/old/2.jpg", "dog/3.jpg"], [("cat", None), ("cat", None), ("dog", None)]),
    ],
)  # fmt: skip
def test_what_the_folders_above_pictures_mean(
    tmp_path: Path, files: list[str], found: list[tuple[str, str | None]]
) -> None:
    listing = read_listing(tree(tmp_path, *files))
    assert [(one.labels[0], one.side) for one in listing.records] == found


def test_the_only_folder_is_a_wrapping_which_is_said_unless_it_is_known_as_a_class(tmp_path: Path) -> None:
    tree(tmp_path, "cat/old/1.jpg", "cat/new/2.jpg")
    found = read_listing(tmp_path)
    assert found.classes == ("new", "old")
    assert found.warnings == (f"'cat' is the only folder of {tmp_path}: those in it are taken as the classes",)
    known = read_listing(tmp_path, hints=Hints(classes=("Cat", "dog")))
    assert ([one.labels for one in known.records], known.warnings) == ([("Cat",), ("Cat",)], ())


def test_pictures_in_no_class_are_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "train/cat/1.jpg", "train/loose.jpg", "test/2.jpg", "cover.png", "notes.txt")
    found = read_listing(tmp_path)
    assert found_in(found, tmp_path) == [("train/cat/1.jpg", "cat", "train")]
    assert [out.reason for out in found.left_out] == [
        "'cover.png' lies in no folder of a class",
        "'test/2.jpg' lies in no folder of a class",
        "'train/loose.jpg' lies in no folder of a class",
    ]


@pytest.mark.parametrize("pair", [("Cat", "cat"), ("caf\u00e9", "cafe\u0301"), ("ice cream", "ice_cream")])
def test_classes_that_are_nearly_the_same_are_named(tmp_path: Path, pair: tuple[str, str]) -> None:
    found = read_listing(tree(tmp_path, *(f"{name}/{at}.jpg" for at, name in enumerate((*pair, "dog")))))
    assert set(found.classes) == {*pair, "dog"}
    [warning] = found.warnings
    assert all(ascii(name) in warning for name in pair)
    assert "are different classes, although their names differ in no more than" in warning


def test_what_is_no_file_is_left_out_and_never_waited_for(tmp_path: Path) -> None:
    tree(tmp_path / "elsewhere", "1.jpg")
    tree(tmp_path / "set", "cat/a.jpg", "dog/b.jpg/c.jpg")
    folder = tmp_path / "set/cat"
    os.mkfifo(folder / "pipe.jpg")
    (folder / "broken.jpg").symlink_to("nowhere.jpg")
    (folder / "round.jpg").symlink_to("round.jpg")
    (folder / "linked.jpg").symlink_to(tmp_path / "elsewhere/1.jpg")
    (folder / "null.jpg").symlink_to("/dev/null")
    (tmp_path / "set/bird").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket.jpg"))
        found = read_listing(tmp_path / "set")
    assert [one.uri.rpartition("/")[2] for one in found.records] == ["a.jpg", "linked.jpg", "c.jpg"]
    assert {out.reason for out in found.left_out} == {
        "'cat/pipe.jpg' is a named pipe and no file",
        "'cat/broken.jpg' is a broken link",
        "'cat/round.jpg' is a broken link",
        "'cat/null.jpg' is a device and no file",
        "'cat/socket.jpg' is a socket and no file",
        "'bird/' is a link to a folder, which is not followed",
    }


def test_a_named_pipe_of_another_list_is_no_picture_of_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    records = (Record((tmp_path / "pipe.jpg").as_uri(), ("cat",), 1),)
    with pytest.raises(ManifestError, match=r"pipe\.jpg cannot be read: it is a named pipe and no file"):
        write_listing(Listing("single", ("cat",), records), tmp_path / "to", "imagefolder")


@pytest.mark.parametrize("files", [[], ["loose.jpg"]])
def test_a_folder_without_classes_is_refused(tmp_path: Path, files: list[str]) -> None:
    with pytest.raises(ManifestError, match="has no folders; an ImageFolder has one for each class"):
        read_listing(tree(tmp_path, *files))


def test_pictures_are_linked_below_their_side_and_class(tmp_path: Path) -> None:
    tree(tmp_path / "from", "a b.jpg", "c")
    uris = [(tmp_path / "from" / name).as_uri() for name in ("a b.jpg", "c")]
    records = (Record(uris[0], ("a/b",), 4, "train"), Record(uris[1], ("cat",), 5, "test"))

    lost = write_listing(Listing("single", ("a/b", "cat"), records), tmp_path / "to", "imagefolder")

    assert lost == ["task ids", "labels that are no names of folders: 'a/b' becomes 'a_b'"]
    written = tmp_path / "to/train/a_b/a b-4.png"
    assert written.samefile(tmp_path / "from/a b.jpg"), "the name says what it is"
    assert found_in(read_listing(tmp_path / "to"), tmp_path / "to") == [
        ("train/a_b/a%20b-4.png", "a_b", "train"),
        ("test/cat/c-5.png", "cat", "test"),
    ]


def test_only_pictures_with_one_label_are_written(tmp_path: Path) -> None:
    tree(tmp_path, "a.jpg")
    uri = (tmp_path / "a.jpg").as_uri()
    records = tuple(Record(uri, labels, at) for at, labels in enumerate([("a",), ("a", "b"), ()], 1))
    lost = write_listing(Listing("multiple", ("a", "b"), records), tmp_path / "to", "imagefolder")
    assert lost == ["2 records that have not exactly one label"]
    assert len(read_listing(tmp_path / "to").records) == 1
    with pytest.raises(ManifestError, match="can carry none of the 2 records"):
        write_listing(Listing("multiple", ("a", "b"), records[1:]), tmp_path / "other", "imagefolder")


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    tree(tmp_path, "to/a.jpg")
    gone = Listing("single", ("cat",), (Record((tmp_path / "gone.jpg").as_uri(), ("cat",), 1),))
    far = Listing("single", ("cat",), (Record("s3://bucket/key", ("cat",), 1),))
    with pytest.raises(ManifestError, match="is not empty"):
        write_listing(gone, tmp_path / "to", "imagefolder")
    with pytest.raises(ManifestError, match=r"gone\.jpg cannot be read: No such file"):
        write_listing(gone, tmp_path / "new", "imagefolder")
    with pytest.raises(ManifestError, match="files on this machine"):
        write_listing(far, tmp_path / "newer", "imagefolder")


@given(st.lists(st.text(max_size=150), max_size=8, unique=True))
def test_every_class_gets_a_safe_folder_of_its_own(classes: list[str]) -> None:
    names = folder_names(classes)
    assert list(names) == classes
    assert len({name.casefold() for name in names.values()}) == len(classes)
    for name in names.values():
        assert Path(name).name == name
        assert name not in ("", ".", "..")
        assert not name.startswith(".")
        assert len(name.encode()) < 500


def test_a_folder_name_that_is_free_is_kept() -> None:
    assert folder_names(["Straße 1", "cat", "Cat", "../etc"]) == {
        "Straße 1": "Straße 1",
        "cat": "cat",
        "Cat": "Cat (2)",
        "../etc": "_etc",
    }
