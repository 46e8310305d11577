"""Training by a pipeline of somebody else's in Vertex AI: what it is given, what is taken of it, how that is judged."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from labelloop.bundle_info import ForeignInfo
from labelloop.data.formats.listings import read_listing
from labelloop.data.split import splits
from labelloop.errors import SettingsError, TrainingError
from labelloop.models.bundle import check_bundle
from labelloop.models.file_store import FileStore
from labelloop.models.versions import Versions
from labelloop.run.folder import STAGES
from labelloop.settings import Settings
from labelloop.trainers.base import Trainer
from labelloop.trainers.opening import open_trainer
from labelloop.types import Json
from support.bundles import make_bundle
from support.crash_store import Killed
from support.google import LOCATION, PROJECT, Refused, StandIn
from support.google.kills import dying_at
from support.own_runs import PROJECT as OURS
from support.own_runs import RunMachine
from support.waiting import wait_until

BUCKET = "team"
BASE = "labelloop/vertex-pipeline"
ADDRESS = f"vertex-pipeline://{PROJECT}/{LOCATION}"
THEIRS = f"{ADDRESS}?template=gs://{BUCKET}/theirs.yaml&manifest=labels&output=folder&test_manifest=asked"


USUAL: dict[str, Any] = {
    "trainer": THEIRS,
    "google_folder": f"gs://{BUCKET}/labelloop",
    "training_seconds": 60.0,
}


def specification(name: str = "theirs", **more: str) -> Json:
    """Compile their pipeline: one task, which learns and answers."""
    types = {"labels": "STRING", "asked": "STRING", "validation": "STRING", "folder": "STRING", **more}
    return {
        "pipelineInfo": {"name": name},
        "schemaVersion": "2.1.0",
        "root": {
            "dag": {
                "tasks": {
                    "learn": {
                        "componentRef": {"name": "comp-learn"},
                        "inputs": {"parameters": {one: {"componentInputParameter": one} for one in types}},
                    }
                }
            },
            "inputDefinitions": {
                "parameters": {one: {"parameterType": kind, "isOptional": True} for one, kind in types.items()}
            },
        },
        "components": {"comp-learn": {"executorLabel": "exec-learn"}},
        "deploymentSpec": {"executors": {"exec-learn": {"container": {"image": "theirs:1"}}}},
    }


@dataclass
class Machine(RunMachine):
    """A project's runs on this machine, trained by a pipeline of somebody's."""

    google: StandIn = field(kw_only=True)

    @property
    def trainer(self) -> Trainer:
        return open_trainer(self.settings)

    def pipeline(self, content: Json | str, name: str = "theirs.yaml") -> None:
        """Let them have a pipeline."""
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        self.google.storage.put(BUCKET, name, text.encode())

    def read(self, uri: str) -> bytes:
        return self.google.storage.read(BUCKET, uri.removeprefix(f"gs://{BUCKET}/"))

    def learn(self, given: Json, _: Json) -> None:
        """Learn the mean colour of each class, of pictures that are read by their addresses, and answer."""
        seen: dict[str, list[Any]] = {}
        for line in self.read(given["labels"]).splitlines():
            row = json.loads(line)
            seen.setdefault(row["classificationAnnotation"]["displayName"], []).append(self.colour(row["imageGcsUri"]))
        means = {name: np.mean(colours, axis=0) for name, colours in seen.items()}
        answers = []
        for line in self.read(given["asked"]).splitlines():
            row = json.loads(line)
            found = self.colour(row["uri"])
            best = min(means, key=lambda name: float(np.abs(found - means[name]).sum()))
            answer = [{"label": name, "score": 0.8 if name == best else 0.1} for name in means]
            answers.append(json.dumps({"content": row["content"], "answer": answer}))
        self.leave(given, "answers.jsonl", "\n".join(answers).encode())
        self.leave(given, "result.json", b'{"model": "theirs-1", "notes": ["as it is"], "recipe": "means"}')

    def colour(self, uri: str) -> Any:
        return np.asarray(Image.open(BytesIO(self.read(uri))).convert("RGB"), float)[0, 0]

    def leave(self, given: Json, name: str, content: bytes) -> None:
        place = given["folder"].removeprefix(f"gs://{BUCKET}/")
        self.google.storage.put(BUCKET, f"{place}/{name}", content)

    def over(self) -> Json:
        """Wait for the end of the newest execution."""
        run = self.google.pipelines.newest()
        wait_until(lambda: run.state in ("SUCCEEDED", "FAILED", "CANCELLED"), lambda: str(run.describe()))
        return run.describe()

    def executions(self) -> list[str]:
        """Say of each execution what became of it, the oldest first."""
        return [one.state for one in self.google.pipelines.jobs.values()]

    @property
    def versions(self) -> Versions:
        return Versions(FileStore(self.path / "store"), OURS)


@pytest.fixture
def machine(google: StandIn, tmp_path: Path) -> Machine:
    google.bucket(BUCKET)
    made = Machine(tmp_path, USUAL, google=google)
    made.pipeline(specification())
    google.pipelines.tasks["learn"] = made.learn
    return made


def test_their_pipeline_trains_a_version_that_is_judged_on_our_test_items(machine: Machine) -> None:
    run = machine.make(*STAGES)

    record = machine.versions.get("v1")
    tested = len(splits(run.context.manifest)["test"])
    assert record.promoted
    assert record.verdict.startswith(f"v1 becomes the first champion: {tested} of {tested} test items right")
    assert record.recipe == "means"
    info = check_bundle(run.folder.bundle)
    assert isinstance(info, ForeignInfo)
    assert info.model == "theirs-1"
    assert machine.executions() == ["SUCCEEDED"]
    notes = json.loads(run.folder.trained.read_text())["notes"]
    assert notes[0] == "as it is"
    assert any(note.startswith("the format vertex does not carry") for note in notes)


def test_what_they_are_given_is_all_but_the_labels_of_the_test_side(machine: Machine, tmp_path: Path) -> None:
    machine.pipeline(specification(epochs="NUMBER_INTEGER", fast="BOOLEAN", rate="NUMBER_DOUBLE", more="STRUCT"))
    more = 'parameter.epochs=7&parameter.fast=true&parameter.rate=0.5&parameter.more={"a": 1}'
    machine.given = {"trainer": f"{THEIRS}&validation_manifest=validation&{more}"}
    run = machine.make("fetch", "preprocess")

    machine.trainer.start(run.context, run.key)

    told = machine.over()
    given = dict(told["runtimeConfig"]["parameterValues"])
    assert [given.pop(name) for name in ("epochs", "fast", "rate", "more")] == [7, True, 0.5, {"a": 1}]
    assert sorted(given) == ["asked", "folder", "labels", "validation"]
    sides = splits(run.context.manifest)
    for name, parameter in (("train", "labels"), ("validation", "validation")):
        (tmp_path / name).write_bytes(machine.read(given[parameter]))
        found = {one.uri.rpartition("/")[2]: one.labels for one in read_listing(tmp_path / name, "vertex").records}
        assert found == {item.content: item.labels for item in sides[name]}  # type: ignore[index]
    lines = [json.loads(line) for line in machine.read(given["asked"]).splitlines()]
    address = f"gs://{BUCKET}/{BASE}/objects/"
    assert lines == [{"uri": address + one.content, "content": one.content} for one in sides["test"]]
    tested = {item.content.encode() for item in sides["test"]}
    for name in machine.google.storage.names(BUCKET, f"{BASE}/source/"):
        content = machine.google.storage.read(BUCKET, name)
        hidden = any(one in line and b"displayName" in line for line in content.splitlines() for one in tested)
        assert not hidden, f"{name} tells a label of the test side"
    # Pictures travel once, whoever needs them.
    before = {*machine.google.storage.names(BUCKET, f"{BASE}/objects/")}
    generations = {name: machine.google.storage.buckets.get(BUCKET, name).generation for name in before}
    machine.given = {"trainer": f"{THEIRS}&validation_manifest=validation&parameter.epochs=8"}
    again = machine.make("fetch", "preprocess", name="again")
    machine.trainer.start(again.context, again.key)
    machine.over()
    assert again.key != run.key
    assert generations == {name: machine.google.storage.buckets.get(BUCKET, name).generation for name in before}


def test_without_a_list_of_its_own_validation_goes_with_training(machine: Machine, tmp_path: Path) -> None:
    machine.google.pipelines.tasks["learn"] = lambda *_: None
    machine.given = {"trainer": f"{THEIRS}&manifest_format=csv"}
    run = machine.make("fetch", "preprocess")
    machine.trainer.start(run.context, run.key)
    (tmp_path / "train.csv").write_bytes(machine.read(machine.over()["runtimeConfig"]["parameterValues"]["labels"]))
    sides = splits(run.context.manifest)
    listed = {one.uri.rpartition("/")[2] for one in read_listing(tmp_path / "train.csv", "csv").records}
    assert listed == {item.content for name in ("train", "validation") for item in sides[name]}


def test_a_bundle_that_it_leaves_is_the_version(machine: Machine, tmp_path: Path) -> None:
    make_bundle(tmp_path / "theirs")

    def leave(given: Json, _: Json) -> None:
        for file in (tmp_path / "theirs").iterdir():
            machine.leave(given, f"bundle/{file.name}", file.read_bytes())
        # As a folder is where it is made through the mounted bucket.
        machine.leave(given, "bundle/", b"")

    machine.google.pipelines.tasks["learn"] = leave
    run = machine.make("fetch", "preprocess", "train", "evaluate")
    assert not isinstance(check_bundle(run.folder.bundle), ForeignInfo)
    assert json.loads(run.folder.metrics.read_text())["accuracy"]["value"] == 1.0


def test_what_it_does_not_leave_is_named_by_its_address(machine: Machine) -> None:
    machine.google.pipelines.tasks["learn"] = lambda *_: None
    run = machine.make("fetch", "preprocess")
    handle = machine.trainer.start(run.context, run.key)
    place = machine.over()["runtimeConfig"]["parameterValues"]["folder"]
    with pytest.raises(TrainingError, match=f"neither result.json nor bundle/ in {place}:"):
        machine.trainer.collect(handle, run.context)


def test_one_execution_for_a_key_and_one_that_failed_is_begun_anew(machine: Machine) -> None:
    machine.google.pipelines.fail("learn", "INVALID_ARGUMENT", "no class has a picture")
    run = machine.make("fetch", "preprocess")
    trainer = machine.trainer
    assert trainer.find(run.key) == ""

    first = trainer.start(run.context, run.key)
    machine.over()

    stands = trainer.poll(first)
    assert (stands.state, stands.reason) == ("failed", "task learn: no class has a picture")
    machine.google.pipelines.hanging.add("learn")
    second = trainer.start(run.context, run.key)
    assert second != first
    assert machine.trainer.start(run.context, run.key) == second == trainer.find(run.key)
    wait_until(lambda: machine.google.pipelines.newest().state == "RUNNING", lambda: str(machine.executions()))
    stands = trainer.poll(second)
    assert (stands.state, stands.total) == ("running", 1)
    trainer.cancel(second)
    machine.over()
    assert trainer.poll(second).reason == "it was stopped"
    trainer.cancel(second)
    assert machine.executions() == ["FAILED", "CANCELLED"]


def test_a_run_is_begun_anew_though_somebody_has_deleted_an_execution_of_it(machine: Machine) -> None:
    run, handles = machine.make("fetch", "preprocess"), list[str]()
    for _ in range(2):
        machine.google.pipelines.fail("learn", "INVALID_ARGUMENT", "no class has a picture")
        handles.append(machine.trainer.start(run.context, run.key))
        machine.over()
    machine.google.operations.looks = 0
    machine.google.ask("DELETE", f"pipelineJobs/{handles[0].rpartition('/')[2]}")
    assert machine.trainer.start(run.context, run.key) not in handles
    machine.over()
    assert machine.executions() == ["FAILED", "SUCCEEDED"]


def test_an_answer_that_is_lost_begins_no_second_execution(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    machine.google.hang_up("aiplatform:POST pipelineJobs", after=True)
    machine.trainer.start(run.context, run.key)
    machine.over()
    assert machine.executions() == ["SUCCEEDED"]


def test_a_forced_run_has_a_key_with_a_dot_and_an_execution_too(machine: Machine) -> None:
    run = machine.make("fetch", "preprocess")
    trainer = machine.trainer
    handle = trainer.start(run.context, f"{run.key}.2")
    assert trainer.find(f"{run.key}.2") == handle
    assert trainer.find(run.key) == ""
    machine.over()
    assert trainer.collect(handle, run.context)["recipe"] == "means"


def test_killed_at_any_call_a_run_goes_on_to_one_execution_and_one_version(machine: Machine) -> None:
    machine.pipeline(specification(note="STRING"))
    at, cut = 0, True
    while cut:
        before = len(machine.executions())
        machine.given = {"trainer": f"{THEIRS}&parameter.note={at}"}
        with suppress(Killed), dying_at(at, after=at % 2 == 1) as done:
            machine.make("fetch", "preprocess", "train", name=f"run-{at}")
        cut = len(done) >= at

        run = machine.make("fetch", "preprocess", "train", name=f"run-{at}")

        assert machine.executions()[before:] == ["SUCCEEDED"]
        assert run.folder.trained.is_file()
        # The pictures are there after the first.
        at += 3 if at < 12 else 17
    assert at > 12


def test_check_names_what_is_missing(machine: Machine) -> None:
    machine.trainer.check(thorough=True)
    for content, says in (
        ("- a list", r"theirs\.yaml is no compiled pipeline"),
        ("{", r"theirs\.yaml is no compiled pipeline"),
        ({**specification(), "schemaVersion": "2.0.0"}, r"theirs\.yaml was compiled by an old kfp .* anew with kfp 2"),
        (specification(folder="NUMBER_INTEGER"), "parameter.folder=gs:// is no NUMBER_INTEGER"),
    ):
        machine.pipeline(content)
        with pytest.raises(TrainingError, match=says):
            machine.trainer.check(thorough=True)
    machine.pipeline({"pipelineSpec": specification()})
    machine.trainer.check(thorough=True)
    for trainer, says in (
        (f"{THEIRS}&parameter.note=1", "the pipeline has no parameter note; it has asked, folder, labels, validation"),
        (THEIRS.replace("theirs.yaml", "mine.yaml"), r"mine\.yaml"),
    ):
        machine.given = {"trainer": trainer}
        with pytest.raises(TrainingError, match=says):
            machine.trainer.check(thorough=True)
    assert machine.executions() == []


def test_a_template_of_artifact_registry_is_left_to_google(machine: Machine) -> None:
    template = "https://europe-west4-kfp.pkg.dev/shop-1/pipelines/theirs/v1"
    machine.given = {"trainer": f"{ADDRESS}?template={template}&manifest=labels&output=folder"}
    machine.trainer.check(thorough=True)
    asked: list[Json] = []

    def refuse(call: Any) -> None:
        asked.append(json.loads(call.request.get_data()))
        raise Refused("INVALID_ARGUMENT", "no such template")

    machine.google.before("aiplatform:POST pipelineJobs", refuse)
    run = machine.make("fetch", "preprocess")
    with pytest.raises(Exception, match="no such template"):
        machine.trainer.start(run.context, run.key)
    assert asked[0]["templateUri"] == template
    assert sorted(asked[0]["runtimeConfig"]["parameterValues"]) == ["folder", "labels"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        (ADDRESS, "needs the option template"),
        (f"{ADDRESS}?template=gs://b/p.yaml", "needs the option manifest"),
        (f"{ADDRESS}?template=gs://b/p.yaml&manifest=M", "needs the option output"),
        (f"{ADDRESS}?template=p.yaml&manifest=M&output=O", "template 'p.yaml' is none"),
        (f"{ADDRESS}?template=gs://b/p.yaml&manifest=M&output=O&judge=me", "knows no option 'judge'. Possible are"),
        (f"{THEIRS}&manifest_format=imagefolder", "manifest_format 'imagefolder' is none"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_what_is_possible(address: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        open_trainer(Settings(trainer=address, google_folder="gs://bucket/c"))
