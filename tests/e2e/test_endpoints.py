"""Endpoints that stand alone, each with a real Label Studio before it: what it asks, what it then holds."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from boto3.session import Session
from PIL import Image

from labelloop.demo.label_studio import LabelStudio
from labelloop.errors import StudioError
from labelloop.loop.project_registry import confirmed_project
from labelloop.loop.redis_client import key_of
from labelloop.studio.connect import connect
from labelloop.types import Json
from support.answered import png
from support.misbehaving import Exchange, Misbehaving, Reply, Request, answer, misbehaving, stall
from support.moto_server import moto_server
from support.waiting import wait_until
from support.web_machine import WebMachine

pytestmark = [pytest.mark.studio, pytest.mark.process]

BUCKET = "pictures"

BOXES = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">'
    '<Label value="cat"/><Label value="dog"/></RectangleLabels></View>'
)
SMART = (
    '<View><Image name="img" value="$image"/>'
    '<KeyPointLabels name="k" toName="img" smart="true"><Label value="red"/><Label value="blue"/></KeyPointLabels>'
    '<BrushLabels name="b" toName="img"><Label value="red"/><Label value="blue"/></BrushLabels></View>'
)
KINDS = (
    '<View><Image name="image" value="$image"/><Choices name="kind" toName="image">'
    '<Choice value="cat"/><Choice value="dog"/></Choices></View>'
)
CAPTIONS = (
    '<View><Text name="text" value="$text"/><TextArea name="said" toName="text"/>'
    '<Choices name="mood" toName="text"><Choice value="POS"/><Choice value="NEG"/></Choices></View>'
)


def moods(*labels: str) -> str:
    choices = "".join(f'<Choice value="{label}"/>' for label in labels)
    return f'<View><Text name="text" value="$text"/><Choices name="mood" toName="text">{choices}</Choices></View>'


@pytest.fixture(scope="module")
def moto() -> Iterator[dict[str, str]]:
    """S3 with one picture in it: the environment that leads there."""
    with moto_server() as address:
        client = Session("key", "hush", region_name="us-east-1").client("s3", endpoint_url=address)
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="here.png", Body=png(20, 10))
        client.close()
        yield {
            "AWS_ENDPOINT_URL_S3": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "hush",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "LABELLOOP_BUCKETS": f"s3://{BUCKET}",
        }


@pytest.fixture(scope="module")
def machine(
    label_studio: LabelStudio, moto: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebMachine]:
    """One LabelLoop for all tests here."""
    with WebMachine(label_studio, tmp_path_factory.mktemp("endpoints"), moto) as running:
        yield running


def detector(version: str) -> Reply:
    """Find a cat in every picture, as Hugging Face says it: in pixels of the picture that came."""

    def detect(exchange: Exchange) -> None:
        with Image.open(io.BytesIO(exchange.request.body)) as picture:
            width, height = picture.size
        box = {"xmin": width // 10, "ymin": height // 5, "xmax": width // 2, "ymax": height * 3 // 5}
        answer({"model_version": version, "predictions": [{"label": "cat", "score": 0.9, "box": box}]})(exchange)

    return detect


def mood(version: str, sure: Callable[[str], float]) -> Reply:
    """Say how good a text's mood is."""

    def classify(exchange: Exchange) -> None:
        [text] = texts_of(exchange.request)
        found = [{"label": "POS", "score": sure(text)}, {"label": "NEG", "score": 1 - sure(text)}]
        answer({"model_version": version, "predictions": found})(exchange)

    return classify


def texts_of(request: Request) -> list[str]:
    return [one["text"] for one in json.loads(request.body)["instances"]]


def texts_asked(endpoint: Misbehaving) -> list[str]:
    return [text for request in endpoint.requests for text in texts_of(request)]


def retrieve(studio: LabelStudio, project: int) -> None:
    """Select all tasks in the Data Manager and take "Retrieve Predictions"."""
    selected = {"selectedItems": {"all": True, "excluded": []}}
    studio.request("POST", f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}", json=selected)


def register(studio: LabelStudio, machine: WebMachine, project: int, extra_params: object) -> int:
    """Connect a model on the settings page."""
    body = {"project": project, "url": machine.url, "title": "a model", "extra_params": extra_params}
    return int(studio.request("POST", "/api/ml", json=body)["id"])


def test_a_detector_s_pixels_become_boxes_of_its_version(label_studio: LabelStudio, machine: WebMachine) -> None:
    project = label_studio.create_project("Detection", BOXES)
    label_studio.import_pictures(project, {"a.png": png(400, 300), "b.png": png(50, 200)})
    with misbehaving(detector("detr-1")) as endpoint:
        register(label_studio, machine, project, {"endpoint": f"{endpoint.address}/detect"})
        retrieve(label_studio, project)
        place = {"x": 10, "y": 20, "width": 40, "height": 40, "rotation": 0, "rectanglelabels": ["cat"]}
        assert machine.values(project) == [[place], [place]]
        [[first], [second]] = machine.predictions(project)
        sizes = [(one["result"][0]["original_width"], one["result"][0]["original_height"]) for one in (first, second)]
        assert sizes == [(400, 300), (50, 200)]
        assert first["score"] == pytest.approx(0.9)
        assert machine.versions(project) == [["detr-1"], ["detr-1"]]
        assert len(endpoint.requests) == 2


def test_a_model_that_is_replaced_predicts_the_same_tasks_once_more(
    label_studio: LabelStudio, machine: WebMachine
) -> None:
    project = label_studio.create_project("Replaced", BOXES)
    label_studio.import_pictures(project, {"a.png": png(40, 30), "b.png": png(50, 20)})
    with misbehaving(detector("detr-1")) as endpoint:
        register(label_studio, machine, project, {"endpoint": f"{endpoint.address}/detect"})
        for _ in range(2):
            retrieve(label_studio, project)
            assert machine.versions(project) == [["detr-1"], ["detr-1"]]
        assert len(endpoint.requests) == 2
        endpoint.replies[:] = [detector("detr-2")]
        label_studio.import_pictures(project, {"c.png": png(30, 30)})
        retrieve(label_studio, project)
        assert machine.versions(project) == [["detr-1"], ["detr-1"], ["detr-2"]]
        [backend] = label_studio.request("GET", f"/api/ml/?project={project}")
        assert backend["model_version"] == "detr-2"
        for _ in range(2):
            retrieve(label_studio, project)
            assert machine.versions(project) == [["detr-1", "detr-2"], ["detr-1", "detr-2"], ["detr-2"]]
        assert len(endpoint.requests) == 5


def test_each_project_has_an_endpoint_threshold_and_label_map_of_its_own(
    label_studio: LabelStudio, machine: WebMachine
) -> None:
    tasks = [{"text": "so so"}, {"text": "fine"}]
    one = label_studio.create_project("As an object", moods("good", "bad"))
    other = label_studio.create_project("As the form's text", moods("up", "down"))
    sure = {"so so": 0.6, "fine": 0.8}
    with misbehaving(mood("a", sure.__getitem__)) as first, misbehaving(mood("b", sure.__getitem__)) as second:
        wanted: list[Json] = [
            {"endpoint": f"{first.address}/a", "label_map": {"POS": "good", "NEG": "bad"}},
            {"endpoint": f"{second.address}/b", "label_map": {"POS": "down", "NEG": "up"}, "threshold": 0.7},
        ]
        register(label_studio, machine, one, wanted[0])
        register(label_studio, machine, other, json.dumps(wanted[1]))
        for project in (one, other):
            label_studio.import_tasks(project, tasks)
            retrieve(label_studio, project)
        assert machine.values(one) == [[{"choices": ["good"]}], [{"choices": ["good"]}]]
        assert machine.values(other) == [[], [{"choices": ["down"]}]]
        assert (machine.versions(one), machine.versions(other)) == ([["a"], ["a"]], [["b"], ["b"]])
        assert sorted(texts_asked(first)) == sorted(texts_asked(second)) == ["fine", "so so"]
        assert {request.line for request in second.requests} == {"POST /b HTTP/1.1"}


WRONG = [
    ({"treshold": 0.5}, "unknown key 'treshold'"),
    ('{"threshold": 2}', "'threshold' must be a number from 0 to 1"),
    ("{not json", "extra_params of the ML backend is no JSON"),
    ([1, 2], "must be a JSON object"),
    ({"endpoint": "http://elsewhere.example/predict"}, "add it to LABELLOOP_ALLOWED_ENDPOINTS"),
    ({"endpoint": "http://127.0.0.1:1/predict", "request": "smoke"}, "the request format 'smoke' is not known"),
]


def test_wrong_extra_params_are_refused_with_the_reason_and_change_nothing(
    label_studio: LabelStudio, machine: WebMachine
) -> None:
    project = label_studio.create_project("Wrong", moods("POS", "NEG"))
    label_studio.import_tasks(project, [{"text": "fine"}])
    for wrong, reason in WRONG:
        with pytest.raises(StudioError, match="HTTP 400") as refused:
            register(label_studio, machine, project, wrong)
        assert reason in str(refused.value)
    assert machine.client.ml_backends(project) == []
    with misbehaving(mood("a", lambda _: 0.8)) as endpoint:
        right = {"endpoint": f"{endpoint.address}/a"}
        backend = register(label_studio, machine, project, right)
        body = {"project": project, "url": machine.url, "title": "a model"}
        for wrong, reason in WRONG:
            with pytest.raises(StudioError, match="HTTP 400") as refused:
                label_studio.request("PATCH", f"/api/ml/{backend}", json=body | {"extra_params": wrong})
            assert reason in str(refused.value)
        [kept] = machine.client.ml_backends(project)
        assert (kept.state, kept.extra_params) == ("Connected", right)
        retrieve(label_studio, project)
        assert machine.values(project) == [[{"choices": ["POS"]}]]


def clicked(x: float, y: float, *, positive: bool) -> Json:
    """What Label Studio's page sends of a click with a smart tool."""
    return {
        "original_width": 400,
        "original_height": 300,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.308, "labels": ["blue"], "keypointlabels": ["blue"]},
        "is_positive": positive,
        "id": "5m789eITU-",
        "from_name": "k",
        "to_name": "img",
        "type": "keypointlabels",
        "origin": "manual",
    }


def test_a_click_is_answered_with_a_mask_of_its_label(label_studio: LabelStudio, machine: WebMachine) -> None:
    project = label_studio.create_project("Smart", SMART)
    label_studio.import_pictures(project, {"a.png": png(400, 300)})
    [task] = machine.client.tasks(project)
    mask = [[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    found = {"model_version": "sam-1", "regions": [{"score": 0.75, "mask": mask}], "width": 400, "height": 300}
    with misbehaving(answer({"predictions": [found]})) as endpoint:
        wanted = json.dumps({"endpoint": f"{endpoint.address}/segment"})
        options = ("--project", str(project), "--url", machine.url, "--extra-params", wanted)
        assert machine.run("connect", *options).code == 0
        [backend] = machine.client.ml_backends(project)
        assert backend.interactive
        context = {"result": [clicked(68.75, 25.0, positive=True), clicked(10.0, 90.0, positive=False)]}
        asked = {"task": task["id"], "context": context}
        told = label_studio.request("POST", f"/api/ml/{backend.id}/interactive-annotating", json=asked)
        [instance] = json.loads(endpoint.requests[-1].body)["instances"]
    assert instance["prompt"] == {
        "points": [
            {"x": 0.6875, "y": 0.25, "label": "blue", "positive": True},
            {"x": 0.1, "y": 0.9, "label": "blue", "positive": False},
        ],
        "boxes": [],
    }
    with Image.open(io.BytesIO(base64.b64decode(instance["b64"]))) as picture:
        assert picture.size == (400, 300)
    [region] = told["data"]["result"]
    assert (region["from_name"], region["type"], region["value"]["brushlabels"]) == ("b", "brushlabels", ["blue"])
    assert (region["original_width"], region["original_height"], region["score"]) == (400, 300, 0.75)
    assert region["value"]["format"] == "rle"
    assert region["value"]["rle"]


TEXTS = [f"text {number}" for number in range(600)]
LONG = TEXTS[:30]


def sureness(text: str) -> float:
    """A score that no other of the texts has, 0.55 to 0.95; the 411th is the least sure."""
    return 0.55 + 0.4 * (((int(text.split()[1]) + 190) * 7) % 600) / 600


def describe(exchange: Exchange) -> None:
    """Answer with so long a text, for some, that two dozen of them fill an import; with a mood for the others."""
    [text] = texts_of(exchange.request)
    if text not in LONG:
        mood("mood-1", sureness)(exchange)
        return
    regions = [{"text": f"{text} " * 100_000, "score": sureness(text)}]
    answer({"model_version": "mood-1", "predictions": [{"regions": regions}]})(exchange)


def stalls_at_last(exchange: Exchange) -> None:
    """Never answer for the last text."""
    (stall if texts_of(exchange.request) == TEXTS[-1:] else describe)(exchange)


class StopsAfter:
    """Answers as ``reply`` so many times, then with 503 for ever."""

    def __init__(self, reply: Reply, times: int) -> None:
        self._reply, self._left, self._lock = reply, times, threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        with self._lock:
            self._left -= 1
            well = self._left >= 0
        (self._reply if well else answer({"error": "out of memory"}, 503, "Retry-After: 0\r\n"))(exchange)


def predict(machine: WebMachine, project: int, *options: str) -> Json:
    """Run ``labelloop predict`` and read what it says."""
    done = machine.run("predict", "--project", str(project), "--json", *options)
    assert done.code == 0, done.err
    told: Json = json.loads(done.out)
    return told


def test_bulk_that_was_killed_and_gave_up_doubles_and_loses_nothing_and_orders_the_tasks(
    label_studio: LabelStudio, machine: WebMachine
) -> None:
    project = label_studio.create_project("Bulk", CAPTIONS)
    label_studio.import_tasks(project, [{"text": text} for text in TEXTS])
    studio = machine.client

    def waiting() -> list[str]:
        return [task["data"]["text"] for task in studio.unpredicted_tasks(project, "mood-1")]

    with misbehaving(stalls_at_last) as endpoint:
        wanted = {"endpoint": f"{endpoint.address}/mood"}
        connect(studio, project, machine.url, machine.settings, extra_params=wanted)
        killed = machine.start("predict", "--project", str(project))
        wait_until(lambda: "mood-1" in studio.model_versions(project), "the long ones are imported")
        killed.kill()
        killed.wait()
        # It runs out by itself, in 15 seconds.
        machine.hub.redis.delete(key_of(confirmed_project(machine.hub, project)[0], "lease"))
        left = waiting()
        assert 570 < len(left) < 580

        endpoint.replies[:] = [StopsAfter(describe, 200)]
        failed = machine.run("predict", "--project", str(project))
        assert failed.code == 1
        assert "answered 503: out of memory" in failed.err
        assert len(waiting()) == len(left) - 200

        endpoint.replies[:] = [describe]
        left = waiting()
        told = predict(machine, project, "--dry-run")
        assert (told["predicted"], told["version"], told["dry_run"]) == (len(left), "mood-1", True)
        assert waiting() == left

        endpoint.requests.clear()
        told = predict(machine, project)
        assert (told["predicted"], told["left_out"], told["version"]) == (len(left), 0, "mood-1")
        assert sorted(texts_asked(endpoint)) == sorted(left)
    assert waiting() == []
    assert studio.model_versions(project) == {"mood-1": len(TEXTS)}
    assert studio.ml_backends(project)[0].title == "mood-1"
    assert studio.project(project).model_version == "mood-1"
    served = label_studio.request("GET", f"/api/projects/{project}/next")
    assert served["data"]["text"] == min(TEXTS, key=sureness) == "text 410"


def test_probe_shows_what_label_studio_would_get(
    label_studio: LabelStudio, machine: WebMachine, tmp_path: Path
) -> None:
    text = label_studio.create_project("Probe a text", moods("good", "bad"))
    picture = label_studio.create_project("Probe a picture", BOXES)
    (tmp_path / "a.png").write_bytes(png(400, 300))
    with misbehaving(mood("a", lambda _: 0.8)) as moody, misbehaving(detector("detr-1")) as detecting:
        register(label_studio, machine, text, {"endpoint": f"{moody.address}/a", "label_map": {"POS": "good"}})
        register(label_studio, machine, picture, {"endpoint": f"{detecting.address}/d"})
        of_text, of_picture = machine.run_at_once(
            ("probe", "--project", str(text), "--text", "a fine day"),
            ("probe", "--project", str(picture), "--file", str(tmp_path / "a.png")),
        )
        label_studio.import_tasks(text, [{"text": "a fine day"}])
        label_studio.import_pictures(picture, {"a.png": png(400, 300)})
        for project, ran in ((text, of_text), (picture, of_picture)):
            assert ran.code == 0, ran.out + ran.err
            retrieve(label_studio, project)
            same(ran.out, machine.predictions(project))
    assert '"text": "a fine day"' in of_text.out
    assert "Request: image/png" in of_picture.out


def same(shown: str, predictions: list[list[Json]]) -> None:
    """Compare what ``probe`` shows last with the only prediction that Label Studio has."""
    told = json.loads(shown.partition("Label Studio would get:")[2])
    [[stored]] = predictions
    assert (told["score"], told["model_version"]) == (stored["score"], stored["model_version"])
    assert [one | {"id": ""} for one in told["result"]] == [one | {"id": ""} for one in stored["result"]]


@pytest.mark.parametrize("request_format", ["reference", "auto"])
def test_pictures_in_s3_go_by_reference_or_are_fetched(
    label_studio: LabelStudio, machine: WebMachine, request_format: str
) -> None:
    # By reference nothing is fetched: there is no such object.
    uri = f"s3://{BUCKET}/{'not-there' if request_format == 'reference' else 'here'}.png"
    project = label_studio.create_project(f"S3 {request_format}", KINDS)
    label_studio.import_tasks(project, [{"image": uri}])
    labels = [{"label": "cat", "score": 0.75}, {"label": "dog", "score": 0.25}]
    with misbehaving(answer([labels])) as endpoint:
        options = {"endpoint": f"{endpoint.address}/classify", "request": request_format, "version": "cats-1"}
        register(label_studio, machine, project, options)
        retrieve(label_studio, project)
        [request] = endpoint.requests
    if request_format == "reference":
        assert json.loads(request.body) == {"instances": [{"uri": uri}]}
    else:
        assert (request.headers["content-type"], request.body) == ("image/png", png(20, 10))
    assert machine.values(project) == [[{"choices": ["cat"]}]]
    assert machine.versions(project) == [["cats-1"]]
