"""SageMaker's augmented manifest, as Ground Truth writes it."""

import json
from pathlib import Path
from typing import Any

import pytest

from labelloop.data.formats import Hints, read_listing, write_listing
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.types import LeftOut

METADATA = {
    "confidence": 0.95,
    "job-name": "labeling-job/animals",
    "human-annotated": "yes",
    "creation-date": "2026-04-15T20:17:23.433061",
}


def single(key: str, number: int, name: str) -> dict[str, Any]:
    metadata = METADATA | {"class-name": name, "type": "groundtruth/image-classification"}
    return {"source-ref": f"s3://bucket/{key}", "animal": number, "animal-metadata": metadata}


def multiple(key: str, *numbers: int) -> dict[str, Any]:
    names = {"0": "cat", "3": "dog"}
    metadata = METADATA | {
        "class-map": {str(number): names[str(number)] for number in numbers},
        "confidence-map": dict.fromkeys(map(str, numbers), 0.9),
        "type": "groundtruth/image-classification-multilabel",
    }
    return {"source-ref": f"s3://bucket/{key}", "animals": list(numbers), "animals-metadata": metadata}


def read(tmp_path: Path, *lines: dict[str, Any], **hints: Any) -> Listing:
    path = tmp_path / "output.manifest"
    path.write_text("\r\n".join(map(json.dumps, lines)) + "\r\n\r\n")
    return read_listing(path, hints=Hints(**hints))


def test_one_class_each(tmp_path: Path) -> None:
    found = read(tmp_path, single("a.jpg", 1, "dog"), single("b.jpg", 0, "cat"))
    assert (found.choice, found.classes) == ("single", ("cat", "dog"))
    assert found.records == (Record("s3://bucket/a.jpg", ("dog",), 1), Record("s3://bucket/b.jpg", ("cat",), 2))


def test_several_classes_each(tmp_path: Path) -> None:
    found = read(tmp_path, multiple("a.jpg", 3, 0), multiple("b.jpg"))
    assert (found.choice, [one.labels for one in found.records]) == ("multiple", [("cat", "dog"), ()])


def test_what_a_labeling_job_failed_on_is_left_out(tmp_path: Path) -> None:
    failed = {"source-ref": "s3://bucket/b", "animal-metadata": {"failure-reason": "ClientError: no annotation"}}
    found = read(tmp_path, failed, single("a.jpg", 1, "dog"), {"source-ref": "s3://bucket/c"})
    assert [one.task for one in found.records] == [2]
    assert found.left_out == (
        LeftOut(1, "its labeling job failed: ClientError: no annotation"),
        LeftOut(3, "it has no 'animal'"),
    )


@pytest.mark.parametrize(("value", "label"), [(7, "7"), ("cat", "cat"), ("7", "7")])
def test_without_metadata_the_value_is_the_class(tmp_path: Path, value: object, label: str) -> None:
    assert read(tmp_path, {"source-ref": "s3://b/k", "class": value}).records[0].labels == (label,)


def test_of_several_attributes_one_is_named(tmp_path: Path) -> None:
    line = multiple("a.jpg", 0) | single("a.jpg", 1, "dog")
    assert read(tmp_path, line, label_attribute="animal").records[0].labels == ("dog",)
    assert read(tmp_path, line, label_attribute="animals").records[0].labels == ("cat",)
    with pytest.raises(ManifestError, match=r"line 1: .* found: animals, animal\. Name it \(--label-attribute\)"):
        read(tmp_path, line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"source-ref": 1, "class": 1}, "'source-ref' must be a text"),
        ({"source-ref": "s3://b/k"}, "found: none"),
        ({"source-ref": "s3://b/k", "class": [[1]]}, "a label must be the number or the name"),
        (
            {"source-ref": "s3://b/k", "masks": {}, "masks-metadata": {"type": "groundtruth/semantic-segmentation"}},
            "'masks' holds masks .its type is 'groundtruth/semantic-segmentation'.*It learns classes",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, line: dict[str, Any], reason: str) -> None:
    with pytest.raises(ManifestError, match=f"output.manifest, line 1: .*{reason}"):
        read(tmp_path, line)


def test_it_is_written_as_a_labeling_job_writes_it(tmp_path: Path) -> None:
    records = (Record("s3://bucket/a", ("dog",), 1), Record("s3://bucket/b", ("cat",), 2))
    write_listing(Listing("single", ("cat", "dog"), records), tmp_path / "out", "augmented", Hints("animal"))
    lines = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [line["animal"] for line in lines] == [1, 0]
    assert lines[0]["animal-metadata"]["class-name"] == "dog"
    assert lines[0]["animal-metadata"]["type"] == "groundtruth/image-classification"


@pytest.mark.parametrize("name", ["class-ref", "class-metadata"])
def test_names_that_sagemaker_keeps_for_itself_are_refused(tmp_path: Path, name: str) -> None:
    listing = Listing("single", ("cat",), (Record("s3://bucket/a", ("cat",), 1),))
    with pytest.raises(ManifestError, match="must not end with"):
        write_listing(listing, tmp_path / "out", "augmented", Hints(name))
