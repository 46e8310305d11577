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
        ("b/k.jpg,dog\n", r"of no known format: its first line must be a header .* found: 'b/k.jpg, dog'"),
        ("uri,colour\n", "one of labels .* found: 'uri, colour'"),
        ("uri,label\na.jpg\n", "line 2: it has not as many cells as the header"),
        ("uri,label\na.jpg,b,c\n", "line 2: it has not as many cells as the header"),
        ("uri,label,task\na.jpg,b,x\n", "line 2: task 'x' is no whole number"),
        ("uri,label,task\na.jpg,b,1\nb.jpg,b,1\n", "task 1 is there twice"),
        ("uri,label,split\na.jpg,b,holdout\n", "line 2: 'holdout' is no side"),
        ("uri,label,sha256\na.jpg,b,XY\n", "line 2: 'XY' is no sha256"),
        ("uri,label\n../a.jpg,b\n", "line 2: '../a.jpg' leads out of the folder"),
        ('uri,label\n"a.jpg"x,b\n', "list.csv is no table"),
        ("uri,label\n", "list.csv lists nothing that is labeled"),
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


def test_columns_that_are_labels_themselves(tmp_path: Path) -> None:
    found = read(tmp_path, "filename, cat, dog,split\na.jpg, 1, 1,train\nb.jpg, 0, 0,\n")
    assert (found.choice, found.classes) == ("multiple", ("cat", "dog"))
    assert [(one.labels, one.side) for one in found.records] == [(("cat", "dog"), "train"), ((), None)]
    one_each = read(tmp_path, "image,MEL,NV\na.jpg,1.0,0.0\nb.jpg,0.0,1.0\n")
    assert (one_each.choice, [one.labels for one in one_each.records]) == ("single", [("MEL",), ("NV",)])
    signed = read(tmp_path, "image_id\tHat\tBeard\na.jpg\t-1\t1\nb.jpg\t-1\t-1\n")
    assert [one.labels for one in signed.records] == [("Beard",), ()]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("filename,cat,dog\na.jpg,1,0\nb.jpg,0.5,0\n", "line 3: '0.5' in the column 'cat' is neither 0 nor 1"),
        ("filename,cat,dog\na.jpg,large,small\n", "found: 'filename, cat, dog'"),
        ("filename,rating\na.jpg,3\n", "found: 'filename, rating'"),
        (
            "img,note\na.jpg,A dog on the sand\nb.jpg,Two cats in a box\n",
            "holds words .no two are the same in .*'note'",
        ),
        (
            "img,sum\n" + "".join(f"{at}.jpg,{at}\n" for at in range(10)),
            "no two cells of its column 'sum' are the same",
        ),
        ("img,sharpness\na.jpg,3\nb.jpg,12.5\n", "its column 'sharpness' holds measured numbers"),
        ("id,url\n1,http://host/a.jpg\n2,http://host/b.jpg\n", "found: 'id, url'"),
        ("id,label\n7,cat\n", "no picture that lies beside it is named as its column 'id' says"),
    ],
)
def test_columns_that_tell_no_labels_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        read(tmp_path, text)


def test_names_without_a_suffix_are_those_of_the_pictures_beside_the_table(tmp_path: Path) -> None:
    for name in ("train/7.png", "train/8.JPG", "test/7.png", "9.png", "train/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "train.csv").write_text("id,breed\n7,boxer\n8,collie\n9,boxer\nnotes,pug\n")
    found = read_listing(tmp_path / "train.csv")
    paths = [tmp_path / name for name in ("train/7.png", "train/8.JPG", "9.png")]
    assert [(one.uri, one.labels) for one in found.records] == [
        (path.as_uri(), (label,)) for path, label in zip(paths, ("boxer", "collie", "boxer"), strict=True)
    ]
    assert [(out.task, out.reason) for out in found.left_out] == [(4, "no picture beside the table is named 'notes'")]
    (tmp_path / "train.csv").rename(tmp_path / "labels.csv")
    with pytest.raises(ManifestError, match=r"line 2: '7' may be '(test|train)/7.png' or '(test|train)/7.png'"):
        read_listing(tmp_path / "labels.csv")


def test_pictures_in_a_folder_that_may_be_anothers_are_told(tmp_path: Path) -> None:
    for name in ("train/1.jpg", "holiday/2.jpg", "holiday/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text("image,label\n1.jpg,cat\n2.jpg,dog\n3.jpg,dog\n")
    found = read_listing(tmp_path / "list.csv")
    assert found.remarks == ("pictures of list.csv were found by no more than their names in its folder 'holiday'",)
    assert [Path(one.uri).parent.name for one in found.records] == ["train", "holiday", "holiday"]


def test_a_table_beside_folders_of_classes_is_no_list_of_their_pictures(tmp_path: Path) -> None:
    for name in ("train/cat/1.jpg", "test/dog/2.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "classes.csv").write_text("id,label\n0,cat\n1,dog\n")
    found = read_listing(tmp_path)
    assert [(one.labels, one.side) for one in found.records] == [(("cat",), "train"), (("dog",), "test")]


def test_empty_lines_above_the_header_are_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path, "\n\nimage,label\na.jpg,cat\n").records[0].labels == ("cat",)


def test_the_tables_of_a_folder_are_read_with_their_sides(tmp_path: Path) -> None:
    for side, rows in (("train", "a.jpg,cat\nb.jpg,dog\n"), ("val", "c.jpg,dog\n")):
        (tmp_path / f"{side}.csv").write_text(f"image,label\n{rows}")
    (tmp_path / "images").mkdir()
    for name in "abc":
        (tmp_path / f"images/{name}.jpg").touch()
    found = read_listing(tmp_path)
    assert [(Path(one.uri).parent.name, one.labels, one.side, one.task) for one in found.records] == [
        ("images", ("cat",), "train", 1),
        ("images", ("dog",), "train", 2),
        ("images", ("dog",), "validation", 3),
    ]
    (tmp_path / "more.csv").write_text("image,label\na.jpg,cat\n")
    with pytest.raises(ManifestError, match="has no table of pictures"):
        read_listing(tmp_path, "csv")


def test_the_only_other_column_has_the_labels(tmp_path: Path) -> None:
    assert [one.labels for one in read(tmp_path, "img,species\na.jpg,heron\nb.jpg,crane\n").records] == [
        ("heron",),
        ("crane",),
    ]


def test_columns_that_are_named_are_believed(tmp_path: Path) -> None:
    text = "address,comment,label\ns3://b/1,a fine one,cat\n"
    assert read(tmp_path, text, Hints(picture_field="address")).records == (Record("s3://b/1", ("cat",), 1),)
    (tmp_path / "submission.csv").write_text("image,label\na.jpg,cat\n")
    with pytest.raises(ManifestError, match="is a sample of the answers to a contest"):
        read_listing(tmp_path / "submission.csv")
    named = read_listing(tmp_path / "submission.csv", hints=Hints(label_attribute="label"))
    assert named.records[0].labels == ("cat",)
