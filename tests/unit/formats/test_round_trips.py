"""What is written in a format is read back as far as that format can carry it, and what it cannot carry is said."""

import hashlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from labelloop.data.formats import FORMATS, Hints, read_listing, write_listing
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.sources.urls import cleaned
from labelloop.types import IMAGES, TEXTS, LeftOut
from support.examples import examples

FILES = [name for name, one in FORMATS.items() if IMAGES in one.kinds and one.suffix]
RECORDS = (
    Record("s3://bucket/a b.jpg", ("cat",), 1, "train"),
    Record("gs://bucket/ü#?.jpg", ("dog",), 2, "validation"),
    Record("https://pictures.example/3.jpg?size=1&x=%20", ("cat",), 3, "test"),
    Record("file:///pictures/4%20b.jpg", ("dog",), 4, None),
    Record("/data/upload/1/5.jpg", ("cat",), 5, "train"),
)
SINGLE = Listing("single", ("cat", "dog"), RECORDS)
MANY = Listing(
    "multiple", ("cat", "dog"), (*RECORDS, Record("s3://bucket/6", ("cat", "dog"), 6), Record("s3://bucket/7", (), 7))
)


def through(listing: Listing, format: str, folder: Path) -> tuple[Listing, list[str]]:
    target = folder / f"list-{format}"
    lost = write_listing(listing, target, format)
    return read_listing(target), lost


@pytest.mark.parametrize("listing", [SINGLE, MANY], ids=["single", "multiple"])
@pytest.mark.parametrize("format", [name for name in FILES if name != "augmented"])
def test_a_listing_survives(format: str, listing: Listing, tmp_path: Path) -> None:
    assert through(listing, format, tmp_path) == (listing, [])


def test_an_augmented_manifest_carries_all_but_the_sides(tmp_path: Path) -> None:
    found, lost = through(MANY, "augmented", tmp_path)
    assert [(one.uri, one.labels) for one in found.records] == [(one.uri, one.labels) for one in MANY.records]
    assert (found.choice, found.classes, lost) == ("multiple", MANY.classes, ["the sides of 4 records"])


def test_our_own_carries_everything(tmp_path: Path) -> None:
    sha = hashlib.sha256(b"a picture").hexdigest()
    listing = Listing(
        "single",
        ("zebra", "cat", "bare, \ud800"),
        (Record("s3://bucket/9", ("cat",), 9, "test", sha), Record("", ("zebra",), 2, content=sha)),
        (LeftOut(4, "skipped"),),
    )
    assert through(listing, "labelloop", tmp_path) == (listing, [])


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("labelloop", []),
        ("csv", ["1 tasks that are left out, and why", "classes without a record: bare"]),
        (
            "vertex",
            [
                "task ids",
                "the hashes of 1 pictures",
                "1 tasks that are left out, and why",
                "classes without a record: bare",
            ],
        ),
    ],
)
def test_what_a_format_cannot_carry_is_said(format: str, expected: list[str], tmp_path: Path) -> None:
    record = Record("s3://bucket/9", ("cat",), 9, "test", hashlib.sha256(b"").hexdigest())
    listing = Listing("single", ("cat", "bare"), (record,), (LeftOut(4, "skipped"),))
    assert write_listing(listing, tmp_path / "list", format) == expected


def test_the_order_of_classes_is_lost_where_a_format_has_no_place_for_it(tmp_path: Path) -> None:
    listing = Listing("single", ("dog", "cat"), SINGLE.records)
    assert write_listing(listing, tmp_path / "list", "csv") == ["the order of the classes"]


@pytest.mark.parametrize("format", ["vertex", "augmented", "label-studio"])
def test_pictures_without_address_cannot_be_listed_elsewhere(format: str, tmp_path: Path) -> None:
    sha = hashlib.sha256(b"").hexdigest()
    listing = Listing("single", ("cat",), (Record("", ("cat",), 1, content=sha), *SINGLE.records[:1]))
    with pytest.raises(ManifestError, match="1 of its pictures have no address, only a hash"):
        write_listing(listing, tmp_path / "list", format)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "format", [name for name, one in FORMATS.items() if name != "labelloop" and TEXTS in one.kinds]
)
def test_texts_and_files_are_carried_together_by_our_own_alone(format: str, tmp_path: Path) -> None:
    sha = hashlib.sha256(b"3.5").hexdigest()
    for text in (Record("", ("cat",), 1, text="3.5"), Record("", ("cat",), 1, content=sha, text="3.5")):
        listing = Listing("single", ("cat", "dog"), (text, *SINGLE.records[1:2]), kind="numbers")
        with pytest.raises(ManifestError, match=f"1 of its records are texts and the others files, which .* {format} "):
            write_listing(listing, tmp_path / "list", format)
    assert list(tmp_path.iterdir()) == []


def test_the_kind_that_a_table_cannot_name_is_said(tmp_path: Path) -> None:
    listing = Listing("single", ("cat", "dog"), SINGLE.records, kind="numbers")
    assert write_listing(listing, tmp_path / "list", "csv") == ["that it is for numbers"]
    assert through(listing, "labelloop", tmp_path) == (listing, [])


def test_a_list_beside_its_pictures_may_be_moved_along_with_them(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    uri = (before / "pictures/ü 1.jpg").as_uri()
    write_listing(Listing("single", ("cat",), (Record(uri, ("cat",), 1),)), before / "list.csv", "csv")

    before.rename(after)

    assert read_listing(after / "list.csv").records[0].uri == (after / "pictures/ü 1.jpg").as_uri()


@pytest.mark.parametrize("format", FILES)
def test_a_list_that_cannot_be_written_leaves_nothing_behind(format: str, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ManifestError, match="taken cannot be written"):
        write_listing(SINGLE, tmp_path / "taken", format)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


NAMES = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=12)
LISTINGS = st.builds(
    lambda choice, rows: Listing.of(
        [
            Record(cleaned(f"s3://bucket/{key}"), tuple(sorted(set(labels))), task, side)
            for task, (key, labels, side) in enumerate(rows, 1)
        ],
        choice=choice,
    ),
    st.sampled_from(["single", "multiple"]),
    st.lists(
        st.tuples(
            NAMES, st.lists(NAMES, min_size=1, max_size=3), st.sampled_from([None, "train", "validation", "test"])
        ),
        min_size=1,
        max_size=6,
    ),
).filter(lambda listing: listing.records)


@given(LISTINGS, st.sampled_from(FILES))
@tries(max_examples=examples(150))
def test_whatever_is_written_is_read_back_or_refused(listing: Listing, format: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "list"
        try:
            write_listing(listing, target, format)
        except ManifestError:
            assert format == "csv", "only a table has labels that it cannot carry"
            return
        found = read_listing(target, format, Hints(choice=listing.choice))
        assert [one.labels for one in found.records] == [one.labels for one in listing.records]
        assert [one.uri.rstrip() for one in found.records] == [one.uri.rstrip() for one in listing.records]
        if "sides" in FORMATS[format].carries:
            assert [one.side for one in found.records] == [one.side for one in listing.records]
