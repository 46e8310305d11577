"""Spans and boxes go once round by a trainer, a deployer and an endpoint of somebody else.

Spans as annotators' own results, which is what such a trainer gets; boxes by their kind, which the project asks for.

The trainers are programs. One remembers how the names begin that annotators have marked, one how bright things are
that they have drawn boxes around.
"""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from labelloop.bundle_info import ForeignInfo
from labelloop.errors import LabelConfigError, SettingsError
from labelloop.loop.deploy import deliver
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.retrain import retrain
from labelloop.loop.sweep import sweep_project
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import RunRecord
from labelloop.models.versions import Versions
from labelloop.types import ANNOTATIONS
from labelloop.types import BOXES as OBJECTS
from support.misbehaving import Exchange, Misbehaving, answer, misbehaving
from support.reports import reported
from support.studio_api import StudioApi
from support.waiting import wait_until

from .conftest import MakeHub

pytestmark = pytest.mark.train

CONFIG = (
    '<View><Text name="text" value="$text"/><Labels name="names" toName="text">'
    '<Label value="Person"/><Label value="Ship"/></Labels></View>'
)
RATED = '<View><Text name="text" value="$text"/><Rating name="stars" toName="text"/></View>'
LEXICON = """
import json
import sys
from pathlib import Path


def spans(text, known):
    at = 0
    for word in text.split(" "):
        if word[:3] in known:
            yield {"label": known[word[:3]], "score": 1.0, "span": [at, at + len(word)]}
        at += len(word) + 1


def learned(folder):
    _, *items = map(json.loads, (folder / "train.jsonl").read_text().splitlines())
    known = {}
    for item in items:
        for region in item["result"]:
            value = region["value"]
            known[item["text"][value["start"] : value["start"] + 3]] = value["labels"][0]
    return known


def train(models, folder):
    parameters = json.loads((folder / "parameters.json").read_text())
    assert parameters["kind"] == "annotations", parameters
    tested = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    assert tested and all(set(item) == {"content", "text"} for item in tested), tested
    known = learned(folder)
    name = f"lexicon-{len(known)}"
    (models / name).write_text(json.dumps(known))
    (folder / "output" / "result.json").write_text(json.dumps({"model": name}))


def predict(models, name):
    known = json.loads((models / name).read_text())
    items = [json.loads(line) for line in sys.stdin]
    found = [{"content": item["content"], "regions": list(spans(item["text"], known))} for item in items]
    print("\\n".join(map(json.dumps, found)))


def deploy(models, folder):
    told = json.loads((folder / "deployment.json").read_text())
    (models / "deployed").write_text(told["model"])


if __name__ == "__main__":
    models, *words = sys.argv[1:]
    match words:
        case ["predict", "--model", name]:
            predict(Path(models), name)
        case ["deploy", folder]:
            deploy(Path(models), Path(folder))
        case [folder]:
            train(Path(models), Path(folder))
"""


BOXES = (
    '<View><Image name="picture" value="$image"/><RectangleLabels name="thing" toName="picture">'
    '<Label value="Lamp"/></RectangleLabels></View>'
)
LAMPS = """
import json
import sys
from pathlib import Path

from PIL import Image


def boxes(file, bright):
    picture = Image.open(file).convert("L")
    found = picture.point(lambda value: 255 if value >= bright else 0).getbbox()
    size = {"width": picture.width, "height": picture.height}
    return {"regions": [{"label": "Lamp", "corners": list(found)}] if found else [], "unit": "pixels", **size}


def train(folder):
    _, *items = map(json.loads, (folder / "train.jsonl").read_text().splitlines())
    seen = []
    for item in items:
        picture = Image.open(folder / item["uri"]).convert("L")
        for region in item["result"]:
            corner = [int(share * length + 0.5) for share, length in zip(region["box"][:2], picture.size)]
            seen.append(picture.getpixel(tuple(corner)))
    model = f"lamps-{min(seen)}"
    tested = map(json.loads, (folder / "test.jsonl").read_text().splitlines())
    answers = [{"content": one["content"], **boxes(folder / one["file"], min(seen))} for one in tested]
    (folder / "output" / "answers.jsonl").write_text("".join(json.dumps(one) + "\\n" for one in answers))
    (folder / "output" / "result.json").write_text(json.dumps({"model": model}))


if __name__ == "__main__":
    train(Path(sys.argv[1]))
"""


def text_of(number: int) -> str:
    """Name a person, and in every third text a ship."""
    return f"Note {number}: Ada{number} was there" + (f" on Bark{number}" if number % 3 == 0 else "")


def mark(studio: StudioApi, number: int, *words: str) -> None:
    """Let an annotator mark what of these words is in a text."""
    text, regions = text_of(number), []
    for beginning, label in (("Ada", "Person"), ("Bark", "Ship")):
        at = text.find(f"{beginning}{number}")
        if beginning in words and at >= 0:
            value = {"start": at, "end": at + len(f"{beginning}{number}"), "labels": [label]}
            regions.append({"from_name": "names", "to_name": "text", "type": "labels", "value": value})
    studio.tasks[number]["annotations"] = [{"id": number, "result": regions, "was_cancelled": False}]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Where the trainer's models lie, and the name of the one that is deployed."""
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "lexicon.py").write_text(LEXICON)
    return folder


@pytest.fixture
def endpoint(models: Path) -> Iterator[Misbehaving]:
    """An endpoint that answers with the deployed model."""
    program: dict[str, object] = {"__name__": "lexicon"}
    exec(LEXICON, program)

    def reply(exchange: Exchange) -> None:
        known = json.loads((models / (models / "deployed").read_text()).read_text())
        texts = [one["text"] for one in json.loads(exchange.request.body)["instances"]]
        spans = program["spans"]
        answer({"predictions": [{"regions": list(spans(text, known))} for text in texts]})(exchange)  # type: ignore[operator]

    with misbehaving(reply) as running:
        yield running


@pytest.fixture
def names_hub(make_hub: MakeHub, studio: StudioApi, endpoint: Misbehaving, models: Path) -> Hub:
    """A hub whose project asks for names in 240 texts; in 200 of them persons are marked, and no ship."""
    studio.config = CONFIG
    studio.connect("labelloop")
    for number in range(1, 241):
        studio.tasks[number] = {"id": number, "data": {"text": text_of(number)}, "annotations": []}
    for number in range(1, 201):
        mark(studio, number, "Ada")
    words = f"{sys.executable} {models.parent / 'lexicon.py'} {models}"
    return make_hub(
        endpoint=f"{endpoint.address}/names",
        request_format="instances",
        trainer=f"command:{words}?verbs=predict",
        deployer=f"command:{words}",
    )


def train(hub: Hub) -> RunRecord:
    """Make a run, and bring its version to the endpoint where it was promoted."""
    project = hub.project(7)
    with Lease(hub, project) as lease:
        reporter = ProgressReporter(hub, project, lease)
        record = retrain(hub, project, "test", reporter)
        if record.state == "promoted":
            fence = ChampionPointer(hub.store, project).take_fence()
            wait_until(
                lambda: deliver(hub, project, str(record.version), fence, reporter) is not None, "an announcement"
            )
        return record


def test_spans_go_once_round_by_a_trainer_that_is_not_ours(names_hub: Hub, studio: StudioApi) -> None:
    record, project = train(names_hub), names_hub.project(7)
    versions = Versions(names_hub.store, project)

    assert (record.state, record.version, record.kind) == ("promoted", "v1", ANNOTATIONS)
    info = check_bundle(versions.fetch_bundle("v1", names_hub.settings.directory / "cache" / "bundles"))
    assert isinstance(info, ForeignInfo)
    assert (info.model, info.classes) == ("lexicon-1", ("Person", "Ship"))
    tested = versions.get("v1").metrics["test"]
    assert (tested["accuracy"]["value"], tested["untold"], tested["failed"]) == (1.0, 0, 0)
    assert "v1 becomes the first champion" in reported(names_hub, project)
    first = json.loads(names_hub.store.read(f"{project}/manifests/{record.manifest}.jsonl").content.splitlines()[1])
    assert (first["text"], first["labels"]) == (text_of(1), ["Person"])
    assert first["result"][0]["value"] == {"start": 8, "end": 12, "labels": ["Person"]}

    # Whoever waits is pre-annotated by the endpoint that the version was brought to.
    assert ChampionPointer(names_hub.store, project).read().announced == "v1"
    assert sorted(one["task"] for one in studio.predictions) == list(range(201, 241))
    assert {one["model_version"] for one in studio.predictions} == {"v1"}
    assert [region["value"]["labels"] for region in studio.predictions[0]["result"]] == [["Person"]]

    # Ships are marked, too: the same labels in other places, and one more label. The champion is asked about new items.
    for number in range(1, 241):
        mark(studio, number, "Ada", "Bark")
    sweep_project(names_hub, project, scan_now=True)
    assert names_hub.state(project).changes.pending().changed == 200 // 3 + 40
    later = train(names_hub)
    assert (later.version, versions.get("v2").parent) == ("v2", "v1")
    assert "v2 replaces v1" in later.verdict
    assert (later.metrics["gate"]["challenger"], later.metrics["gate"]["lost"]) == (1.0, 0)


def lamp(number: int) -> tuple[bytes, tuple[int, int, int, int]]:
    """Give a picture (PNG) of a lamp, and its left, top, width and height in pixels; every fifth picture has none."""
    left, top, width, height = number % 30, number % 19, 8 + number % 7, 6 + number % 11
    picture = Image.new("L", (64, 48), number % 100)
    if number % 5:
        picture.paste(180 + number % 60, (left, top, left + width, top + height))
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue(), (left, top, width, height)


def test_boxes_go_once_round_by_a_trainer_that_answers_the_test_items_itself(
    make_hub: MakeHub, studio: StudioApi, tmp_path: Path
) -> None:
    studio.config = BOXES
    studio.connect("labelloop", extra_params={"learn": "thing"})
    for number in range(1, 241):
        content, (left, top, width, height) = lamp(number)
        path = f"/data/upload/7/{number}.png"
        studio.pictures[path] = content
        drawn = {"x": left / 0.64, "y": top / 0.48, "width": (width + 1) / 0.64, "height": height / 0.48, "rotation": 0}
        region = {"from_name": "thing", "to_name": "picture", "type": "rectanglelabels", "original_width": 64}
        region |= {"original_height": 48, "value": drawn | {"rectanglelabels": ["Lamp"]}}
        made = {"id": number, "result": [region] if number % 5 else [], "was_cancelled": False}
        studio.tasks[number] = {"id": number, "data": {"image": path}, "annotations": [made]}
    (tmp_path / "lamps.py").write_text(LAMPS)
    hub = make_hub(
        endpoint="http://127.0.0.1:9/lamps",
        trainer=f"command:{sys.executable} {tmp_path / 'lamps.py'}",
        deployer="command:./deploy.sh",
    )
    project = hub.project(7)
    with Lease(hub, project) as lease:
        record = retrain(hub, project, "test", ProgressReporter(hub, project, lease))

    tested = Versions(hub.store, project).get("v1").metrics["test"]
    assert (record.state, record.kind, tested["accuracy"]["value"]) == ("promoted", OBJECTS, 1.0)
    assert record.verdict.startswith("v1 becomes the first champion: AP50 1.000 on ")
    info = check_bundle(Versions(hub.store, project).fetch_bundle("v1", hub.settings.directory / "cache" / "bundles"))
    assert isinstance(info, ForeignInfo)
    assert info.model == "lamps-181"


def test_a_container_of_ours_would_have_to_refuse_it(names_hub: Hub, make_hub: MakeHub, studio: StudioApi) -> None:
    studio.config = RATED
    ours = make_hub(endpoint="http://127.0.0.1:9", trainer=names_hub.settings.trainer)
    with pytest.raises(SettingsError, match="an inference container cannot serve them"):
        train(ours)


def test_our_pipeline_learns_what_this_machine_does_and_nothing_else(
    names_hub: Hub, make_hub: MakeHub, studio: StudioApi
) -> None:
    studio.config = RATED
    address = "sagemaker-pipeline://ours?region=eu-west-1"
    ours = make_hub(endpoint="http://127.0.0.1:9/names", trainer=address, deployer="command:./deploy.sh")
    with pytest.raises(LabelConfigError, match="Choices"):
        train(ours)
