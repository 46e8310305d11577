"""An endpoint predicts for a model run over the wire: in bulk, once for each row, gone on with where it was killed."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from labelloop.errors import (
    EndpointError,
    LabelboxDenied,
    LabelConfigError,
    LabelLoopError,
    LabelMappingError,
    SettingsError,
)
from labelloop.labelbox import exported
from labelloop.labelbox.rows import row_number
from labelloop.labelbox.tool import LabelboxTool
from labelloop.loop import prediction_stream
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease, ProgressReporter
from labelloop.loop.model_run_inference import NothingPredicted, predict_rows
from labelloop.loop.prelabel import Prelabeled
from labelloop.loop.project_endpoint import learn
from labelloop.loop.project_registry import site_of
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey
from support.containers.chat import MODEL, OPENAI, completion
from support.labelbox import LabelboxStandIn, Row, data_row_id, entity, ontology, radio, rectangle
from support.misbehaving import Exchange, Misbehaving, answer, misbehaving

ONTOLOGY = ontology(radio("scene", ("forest", "sea")), rectangle("car"), entity("PER"))
NUMBER = 100 + 2**40 + 3
COUNT = 20


def picture(at: int) -> bytes:
    """Draw one that no other looks like: what was predicted once is not asked for again."""
    written = io.BytesIO()
    image = Image.new("L", (40, 30), min(255, 12 * at))
    image.putpixel((at % 40, 1 + at // 40), 7)
    image.save(written, "PNG")
    return written.getvalue()


def rows(count: int = COUNT) -> list[Row]:
    return [Row(data_row_id(str(at)), file=f"scene-{at}.png", content=picture(at)) for at in range(count)]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


class Job:
    """A model run that an endpoint predicts for; each ``hub`` is that of another process."""

    def __init__(self, labelbox: LabelboxStandIn, settings: Settings) -> None:
        self.labelbox, self.settings = labelbox, settings
        self.run = ""
        self.hubs: list[Hub] = []

    def of(self, told: list[Row], config: Json | None = None, model: Json = ONTOLOGY) -> "Job":
        self.run = self.labelbox.add_model_run(self.labelbox.add_model(model), told, config=config)
        return self

    @property
    def project(self) -> ProjectKey:
        return ProjectKey.of_model_run(self.run, NUMBER)

    def hub(self) -> Hub:
        self.hubs.append(Hub(self.settings, LabelboxTool(self.settings, self.run)))
        return self.hubs[-1]

    def predict(self, stop: Callable[[str, int], None] = lambda *_: None, attempt: int = 1) -> Prelabeled:
        hub = self.hub()
        site = hub.tool.model_run(NUMBER, hub.media)
        assert site is not None
        site.begin(attempt)
        learn(hub, self.project)
        with Lease(hub, self.project) as lease:
            return predict_rows(hub, self.project, Watched(hub, self.project, lease, stop))

    def upload(self) -> dict[int, Json]:
        hub = self.hub()
        site = hub.tool.model_run(NUMBER, hub.media)
        assert site is not None
        site.finish("a-model", lambda *_: None)
        return {row_number(one["dataRow"]["id"]): one for one in self.labelbox.predictions(self.run)}


class Watched(ProgressReporter):
    """Lets a test end the process at a moment of its own."""

    def __init__(self, hub: Hub, project: ProjectKey, lease: Lease, stop: Callable[[str, int], None]) -> None:
        super().__init__(hub, project, lease)
        self._stop = stop

    def __call__(self, what: str, done: int, total: int) -> None:
        super().__call__(what, done, total)
        self._stop(what, done)


class Killed(BaseException):
    """What ends a worker."""


def said(**scores: float) -> Json:
    """Write a classification as endpoints do."""
    best = max(scores, key=scores.__getitem__)
    return {"label": best, "score": scores[best], "scores": scores, "model_version": "a-model", "kind": "single"}


def boxed(label: str) -> Json:
    """Write a box as LabelLoop's own format has it."""
    regions = [{"label": label, "score": 0.9, "box": [0.1, 0.2, 0.5, 0.5]}]
    return {"predictions": [{"regions": regions, "model_version": "a-model"}]}


def scene(exchange: Exchange) -> None:
    """Answer as a model of somebody's does: dark pictures are of a forest, bright ones of the sea."""
    with Image.open(io.BytesIO(exchange.request.body)) as image:
        sea = image.getpixel((0, 0)) / 255  # type: ignore[operator]
    answer({"predictions": [said(Forest=1 - sea, sea=sea)]})(exchange)


@pytest.fixture
def model() -> Iterator[Misbehaving]:
    with misbehaving(scene) as running:
        yield running


@pytest.fixture
def job(labelbox: LabelboxStandIn, redis_server: RedisServer, model: Misbehaving, tmp_path: Path) -> Iterator[Job]:
    settings = replace(
        Settings.from_environment(),
        redis_url=redis_server.url,
        model_dir=str(tmp_path),
        endpoint=f"{model.address}/predict",
        retry_seconds=0.2,
    )
    made = Job(labelbox, settings)
    yield made
    for hub in made.hubs:
        hub.redis.close()
        hub.media.close()
        hub.tool.close()


def test_every_row_is_predicted_and_uploaded_in_the_ontologys_words(job: Job, labelbox: LabelboxStandIn) -> None:
    done = job.of(rows()).predict()
    assert (done.predicted, done.left_out) == (COUNT, 0)
    assert labelbox.predictions(job.run) == []
    lines = job.upload()
    assert len(lines) == COUNT
    bright = lines[row_number(data_row_id("19"))]
    assert (bright["name"], bright["answer"]) == (
        "scene",
        {"name": "sea", "confidence": pytest.approx(228 / 255, abs=1e-5)},
    )
    assert lines[row_number(data_row_id("1"))]["answer"]["name"] == "forest"


def test_killed_it_goes_on_with_what_is_left(job: Job, labelbox: LabelboxStandIn, model: Misbehaving) -> None:
    def die(what: str, done: int) -> None:
        if what == "tasks" and done >= 8:
            raise Killed

    job.of(rows())
    with pytest.raises(Killed):
        job.predict(die)
    asked = len(model.requests)
    done = job.predict()
    assert 0 < done.predicted < COUNT
    assert len(model.requests) - asked == done.predicted
    assert len(job.upload()) == COUNT
    assert labelbox.calls.count("exportDataRowsInModelRunPyApi") == 1


def test_what_was_uploaded_is_not_sent_again(job: Job, labelbox: LabelboxStandIn) -> None:
    job.of(rows(5)).predict()
    first = job.upload()
    assert job.predict().predicted == 0
    assert job.upload() == first
    assert len(labelbox.imports(job.run)) == 1


def test_an_endpoint_whose_answers_fit_nothing_is_given_up_soon(
    job: Job, model: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_stream, "_AHEAD", 32)
    model.replies = [answer({"predictions": [said(cat=0.9, dog=0.1)]})]
    with pytest.raises(LabelMappingError, match="none of the endpoint's classes") as refused:
        job.of(rows(120)).predict()
    assert "'cat', 'dog'" in str(refused.value)
    assert "'forest', 'sea'" in str(refused.value)
    assert '{"label_map": {"cat": "forest"}}' in str(refused.value)
    assert len(model.requests) < 100


def test_a_few_rows_that_nothing_fits_are_no_success_either(job: Job, model: Misbehaving) -> None:
    model.replies = [answer({"predictions": [said(cat=0.9, dog=0.1)]})]
    with pytest.raises(NothingPredicted, match="no prediction for any of 3 data rows: none of the endpoint's classes"):
        job.of(rows(3)).predict()
    assert job.labelbox.imports(job.run) == {}


def test_what_no_part_of_the_ontology_takes_is_said(job: Job, model: Misbehaving) -> None:
    model.replies = [answer(boxed("car"))]
    scenes = ontology(radio("scene", ("forest", "sea")))
    with pytest.raises(
        (NothingPredicted, LabelConfigError), match="holds boxes, and the ontology has radio question 'scene'"
    ):
        job.of(rows(3), model=scenes).predict()


def test_classes_are_mapped_by_the_training_config(job: Job, model: Misbehaving) -> None:
    model.replies = [answer({"predictions": [said(wood=0.9, water=0.1)]})]
    job.of(rows(2), config={"label_map": {"wood": "forest"}, "epochs": 3}).predict()
    assert [one["answer"] for one in job.upload().values()] == [{"name": "forest", "confidence": 0.9}] * 2


def test_boxes_are_in_the_pixels_of_their_row(job: Job, model: Misbehaving) -> None:
    model.replies = [answer(boxed("Car"))]
    job.of(rows(2)).predict()
    assert [one["bbox"] for one in job.upload().values()] == [
        {"top": 6.0, "left": 4.0, "height": 15.0, "width": 20.0}
    ] * 2


def test_boxes_that_another_attempt_does_not_find_any_more_are_withdrawn(job: Job, model: Misbehaving) -> None:
    def shown() -> list[float]:
        return sorted(one["confidence"] for one in job.labelbox.predictions(job.run))

    one = boxed("Car")
    two = {"predictions": [{**one["predictions"][0], "regions": one["predictions"][0]["regions"] * 2}]}
    model.replies = [answer(two)]
    job.of(rows(2)).predict()
    job.upload()
    before = shown()
    assert (len(before), min(before) > 0) == (4, True)
    model.replies = [answer(one)]
    job.predict(attempt=2)
    job.upload()
    assert shown() == [0.0, 0.0, *before[2:]]


def test_an_llm_answers_every_part_of_a_text(job: Job, model: Misbehaving) -> None:
    said = {"scene": "sea", "entities": [{"text": "Ada", "label": "PER"}]}
    model.replies = [answer(completion(json.dumps(said)))]
    job.settings = replace(job.settings, endpoint=f"{model.address}{OPENAI}", request_format="chat")
    job.of([Row(data_row_id("t"), text="Ada sails away")])
    assert job.predict().predicted == 1
    hub = job.hub()
    site = hub.tool.model_run(NUMBER, hub.media)
    assert site is not None
    assert site.finish(MODEL, lambda *_: None).lines == 2
    lines = {one["name"]: one for one in job.labelbox.predictions(job.run)}
    assert lines["scene"]["answer"]["name"] == "sea"
    assert lines["PER"]["location"] == {"start": 0, "end": 2}


def test_an_endpoint_that_is_away_is_gone_on_with_when_it_is_back(job: Job, model: Misbehaving) -> None:
    model.replies = [*[scene] * 5, answer({"error": "overloaded"}, 503)]
    with pytest.raises(EndpointError):
        job.of(rows()).predict()
    model.replies = [scene]
    done = job.predict()
    assert 0 < done.predicted < COUNT
    assert len(job.upload()) == COUNT


def test_links_that_expire_in_the_middle_are_renewed(
    job: Job, labelbox: LabelboxStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_LEAST_AGE", 0.0)
    monkeypatch.setattr(prediction_stream, "_AHEAD", 8)
    expired: list[int] = []

    def expire(what: str, done: int) -> None:
        if what == "tasks" and done >= 10 and not expired:
            labelbox.expire_links()
            expired.append(done)

    assert job.of(rows(30)).predict(expire).left_out == 0
    assert labelbox.calls.count("exportDataRowsInModelRunPyApi") == 2
    assert len(job.upload()) == 30


def test_no_row_is_left_out_because_links_could_not_be_renewed(
    job: Job, labelbox: LabelboxStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_LEAST_AGE", 0.0)

    def expire(what: str, done: int) -> None:
        if what == "tasks" and not done:
            labelbox.expire_links()
            labelbox.deny("exportDataRowsInModelRunPyApi")

    with pytest.raises(LabelboxDenied):
        job.of(rows(5)).predict(expire)
    labelbox.mend()
    assert job.predict().predicted == 5


def test_links_that_are_an_hour_old_are_renewed_before_they_are_handed_on(
    job: Job, labelbox: LabelboxStandIn, model: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_HANDED_ON", 0.0)
    model.replies = [answer({"predictions": [said(sea=0.9, forest=0.1)]})]
    job.of(rows(1), config={"request": "reference"}).predict()
    assert labelbox.calls.count("exportDataRowsInModelRunPyApi") == 2
    assert labelbox.calls.count("GET rows") == 0
    assert b"signature=" in model.requests[0].body


def test_a_row_that_cannot_be_read_is_left_out_with_its_reason(job: Job) -> None:
    broken = Row(data_row_id("x"), file="x.png", content=b"<html>log in</html>", sides=(40, 30))
    done = job.of([*rows(2), broken]).predict()
    assert (done.predicted, done.left_out) == (2, 1)
    assert "is an HTML page" in done.reasons[0]
    assert "signature" not in done.reasons[0]


def test_a_project_gets_it_as_pre_labels_too(job: Job, labelbox: LabelboxStandIn) -> None:
    told = rows(3)
    project = labelbox.add_project(ONTOLOGY, told)
    job.settings = replace(job.settings, labelbox_prelabel_project=project)
    job.of(told).predict()
    job.upload()
    assert len(labelbox.predictions(project)) == len(labelbox.predictions(job.run)) == 3


def test_an_endpoint_that_serves_the_store_predicts_nothing(job: Job, model: Misbehaving) -> None:
    job.settings = replace(job.settings, endpoint=model.address)
    with pytest.raises(SettingsError, match="has no model of its own"):
        job.of(rows(1)).predict()


def test_a_model_run_without_rows_is_said_to_have_none(job: Job) -> None:
    with pytest.raises(NothingPredicted, match="has no data rows"):
        job.of([]).predict()


def test_an_impossible_option_of_the_config_is_refused(job: Job) -> None:
    with pytest.raises(LabelLoopError, match="threshold"):
        job.of(rows(1), config={"threshold": "often"}).predict()
    assert job.labelbox.calls.count("exportDataRowsInModelRunPyApi") == 0
    assert site_of(job.hub(), NUMBER).storages() == []
