"""Training by AutoML of Vertex AI: what it is given, what is taken of it, how that is judged, what is paid for once."""

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from labelloop.bundle_info import ForeignInfo
from labelloop.data.formats.listings import read_listing
from labelloop.data.manifest import Manifest
from labelloop.data.split import splits
from labelloop.errors import CloudAway, CloudError, TrainerAway, TrainingDied, TrainingError
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.versions import Versions
from labelloop.regions import write_regions
from labelloop.run.context import Labeled
from labelloop.run.driver import Run
from labelloop.run.folder import STAGES, RunFolder
from labelloop.run.registrar import Registrar
from labelloop.settings import Settings
from labelloop.trainers.base import Training
from labelloop.trainers.opening import open_trainer
from labelloop.trainers.vertex_automl import AutoMlTrainer
from labelloop.types import BOXES, IMAGES, TEXTS, Box, Choice, Failure, Input, Item, Output, ProjectKey, Region, Side
from support.bundles import picture
from support.crash_store import Killed
from support.google import LOCATION, PROJECT, StandIn
from support.google.kills import dying_at

KEY = ProjectKey("localhost-8080", 7)
COLOURS = ("red", "green", "blue")
ADDRESS = f"vertex-automl://{PROJECT}/{LOCATION}"
FOLDER = "gs://team/labelloop"
USE = "aiplatform.googleapis.com/ml_use"


@dataclass
class Told:
    told: list[str] = field(default_factory=list)

    def stage(self, name: str) -> None:
        self.told.append(f"stage {name}")

    def __call__(self, what: str, done: int, total: int) -> None:  # noqa: ARG002
        self.told.append(what)


def drawn(colour: str, number: int) -> bytes:
    """A white picture with a box of a colour in it, each another one; every fourth is turned by EXIF."""
    shown = Image.new("RGB", (40 + number, 40), "white")
    shown.paste(Image.new("RGB", (16, 20), colour), (8, 10))
    stream, exif = BytesIO(), Image.Exif()
    if number % 4 == 0:
        exif[ExifTags.Base.Orientation] = 6
        shown = shown.transpose(Image.Transpose.ROTATE_90)
    shown.save(stream, "PNG", exif=exif)
    return stream.getvalue()


@dataclass
class Machine:
    """A project's runs on this machine, trained by AutoML."""

    path: Path
    google: StandIn
    trainer: str = ADDRESS
    count: int = 90
    bare: int = 0
    kind: str = IMAGES
    choice: Choice = "single"
    reporter: Told = field(default_factory=Told)

    @property
    def settings(self) -> Settings:
        return Settings(
            model_dir=str(self.path),
            trainer=self.trainer,
            training_seconds=60,
            poll_seconds=0.1,
            google_folder=FOLDER,
        )

    def open(self) -> AutoMlTrainer:
        """The trainer, which does not pause."""
        found = open_trainer(self.settings)
        assert isinstance(found, AutoMlTrainer)
        found._wait = lambda _: None
        return found

    def run(self, name: str = "run") -> Run:
        store = FileStore(self.path / "store")
        fence = ChampionPointer(store, KEY).take_fence()
        run = Run(
            RunFolder(self.path / name),
            self.settings,
            {},
            self.reporter,
            source=lambda _: self.labeled(run),
            registrar=Registrar(store, KEY, fence, trainer=self.open()),
            archive=False,
        )
        return run

    def labeled(self, run: Run) -> Labeled:
        held = [self.item(run, task, COLOURS[task % 3]) for task in range(1, self.count + 1)]
        said = write_regions([]) if self.kind == BOXES else ""
        held += [self.unlabeled(run, 900 + number, said) for number in range(self.bare)]
        return Labeled(Manifest.of(KEY, self.choice, COLOURS, held, kind=self.kind))

    def unlabeled(self, run: Run, task: int, said: str) -> Item:
        return Item(task, run.context.pictures.add(drawn("white", task)), (), result=said)

    def item(self, run: Run, task: int, colour: str) -> Item:
        if self.kind == TEXTS:
            text = f"{colour} {task}"
            return Item(task, hashlib.sha256(text.encode()).hexdigest(), (colour,), text)
        if self.kind == BOXES:
            content = run.context.pictures.add(drawn(colour, task))
            wide = 40 + task
            result = write_regions([Region(colour, Box(8 / wide, 0.25, 16 / wide, 0.5))])
            return Item(task, content, (colour,), result=result)
        return Item(task, run.context.pictures.add(picture(colour, size=(8 + task, 8))), (colour,))

    def make(self, *stages: str, name: str = "run") -> Run:
        run = self.run(name)
        with run.alone():
            for stage in stages or STAGES:
                run.make(stage)
        return run

    @property
    def versions(self) -> Versions:
        return Versions(FileStore(self.path / "store"), KEY)

    def objects(self, place: str) -> dict[str, bytes]:
        beginning = f"{FOLDER}/automl/{place}"
        return {name: self.google.objects.read(name) or b"" for name in self.google.objects.names(beginning)}

    def lose_pictures(self, most: int | None = None) -> None:
        """Remove pictures that were handed over."""
        for name in sorted(self.objects("objects/"))[:most]:
            self.google.objects.delete(name)

    def left(self) -> list[str]:
        """Name what costs, or lies about for the moment."""
        return [
            *self.google.datasets.datasets,
            *(one for one in self.google.trainings.states() if one not in ("SUCCEEDED", "FAILED", "CANCELLED")),
            *self.google.batches.batches,
            *self.objects("judged"),
        ]


@pytest.fixture
def machine(google: StandIn, tmp_path: Path) -> Machine:
    google.bucket("team")
    google.operations.looks = google.trainings.looks = google.batches.looks = 0
    return Machine(tmp_path, google)


def test_automl_trains_a_version_that_is_judged_on_our_test_items(machine: Machine) -> None:
    run = machine.make()

    record = machine.versions.get("v1")
    tested = len(splits(run.context.manifest)["test"])
    assert record.promoted
    assert record.verdict.startswith(f"v1 becomes the first champion: {tested} of {tested} test items right")
    assert record.recipe == "vertex-automl"
    info = check_bundle(run.folder.bundle)
    assert isinstance(info, ForeignInfo)
    assert [info.model] == list(machine.google.models.models)
    told = json.loads(run.folder.trained.read_text())["notes"]
    assert "AutoML took 6.2 node hours (MODEL_CONVERGED)" in told
    assert "labels for AutoML, which then may take 8 node hours" in machine.reporter.told
    [training] = machine.google.trainings.pipelines.values()
    assert training.told["trainingTaskInputs"] == {
        "modelType": "CLOUD",
        "budgetMilliNodeHours": "8000",
        "multiLabel": False,
    }
    assert machine.left() == []


def test_what_automl_is_given_is_all_but_the_test_side(machine: Machine, tmp_path: Path) -> None:
    machine.google.trainings.looks = None
    run = machine.make("fetch", "preprocess")
    machine.open().start(run.context, run.key)

    sides = splits(run.context.manifest)
    [dataset] = machine.google.datasets.datasets.values()
    held = {uri.rpartition("/")[2]: item for uri, item in dataset.items.items()}
    uses: dict[Side, str] = {"train": "training", "validation": "validation"}
    expected = {item.content: (uses[name], item.labels) for name in uses for item in sides[name]}
    assert {name: (item.labels[USE], item.names) for name, item in held.items()} == expected
    [training] = machine.google.trainings.pipelines.values()
    assert training.told["inputDataConfig"]["filterSplit"]["testFilter"] == "-"
    tested = {item.content for item in sides["test"]}
    everything = machine.objects("")
    assert not [
        name for name, content in everything.items() for one in tested if one in name or one.encode() in content
    ]
    # It can be read again as what it is, and pictures travel once, whoever needs them.
    [listed] = [content for name, content in everything.items() if name.endswith("/train.jsonl")]
    (tmp_path / "list").write_bytes(listed)
    records = read_listing(tmp_path / "list", "vertex").records
    assert {one.uri.rpartition("/")[2]: (uses[one.side or "test"], one.labels) for one in records} == expected
    before = len(machine.objects("objects/"))
    machine.trainer += "?budget=9000"
    again = machine.make("fetch", "preprocess", name="again")
    machine.google.calls.clear()
    machine.open().start(again.context, again.key)
    assert again.key != run.key
    assert before == len(machine.objects("objects/")) == len(expected)
    assert machine.google.calls.count("storage:POST b/*/o") == 3


@pytest.mark.parametrize(
    ("kind", "choice", "model", "hours"),
    [(IMAGES, "multiple", "MOBILE_TF_VERSATILE_1", "1"), (BOXES, "multiple", "CLOUD_HIGH_ACCURACY_1", "20")],
)
def test_several_classes_and_boxes_are_learned_and_judged_too(
    machine: Machine, kind: str, choice: Choice, model: str, hours: str
) -> None:
    machine.kind, machine.choice, machine.bare = kind, choice, 30
    machine.trainer += f"?model={model}"
    run = machine.make()
    bare = 30 - sum(not item.labels for item in splits(run.context.manifest)["test"])
    notes = json.loads(run.folder.trained.read_text())["notes"]
    assert any(f"learns from pictures with a label: {bare} of" in one for one in notes)
    record = machine.versions.get("v1")
    assert record.promoted, record.verdict
    assert "1.000" in record.verdict
    [training] = machine.google.trainings.pipelines.values()
    assert training.told["trainingTaskInputs"]["modelType"] == model
    assert f"labels for AutoML, which then may take {hours} node hours" in machine.reporter.told
    assert run.folder.report.is_file()
    assert machine.left() == []


def test_a_champion_of_automl_is_asked_about_the_test_items_that_came_since(machine: Machine) -> None:
    first = machine.make()
    before = len(splits(first.context.manifest)["test"])
    machine.count = 120
    second = machine.make(name="second")
    count = len(splits(second.context.manifest)["test"])
    assert before < count
    verdict = machine.versions.get("v2").verdict
    assert verdict.startswith(f"v2 replaces v1: {count} of {count} test items right (1.000) against {count} (1.000)")
    assert len(machine.google.models.models) == 2
    assert machine.left() == []


@pytest.mark.parametrize(
    ("kind", "trainer", "count", "says"),
    [
        (TEXTS, ADDRESS, 90, "AutoML for texts is gone from Vertex AI: let LABELLOOP_TRAINER be vertex-job://"),
        (IMAGES, f"{ADDRESS}?model=CLOUD_LOW_LATENCY_1", 90, "model=CLOUD_LOW_LATENCY_1 is not for image-classif"),
        (BOXES, f"{ADDRESS}?budget=8000", 90, "budget=8000 is none for CLOUD_HIGH_ACCURACY_1: it takes 20000 to"),
        (IMAGES, ADDRESS, 30, "AutoML wants at least 10 pictures of each label, beside those of the test side"),
    ],
)
def test_what_automl_would_not_learn_is_refused_before_anything_is_made(
    machine: Machine, kind: str, trainer: str, count: int, says: str
) -> None:
    machine.kind, machine.trainer, machine.count = kind, trainer, count
    machine.choice = "multiple" if kind == BOXES else "single"
    run = machine.make("fetch", "preprocess")
    with pytest.raises(TrainingError) as raised:
        machine.open().start(run.context, run.key)
    assert says in str(raised.value)
    assert {one for one in machine.google.calls if not one.startswith("aiplatform:GET")} == set()
    assert not machine.objects("")


def test_what_an_import_leaves_out_is_counted_and_told(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    trainer = machine.open()
    learned = machine.count - len(splits(run.context.manifest)["test"])
    machine.google.before("POST datasets/*:import", lambda _: machine.lose_pictures(1))
    handle = trainer.start(run.context, run.key)
    told = trainer.collect(handle, run.context)["notes"]
    [note] = [one for one in told if one.startswith("AutoML left out")]
    assert note.startswith(f"AutoML left out 1 of {learned} pictures: Line ")
    assert note.endswith("is not found")


def test_an_import_that_fails_is_begun_anew_into_the_same_data_set(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    trainer = machine.open()
    machine.google.operations.fail("import", "PERMISSION_DENIED", "the service agent may not read gs://team")
    with pytest.raises(CloudError, match="the service agent may not read gs://team"):
        trainer.start(run.context, run.key)
    machine.google.operations.fail("import", "INVALID_ARGUMENT", "no line could be read")
    with pytest.raises(CloudError, match=r"the import into .* failed: INVALID_ARGUMENT \(no line could be read\)"):
        trainer.start(run.context, run.key)
    assert machine.google.trainings.states() == []
    handle = trainer.start(run.context, run.key)
    assert len(machine.google.datasets.datasets) == 1
    assert machine.google.calls.count("aiplatform:POST datasets/*:import") == 3
    assert trainer.poll(handle) == Training("done", "training by AutoML, at most 8 node hours")


def test_a_data_set_that_is_empty_after_its_import_is_made_anew(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    trainer = machine.open()
    # They were there when the labels were handed over, and are gone when Google reads them.
    machine.google.before("POST datasets/*:import", lambda _: machine.lose_pictures())
    with pytest.raises(CloudError, match=r"AutoML imported none of \d+ pictures: Line 1: .* is not found; .*more"):
        trainer.start(run.context, run.key)
    assert machine.google.trainings.states() == []
    assert trainer.poll(trainer.start(run.context, run.key)).state == "done"


def test_one_training_for_a_key_and_one_that_failed_after_hours_is_begun_anew(machine: Machine) -> None:
    google = machine.google
    run = machine.make("fetch", "preprocess")
    trainer = machine.open()
    assert trainer.find(run.key) == ""
    google.trainings.fail("INTERNAL", "a node was lost")

    first = trainer.start(run.context, run.key)

    assert trainer.poll(first) == Training("failed", reason="AutoML failed: INTERNAL (a node was lost)")
    google.trainings.looks = None
    second = trainer.start(run.context, run.key)
    assert second != first
    assert trainer.start(run.context, run.key) == second == trainer.find(run.key) == machine.open().find(run.key)
    assert trainer.poll(second) == Training("running", "waits for AutoML, at most 8 node hours")
    trainer.cancel(second)
    assert trainer.poll(second).reason == "it was stopped"
    trainer.cancel(second)
    assert google.trainings.states() == ["FAILED", "CANCELLED"]
    assert google.calls.count("aiplatform:POST datasets/*:import") == 1
    assert machine.left() == []


def test_cancelled_during_its_import_nothing_of_a_run_stays_there(machine: Machine) -> None:
    machine.google.operations.looks = 1
    run = machine.make("fetch", "preprocess")
    trainer = machine.open()
    run.context.progress = lambda what, *_: told(what)

    def told(what: str) -> None:
        if what == "import into AutoML":
            raise TrainingError("it was cancelled by `labelloop cancel`")

    with pytest.raises(TrainingError, match="it was cancelled"):
        trainer.start(run.context, run.key)
    handle = trainer.find(run.key)
    assert handle in machine.google.datasets.datasets
    machine.google.operations.looks = 0
    trainer.cancel(handle)
    trainer.cancel(handle)
    assert trainer.find(run.key) == ""
    assert machine.left() == []
    assert machine.google.trainings.states() == []


def test_data_sets_of_trainings_that_nobody_came_back_to_are_removed_by_a_later_run(machine: Machine) -> None:
    google = machine.google
    run = machine.make("fetch", "preprocess")
    google.trainings.fail("INTERNAL", "a node was lost")
    trainer = machine.open()
    trainer.poll(trainer.start(run.context, run.key))
    machine.count += 3
    second = machine.make("fetch", "preprocess", name="second")
    trainer.start(second.context, second.key)
    assert len(google.datasets.datasets) == 2
    for one in google.trainings.pipelines.values():
        one.ended = one.ended and "2020-01-01T00:00:00.000000Z"
    machine.count += 3
    third = machine.make("fetch", "preprocess", name="third")
    trainer.start(third.context, third.key)
    # That of the second run is still being learned from.
    assert len(google.datasets.datasets) == 2


def test_a_quota_is_waited_for_and_an_answer_that_is_lost_begins_no_second_training(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    trainer = machine.open()
    machine.google.exhaust("POST trainingPipelines", "aiplatform.googleapis.com/automl_trainings", 9)
    with pytest.raises(CloudAway, match=r"the quota aiplatform\.googleapis\.com/automl_trainings is used up"):
        trainer.start(run.context, run.key)
    machine.google.mend()
    machine.google.hang_up("POST trainingPipelines", after=True)
    handle = trainer.start(run.context, run.key)
    assert list(machine.google.trainings.pipelines) == [handle]
    assert machine.google.calls.count("aiplatform:POST datasets/*:import") == 1


def test_a_location_without_automl_is_named_and_what_cannot_be_asked_is_waited_for(machine: Machine) -> None:
    trainer = machine.open()
    trainer.check(thorough=True)
    machine.google.front.lacking[LOCATION] = "trainingPipelines"
    with pytest.raises(
        TrainingError, match=rf"{ADDRESS} cannot train: .*trainingPipelines is not supported in {LOCATION}"
    ):
        trainer.check(thorough=True)
    machine.google.front.lacking.clear()
    machine.google.front.locations = {"us-central1"}
    with pytest.raises(TrainingError, match=f"the trainingPipelines in projects/{PROJECT}/locations/{LOCATION}"):
        trainer.check(thorough=True)
    machine.google.mend()
    machine.google.deny("aiplatform.trainingPipelines.get")
    with pytest.raises(TrainerAway, match=r"a role with aiplatform\.trainingPipelines\.get"):
        trainer.poll(f"projects/{PROJECT}/locations/{LOCATION}/trainingPipelines/1")
    machine.google.mend()
    gone = trainer.poll(f"projects/{PROJECT}/locations/{LOCATION}/trainingPipelines/1")
    assert (gone.state, "is not found" in gone.reason) == ("failed", True)


def test_a_picture_that_the_model_cannot_read_is_an_item_without_an_answer(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    trainer = machine.open()
    handle = trainer.start(run.context, run.key)
    tested = list(splits(run.context.manifest)["test"])

    def spoil(_: object) -> None:
        for name in machine.google.objects.names(f"{FOLDER}/automl/judged"):
            if name.endswith(tested[0].content):
                machine.google.objects.write(name, b"no picture")

    machine.google.before("POST batchPredictionJobs", spoil)
    trainer.collect(handle, run.context)
    lines = [json.loads(one) for one in (run.folder.bundle / "answers.jsonl").read_text().splitlines()]
    wrong = {one["content"]: one["error"] for one in lines if "error" in one}
    assert list(wrong) == [tested[0].content]
    assert "no picture" in wrong[tested[0].content]
    assert len(lines) == len(tested)


def test_a_picture_that_is_too_large_to_be_asked_about_is_scaled_down(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess", "train")
    info = check_bundle(run.folder.bundle)
    assert isinstance(info, ForeignInfo)
    stream = BytesIO()
    noise = np.random.default_rng(7).integers(0, 90, (800, 900, 3), dtype=np.uint8)
    noise[..., 2] += 160
    Image.fromarray(noise).save(stream, "PNG")
    sizes = list[int]()

    def look(_: object) -> None:
        sizes.extend(len(content) for name, content in machine.objects("judged").items() if "/pictures/" in name)

    machine.google.before("POST batchPredictionJobs", look)
    [answer, other] = machine.open().predict(
        info.model, [Input(stream.getvalue(), "image/png"), Input(text="blue")], info.classes
    )
    assert isinstance(answer, Output)
    assert answer.label == "blue"
    assert isinstance(other, Failure)
    assert len(stream.getvalue()) > 1_500_000 >= sizes[0] > 100_000
    assert machine.left() == []


def test_a_batch_prediction_that_fails_is_removed_and_one_without_a_machine_is_waited_for(machine: Machine) -> None:
    google = machine.google
    run = machine.make("fetch", "preprocess")
    trainer = machine.open()
    handle = trainer.start(run.context, run.key)
    google.batches.fail("INTERNAL", "a node was lost")
    with pytest.raises(CloudError, match="a node was lost"):
        trainer.collect(handle, run.context)
    assert not google.batches.batches
    assert not machine.objects("judged")
    google.batches.fail("RESOURCE_EXHAUSTED", "no machine is free")
    with pytest.raises(CloudAway, match="no machine is free"):
        trainer.collect(handle, run.context)
    assert machine.objects("judged")
    assert trainer.collect(handle, run.context)["recipe"] == "vertex-automl"
    assert machine.left() == []


def test_killed_at_any_request_a_run_goes_on_to_one_training_and_one_version(machine: Machine) -> None:
    machine.count = 60
    at, cut = 0, True
    while cut:
        machine.trainer = f"{ADDRESS}?budget={8000 + at}"
        before = len(machine.google.trainings.states())
        with suppress(Killed), dying_at(at, after=at % 2 == 1) as done:
            machine.make("fetch", "preprocess", "train", name=f"run-{at}")
        cut = len(done) >= at

        machine.make("fetch", "preprocess", "train", name=f"run-{at}")

        assert machine.google.trainings.states()[before:] == ["SUCCEEDED"]
        assert machine.left() == []
        at += 9
    assert at > 20


def test_of_two_data_sets_that_were_asked_for_one_is_learned_from_and_none_stays(machine: Machine) -> None:
    google = machine.google
    run = machine.make("fetch", "preprocess")
    google.operations.looks = None
    with suppress(Killed), dying_at(4, after=True) as done:
        machine.open().start(run.context, run.key)
    assert done[-1] == f"POST /v1/projects/{PROJECT}/locations/{LOCATION}/datasets"
    google.operations.looks = 0
    google.before("GET operations/*", lambda _: google.operations.finish())
    google.before("POST datasets/*:import", lambda _: google.operations.finish())
    trainer = machine.open()
    handle = trainer.start(run.context, run.key)
    assert len(google.datasets.datasets) == 2
    trainer.collect(handle, run.context)
    assert machine.left() == []


def test_what_it_may_do_there_is_what_it_asks_for(machine: Machine) -> None:
    google = machine.google
    first = machine.make()
    trainer = machine.open()
    trainer.check(thorough=True)
    google.trainings.looks = google.batches.looks = None
    machine.trainer += "?budget=9000"
    run = machine.make("fetch", "preprocess", name="second")
    trainer = machine.open()
    trainer.cancel(trainer.start(run.context, run.key))
    google.trainings.finish()
    trainer.cancel(trainer.find(first.key))
    google.trainings.looks = 0
    handle = trainer.start(run.context, run.key)
    google.fail("GET batchPredictionJobs/*", "INVALID_ARGUMENT")
    with pytest.raises(CloudError):
        trainer.collect(handle, run.context)

    page = (Path(__file__).parents[3] / "docs" / "trainers.md").read_text()
    section = (
        page.partition("## AutoML of Vertex AI")[2]
        .partition("### What it may do there")[2]
        .partition("`labelloop d")[0]
    )
    granted, beginning = set(), ""
    for word in re.findall(r"(?:aiplatform|storage)\.\w+\.\w+|(?<= )\.\w+", section):
        beginning = word.rpartition(".")[0] or beginning
        granted.add(beginning + "." + word.rpartition(".")[2])
    asked = {
        f"aiplatform.{google.front.routes[one].permission}" for one in google.calls if one.startswith("aiplatform")
    }
    assert asked == {one for one in granted if one.startswith("aiplatform")}


def test_a_training_that_dies_is_the_runs_failure(machine: Machine) -> None:
    machine.google.trainings.fail("INTERNAL", "a node was lost")
    with pytest.raises(TrainingDied, match=f"by {ADDRESS} failed: AutoML failed: INTERNAL"):
        machine.make("fetch", "preprocess", "train")
