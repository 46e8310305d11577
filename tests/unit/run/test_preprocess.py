"""What ``data.json`` says of the labels of a run."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from labelloop.data.manifest import Manifest
from labelloop.data.split import tally
from labelloop.errors import MediaError
from labelloop.run.context import Context, Labeled, write_json
from labelloop.run.folder import RunFolder
from labelloop.run.preprocess import preprocess, summed_up
from labelloop.run.report.contents import Files
from labelloop.run.report.provenance import data_section
from labelloop.settings import Settings
from labelloop.types import Item, LeftOut, ProjectKey
from support.answered import png


def sha(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def test_what_is_left_out_is_counted_whole_and_listed_as_far_as_anybody_reads(tmp_path: Path) -> None:
    shows = {1: ("a", "cat"), 2: ("a", "dog"), 3: ("b", "dog"), 4: ("b", "dog"), 5: ("c", "cat")}
    items = [Item(task, sha(name), (label,)) for task, (name, label) in shows.items()]
    outs = [LeftOut(task, "skipped") for task in range(10, 10_010)]
    manifest = Manifest.of(ProjectKey("local", 1), "single", ("cat", "dog"), items, outs)
    context = Context(RunFolder(tmp_path), Settings(model_dir=str(tmp_path)), lambda *_: None)
    context.labeled = Labeled(manifest)

    found = summed_up(context, tally(manifest), {sha("b"): "it is cut"})

    assert sum(side["items"] for side in found["sides"].values()) == 2
    assert (len(found["left_out"]), found["left_out_count"], found["conflicts"]) == (10_000, 10_002, 2)
    assert found["left_out"][0] == {"task": 10, "reason": "skipped"}
    assert found["unreadable"] == [{"task": 4, "picture": sha("b"), "reason": "it is cut"}]
    write_json(context.folder.data, found)
    section = data_section(Files(context.folder))
    assert section is not None
    assert (section.view["left_out_count"], section.view["left_out_listed"]) == (10_002, 10_000)
    assert section.view["twins"] == ()


def test_pictures_that_were_noted_to_be_here_and_are_gone_are_fetched_before_anything_is_learned(
    tmp_path: Path,
) -> None:
    context = Context(RunFolder(tmp_path), Settings(model_dir=str(tmp_path)), lambda *_: None)
    shas = [context.pictures.add(png(8, 8, pixels=bytes([number] * 192))) for number in range(40)]
    items = [Item(at, name, ("cat" if at % 2 else "dog",)) for at, name in enumerate([*shas, sha("a page")])]
    context.pictures.add(b"a page")
    manifest = Manifest.of(ProjectKey("local", 1), "single", ("cat", "dog"), items)
    context.labeled = Labeled(manifest)
    context.pictures.note_whole(manifest.project, manifest.hash)
    preprocess(context)
    assert "a page" not in context.folder.data.read_text()
    [left_out] = json.loads(context.folder.data.read_text())["unreadable"]
    assert left_out["picture"] == sha("a page"), "it is here, and no picture"

    context.pictures.path(shas[3]).unlink()
    shutil.rmtree(context.caches)
    with pytest.raises(MediaError, match=f"1 of the pictures of run .*, such as {shas[3]}: the next attempt fetches"):
        preprocess(context)
    assert not context.pictures.is_whole(manifest.project, manifest.hash)
    preprocess(context)
    assert len(json.loads(context.folder.data.read_text())["unreadable"]) == 2, "it could not be had"


def test_the_report_names_classes_that_are_nearly_the_same(tmp_path: Path) -> None:
    write_json(tmp_path / "data.json", {"classes": ["cat", "dog", "Cat"], "sides": {}})
    section = data_section(Files(RunFolder(tmp_path)))
    assert section is not None
    [pair] = section.view["twins"]
    assert pair.startswith("'cat' and 'Cat' are different classes")
