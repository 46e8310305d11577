from pathlib import Path

import pytest

from labelloop.data.formats import Hints, read_listing, write_listing
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError

SHA = "ab" * 32


def read(tmp_path: Path, text: str, hints: Hints = Hints()) -> Listing:  # noqa: B008
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode())
    return read_listing(path, hints=hints)


@pytest.mark.parametrize("picture", ["uri", "URL", "image", "path", "filename", " File_Name "])
@pytest.mark.parametrize("label", ["label", "Class", "category"])
@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_columns_are_found_by_their_usual_names(tmp_path: Path, picture: str, label: str, between: str) -> None:
    found = read(tmp_path, f"number{between}{label}{between}{picture}\n1{between}a|b{between}s3://b/k\n")
    assert found.records == (Record("s3://b/k", ("a|b",), 1),)


def test_all_columns(tmp_path: Path) -> None:
    text = f"\ufeffuri,labels,split,task,sha256\r\ns3://b/1,cat|dog,VAL,7,{SHA}\r\n,dog,,9,{SHA}\r\n\r\ns3://b/3,,train,8,\r\n"
    assert read(tmp_path, text).records == (
        Record("s3://b/1", ("cat", "dog"), 7, "validation", SHA),
        Record("", ("dog",), 9, None, SHA),
        Record("s3://b/3", (), 8, "train"),
    )


def test_quoted_cells_hold_anything(tmp_path: Path) -> None:
    found = read(tmp_path, 'path,label\n"a, ""b"".jpg","two\nlines"\nc.jpg,dog\n')
    assert [one.labels for one in found.records] == [("two\nlines",), ("dog",)]
    assert found.records[0].uri == (tmp_path / 'a, "b".jpg').as_uri()


def test_a_row_without_label_is_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, "path,label\na.jpg,\nb.jpg,dog\n")
    assert [(out.task, out.reason) for out in found.left_out] == [(1, "it has no label")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("gs://b/k,dog\n", r"of no known format: its first line must be a header .* found: 'gs://b/k, dog'"),
        ("uri,colour\n", "one of labels .* found: 'uri, colour'"),
        ("uri,label\na.jpg\n", "line 2: it has not as many cells as the header"),
        ("uri,label\na.jpg,b,c\n", "line 2: it has not as many cells as the header"),
        ("uri,label,task\na.jpg,b,x\n", "line 2: task 'x' is no whole number"),
        ("uri,label,task\na.jpg,b,1\nb.jpg,b,1\n", "task 1 is there twice"),
        ("uri,label,split\na.jpg,b,holdout\n", "line 2: 'holdout' is no side"),
        ("uri,label,sha256\na.jpg,b,XY\n", "line 2: 'XY' is no sha256"),
        ("uri,label\n../a.jpg,b\n", "line 2: '../a.jpg' leads out of the folder"),
        ('uri,label\n"a.jpg"x,b\n', "list.csv is no table"),
        ("uri,label\n", "list.csv lists no picture"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        read(tmp_path, text)


def test_a_named_column_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("uri,label\n")
    with pytest.raises(ManifestError, match=r"one of labels .colour, .*found: 'uri, label'"):
        read_listing(path, "csv", Hints(label_attribute="colour"))


@pytest.mark.parametrize("label", ["a|b", "", " a"])
def test_labels_that_a_table_cannot_tell_are_refused(tmp_path: Path, label: str) -> None:
    listing = Listing("multiple", (label,), (Record("s3://b/1", (label,), 1),))
    with pytest.raises(ManifestError, match=r"cannot carry the label|holds the separator"):
        write_listing(listing, tmp_path / "list.csv", "csv")


def test_another_separator_helps(tmp_path: Path) -> None:
    listing = Listing("multiple", ("a|b", "c"), (Record("s3://b/1", ("a|b", "c"), 1),))
    write_listing(listing, tmp_path / "list.csv", "csv", Hints(separator="+"))
    assert read_listing(tmp_path / "list.csv", hints=Hints(separator="+")) == listing
