"""What holds labels of other kinds, beside the files of tests/real; and what is a list of pictures none the less."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from labelloop.data.formats import Hints, read_listing
from labelloop.errors import ManifestError
from labelloop.types import BOXES

COCO = {
    "images": [{"id": 1, "file_name": "1.jpg"}],
    "categories": [{"id": 3, "name": "cat"}],
    "annotations": [{"id": 7, "image_id": 1, "category_id": 3, "bbox": [0, 0, 5, 5], "segmentation": []}],
}


def coco(**annotation: Any) -> str:
    [old] = COCO["annotations"]
    return json.dumps(COCO | {"annotations": [old | annotation]})


@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("a.json", coco(segmentation=[[1, 1, 5, 1, 3, 4]]), "polygons"),
        ("a.json", coco(segmentation={"size": [5, 5], "counts": "abc"}), "masks"),
        ("a.json", coco(keypoints=[1, 1, 2], num_keypoints=1), "key points"),
        ("a.json", coco(caption="a cat"), "words"),
        ("via.json", '{"a.jpg1": {"filename": "a.jpg", "regions": [{"shape_attributes": {"name": "rect"}}]}}', "boxes"),
        ("labelme.json", '{\n "shapes": [{"label": "cat", "points": [[1, 2]]}],\n "imagePath": "a"}', "polygons"),
        ("a.json", '[{"image": "a.jpg", "annotations": [{"label": "cat", "coordinates": {"x": 1}}]}]', "boxes"),
        ("a.jsonl", '{"audio_filepath": "1.wav", "duration": 1.5, "text": "hello"}\n', "words"),
        ("a.jsonl", '{"videoGcsUri": "gs://b/1.mp4", "timeSegmentAnnotations": [{"a": 1}]}', "parts of videos"),
        ("a.jsonl", '{"textContent": "fine", "sentimentAnnotation": {"sentiment": 1, "sentimentMax": 2}}', "ratings"),
        ("cvat.xml", '<annotations><image><polygon label="cat"/></image></annotations>', "polygons"),
        ("train.txt", "__label__good A fine day\n__label__bad Rain\n", "classes of texts"),
        ("a.csv", "filename,region_count,region_shape_attributes\na.jpg,1,{}\n", "boxes"),
        ("a.csv", "img,left_eye_x,left_eye_y,nose_x,nose_y\na.jpg,1,2,3,4\n", "key points"),
        ("a.csv", "gs://b/1.pdf,invoice\n", "classes of texts"),
        ("a.csv", "TRAIN,gs://b/1.mp4,jump\n", "classes of videos"),
    ],
)  # fmt: skip
def test_a_file_is_refused_by_what_it_holds(tmp_path: Path, name: str, text: str, labels: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(
        ManifestError,
        match=rf"{name}(, line 1)?.* holds {labels} \(.*(cannot learn .* It learns classes|is not read: write)",
    ):
        read_listing(path)


def test_a_long_file_is_looked_at_where_it_begins_and_ends(tmp_path: Path) -> None:
    images = [{"id": at, "file_name": f"{at}.jpg", "width": 640, "height": 480} for at in range(12_000)]
    values = json.loads(coco(segmentation=[[1, 1, 5, 1, 3, 4]])) | {"images": images}
    (tmp_path / "a.json").write_text(json.dumps(values))
    with pytest.raises(ManifestError, match="holds polygons"):
        read_listing(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(json.dumps(COCO | {"images": images}, indent=1))
    assert len(read_listing(tmp_path / "b.json").records) == 12_000


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GIF89a")


@pytest.mark.parametrize(
    ("files", "labels"),
    [
        (["images/1.jpg", "masks/1.png"], "masks"),
        (["JPEGImages/1.jpg", "SegmentationClass/1.png"], "masks"),
    ],
)
def test_a_folder_is_refused_by_its_folders(tmp_path: Path, files: list[str], labels: str) -> None:
    for name in files:
        picture(tmp_path / name)
    with pytest.raises(ManifestError, match=f"holds {labels} .* name the format: imagefolder"):
        read_listing(tmp_path)
    assert len(read_listing(tmp_path, "imagefolder").records) + len(read_listing(tmp_path, "imagefolder").left_out) == 2


def test_notes_among_the_pictures_of_classes_change_nothing(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/2.jpg"):
        picture(tmp_path / name)
    (tmp_path / "README.txt").write_text("Cats and dogs, 2 of them.\n\nNo boxes.\n")
    (tmp_path / "labels.csv").write_text("filename,label\ncat/1.jpg,cat\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "sizes.json").write_text('{"images": 2, "annotations": 0}')
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "away.txt").symlink_to(tmp_path / "nowhere")
    assert [one.labels for one in read_listing(tmp_path).records] == [("cat",), ("dog",)]


def test_classes_may_be_called_as_what_tools_write(tmp_path: Path) -> None:
    for name in ("images/mask/1.jpg", "images/no mask/2.jpg", "images/labels/3.jpg"):
        picture(tmp_path / name)
    assert read_listing(tmp_path).classes == ("labels", "mask", "no mask")


def test_a_column_that_is_named_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "cars.csv"
    path.write_text("image,width,height,x1,y1,x2,y2,class\na.jpg,8,8,1,2,3,4,saloon\n")
    [found] = read_listing(path).records
    assert (found.labels, found.result) == (("saloon",), '[{"box":[0.125,0.25,0.25,0.25],"label":"saloon"}]')
    assert read_listing(path, hints=Hints(label_attribute="class")).records[0].labels == ("saloon",)


def test_an_import_file_may_have_nothing_in_its_first_lines(tmp_path: Path) -> None:
    path = tmp_path / "import.jsonl"
    boxes = {"imageGcsUri": "gs://b/2.jpg", "boundingBoxAnnotations": [{"displayName": "cat", "xMax": 0.1, "yMax": 1}]}
    path.write_text(json.dumps({"imageGcsUri": "gs://b/1.jpg"}) + "\n" + json.dumps(boxes))
    found = read_listing(path)
    assert (found.kind, found.records[0].result) == (BOXES, '[{"box":[0.0,0.0,0.1,1.0],"label":"cat"}]')
    assert [out.reason for out in found.left_out] == ["it has no annotation"]
