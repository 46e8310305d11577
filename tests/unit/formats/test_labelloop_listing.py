"""LabelLoop's own format: with a header, by hand without one, and the manifest of a run."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labelloop.data.formats import Hints, read_listing, write_listing
from labelloop.data.listing import Listing, Record
from labelloop.data.manifest import Manifest
from labelloop.errors import LabelLoopError, ManifestError, StoreError
from labelloop.types import Item, LeftOut, ProjectKey, canonical

SHA = "ab" * 32
SHA35 = hashlib.sha256(b"3.5").hexdigest()


def read(tmp_path: Path, *lines: dict[str, Any]) -> Listing:
    path = tmp_path / "list.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return read_listing(path)


def test_written_by_hand_it_needs_no_header(tmp_path: Path) -> None:
    found = read(tmp_path, {"uri": "a.jpg", "labels": ["cat"], "side": "val"}, {"uri": "s3://b/k", "labels": ["dog"]})
    assert found == Listing(
        "single",
        ("cat", "dog"),
        (Record((tmp_path / "a.jpg").as_uri(), ("cat",), 1, "validation"), Record("s3://b/k", ("dog",), 2)),
    )


def test_the_manifest_of_a_run_is_read(tmp_path: Path) -> None:
    manifest = Manifest.of(
        ProjectKey("localhost-8080", 7), "single", ("dog", "cat"), [Item(9, SHA, ("cat",))], [LeftOut(3, "skipped")]
    )
    path = tmp_path / "manifest.jsonl"
    path.write_text(manifest.to_jsonl())
    assert read_listing(path) == Listing(
        "single", ("dog", "cat"), (Record("", ("cat",), 9, content=SHA),), (LeftOut(3, "skipped"),)
    )
    path.write_text(manifest.to_jsonl().replace('["cat"]', '["dog"]'))
    with pytest.raises(StoreError, match="is not what it says"):
        read_listing(path)


def test_texts_confirmations_and_the_kind_that_learns_from_them_stay(tmp_path: Path) -> None:
    items = [Item.of_text(9, "3.5", ("cat",), confirmed=True), Item(10, SHA, ("dog",), confirmed=True)]
    path = tmp_path / "manifest.jsonl"
    path.write_text(Manifest.of(ProjectKey("x", 7), "single", ("dog", "cat"), items, kind="numbers").to_jsonl())
    found = read_listing(path)
    records = (
        Record("", ("cat",), 9, content=SHA35, text="3.5", confirmed=True),
        Record("", ("dog",), 10, content=SHA, confirmed=True),
    )
    assert found == Listing("single", ("dog", "cat"), records, kind="numbers")
    assert write_listing(found, tmp_path / "list.jsonl", "labelloop") == []
    records = (replace(records[0], content=""), records[1])
    assert read_listing(tmp_path / "list.jsonl") == replace(found, records=records)
    with pytest.raises(ManifestError, match="one list is for numbers, another for image-classification"):
        found.joined(Listing("single", ("cat",), (Record("s3://b/1", ("cat",), 1),)))
    # What has no record does not say what it is for.
    assert found.joined(Listing("single", ("cat",), ())).kind == "numbers"


def test_what_annotators_said_beside_labels_stays(tmp_path: Path) -> None:
    box = {"from_name": "box", "type": "rectanglelabels", "value": {"x": 1.5, "rectanglelabels": ["cat"]}}
    items = [Item.of_text(9, "3.5", (), "[]"), Item(10, SHA, ("cat",), result=canonical([box]))]
    path, project = tmp_path / "manifest.jsonl", ProjectKey("x", 7)
    path.write_text(Manifest.of(project, "multiple", ("cat",), items, kind="annotations").to_jsonl())
    found = read_listing(path)
    assert [record.result for record in found.records] == ["[]", canonical([box])]
    assert write_listing(found, tmp_path / "list.jsonl", "labelloop") == []
    again = read_listing(tmp_path / "list.jsonl")
    assert replace(again, records=()) == replace(found, records=())
    assert again.records == (replace(found.records[0], content=""), found.records[1])
    picture = replace(found, records=(replace(found.records[1], uri="s3://b/k"),))
    lost = write_listing(picture, tmp_path / "list.csv", "csv")
    assert "all but the labels of what annotators said of 1 inputs" in lost
    with pytest.raises(ManifestError, match="line 1: 'result' must be a list of objects"):
        read(tmp_path, {"uri": "a.jpg", "labels": [], "result": {"choices": []}})


def test_spans_of_texts_that_lie_in_files_stay(tmp_path: Path) -> None:
    result = canonical([{"label": "A", "span": [0, 3]}])
    records = (Record("https://x.example/a.txt", ("A",), 1, result=result),)
    found = Listing("multiple", ("A",), records, kind="named-entity-recognition")
    assert write_listing(found, tmp_path / "list.jsonl", "labelloop") == []
    assert read_listing(tmp_path / "list.jsonl") == found
    boxes = HEADER | {"learns": "object-detection", "classes": ["A"], "kind": "multiple"}
    line = {"uri": "a.jpg", "labels": ["A"], "result": [{"label": "A", "span": [0, 3]}]}
    with pytest.raises(ManifestError, match="line 2: 'result' has a region 'A' that object-detection does not learn"):
        read(tmp_path, boxes, line)


def test_a_cut_list_is_noticed(tmp_path: Path) -> None:
    records = tuple(Record(f"s3://b/{at}", ("cat",), at) for at in (1, 2))
    path = tmp_path / "list.jsonl"
    write_listing(Listing("single", ("cat",), records), path, "labelloop")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ManifestError, match="is cut or was changed: its header counts 2 records"):
        read_listing(path)


HEADER = {"format": 1, "kind": "single", "classes": ["cat"], "records": 1, "left_out": 0}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([HEADER | {"format": 2}], "line 1: the header must have"),
        ([HEADER | {"kind": "many"}], "line 1: the header must have"),
        ([HEADER | {"classes": [1]}], "line 1: the header must have"),
        ([HEADER | {"learns": ["cats"]}], "line 1: 'learns' must be a text"),
        ([HEADER, {"uri": "a.jpg", "labels": "cat"}], "line 2: 'labels' must be a list of texts"),
        ([HEADER, {"labels": ["cat"]}], "line 2: 'uri' must be a text"),
        ([HEADER, {"text": "", "labels": ["cat"]}], "line 2: 'text' is empty"),
        ([HEADER, {"uri": "a.jpg", "labels": ["cat"], "picture": "../x"}], "line 2: '../x' is no sha256"),
        ([HEADER, {"uri": "a.jpg", "labels": ["cat"], "task": True}], "line 2: 'task' must be a whole number"),
        ([{"uri": "a", "labels": []}, {"uri": "b", "labels": [], "task": 1}], "some entries have a task id"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, lines: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        read(tmp_path, *lines)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "it is empty"),
        ('{"a": 1, "b": 2}', "its first line has the keys 'a, b'"),
        ('{"a": 1,\n"b": 2}', "its first line is none"),
        ("<xml/>", "found: '<xml/>'"),
    ],
)
def test_an_unknown_format_is_said_with_what_was_seen(tmp_path: Path, text: str, seen: str) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(
        ManifestError, match=rf"of no known format: .*{seen}.* Name the format, one of labelloop: .*; csv: "
    ):
        read_listing(tmp_path / "list")


def test_kinds_are_overruled_by_hints(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    write_listing(Listing("multiple", ("cat",), (Record("s3://b/k", ("cat",), 1),)), path, "labelloop")
    assert read_listing(path, hints=Hints(choice="single")).choice == "single"
    assert issubclass(ManifestError, LabelLoopError)
