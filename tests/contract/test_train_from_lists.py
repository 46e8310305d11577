"""``labelloop train`` without Label Studio, from lists of each kind; and as both clouds start it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from labelloop.cli import main, settings_table
from labelloop.data.formats import write_listing
from labelloop.data.listing import Listing, Record
from labelloop.endpoint_suite.runner import run_suite
from labelloop.endpoints.spec import EndpointSpec
from labelloop.models.bundle import check_bundle
from labelloop.regions import write_regions
from labelloop.run.folder import RunFolder
from labelloop.serve.engines.base import open_engine
from labelloop.types import BOXES, SPANS, TEXTS, Box, Json, Region, Span
from support.digit_pictures import write_digits
from support.suites import failed, served

pytestmark = [pytest.mark.process, pytest.mark.train]

PEOPLE, PLACES = ("Ada Lovelace", "Bob", "Cleo de Witt", "Dan"), ("Oslo", "New York", "Rome")


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for row in settings_table():
        monkeypatch.delenv(row["name"], raising=False)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "data"))


def spans(count: int = 48) -> Listing:
    """Sentences that name a person and a place each."""
    records = []
    for number in range(count):
        person, place = PEOPLE[number % len(PEOPLE)], PLACES[number % len(PLACES)]
        text = f"On day {number} {person} came to {place} ."
        marked = [
            Region(label, Span(text.index(name), text.index(name) + len(name)))
            for label, name in (("PER", person), ("LOC", place))
        ]
        records.append(Record("", ("LOC", "PER"), number + 1, text=text, result=write_regions(marked)))
    return Listing.of(records, kind=SPANS)


def trained(folder: Path, *options: str) -> Json:
    """Make a run; gives what was measured."""
    answer = CliRunner().invoke(main, ["train", "--run", str(folder), "--no-register", *options])
    assert answer.exit_code == 0, answer.output
    measured: Json = json.loads(RunFolder(folder).metrics.read_text())
    return measured


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("conll", "train.conll"),
        ("label-studio", "export.json"),
    ],
)
def test_spans_are_learned_from_a_list_of_any_format(format: str, name: str, tmp_path: Path) -> None:
    write_listing(spans(), tmp_path / name, format)
    write_listing(spans(20), tmp_path / "test", "spacy")
    measured = trained(
        tmp_path / "run", "--train-location", str(tmp_path / name), "--test-location", str(tmp_path / "test")
    )
    assert measured["items"] == 20
    assert measured["main"]["name"] == "span F1"
    assert measured["main"]["value"] > 0.9
    info = check_bundle(tmp_path / "run/bundle")
    assert (info.kind, info.classes) == (SPANS, ("LOC", "PER"))
    assert (tmp_path / "run/report.html").is_file()


MOODS = {
    "good": ("a fine day for a walk", "lovely music and good food"),
    "bad": ("it rained on us again", "cold soup and loud noise"),
}


def test_classes_of_texts_are_learned_and_their_endpoint_passes_its_tests(tmp_path: Path) -> None:
    def texts(first: int, last: int) -> Listing:
        said = [(mood, text) for mood, held in MOODS.items() for text in held]
        records = [
            Record("", (mood,), at + 1, text=f"{text}, number {at}, \N{GRINNING FACE}")
            for at in range(first, last)
            for mood, text in [said[at % len(said)]]
        ]
        return Listing.of(records, kind=TEXTS)

    write_listing(texts(0, 60), tmp_path / "train", "csv")
    write_listing(texts(60, 80), tmp_path / "test", "jsonl")
    measured = trained(
        tmp_path / "run", "--train-location", str(tmp_path / "train"), "--test-location", str(tmp_path / "test")
    )
    assert (measured["items"], measured["accuracy"]["value"]) == (20, 1.0)
    bundle = tmp_path / "run/bundle"
    assert check_bundle(bundle).kind == TEXTS
    with served(open_engine(bundle, "onnx")) as address:
        tested = run_suite(EndpointSpec(address), bundle, arguments=("-k", "not latency"))
    assert (tested.code, failed(tested)) == (0, {})


def sagemaker(tmp_path: Path, fill: Callable[[Path], object], **given: str) -> Mapping[str, str]:
    """A job of SageMaker whose channel ``train`` holds a list."""
    root, config = tmp_path / "ml", tmp_path / "ml/input/config"
    config.mkdir(parents=True)
    (config / "resourceconfig.json").write_text(json.dumps({"hosts": ["algo-1"]}))
    (config / "hyperparameters.json").write_text(json.dumps(given))
    channel = root / "input/data/train"
    channel.mkdir(parents=True)
    fill(channel)
    return {"SAGEMAKER_BASE_DIR": str(root)}


def vertex(tmp_path: Path, fill: Callable[[Path], object]) -> Mapping[str, str]:
    """A job of Vertex AI that is given a managed data set, in parts."""
    fill(tmp_path / "whole")
    lines = (tmp_path / "whole").read_text().splitlines(keepends=True)
    for at in range(3):
        # The last part has nothing that is annotated.
        part = lines[at::2] if at < 2 else ['{"textContent": "not annotated yet"}\n']
        (tmp_path / f"training-0000{at}-of-00003").write_text("".join(part))
    data = {"AIP_TRAINING_DATA_URI": f"{tmp_path}/training-*", "AIP_DATA_FORMAT": "jsonl"}
    return data | {"AIP_MODEL_DIR": f"{tmp_path}/job/model/"}


def carried_out(variables: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    answer = CliRunner().invoke(main, ["train"])
    assert answer.exit_code == 0, answer.output


def test_a_job_of_sagemaker_learns_spans_from_its_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(channel: Path) -> None:
        write_listing(spans(), channel / "sentences.txt", "conll")

    carried_out(sagemaker(tmp_path, fill), monkeypatch)
    assert check_bundle(tmp_path / "ml/model").kind == SPANS
    assert json.loads((tmp_path / "ml/output/data/metrics.json").read_text())["main"]["name"] == "span F1"


def test_a_job_of_vertex_learns_spans_from_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carried_out(vertex(tmp_path, lambda path: write_listing(spans(), path, "vertex")), monkeypatch)
    assert check_bundle(tmp_path / "job/model").kind == SPANS
    left_out = json.loads((tmp_path / "job/results/data.json").read_text())["left_out"]
    assert [one["reason"] for one in left_out] == ["it has no annotation"]


def boxes(folder: Path, count: int = 24) -> Listing:
    """Digits, each in a box that is the middle of its picture."""
    write_digits(folder, range(count), classes=2)
    files = sorted(folder.rglob("*.png"))
    middle = Box(0.25, 0.25, 0.5, 0.5)
    records = [
        Record(file.as_uri(), (file.parent.name,), at, result=write_regions([Region(file.parent.name, middle)]))
        for at, file in enumerate(files, 1)
    ]
    return Listing.of(records, kind=BOXES)


TINY = ("model=test_resnet", "weights=none", "image-size=32", "recipe=finetune", "epochs=1")


@pytest.mark.slow
@pytest.mark.parametrize("format", ["coco", "voc", "yolo"])
def test_a_job_of_sagemaker_learns_boxes_from_its_channel(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = boxes(tmp_path / "pictures")

    def fill(channel: Path) -> None:
        write_listing(listing, channel / "boxes.json" if format == "coco" else channel, format)

    given = dict(one.split("=") for one in TINY)
    carried_out(sagemaker(tmp_path, fill, **given), monkeypatch)
    info = check_bundle(tmp_path / "ml/model")
    assert (info.kind, info.classes) == (BOXES, ("0", "1"))
