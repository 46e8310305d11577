"""Training by a SageMaker pipeline of somebody else's: what it is given, what is taken of it, how that is judged."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from PIL import Image

from labelloop.bundle_info import ForeignInfo
from labelloop.data.formats.listings import read_listing
from labelloop.data.manifest import Manifest
from labelloop.data.split import splits
from labelloop.errors import (
    TrainingError,
)
from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.versions import Versions
from labelloop.run.context import Labeled
from labelloop.run.driver import Run
from labelloop.run.folder import STAGES, RunFolder
from labelloop.run.registrar import Registrar
from labelloop.settings import Settings
from labelloop.trainers.opening import open_trainer
from labelloop.types import Item, Json, ProjectKey
from support.aws import StandIn
from support.aws.kills import dying_at
from support.bundles import picture
from support.crash_store import Killed

PROJECT = ProjectKey("localhost-8080", 7)
COLOURS = ("red", "green", "blue")
ROLE = "arn:aws:iam::123456789012:role/pipelines"
BUCKET = "teams-models"
LOCATION = f"s3://{BUCKET}/labelloop"
THEIRS = "sagemaker-pipeline://theirs?region=eu-west-1&manifest=InputManifest"

LEARN = """
import io, json, os, sys
import boto3, numpy
from PIL import Image
shown = {}
s3 = boto3.client("s3")
for line in open(sys.argv[1]):
    row = json.loads(line)
    bucket, _, key = row["source-ref"].removeprefix("s3://").partition("/")
    content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    colour = numpy.asarray(Image.open(io.BytesIO(content)).convert("RGB"))[0, 0].tolist()
    shown.setdefault(row["label-metadata"]["class-name"], []).append(colour)
means = {name: numpy.mean(colours, axis=0).tolist() for name, colours in shown.items()}
with open(sys.argv[2] + "/means.json", "w") as file:
    json.dump(means, file)
"""
"""Somebody's training: the mean colour of each class, of pictures that it reads by their addresses."""


def get(name: str) -> Json:
    return {"Get": name}


def joined(*values: Any) -> Json:
    return {"Std:Join": {"On": "/", "Values": list(values)}}


def learning() -> Json:
    """The step in which they train."""
    inside = "/opt/ml/processing"
    place = joined(f"s3://{BUCKET}/their-models", get("Execution.PipelineExecutionId"))
    output = {"S3Uri": place, "LocalPath": f"{inside}/out", "S3UploadMode": "EndOfJob"}
    source = {"S3Uri": get("Parameters.InputManifest"), "LocalPath": f"{inside}/in", "S3DataType": "S3Prefix"}
    arguments = {
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
        },
        "AppSpecification": {
            "ImageUri": "theirs:1",
            "ContainerEntrypoint": ["python", "-c", LEARN],
            "ContainerArguments": [f"{inside}/in/train.jsonl", f"{inside}/out"],
        },
        "RoleArn": ROLE,
        "ProcessingInputs": [{"InputName": "in", "S3Input": source | {"S3InputMode": "File"}}],
        "ProcessingOutputConfig": {"Outputs": [{"OutputName": "out", "S3Output": output}]},
    }
    return {"Name": "Learn", "Type": "Processing", "Arguments": arguments}


def registering(model: Any, **more: Any) -> Json:
    """The step in which they register a model."""
    arguments = {
        "ModelPackageGroupName": "their-models",
        "ModelApprovalStatus": get("Parameters.Approval"),
        "InferenceSpecification": {
            "Containers": [{"Image": "theirs-inference:1", "ModelDataUrl": model}],
            "SupportedContentTypes": ["image/png"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        **more,
    }
    return {"Name": "Register", "Type": "RegisterModel", "Arguments": arguments, "DependsOn": []}


LEARNED = joined(f"s3://{BUCKET}/their-models", get("Execution.PipelineExecutionId"), "means.json")
KNOWN = f"s3://{BUCKET}/known.json"
MEANS = {"red": [255, 0, 0], "green": [0, 128, 0], "blue": [0, 0, 255]}


def classify(data: str, body: bytes, media_type: str) -> bytes:
    """Their model: the class whose mean colour is nearest."""
    if not media_type.startswith("image/"):
        raise ValueError(f"{media_type} is no picture")
    key = data.removeprefix(f"s3://{BUCKET}/")
    means = json.loads(s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET].keys[key].value)
    seen = np.asarray(Image.open(BytesIO(body)).convert("RGB"), float)[0, 0]
    best = min(means, key=lambda name: float(np.abs(seen - means[name]).sum()))
    return json.dumps([{"label": name, "score": 0.8 if name == best else 0.1} for name in means]).encode()


@dataclass
class Told:
    told: list[tuple[str, int, int]] = field(default_factory=list)

    def stage(self, name: str) -> None:
        self.told.append((f"stage {name}", 0, 0))

    def __call__(self, what: str, done: int, total: int) -> None:
        self.told.append((what, done, total))


@dataclass
class Machine:
    """A project's runs on this machine, trained by a pipeline of somebody's."""

    path: Path
    aws: StandIn
    trainer: str = THEIRS
    count: int = 60
    reporter: Told = field(default_factory=Told)

    @property
    def settings(self) -> Settings:
        return Settings(
            model_dir=str(self.path),
            trainer=self.trainer,
            training_seconds=60,
            poll_seconds=0.1,
            aws_role=ROLE,
            aws_location=LOCATION,
        )

    def pipeline(self, *steps: Json, name: str = "theirs") -> None:
        """Create the pipeline that they have."""
        defaults = {
            "InputManifest": "",
            "ValidationManifest": "",
            "TestManifest": "",
            "Note": "",
            "Approval": "PendingManualApproval",
        }
        parameters = [{"Name": one, "Type": "String", "DefaultValue": value} for one, value in defaults.items()]
        definition = {"Version": "2020-12-01", "Parameters": parameters, "Steps": list(steps)}
        self.aws.client("sagemaker").create_pipeline(
            PipelineName=name,
            PipelineDefinition=json.dumps(definition),
            ClientRequestToken="t" * 32,
            RoleArn=ROLE,
        )

    def run(self, name: str = "run") -> Run:
        store = FileStore(self.path / "store")
        fence = ChampionPointer(store, PROJECT).take_fence()
        run = Run(
            RunFolder(self.path / name),
            self.settings,
            {},
            self.reporter,
            source=lambda _: self.labeled(run),
            registrar=Registrar(store, PROJECT, fence, trainer=open_trainer(self.settings)),
            archive=False,
        )
        return run

    def labeled(self, run: Run) -> Labeled:
        held = []
        for task in range(1, self.count + 1):
            colour = COLOURS[task % 3]
            content = run.context.pictures.add(picture(colour, size=(8 + task, 8)))
            held.append(Item(task, content, (colour,)))
        return Labeled(Manifest.of(PROJECT, "single", COLOURS, held))

    def make(self, *stages: str, name: str = "run") -> Run:
        run = self.run(name)
        with run.alone():
            for stage in stages or STAGES:
                run.make(stage)
        return run

    @property
    def versions(self) -> Versions:
        return Versions(FileStore(self.path / "store"), PROJECT)

    def executions(self) -> list[str]:
        """Name the executions there are, the newest first, with what became of them."""
        found = self.aws.client("sagemaker").list_pipeline_executions(PipelineName="theirs")
        return [
            f"{one['PipelineExecutionDisplayName']} {one['PipelineExecutionStatus']}"
            for one in found["PipelineExecutionSummaries"]
        ]

    def objects(self, prefix: str) -> dict[str, bytes]:
        held: Any = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets[BUCKET].keys
        return {key: found.value for key, found in held.items() if key.startswith(prefix)}

    def put(self, key: str, value: object) -> None:
        self.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=json.dumps(value).encode())

    def left(self) -> list[str]:
        """Name what costs, or lies about for the moment."""
        client = self.aws.client("sagemaker")
        return [
            *(one["EndpointName"] for one in client.list_endpoints()["Endpoints"]),
            *(one["ModelName"] for one in client.list_models()["Models"]),
            *(name for name, status in self.aws.transforms.jobs().items() if status == "InProgress"),
            *self.objects("labelloop/theirs/judged/"),
        ]


@pytest.fixture
def machine(aws: StandIn, tmp_path: Path) -> Machine:
    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    aws.client("sagemaker").create_model_package_group(ModelPackageGroupName="their-models")
    aws.models.images["theirs-inference:1"] = classify
    made = Machine(tmp_path, aws)
    made.put("known.json", MEANS)
    return made


def test_their_pipeline_trains_a_version_that_is_judged_on_our_test_items(machine: Machine) -> None:
    machine.pipeline(learning(), registering(LEARNED) | {"DependsOn": ["Learn"]})

    run = machine.make()

    record = machine.versions.get("v1")
    tested = len(splits(run.context.manifest)["test"])
    assert record.promoted
    assert record.verdict.startswith(f"v1 becomes the first champion: {tested} of {tested} test items right")
    assert record.recipe == "sagemaker-pipeline"
    info = check_bundle(run.folder.bundle)
    assert isinstance(info, ForeignInfo)
    assert info.model == "arn:aws:sagemaker:eu-west-1:123456789012:model-package/their-models/1"
    assert machine.executions() == [f"{run.key} Succeeded"]
    assert machine.left() == []
    assert run.folder.report.is_file()
    assert any(what == "step Learn" and total == 2 for what, _, total in machine.reporter.told)


def test_what_they_are_given_is_all_but_the_labels_of_the_test_side(machine: Machine, tmp_path: Path) -> None:
    machine.pipeline(registering(KNOWN))
    machine.trainer += "&validation_manifest=ValidationManifest&test_manifest=TestManifest&parameter.Approval=Approved"
    run = machine.make("fetch", "preprocess")

    arn = open_trainer(machine.settings).start(run.context, run.key)

    asked = machine.aws.client("sagemaker").list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    given = {one["Name"]: one["Value"] for one in asked["PipelineParameters"]}
    folder = f"labelloop/theirs/source/{run.key}"
    assert given == {
        "InputManifest": f"s3://{BUCKET}/{folder}/train.jsonl",
        "ValidationManifest": f"s3://{BUCKET}/{folder}/validation.jsonl",
        "TestManifest": f"s3://{BUCKET}/{folder}/test.jsonl",
        "Approval": "Approved",
        "Note": "",
    }
    sides = splits(run.context.manifest)
    for name in ("train", "validation"):
        (tmp_path / name).write_bytes(machine.objects(folder)[f"{folder}/{name}.jsonl"])
        found = {one.uri.rpartition("/")[2]: one.labels for one in read_listing(tmp_path / name, "augmented").records}
        assert found == {item.content: item.labels for item in sides[name]}
    lines = [json.loads(line) for line in machine.objects(folder)[f"{folder}/test.jsonl"].splitlines()]
    address = f"s3://{BUCKET}/labelloop/theirs/objects/"
    assert lines == [{"source-ref": address + one.content, "content": one.content} for one in sides["test"]]
    tested = {item.content.encode() for item in sides["test"]}
    for key, content in machine.objects("labelloop/theirs/source/").items():
        hidden = any(one in line and b"label-metadata" in line for line in content.splitlines() for one in tested)
        assert not hidden, f"{key} tells a label of the test side"
    # Pictures travel once, whoever needs them.
    machine.aws.calls.clear()
    machine.trainer += "&parameter.Approval=Rejected"
    machine.trainer = machine.trainer.replace("&parameter.Approval=Approved", "")
    again = machine.make("fetch", "preprocess", name="again")
    open_trainer(machine.settings).start(again.context, again.key)
    assert again.key != run.key
    assert machine.aws.calls.count("s3:PutObject") == 4


def test_without_a_list_of_its_own_validation_goes_with_training(machine: Machine, tmp_path: Path) -> None:
    machine.pipeline(registering(KNOWN))
    machine.trainer = machine.trainer.replace("manifest=", "manifest_format=csv&manifest=")
    run = machine.make("fetch", "preprocess")
    open_trainer(machine.settings).start(run.context, run.key)
    (tmp_path / "train.csv").write_bytes(machine.objects("")[f"labelloop/theirs/source/{run.key}/train.csv"])
    sides = splits(run.context.manifest)
    listed = {one.uri.rpartition("/")[2] for one in read_listing(tmp_path / "train.csv", "csv").records}
    assert listed == {item.content for name in ("train", "validation") for item in sides[name]}


@pytest.mark.parametrize("judge", ["transform", "endpoint"])
def test_a_champion_of_theirs_is_asked_about_the_test_items_that_came_since(machine: Machine, judge: str) -> None:
    machine.pipeline(registering(KNOWN))
    machine.trainer += f"&judge={judge}"
    first = machine.make()
    before = len(splits(first.context.manifest)["test"])
    machine.count = 90
    second = machine.make(name="second")
    count = len(splits(second.context.manifest)["test"])
    assert before < count
    verdict = machine.versions.get("v2").verdict
    assert verdict.startswith(f"v2 replaces v1: {count} of {count} test items right (1.000) against {count} (1.000)")
    assert machine.left() == []


def test_a_package_of_a_group_is_taken_where_no_step_tells_of_one_and_never_an_older_one(machine: Machine) -> None:
    machine.pipeline(
        {"Name": "Nothing", "Type": "Condition", "Arguments": {"Conditions": [], "IfSteps": [], "ElseSteps": []}}
    )
    machine.trainer += "&group=their-models"
    client = machine.aws.client("sagemaker")
    step = registering(KNOWN)["Arguments"]
    older = client.create_model_package(**{**step, "ModelApprovalStatus": "Approved"})["ModelPackageArn"]
    run = machine.make("fetch", "preprocess")
    trainer = open_trainer(machine.settings)
    arn = trainer.start(run.context, run.key)
    machine.aws.executions.wait(arn)
    with pytest.raises(TrainingError, match="none is in group their-models since it began"):
        trainer.collect(arn, run.context)
    newer = client.create_model_package(**{**step, "ModelApprovalStatus": "Approved"})["ModelPackageArn"]
    assert newer != older
    trainer.collect(arn, run.context)
    info = check_bundle(run.folder.bundle)
    assert isinstance(info, ForeignInfo)
    assert info.model == newer


@dataclass(frozen=True)
class Report:
    """What their pipeline says of a model, and what becomes of the version."""

    accuracy: float | None
    approval: str
    promoted: bool
    says: str


def reporting(machine: Machine, *reports: Report) -> None:
    for number, one in enumerate(reports):
        metrics = {
            "ModelMetrics": {
                "ModelQuality": {
                    "Statistics": {"ContentType": "application/json", "S3Uri": f"s3://{BUCKET}/{number}.json"}
                }
            }
        }
        machine.put(f"{number}.json", {"multiclass_classification_metrics": {"accuracy": {"value": one.accuracy}}})
        machine.pipeline(registering(KNOWN, **(metrics if one.accuracy else {})), name=f"theirs{number}")
        machine.trainer = (
            THEIRS.replace("theirs", f"theirs{number}") + f"&judge=metrics&parameter.Approval={one.approval}"
        )
        machine.make(name=f"run-{number}")
        record = machine.versions.get(f"v{number + 1}")
        assert (record.promoted, one.says in record.verdict) == (one.promoted, True), record.verdict


def test_by_their_own_metrics_nothing_that_is_reported_worse_is_promoted(machine: Machine) -> None:
    reporting(
        machine,
        Report(0.9, "Rejected", False, "what is rejected there is not promoted"),
        Report(0.9, "PendingManualApproval", False, "its approval there decides"),
        Report(0.9, "Approved", True, "v3 becomes the first champion: its own pipeline reports accuracy 0.900"),
        Report(0.85, "Approved", False, "v3 was reported with 0.900"),
        Report(0.95, "PendingManualApproval", True, "v5 replaces v3: its own pipeline reports accuracy 0.950"),
        Report(None, "Approved", True, "its own pipeline reports no accuracy, and it is approved there"),
    )
    assert not machine.aws.transforms.jobs()


def test_one_execution_for_a_key_and_one_that_failed_is_begun_anew(machine: Machine) -> None:
    machine.pipeline(learning(), registering(LEARNED) | {"DependsOn": ["Learn"]})
    machine.aws.executions.fail_step("Learn", "AlgorithmError: no class has a picture")
    run = machine.make("fetch", "preprocess")
    trainer = open_trainer(machine.settings)
    assert trainer.find(run.key) == ""

    first = trainer.start(run.context, run.key)
    machine.aws.executions.wait(first)

    stands = trainer.poll(first)
    assert (stands.state, stands.reason) == ("failed", "step Learn: AlgorithmError: no class has a picture")
    machine.aws.executions.hang("Learn")
    second = trainer.start(run.context, run.key)
    assert second != first
    assert trainer.start(run.context, run.key) == second == trainer.find(run.key)
    assert open_trainer(machine.settings).start(run.context, run.key) == second
    trainer.cancel(second)
    machine.aws.executions.wait(second)
    assert trainer.poll(second).reason == "it was stopped"
    trainer.cancel(second)
    assert machine.executions() == [f"{run.key} Stopped", f"{run.key} Failed"]


def test_an_execution_that_ended_in_any_other_way_than_well_is_begun_anew(machine: Machine) -> None:
    machine.pipeline(registering(KNOWN))
    run = machine.make("fetch", "preprocess")
    trainer = open_trainer(machine.settings)
    first = trainer.start(run.context, run.key)
    machine.aws.executions.wait(first)
    assert trainer.start(run.context, run.key) == first
    machine.aws.executions.executions[first].status = "CompletedWithFailures"
    assert trainer.poll(first).reason == "it ended as CompletedWithFailures"
    second = trainer.start(run.context, run.key)
    machine.aws.executions.wait(second)
    assert machine.executions() == [f"{run.key} Succeeded", f"{run.key} CompletedWithFailures"]


def test_an_answer_that_is_lost_begins_no_second_execution(machine: Machine) -> None:
    machine.pipeline(registering(KNOWN))
    run = machine.make("fetch", "preprocess")
    machine.aws.hang_up("sagemaker:StartPipelineExecution", after=True)
    arn = open_trainer(machine.settings).start(run.context, run.key)
    machine.aws.executions.wait(arn)
    assert machine.executions() == [f"{run.key} Succeeded"]


def test_a_forced_run_has_a_key_with_a_dot_and_an_execution_too(machine: Machine) -> None:
    machine.pipeline(registering(KNOWN))
    run = machine.make("fetch", "preprocess")
    trainer = open_trainer(machine.settings)
    arn = trainer.start(run.context, f"{run.key}.2")
    assert trainer.find(f"{run.key}.2") == arn
    assert trainer.find(run.key) == ""
    machine.aws.executions.wait(arn)
    assert trainer.collect(arn, run.context)["recipe"] == "sagemaker-pipeline"


@pytest.mark.parametrize("judge", ["transform", "endpoint"])
def test_killed_at_any_call_a_run_goes_on_to_one_execution_and_one_version(machine: Machine, judge: str) -> None:
    machine.pipeline(registering(KNOWN))
    machine.count = 30
    at, cut = 0, True
    while cut:
        machine.trainer = f"{THEIRS}&judge={judge}&parameter.Note={at}"
        with suppress(Killed), dying_at(at, after=at % 2 == 1) as done:
            machine.make("fetch", "preprocess", "train", name=f"run-{at}")
        cut = len(done) >= at

        run = machine.make("fetch", "preprocess", "train", name=f"run-{at}")

        assert machine.executions().count(f"{run.key} Succeeded") == 1
        assert machine.left() == []
        at += 7
    assert at > 20
