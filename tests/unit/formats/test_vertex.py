"""Vertex AI's import files for image classification."""

import json
from pathlib import Path
from typing import Any

import pytest

from labelloop.data.formats import read_listing, write_listing
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.types import LeftOut, Side

USE = "aiplatform.googleapis.com/ml_use"


def read(tmp_path: Path, *lines: dict[str, Any]) -> Listing:
    path = tmp_path / "import.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return read_listing(path)


def line(key: str, use: str = "", **annotation: Any) -> dict[str, Any]:
    labels = {"dataItemResourceLabels": {USE: use, "team": "a"}} if use else {}
    return {"imageGcsUri": f"gs://bucket/{key}", **annotation, **labels}


def test_single_label(tmp_path: Path) -> None:
    annotation = {"displayName": "daisy", "annotationResourceLabels": {"env": "prod"}}
    found = read(
        tmp_path,
        line("a", "training", classificationAnnotation=annotation),
        line("b", "test", classificationAnnotation=annotation),
        line("c", classificationAnnotation=annotation),
        line("d"),
    )
    sides: list[Side | None] = ["train", "test", None]
    assert (found.choice, [one.side for one in found.records]) == ("single", sides)
    assert found.records[0] == Record("gs://bucket/a", ("daisy",), 1, "train")
    assert found.left_out == (LeftOut(4, "it has no annotation"),)


def test_several_labels(tmp_path: Path) -> None:
    names = [{"displayName": "rose"}, {"displayName": "daisy"}]
    found = read(
        tmp_path, line("a", "validation", classificationAnnotations=names), line("b", classificationAnnotations=[])
    )
    assert (found.choice, [one.labels for one in found.records]) == ("multiple", [("daisy", "rose"), ()])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"imageGcsUri": None}, "'imageGcsUri' must be a text"),
        (line("a", classificationAnnotation="rose"), "an annotation must have a displayName"),
        (line("a", classificationAnnotations={}), "'classificationAnnotations' must be a list"),
        (line("a", "holdout", classificationAnnotations=[]), "'holdout' is no side"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(ManifestError, match=f"import.jsonl, line 1: {reason}"):
        read(tmp_path, wrong)


def test_it_is_written_as_the_schemas_say(tmp_path: Path) -> None:
    record = Record("gs://bucket/a", ("rose",), 1, "train")
    write_listing(Listing("single", ("rose",), (record,)), tmp_path / "one", "vertex")
    write_listing(Listing("multiple", ("rose",), (record,)), tmp_path / "many", "vertex")
    common = {"imageGcsUri": "gs://bucket/a", "dataItemResourceLabels": {USE: "training"}}
    rose = {"displayName": "rose"}
    assert json.loads((tmp_path / "one").read_text()) == common | {"classificationAnnotation": rose}
    assert json.loads((tmp_path / "many").read_text()) == common | {"classificationAnnotations": [rose]}


def test_rows_may_name_pictures_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "import.csv"
    path.write_text("train,a.jpg,cat\ntest,b.jpg,dog\n")
    found = read_listing(path)
    assert [(one.uri, one.labels, one.side) for one in found.records] == [
        ((tmp_path / "a.jpg").as_uri(), ("cat",), "train"),
        ((tmp_path / "b.jpg").as_uri(), ("dog",), "test"),
    ]


def test_rows_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "import.csv"
    path.write_text('TRAIN,gs://b/1,cat\n,gs://b/2,dog\n\nvalidation,"gs://b/3","a, b"\ntest,gs://b/4\n')
    found = read_listing(path)
    assert [(one.uri, one.labels, one.side) for one in found.records] == [
        ("gs://b/1", ("cat",), "train"),
        ("gs://b/2", ("dog",), None),
        ("gs://b/3", ("a, b",), "validation"),
    ]
    assert found.left_out == (LeftOut(4, "it has no annotation"),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("train,gs://b/1,cat\ntest,gs://b/1,dog\n", "row 2: its picture is said to be on another side, train, before"),
        ('gs://b/1,"cat"x\n', "is no table"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "import.csv"
    path.write_text(text)
    with pytest.raises(ManifestError, match=reason):
        read_listing(path)
