"""Whatever a file holds, a reader gives a sound listing or an error of LabelLoop's own."""

import csv
import io
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from labelloop.data.formats import FORMATS, Hints, read_listing
from labelloop.data.formats.entries import array_objects
from labelloop.data.listing import Listing
from labelloop.errors import LabelLoopError, ManifestError
from support.examples import examples

FILES = [name for name in FORMATS if name not in ("imagefolder", "yolo")]
KEYS = st.sampled_from(
    [
        *("format", "kind", "classes", "records", "left_out", "task", "labels", "uri", "side", "picture", "hash"),
        *("source-ref", "label", "label-metadata", "class-name", "class-map", "type", "failure-reason", "project"),
        *("imageGcsUri", "classificationAnnotation", "classificationAnnotations", "displayName"),
        *("dataItemResourceLabels", "aiplatform.googleapis.com/ml_use"),
        *("id", "data", "annotations", "result", "value", "choices", "from_name", "image", "annotator"),
        *("annotation_id", "completions", "predictions", "taxonomy", "x", "y", "height", "skipped"),
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.floats()
    | st.sampled_from(["single", "cat", "train", "s3://b/k", "a.jpg", "../a", "file:///a%00", "\ud800", "", "a" * 64])
    | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)
BOXES = st.dictionaries(KEYS, VALUES, max_size=6)
ROWS = st.lists(st.lists(SCALARS.map(str) | KEYS, max_size=4), max_size=4)


def read(content: bytes, format: str) -> Listing | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list"
        path.write_bytes(content)
        try:
            found = read_listing(path, format)
        except LabelLoopError:
            return None
    for record in found.records:
        assert set(record.labels) <= set(found.classes)
        assert found.choice == "multiple" or len(record.labels) == 1
    return found


@given(st.binary(max_size=200), st.sampled_from(["auto", *FILES]))
@tries(max_examples=examples(80))
def test_bytes(content: bytes, format: str) -> None:
    read(content, format)


@given(st.lists(BOXES, min_size=1, max_size=4), st.sampled_from(["auto", *FILES]), st.sampled_from(["\n", "\r\n"]))
@tries(max_examples=examples(80))
def test_json_lines(objects: list[dict[str, Any]], format: str, end: str) -> None:
    read(end.join(json.dumps(one) for one in objects).encode(), format)


@given(st.lists(BOXES, max_size=4))
@tries(max_examples=examples(50))
def test_json_arrays(objects: list[dict[str, Any]]) -> None:
    read(json.dumps(objects).encode(), "label-studio")


TASKS = st.fixed_dictionaries(
    {"id": st.integers(1, 5) | VALUES, "data": st.fixed_dictionaries({"image": SCALARS}) | VALUES},
    optional={"annotations": st.lists(st.fixed_dictionaries({"result": st.lists(BOXES, max_size=2) | VALUES}))},
)


@given(st.lists(TASKS, max_size=4))
@tries(max_examples=examples(50))
def test_exports(tasks: list[dict[str, Any]]) -> None:
    read(json.dumps(tasks).encode(), "auto")


CELLS = st.sampled_from(["1", "2", "cat", "", "s3://b/k"]) | VALUES.map(json.dumps)
EXPORTED = ("annotation_id", "annotator", "choice", "id", "image", "note")


@given(st.lists(st.lists(CELLS, min_size=6, max_size=6), max_size=5), st.sampled_from(["auto", "csv", "label-studio"]))
@tries(max_examples=examples(80))
def test_tables_of_label_studio(rows: list[list[str]], format: str) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([EXPORTED, *rows])
    read(buffer.getvalue().encode("utf-8", "surrogatepass"), format)


@given(ROWS, st.sampled_from(",;\t"))
@tries(max_examples=examples(50))
def test_tables(rows: list[list[str]], delimiter: str) -> None:
    lines = ["uri,label,split,task,sha256".replace(",", delimiter), *(delimiter.join(row) for row in rows)]
    read("\n".join(lines).encode("utf-8", "surrogatepass"), "csv")


WORDS = st.text("ab#-O B\tI.0123456789", max_size=12)


@given(st.lists(WORDS, max_size=6), st.sampled_from(["conll", "yolo"]))
@tries(max_examples=examples(80))
def test_lines_of_words_and_numbers(lines: list[str], format: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("1.txt", "\n".join(lines)), ("1.jpg", ""), ("classes.txt", "a\nb\n")):
            (Path(folder) / name).write_text(text)
        with suppress(LabelLoopError):
            read_listing(Path(folder) / "1.txt" if format == "conll" else folder, format)


@pytest.mark.parametrize("format", ["auto", *FILES])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xef\xbb\xbf",
        b"\xff\xfe\0",
        b"\x0b",
        b"[" * 100_000,
        b'{"uri":' * 50_000,
        b"[1]",
        b"[{}",
        b"[{} {}]",
        b"null",
        b'{"format": 1, "kind": "single", "classes": []}',
        b'{"uri": "a.jpg", "labels": ["cat"], "task": ' + b"9" * 5000 + b"}",
        b"uri,label\n" + b'"' * 9,
        b"uri,label\na.jpg,cat,dog\n",
    ],
    ids=range(14),
)
def test_what_is_no_list_is_refused(format: str, content: bytes) -> None:
    assert read(content, format) is None


@pytest.mark.parametrize("format", ["auto", *FORMATS])
@pytest.mark.parametrize(
    "name", ["missing", "impossible\0", "/", "x" * 5000], ids=["missing", "impossible", "bare", "long"]
)
def test_what_is_not_there_is_refused(format: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        read_listing(tmp_path / name if name != "/" else tmp_path, format)


@pytest.mark.parametrize("format", ["auto", *FILES])
def test_a_pipe_is_refused_and_never_waited_for(format: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list")
    with pytest.raises(ManifestError, match="it is a named pipe and no file"):
        read_listing(tmp_path / "list", format)


def test_an_unknown_format_is_refused_naming_all(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no format 'via'; there are labelloop, imagefolder, augmented"):
        read_listing(tmp_path, "via")


def test_an_array_is_read_across_the_edges_of_what_is_read_at_once(tmp_path: Path) -> None:
    tasks = [{"id": at, "text": "x" * (at % 7) * 9973} for at in range(150)]
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks, indent=3))
    assert path.stat().st_size > 3_000_000
    assert [entry.values for entry in array_objects(path)] == tasks


def test_hints_are_believed(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("where,what,label\na.jpg,cat+dog,x\nb.jpg,,y\n")
    hints = Hints(label_attribute="what", picture_field="where", separator="+", classes=("dog", "cat", "bird"))
    listing = read_listing(path, "csv", hints)
    assert (listing.choice, listing.classes) == ("multiple", ("dog", "cat", "bird"))
    assert [one.labels for one in listing.records] == [("cat", "dog"), ()]
