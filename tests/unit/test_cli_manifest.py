"""``labelloop manifest``: counts, conversions between all formats, what is lost on the way."""

import hashlib
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from labelloop.cli import main, settings_table
from labelloop.data.formats import FORMATS, read_listing
from labelloop.types import IMAGES, Json
from support.picture_server import picture_server

PICTURES = [name for name, one in FORMATS.items() if IMAGES in one.kinds]
ROWS = "path,label,split\na.png,cat,train\nb.png,dog,train\nc.png,dog,test\nd.png,,\n"
CONFIG = """<View><Image name="img" value="$photo"/><Choices name="animal" toName="img" choice="single">
<Choice value="dog"/><Choice value="cat"/></Choices>
<Choices name="quality" toName="img"><Choice value="good"/></Choices></View>"""


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for row in settings_table():
        monkeypatch.delenv(row["name"], raising=False)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "model"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A table beside its pictures."""
    for number, name in enumerate("abcd"):
        (tmp_path / f"{name}.png").write_bytes(picture(number))
    (tmp_path / "list.csv").write_text(ROWS)
    return tmp_path / "list.csv"


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["manifest", *map(str, arguments)])


def test_show_counts_classes_and_sides(source: Path) -> None:
    assert run("show", source).output.splitlines() == [
        "3 records, 2 classes, single choice",
        "train: 2",
        "        1 cat",
        "        1 dog",
        "test: 1",
        "        0 cat",
        "        1 dog",
        "left out: 1",
        "  task 4: it has no label",
    ]


def test_labels_of_another_kind_are_refused_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/1.txt").write_text("0 0.5 0.5 0.1 0.1 0.3 0.3\n")
    for result in (run("show", tmp_path), run("convert", tmp_path, tmp_path / "out.csv", "--to", "csv")):
        assert result.exit_code == 1
        assert f"{tmp_path} holds polygons (labels/1.txt: it has numbers of places in each line" in result.output
        assert "LabelLoop cannot learn from a list yet. It learns classes of pictures" in result.output


def test_show_as_json(source: Path) -> None:
    assert json.loads(run("show", source, "--json").output) == {
        "kind": "single",
        "classes": ["cat", "dog"],
        "records": 3,
        "sides": {
            "train": {"records": 2, "classes": {"cat": 1, "dog": 1}},
            "test": {"records": 1, "classes": {"cat": 0, "dog": 1}},
        },
        "left_out": [{"task": 4, "reason": "it has no label"}],
    }


def test_of_spans_each_counts(tmp_path: Path) -> None:
    lines = ("Ada B-PER", "met O", "Bob B-PER", "", "nobody O", "")
    (tmp_path / "train.conll").write_text("\n".join(lines))
    assert run("show", tmp_path / "train.conll").output.splitlines() == [
        "2 records, 1 classes, multiple choice, named-entity-recognition, 2 regions",
        "no side named: 2",
        "        2 PER",
    ]
    found = json.loads(run("show", tmp_path / "train.conll", "--json").output)
    assert (found["learns"], found["regions"], found["sides"][""]["classes"]) == (
        "named-entity-recognition",
        2,
        {"PER": 2},
    )


def test_pictures_are_fetched_for_their_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_ALLOW_PRIVATE_ADDRESSES", "true")
    with picture_server({"/a.png": picture(0)}) as server:
        box = {"displayName": "cat", "xMin": 0.25, "yMin": 0.5, "xMax": 0.5, "yMax": 1}
        line = {"imageGcsUri": f"{server.address}/a.png", "boundingBoxAnnotations": [box]}
        (tmp_path / "import.jsonl").write_text(json.dumps(line))
        answer = run("convert", tmp_path / "import.jsonl", tmp_path / "out.json", "--to", "coco")
    assert answer.exit_code == 0, answer.output
    values = json.loads((tmp_path / "out.json").read_text())
    [image], [annotation] = values["images"], values["annotations"]
    assert (image["width"], image["height"], annotation["bbox"]) == (8, 8, [2, 4, 2, 4])
    assert image["file_name"] == line["imageGcsUri"]


def test_texts_in_files_are_fetched_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("Ada met us.")
    segment = {"startOffset": 0, "endOffset": 3, "displayName": "PER"}
    lines = [{"textGcsUri": str(tmp_path / name), "textSegmentAnnotations": [segment]} for name in ("1.txt", "no.txt")]
    (tmp_path / "import.jsonl").write_text("\n".join(map(json.dumps, lines)))
    answer = run("convert", tmp_path / "import.jsonl", tmp_path / "out.jsonl", "--to", "spacy")
    assert answer.exit_code == 0, answer.output
    assert "  lost: 1 tasks that are left out, and why" in answer.output
    found = read_listing(tmp_path / "out.jsonl")
    assert [(one.text, one.result) for one in found.records] == [("Ada met us.", '[{"label":"PER","span":[0,3]}]')]


def test_a_target_of_a_dash_is_standard_output(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for to in sorted(set(PICTURES) - {"imagefolder"}):
        answer = run("convert", source, "-", "--to", to)
        assert answer.exit_code == 0, answer.output
        assert answer.stderr.splitlines()[0] == f"3 records read, - written as {to}"
        (tmp_path / f"shown-{to}").write_bytes(answer.stdout_bytes)
        assert len(read_listing(tmp_path / f"shown-{to}", to).records) == 3
    assert run("convert", source, "-", "--to", "imagefolder").exit_code == 2
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("to", PICTURES)
@pytest.mark.parametrize("via", PICTURES)
def test_every_format_becomes_every_other(source: Path, tmp_path: Path, via: str, to: str) -> None:
    first, second = tmp_path / "first/list", tmp_path / "second/list"
    assert run("convert", source, first, "--to", via).exit_code == 0
    answer = run("convert", first, second, "--from", via, "--to", to)

    assert answer.exit_code == 0, answer.output
    assert answer.output.splitlines()[0] == f"3 records read, {second} written as {to}"
    found = read_listing(second, to)
    assert sorted(one.labels[0] for one in found.records) == ["cat", "dog", "dog"]
    if "augmented" not in (via, to):
        assert sorted(str(one.side) for one in found.records) == ["test", "train", "train"]
    elif to == "augmented" != via:
        assert "  lost: the sides of 3 records" in answer.output.splitlines()


def test_what_is_lost_is_said(source: Path, tmp_path: Path) -> None:
    assert run("convert", source, tmp_path / "out", "--to", "augmented").output.splitlines()[1:] == [
        "  lost: the sides of 3 records",
        "  lost: 1 tasks that are left out, and why",
    ]


def test_pictures_elsewhere_are_fetched_into_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_ALLOW_PRIVATE_ADDRESSES", "true")
    files = {f"/{name}.png": picture(number) for number, name in enumerate("ab")}
    with picture_server({**files, "/list.csv": b"path,label\na.png,cat\nb.png,dog\nc.png,dog\n"}) as server:
        answer = run("convert", f"{server.address}/list.csv", tmp_path / "out", "--to", "imagefolder")
    assert answer.exit_code == 0, answer.output
    assert "  lost: 1 tasks that are left out, and why" in answer.output
    written = {path.parent.name: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert written == {"cat": picture(0), "dog": picture(1)}


def test_a_label_config_says_what_an_export_does_not(tmp_path: Path) -> None:
    regions = [
        {"from_name": name, "type": "choices", "value": {"choices": [label]}}
        for name, label in (("animal", "dog"), ("quality", "good"))
    ]
    data = {"photo": "s3://b/1", "thumb": "s3://b/t"}
    export, config = tmp_path / "export.json", tmp_path / "config.xml"
    export.write_text(json.dumps([{"id": 5, "data": data, "annotations": [{"result": regions}]}]))
    config.write_text(CONFIG)

    refused = run("show", export)
    assert (refused.exit_code, "Traceback" in refused.output) == (1, False)
    assert "Error: " in refused.output
    assert "several control tags have choices: 'animal', 'quality'" in refused.output
    found = json.loads(run("show", export, "--label-config", config, "--json").output)
    assert (found["classes"], found["kind"], found["records"]) == (["dog", "cat"], "single", 1)
    named = run("show", export, "--label-attribute", "quality", "--picture-field", "thumb", "--classes", "bad,good")
    assert "0 bad" in named.output


LOST = """<View><Image name="img" value="$photo"/><Choices name="animal" toName="img">
<Choice value="Cat" alias="cat"/><Choice value="hound" predicted_values="dog,puppy"/></Choices></View>"""


@pytest.mark.parametrize("to", PICTURES)
def test_labels_that_are_no_classes_are_left_out_and_others_get_todays_names(
    source: Path, tmp_path: Path, to: str
) -> None:
    config, target = tmp_path / "config.xml", tmp_path / "out/list"
    config.write_text(LOST.replace("$photo", "$path").replace('"animal"', '"label"'))
    source.write_text("path,label\na.png,CAT\nb.png,puppy\nc.png,bird\nd.png,Hound\n")
    shown = json.loads(run("show", source, "--label-config", config, "--json").output)
    assert (shown["classes"], shown["records"]) == (["cat", "hound"], 3)
    assert shown["left_out"] == [{"task": 3, "reason": "labeled 'bird', which is none of the classes"}]

    answer = run("convert", source, target, "--to", to, "--label-config", config)
    assert answer.exit_code == 0, answer.output
    found = read_listing(target, to)
    assert (found.classes, len(found.records)) == (("cat", "hound"), 3)
    assert sorted(one.labels[0] for one in found.records) == ["cat", "hound", "hound"]


def test_an_export_is_read_in_the_words_of_its_label_config_of_today(tmp_path: Path) -> None:
    def chosen(number: int, *votes: str) -> Json:
        results = [[{"from_name": "animal", "type": "choices", "value": {"choices": [vote]}}] for vote in votes]
        data = {"photo": f"s3://b/{number}"}
        return {"id": number, "data": data, "annotations": [{"result": result} for result in results]}

    export, config, target = tmp_path / "export.json", tmp_path / "config.xml", tmp_path / "out.jsonl"
    config.write_text(LOST)
    tasks = [chosen(1, "Cat", "cat", "dog"), chosen(2, "puppy"), chosen(3, "bird"), chosen(4, "HOUND", "dog", "cat")]
    export.write_text(json.dumps(tasks))
    assert run("convert", export, target, "--to", "labelloop", "--label-config", config).exit_code == 0
    found = read_listing(target)
    assert found.classes == ("cat", "hound")
    assert {one.task: one.labels for one in found.records} == {1: ("cat",), 2: ("hound",), 4: ("hound",)}
    assert [(out.task, out.reason) for out in found.left_out] == [(3, "labeled 'bird', which is none of the classes")]
    own = json.loads(run("show", export, "--label-config", config, "--classes", "Hound,Cat", "--json").output)
    assert own["sides"][""]["classes"] == {"Hound": 2, "Cat": 1}


def test_a_taxonomy_is_read_in_the_words_of_its_label_config(tmp_path: Path) -> None:
    export, config = tmp_path / "export.json", tmp_path / "config.xml"
    config.write_text(
        '<View><Image name="img" value="$image"/><Taxonomy name="place" toName="img"><Choice value="town">'
        '<Choice value="road" alias="street"/></Choice><Choice value="sea"/></Taxonomy></View>'
    )
    region = {"from_name": "place", "type": "taxonomy", "value": {"taxonomy": [["town", "STREET"], ["hill"]]}}
    export.write_text(json.dumps([{"id": 1, "data": {"image": "s3://b/1"}, "annotations": [{"result": [region]}]}]))
    found = json.loads(run("show", export, "--label-config", config, "--json").output)
    assert (found["kind"], found["classes"]) == ("multiple", ["town", "town/street", "sea"])
    assert found["sides"][""]["classes"] == {"town": 0, "town/street": 1, "sea": 0}


@pytest.mark.parametrize("to", PICTURES)
@pytest.mark.parametrize("via", PICTURES)
def test_classes_of_ones_own_leave_out_the_others_in_every_format(
    source: Path, tmp_path: Path, via: str, to: str
) -> None:
    first, second = tmp_path / "first/list", tmp_path / "second/list"
    source.write_text("path,label\na.png,cat\nb.png,Dog\nc.png,bird\n")
    assert run("convert", source, first, "--to", via).exit_code == 0
    answer = run("convert", first, second, "--from", via, "--to", to, "--classes", "dog,cat")
    assert answer.exit_code == 0, answer.output
    found = read_listing(second, to)
    assert sorted(one.labels for one in found.records) == [("cat",), ("dog",)]
    assert set(found.classes) == {"cat", "dog"}
    if to == "labelloop":
        assert found.classes == ("dog", "cat")
        assert [out.reason for out in found.left_out] == ["labeled 'bird', which is none of the classes"]


def test_what_a_person_should_look_at_is_told(source: Path, tmp_path: Path) -> None:
    source.write_text("path,label\na.png,cat\nb.png,Cat\nc.png,dog\n")
    said = "warning: 'Cat' and 'cat' are different classes, although their names differ in no more than"
    assert run("show", source).output.splitlines()[-1].startswith(said)
    assert json.loads(run("show", source, "--json").output)["warnings"][0].startswith(said.removeprefix("warning: "))
    answer = run("convert", source, tmp_path / "out", "--to", "vertex")
    assert answer.output.splitlines()[-1].startswith(f"  {said}")


def test_hashes_go_along_to_where_they_can(tmp_path: Path) -> None:
    sha = hashlib.sha256(b"").hexdigest()
    (tmp_path / "list.csv").write_text(f"path,labels,sha256\na.png,cat+dog,{sha}\n")
    run("convert", tmp_path / "list.csv", tmp_path / "own", "--to", "labelloop", "--separator", "+")
    found = read_listing(tmp_path / "own")
    assert (found.choice, found.records[0].labels, found.records[0].content) == ("multiple", ("cat", "dog"), sha)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["show", "missing.csv"], 1, "Error: missing.csv cannot be read: No such file or directory"),
        (["show", "."], 1, "has no folders; an ImageFolder has one for each class"),
        (["show", "s3://bucket"], 1, "Error: s3://bucket could not be read"),
        (["convert", "missing.csv", "out"], 2, "Missing option '--to'"),
        (["convert", "missing.csv", "out", "--to", "via"], 2, "'via' is not one of 'labelloop', 'imagefolder'"),
        (["show", "missing.csv", "--from", "via"], 2, "'via' is not one of 'auto', 'labelloop'"),
        (["show", "x", "--kind", "double"], 2, "'double' is not one of 'single', 'multiple'"),
    ],
)
def test_what_goes_wrong_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run(*arguments)
    assert (answer.exit_code, answer.stdout) == (code, "")
    assert reason in answer.stderr
    assert "Traceback" not in answer.stderr


def test_files_of_label_studio_are_fetched_with_its_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.csv").write_text("path,label\n/data/upload/1/a.png,cat\n")
    with picture_server({"/data/upload/1/a.png": picture(1)}) as studio:
        monkeypatch.setenv("LABEL_STUDIO_URL", studio.address)
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", "legacy-token")
        found = run("convert", tmp_path / "list.csv", tmp_path / "out", "--to", "imagefolder")
        assert found.exit_code == 0, found.output
        assert studio.tokens == ["Token legacy-token"]
    [copied] = (tmp_path / "out").rglob("*.png")
    assert copied.read_bytes() == picture(1)
