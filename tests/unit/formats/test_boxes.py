"""Boxes in pictures: COCO, Pascal VOC, YOLO, tables and both clouds' lists, read, written and read again."""

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from PIL import ExifTags, Image

from labelloop.data.formats import FORMATS, Hints, read_listing, write_listing
from labelloop.data.formats.boxes import hull
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.regions import read_regions, write_regions
from labelloop.types import BOXES, Box, Region
from support.examples import examples

HOLD = [name for name, one in FORMATS.items() if BOXES in one.kinds]
FOLDERS = [name for name in HOLD if not FORMATS[name].suffix]


def boxed(uri: str, *boxes: tuple[str, float, float, float, float], task: int = 1, side: object = None) -> Record:
    regions = [Region(label, Box(*map(float, place))) for label, *place in boxes]
    labels = tuple(sorted({label for label, *_ in boxes}))
    return Record(uri, labels, task, side, result=write_regions(regions), size=(640, 416))  # type: ignore[arg-type]


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    for number in (1, 2, 3):
        Image.new("RGB", (640, 416), (number, 0, 0)).save(tmp_path / f"{number}.png")
    uris = [(tmp_path / f"{number}.png").as_uri() for number in (1, 2, 3)]
    records = (
        boxed(uris[0], ("cat", 0.015625, 0.024038, 0.5, 0.25), ("dog, red", 0, 0, 1, 1), task=4, side="train"),
        boxed(uris[1], task=5, side="validation"),
        boxed(uris[2], ("cat", 0.1, 0.2, 0.3, 0.4), ("cat", 0.1, 0.2, 0.3, 0.4), task=9, side="test"),
    )
    return Listing("multiple", ("cat", "dog, red"), records, kind=BOXES)


def seen(listing: Listing, format: str) -> dict[int, tuple[object, ...]]:
    """What a format carries of each record: boxes and side, and the picture by its colour."""
    found: dict[int, tuple[object, ...]] = {}
    for one in listing.records:
        red, *_ = Image.open(one.uri.removeprefix("file://")).convert("RGB").getpixel((0, 0))  # type: ignore[misc]
        side = one.side if "sides" in FORMATS[format].carries else None
        found[red] = (side, one.labels, one.result)
    return found


@pytest.mark.parametrize("format", HOLD)
def test_boxes_survive(format: str, listing: Listing, tmp_path: Path) -> None:
    target = tmp_path / f"out{FORMATS[format].suffix}"
    lost = write_listing(listing, target, format)
    found = read_listing(target)
    assert (found.kind, found.choice, found.classes) == (BOXES, "multiple", listing.classes)
    assert seen(found, format) == seen(listing, format)
    assert not [what for what in lost if "box" in what]


@pytest.mark.parametrize("format", HOLD)
def test_sizes_go_along_where_pixels_are_written(format: str, listing: Listing, tmp_path: Path) -> None:
    target = tmp_path / f"out{FORMATS[format].suffix}"
    write_listing(listing, target, format)
    sizes = {one.size for one in read_listing(target).records if one.labels}
    assert sizes == ({None} if format in ("vertex", "yolo") else {(640, 416)})


@pytest.mark.parametrize("format", [name for name in HOLD if name not in ("labelloop", "label-studio")])
def test_a_turned_box_is_written_as_its_hull_and_that_is_said(format: str, listing: Listing, tmp_path: Path) -> None:
    turned = write_regions([Region("cat", Box(0.5, 0.5, 0.1, 0.2, 90.0))])
    records = (replace(listing.records[0], labels=("cat",), result=turned), *listing.records[1:])
    target = tmp_path / f"out{FORMATS[format].suffix}"
    lost = write_listing(replace(listing, records=records), target, format)
    assert "the rotation of 1 boxes: their upright hulls are written" in lost
    # 64 x 83.2 pixels, turned about (320, 208): 83.2 to the left, 64 down.
    hulls = [one.result for one in read_listing(target).records if '"cat"' in one.result]
    assert '[{"box":[0.37,0.5,0.13,0.15384615],"label":"cat"}]' in hulls


def test_our_own_and_label_studio_keep_turned_boxes(listing: Listing, tmp_path: Path) -> None:
    turned = write_regions([Region("cat", Box(0.5, 0.5, 0.1, 0.2, 33.0))])
    records = (replace(listing.records[0], labels=("cat",), result=turned), *listing.records[1:])
    given = replace(listing, records=records)
    assert write_listing(given, tmp_path / "out", "labelloop") == []
    assert read_listing(tmp_path / "out") == given
    write_listing(given, tmp_path / "tasks", "label-studio")
    assert read_listing(tmp_path / "tasks").records[0].result == turned


FRACTIONS = st.floats(0, 1).map(lambda one: round(one, 8))
PLACES = st.tuples(FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS)


@given(st.lists(PLACES, min_size=1, max_size=3), st.sampled_from([name for name in HOLD if name not in FOLDERS]))
@tries(max_examples=examples(100))
def test_any_box_survives(places: Sequence[tuple[float, float, float, float]], format: str) -> None:
    corners = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in places]
    boxes = [("cat", x, y, round(r - x, 8), round(b - y, 8)) for x, y, r, b in corners if r > x and b > y]
    assume(boxes)
    given = Listing("multiple", ("cat",), (boxed("s3://b/1.jpg", *boxes),), kind=BOXES)
    with tempfile.TemporaryDirectory() as folder:
        write_listing(given, Path(folder) / "list", format)
        found = read_regions(read_listing(Path(folder) / "list", format).records[0].result)
    # Formats in pixels round once more: by less than any pixel.
    there, here = (
        [(one.shape.x, one.shape.y, one.shape.width, one.shape.height) for one in boxes if isinstance(one.shape, Box)]
        for boxes in (found, read_regions(given.records[0].result))
    )
    assert sorted(there) == [pytest.approx(one, abs=3e-8) for one in sorted(here)]


def coco(tmp_path: Path, *annotations: dict[str, object], **image: object) -> Path:
    first = {"id": 1, "file_name": "1.jpg", "width": 100, "height": 50} | image
    names = [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]
    made = [{"id": at, "image_id": 1, "category_id": 3} | one for at, one in enumerate(annotations, 1)]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps({"images": [first], "categories": names, "annotations": made}))
    return path


def test_what_is_no_box_is_left_out_and_counted(tmp_path: Path) -> None:
    path = coco(
        tmp_path,
        {"bbox": [10, 10, 20, 20]},
        {"bbox": [10, 10, 20, 20], "iscrowd": 1},
        {"bbox": [10, 10, 0, 20]},
        {"bbox": [10, 10, 0, 0]},
        {"bbox": [120, 10, 20, 20]},
        {"bbox": [-10, 45, 20, 20]},
        {"category_id": 4},
    )
    found = read_listing(path)
    [record] = found.records
    assert [(one.label, one.shape) for one in read_regions(record.result)] == [
        ("cat", Box(0.1, 0.2, 0.2, 0.4)),
        ("cat", Box(0, 0.9, 0.1, 0.1)),
    ]
    assert (record.task, record.size, found.classes) == (1, (100, 50), ("cat", "dog"))
    assert found.remarks == (
        "1 annotations without a box were left out",
        "1 boxes of crowds were left out",
        "1 boxes outside of their pictures were left out",
        "2 boxes without area were left out",
    )


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"bbox": [1, 2, 3]}, "coco.json, element of annotations 1: 'bbox' must be x, y, width and height"),
        ({"bbox": [1, 2, 3, "wide"]}, "element of annotations 1: a box has 'wide' where a number is expected"),
        ({"bbox": [1, 2, 3, math.inf]}, "a box has 'inf' where a number"),
        ({"bbox": [1, 2, 3, 4], "category_id": 9}, "its category 9 is not among the categories"),
        ({"bbox": [1, 2, 3, 4], "image_id": 9}, "element of annotations 1: its image 9 is not among the images"),
    ],
)
def test_what_is_wrong_in_coco_is_said(tmp_path: Path, values: dict[str, object], reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        read_listing(coco(tmp_path, values))


def test_a_picture_says_its_size_where_the_list_does_not(tmp_path: Path) -> None:
    path = coco(tmp_path, {"bbox": [10, 10, 20, 20]}, width=None)
    with pytest.raises(
        ManifestError, match=r"element of images 1: it does not say how large its picture is.*add width"
    ):
        read_listing(path)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    (tmp_path / "images").mkdir()
    Image.new("RGB", (80, 40)).save(tmp_path / "images/1.jpg", exif=exif)
    [record] = read_listing(path).records
    assert record.uri == (tmp_path / "images/1.jpg").as_uri()
    assert (record.size, record.result) == ((40, 80), '[{"box":[0.25,0.125,0.5,0.25],"label":"cat"}]')


def test_pictures_lie_where_coco_has_them(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "val2017/1.jpg")
    target = tmp_path / "annotations/instances_val2017.json"
    coco(tmp_path, {"bbox": [1, 1, 5, 5]}, coco_url="http://images.example/1.jpg").rename(target)
    assert read_listing(target).records[0].uri == (tmp_path / "val2017/1.jpg").as_uri()
    assert [one.side for one in read_listing(tmp_path).records] == ["validation"]
    (tmp_path / "val2017/1.jpg").unlink()
    assert read_listing(target).records[0].uri == "http://images.example/1.jpg"


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="leads out of the folder"):
        read_listing(coco(tmp_path, {"bbox": [1, 1, 5, 5]}, file_name="../../1.jpg"))


def test_polygons_are_refused_and_their_boxes_read_by_name(tmp_path: Path) -> None:
    path = coco(tmp_path, {"bbox": [1, 1, 5, 5], "segmentation": [[1, 1, 5, 1, 3, 4]]})
    with pytest.raises(ManifestError, match=r"holds polygons .* cannot learn .*name the format: coco\."):
        read_listing(path)
    assert read_listing(path, "coco").records[0].labels == ("cat",)


VOC = """<annotation><filename>1.jpg</filename><size><width>100</width><height>50</height></size>
<object><name>cat</name><bndbox><xmin>10</xmin><ymin>5.5</ymin><xmax>30</xmax><ymax>25</ymax></bndbox></object>
</annotation>"""


def test_pascal_voc_has_its_sides_in_lists(tmp_path: Path) -> None:
    for folder, name, text in (
        ("Annotations", "1.xml", VOC),
        ("Annotations", "2.xml", VOC.replace("1.jpg", "2")),
        ("ImageSets/Main", "val.txt", "2\n"),
        ("ImageSets/Main", "cat_val.txt", "1 -1\n"),
    ):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    (tmp_path / "JPEGImages").mkdir()
    Image.new("RGB", (100, 50)).save(tmp_path / "JPEGImages/2.jpg")
    one, two = read_listing(tmp_path).records
    assert (one.uri, one.side) == ((tmp_path / "Annotations/1.jpg").as_uri(), None)
    assert (two.uri, two.side) == ((tmp_path / "JPEGImages/2.jpg").as_uri(), "validation")
    assert one.result == two.result == '[{"box":[0.1,0.11,0.2,0.39],"label":"cat"}]'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (VOC.replace("<xmin>10", "<xmin>ten"), "1.xml, object 1: a box has 'ten' where a number is expected"),
        (VOC.replace("</annotation>", ""), "1.xml is no XML that can be read"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + VOC, "1.xml is no XML that can be read"),
        (VOC.replace("<name>cat</name>", ""), "1.xml, object 1: a box has no label"),
        (VOC.replace("<width>100</width>", ""), "1.xml, annotation 1: it does not say how large its picture is"),
        (VOC.replace("<filename>1.jpg</filename>", ""), "1.xml does not name its picture"),
    ],
)
def test_what_is_wrong_in_pascal_voc_is_said(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "1.xml").write_text(text)
    with pytest.raises(ManifestError, match=reason):
        read_listing(tmp_path, "voc")


def yolo(tmp_path: Path, text: str, names: str = "names: [cat, dog]\n") -> Path:
    for number in (1, 2):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (100, 50), (number, 0, 0)).save(tmp_path / f"images/{number}.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/1.txt").write_text(text)
    if names:
        (tmp_path / "data.yaml").write_text(names)
    return tmp_path


def test_a_picture_without_a_file_has_nothing_in_it(tmp_path: Path) -> None:
    found = read_listing(yolo(tmp_path, "1 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4 0.93\n", "names:\n  0: cat\n  1: dog\n"))
    assert [(one.uri.rpartition("/")[2], one.labels) for one in found.records] == [
        ("1.jpg", ("cat", "dog")),
        ("2.jpg", ()),
    ]
    assert '{"box":[0.4,0.3,0.2,0.4],"label":"cat"}' in found.records[0].result


@pytest.mark.parametrize(
    ("config", "sides"),
    [
        ("names: [cat]\ntrain: ../images\nval: nowhere\n", ["train", "train"]),
        ("names: [cat]\ntrain: images\nval: images\n", [None, None]),
        ("names: [cat]\ntrain: some.txt\nval: [images/2.jpg]\n", ["train", "validation"]),
    ],
)
def test_data_yaml_says_the_sides(tmp_path: Path, config: str, sides: list[str | None]) -> None:
    (tmp_path / "some.txt").write_text("./images/1.jpg\n")
    assert [one.side for one in read_listing(yolo(tmp_path, "0 0.5 0.5 0.2 0.4\n", config)).records] == sides


def test_turned_boxes_are_read_by_the_size_of_their_picture(tmp_path: Path) -> None:
    angle, points = math.radians(30), []
    for dx, dy in ((0, 0), (40, 0), (40, 10), (0, 10)):
        x, y = 50 + dx * math.cos(angle) - dy * math.sin(angle), 10 + dx * math.sin(angle) + dy * math.cos(angle)
        points += [x / 100, y / 50]
    [first, _] = read_listing(yolo(tmp_path, f"0 {' '.join(map(str, points))}\n")).records
    [region] = read_regions(first.result)
    assert isinstance(region.shape, Box)
    assert astuple(region.shape) == pytest.approx((0.5, 0.2, 0.4, 0.2, 30), abs=1e-3)
    around = hull(region.shape, (100, 50))
    assert [around.x, around.width] == pytest.approx([0.45, 0.3964], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "names", "reason"),
    [
        (
            "2 0.5 0.5 0.1 0.1\n",
            "names: [cat, dog]",
            "labels/1.txt, line 1: its class '2' is none of the 2 that are named",
        ),
        ("cat 0.5 0.5 0.1 0.1\n", "names: [cat]", "line 1: its class 'cat' is none of the 1"),
        ("0 0.5 x 0.1 0.1\n", "names: [cat]", "line 1: a box has 'x' where a number is expected"),
        ("0 50 50 10 10\n", "names: [cat]", "line 1: a box 'cat' at 45, 45 is not in fractions of its picture"),
        ("0 0.5 0.5 0.1 0.1\n", "", "nothing names the classes. Put a data.yaml with names or a classes.txt there"),
        ("0 0.5 0.5 0.1 0.1\n", "names: [", "data.yaml is no YAML that can be read"),
        ("0 0.5 0.5 0.1 0.1\n0 0.1 0.1 0.9 0.1 0.5 0.5\n", "names: [cat]", r"holds polygons .line 2 has 7 numbers"),
        ("0 0.1 0.1 0.9 0.2 0.5 0.5 0.1 0.4\n", "names: [cat]", r"holds polygons .line 1 has four corners of no rect"),
    ],
)
def test_what_is_wrong_in_yolo_is_said(tmp_path: Path, text: str, names: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason):
        read_listing(yolo(tmp_path, text, names), "yolo")


def test_classes_may_be_named_from_outside(tmp_path: Path) -> None:
    found = read_listing(yolo(tmp_path, "1 0.5 0.5 0.1 0.1\n", ""), hints=Hints(classes=("cat", "dog")))
    assert found.records[0].labels == ("dog",)


def test_a_table_of_boxes_without_labels_needs_the_only_class(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text(
        'image_id,width,height,bbox\n1.jpg,100,50,"[10, 5, 20, 10]"\n1.jpg,100,50,"[0, 0, 0, 10]"\n2.jpg,,,\n'
    )
    with pytest.raises(ManifestError, match=r"has boxes and no column of their labels .* \(--classes\)"):
        read_listing(path)
    found = read_listing(path, hints=Hints(classes=("wheat",)))
    assert [one.result for one in found.records] == ['[{"box":[0.1,0.1,0.2,0.2],"label":"wheat"}]', "[]"]
    assert found.remarks == ("1 boxes without area were left out",)


def test_a_table_of_fractions_is_known_by_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("ImageID,label,XMin,XMax,YMin,YMax\n1.jpg,cat,0.1,0.3,0.2,0.6\n")
    assert read_listing(path).records[0].result == '[{"box":[0.1,0.2,0.2,0.4],"label":"cat"}]'


def test_a_fraction_that_leads_out_of_its_picture_makes_no_pixels_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("ImageID,label,XMin,XMax,YMin,YMax\n1.jpg,cat,0.1,0.3,0.2,0.6\n2.jpg,dog,0.5,1.02,0,0.5\n")
    assert [one.result for one in read_listing(path).records] == [
        '[{"box":[0.1,0.2,0.2,0.4],"label":"cat"}]',
        '[{"box":[0.5,0.0,0.5,0.5],"label":"dog"}]',
    ]


@pytest.mark.parametrize("format", ["coco", "augmented"])
def test_pixels_need_a_size(format: str, tmp_path: Path) -> None:
    record = replace(boxed("s3://b/1.jpg", ("cat", 0, 0, 1, 1)), size=None)
    with pytest.raises(ManifestError, match="task 1: how large its picture is is not known, which this format needs"):
        write_listing(Listing("multiple", ("cat",), (record,), kind=BOXES), tmp_path / "out", format)
    assert list(tmp_path.iterdir()) == []
