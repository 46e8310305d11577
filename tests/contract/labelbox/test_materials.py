"""The model runs that tests learn from are such as Labelbox's users have, and what is right of them is told rightly."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from labelloop.data.listing import Record
from labelloop.kinds.base import find
from labelloop.labelbox.model_types import find_type
from labelloop.labelbox.rows import row_number
from labelloop.labelbox.tool import LabelboxTool
from labelloop.regions import read_regions
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.types import Box, Json, Region, Span
from support.labelbox import LabelboxStandIn
from support.labelbox.checking import Bad, Checker
from support.labelbox.materials import MODEL_TYPES, Material, model_run_of


def truth_of(label: list[Json]) -> set[Any]:
    """Read what one person said, as the material tells what is right."""
    found: set[Any] = set()
    for one in label:
        if "bounding_box" in one:
            found.add((one["name"], *(one["bounding_box"][side] for side in ("left", "top", "width", "height"))))
        elif "location" in one:
            found.add((one["name"], one["location"]["start"], one["location"]["end"] + 1))
        else:
            answers = one["checklist_answers"] if "checklist_answers" in one else [one["radio_answer"]]
            found |= {path(answer) for answer in answers}
    return found


def path(answer: Json) -> str:
    below = "".join(f"/{path(one['radio_answer'])}" for one in answer["classifications"])
    return f"{answer['name']}{below}"


def predicted(material: Material, truth: Any) -> Json:
    """Write what is right of a row as a line of predictions."""
    if isinstance(truth, str):
        (question,) = material.ontology["classifications"]
        answer: Json = {"name": truth.partition("/")[0], "confidence": 0.5}
        if below := truth.partition("/")[2]:
            (nested,) = next(one["options"] for one in question["options"] if one["label"] == answer["name"])
            answer["classifications"] = [{"name": nested["name"], "answer": {"name": below}}]
        return {"name": question["name"], "answer": [answer] if question["type"] == "checklist" else answer}
    name, *where = truth
    if len(where) == 4:
        return {"name": name, "bbox": dict(zip(("left", "top", "width", "height"), where, strict=True))}
    return {"name": name, "location": {"start": where[0], "end": where[1] - 1}}


@pytest.mark.parametrize("name", MODEL_TYPES)
def test_labels_say_what_is_right_and_labelbox_would_take_it(labelbox: LabelboxStandIn, name: str) -> None:
    material = model_run_of(labelbox, name)
    first, *others = material.rows
    assert [len(row.labels) for row in material.rows] == [3, *[1] * 59, *[0] * 4]
    assert [truth_of(list(said)) == set(material.truth[first.id]) for said in first.labels] == [True, False, True]
    for row in others[:59]:
        assert truth_of(list(row.labels[0])) == set(material.truth[row.id])
    assert set(material.splits.values()) == {"TRAINING", "VALIDATION", "TEST"}
    assert 0 < len(set(material.truth) - set(material.splits)) < 10

    checker = Checker({row.id: row for row in material.rows}.get, material.ontology)
    for row in material.rows:
        for truth in material.truth[row.id]:
            checker.check({"dataRow": {"id": row.id}, **predicted(material, truth)})
    with pytest.raises(Bad, match="not in the model run"):
        checker.check({"dataRow": {"id": "another"}, "name": "digit"})


@pytest.mark.parametrize("name", MODEL_TYPES)
def test_classes_are_those_that_are_right_somewhere(labelbox: LabelboxStandIn, name: str) -> None:
    material = model_run_of(labelbox, name)
    truths = {one if isinstance(one, str) else one[0] for truth in material.truth.values() for one in truth}
    assert truths == set(material.classes)


@pytest.mark.parametrize("name", MODEL_TYPES)
def test_a_site_reads_what_is_right(labelbox: LabelboxStandIn, name: str, tmp_path: Path) -> None:
    material, model_type = model_run_of(labelbox, name, labeled=16, unlabeled=2), find_type(name)
    assert model_type is not None
    settings = replace(Settings.from_environment(), model_dir=str(tmp_path))
    media, tool = Media(settings, None), LabelboxTool(settings, material.run)
    site = tool.site(model_type.number, media, lambda: None)
    labeling = site.labeling()
    read = labeling.records(find(model_type.kind).truth)
    records = {one.task: one for one in read if isinstance(one, Record)}
    assert set(material.classes) <= set(labeling.classes)
    assert len(records) == 16
    for row in material.rows[:16]:
        record, size = records[row_number(row.id)], row.size
        assert (site.read(record) if row.file else record.text) == (row.content if row.file else row.text)
        assert record.side == SIDES[material.splits.get(row.id, "UNASSIGNED")]
        if record.result:
            assert {pixels(one, size) for one in read_regions(record.result)} == set(material.truth[row.id])
        else:
            assert set(record.labels) == set(material.truth[row.id])
    tool.close()
    media.close()


SIDES = {"TRAINING": "train", "VALIDATION": "validation", "TEST": "test", "UNASSIGNED": None}


def pixels(region: Region, size: tuple[int, int] | None) -> tuple[Any, ...]:
    """Give a region as the material tells it."""
    if isinstance(region.shape, Span):
        return (region.label, region.shape.start, region.shape.end)
    assert isinstance(region.shape, Box)
    assert size is not None
    shape, (width, height) = region.shape, size
    sides = (shape.x * width, shape.y * height, shape.width * width, shape.height * height)
    return (region.label, *(round(side, 3) for side in sides))
