"""Class folders: read with sides or without, written under safe names."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from labelloop.data.formats import read_listing, write_listing
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


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    tree(tmp_path / "elsewhere", "secret.jpg")
    tree(tmp_path / "set", "cat/a.jpg")
    (tmp_path / "set/cat/more").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(read_listing(tmp_path / "set").records) == 1


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
    with pytest.raises(ManifestError, match="No such file"):
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
