"""Training by a SageMaker pipeline of ours: labels and pictures go there, the run comes back, nothing is done twice."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from labelloop.cli import main
from labelloop.cloud.aws.pipeline import definition
from labelloop.cloud.aws.pipeline_plan import plan_of
from labelloop.data.manifest import Manifest
from labelloop.data.picture_cache import PictureCache
from labelloop.data.shards import unpack
from labelloop.environment import environment_of
from labelloop.errors import CloudDenied, CloudError, SettingsError, TrainingError
from labelloop.kinds.base import find
from labelloop.loop import startup
from labelloop.models.bundle import check_bundle
from labelloop.models.file_store import FileStore
from labelloop.models.versions import Versions
from labelloop.run.context import Labeled
from labelloop.run.folder import RunFolder
from labelloop.setting_values import trainer_address, whole_addresses
from labelloop.settings import Settings
from labelloop.trainers.opening import open_trainer
from labelloop.types import ANNOTATIONS, IMAGES, Item, Json
from support.aws import REGION, StandIn
from support.aws.kills import dying_at
from support.crash_store import Killed
from support.digit_pictures import write_digits
from support.own_runs import NOT_TAKEN, PROJECT, RunMachine

BUCKET = "team"
ADDRESS = f"sagemaker-pipeline://ours?region={REGION}"
NOTHING: Json = {"Name": "Judge", "Type": "Condition", "Arguments": {"Conditions": [], "IfSteps": [], "ElseSteps": []}}


@dataclass
class Machine(RunMachine):
    """A project's runs on this machine, trained by a pipeline of ours."""

    aws: StandIn = field(kw_only=True)

    def apply(self, *steps: Json) -> None:
        """Make the pipeline, with our parameters, and these steps instead of ours."""
        made = definition(plan_of(self.settings, "ours", REGION, values={}))
        text = json.dumps({**made, "Steps": list(steps) or made["Steps"]})
        self.aws.client("sagemaker").create_pipeline(
            PipelineName="ours", PipelineDefinition=text, ClientRequestToken="t" * 32, RoleArn=self.settings.aws_role
        )

    def judged(self, arn: str, change: Callable[[RunFolder], None] = lambda _: None) -> RunFolder:
        """Make the run elsewhere, and leave it where the pipeline's last step would."""
        name = arn.rpartition("/")[2]
        folder = self.baked(name, change)
        s3 = self.aws.client("s3")
        for file in (one for one in folder.path.rglob("*") if one.is_file()):
            key = f"labelloop/ours/executions/{name}/judge/{file.relative_to(folder.path)}"
            s3.upload_file(str(file), BUCKET, key)
        return folder


USUAL: dict[str, Any] = {
    "trainer": ADDRESS,
    "aws_role": "arn:aws:iam::123456789012:role/steps",
    "aws_training_image": "worker:1",
    "aws_inference_image": "inference:1",
    "aws_location": f"s3://{BUCKET}/labelloop",
    "weights": "none",
}


@pytest.fixture
def machine(aws: StandIn, tmp_path: Path) -> Machine:
    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return Machine(tmp_path, USUAL, aws=aws)


def test_labels_and_shards_are_handed_over_once_and_the_parameters_are_the_runs(
    machine: Machine, tmp_path: Path
) -> None:
    machine.given = {"batch_size": 8, "recipes": ("finetune",), "minimum_f1": 0.25, "approval": "manual"}
    machine.apply(NOTHING)
    run = machine.make("fetch", "preprocess")
    trainer = open_trainer(machine.settings)

    arn = trainer.start(run.context, run.key)

    asked = machine.aws.client("sagemaker").list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    given = {one["Name"]: one["Value"] for one in asked["PipelineParameters"]}
    known = {name: given[name] for name in ("BatchSize", "Recipe", "Weights", "MinimumF1", "ApprovalStatus", "RunKey")}
    assert known == {
        "BatchSize": "8",
        "Recipe": "finetune",
        "Weights": "none",
        "MinimumF1": "0.25",
        "ApprovalStatus": "PendingManualApproval",
        "RunKey": run.key,
    }
    assert given["TrainLocation"] == f"s3://{BUCKET}/labelloop/ours/source/{run.key}/"
    assert given["ProjectKey"] == "localhost-8080/7"
    assert given["ModelPackageGroup"] == "ours-localhost-8080-7"
    s3 = machine.aws.client("s3")

    def read(name: str) -> bytes:
        return bytes(s3.get_object(Bucket=BUCKET, Key=f"labelloop/ours/{name}")["Body"].read())

    assert read(f"source/{run.key}/manifest.jsonl") == run.folder.manifest.read_bytes()
    assert read(f"source/{run.key}/sides.json") == run.folder.sides.read_bytes()
    prefix, *names = json.loads(read(f"source/{run.key}/shards.json"))
    assert prefix == {"prefix": f"s3://{BUCKET}/labelloop/ours/pictures/"}
    cache, counted = PictureCache(tmp_path / "there"), 0
    for name in names:
        (tmp_path / name).write_bytes(read(f"pictures/{name}"))
        counted += unpack(tmp_path / name, cache)
    assert counted == 60
    # Another run of the same pictures brings its labels alone.
    machine.aws.calls.clear()
    machine.given["seed"] = 1
    again = machine.make("fetch", "preprocess", name="again")
    open_trainer(machine.settings).start(again.context, again.key)
    assert machine.aws.calls.count("s3:PutObject") == 3


def test_what_is_no_picture_with_classes_is_refused_before_anything_is_handed_over(machine: Machine) -> None:
    machine.apply(NOTHING)
    run = machine.make("fetch", "preprocess")
    items = [Item(1, "0" * 64, ("Person",))]
    run.context.labeled = Labeled(Manifest.of(PROJECT, "multiple", ("Person",), items, kind=ANNOTATIONS))
    machine.aws.calls.clear()
    with pytest.raises(TrainingError, match="these labels are for annotations: hand them to a pipeline of yours"):
        open_trainer(machine.settings).start(run.context, "some-key")
    assert machine.aws.calls == ["sagemaker:ListPipelineExecutions"]


def test_killed_while_it_hands_over_a_run_begins_once_and_whole(machine: Machine) -> None:
    machine.apply(NOTHING)
    at, cut = 0, True
    while cut:
        machine.given["seed"] = at
        run = machine.make("fetch", "preprocess", name=f"run-{at}")
        with suppress(Killed), dying_at(at, after=at % 2 == 1) as done:
            open_trainer(machine.settings).start(run.context, run.key)
        cut = len(done) >= at

        arn = open_trainer(machine.settings).start(run.context, run.key)

        listed = machine.aws.client("sagemaker").list_pipeline_executions(PipelineName="ours", MaxResults=100)
        begun = [one["PipelineExecutionArn"] for one in listed["PipelineExecutionSummaries"]]
        assert begun.count(arn) == 1
        assert len(begun) == at // 3 + 1
        kept = machine.aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"labelloop/ours/source/{run.key}/")[
            "Contents"
        ]
        assert [one["Key"].rpartition("/")[2] for one in kept] == ["manifest.jsonl", "shards.json", "sides.json"]
        at += 3
    assert at > 6


def test_what_was_measured_there_is_not_measured_again(machine: Machine) -> None:
    machine.apply(NOTHING)
    run = machine.make("fetch", "preprocess")
    run.handle = open_trainer(machine.settings).start(run.context, run.key)
    machine.aws.executions.wait(run.handle)
    there = machine.judged(run.handle)
    with run.alone():
        run.make("train")

        told = run.make("evaluate")

        run.make("register")
    assert told == "done before"
    assert run.folder.metrics.read_bytes() == there.metrics.read_bytes()
    record = Versions(FileStore(machine.path / "store"), PROJECT).get("v1")
    assert record.promoted
    assert (record.recipe, record.metrics["test"]["accuracy"]["value"]) == ("head", 1.0)
    assert record.trained_with["backbone"] == "resnet18", "the hyperparameters are ours, wherever it is trained"
    assert run.key == run.context.labeled.key(find(IMAGES).hyperparameters(Settings(weights="none")))


def test_what_was_measured_from_something_else_is_measured_here(machine: Machine) -> None:
    machine.apply(NOTHING)
    run = machine.make("fetch", "preprocess")
    run.handle = open_trainer(machine.settings).start(run.context, run.key)
    machine.aws.executions.wait(run.handle)

    def older(folder: RunFolder) -> None:
        record = json.loads(folder.record.read_text())
        record["stages"]["evaluate"] = "0" * 64
        folder.record.write_text(json.dumps(record))

    machine.judged(run.handle, older)
    with run.alone():
        run.make("train")
        assert run.make("evaluate") == "done"


@pytest.mark.parametrize(("change", "says"), NOT_TAKEN)
def test_what_is_not_as_it_should_be_is_not_taken(
    machine: Machine, change: Callable[[RunFolder], None], says: str
) -> None:
    machine.apply(NOTHING)
    run = machine.make("fetch", "preprocess")
    trainer = open_trainer(machine.settings)
    arn = trainer.start(run.context, run.key)
    machine.judged(arn, change)
    with pytest.raises(TrainingError, match=says):
        trainer.collect(arn, run.context)


def test_an_object_that_would_leave_the_folder_is_refused(machine: Machine) -> None:
    machine.apply(NOTHING)
    run = machine.make("fetch", "preprocess")
    trainer = open_trainer(machine.settings)
    arn = trainer.start(run.context, run.key)
    machine.judged(arn)
    key = f"labelloop/ours/executions/{arn.rpartition('/')[2]}/judge/bundle/../../out"
    machine.aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"x")
    with pytest.raises(CloudError, match="leads out of its folder"):
        trainer.collect(arn, run.context)
    assert not run.folder.bundle.exists()


def test_check_names_what_is_missing(machine: Machine) -> None:
    trainer = open_trainer(machine.settings)
    trainer.check(thorough=False)
    with pytest.raises(
        TrainingError, match=r"sagemaker-pipeline://ours cannot train: pipeline ours in eu-west-1.*[Cc]ould not find"
    ):
        trainer.check(thorough=True)
    machine.apply(NOTHING)
    trainer.check(thorough=True)
    machine.aws.deny("sagemaker:ListPipelineExecutions", "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/ours")
    with pytest.raises(CloudDenied, match=r"do sagemaker:ListPipelineExecutions on arn:aws:sagemaker:.*pipeline/ours"):
        trainer.check(thorough=True)
    machine.aws.fail("sts:GetCallerIdentity", "ExpiredToken", 403, "The security token is expired")
    with pytest.raises(CloudDenied, match="the credentials have expired"):
        trainer.check(thorough=True)
    machine.given = {"weights": "/models/mine.safetensors"}
    with pytest.raises(TrainingError, match="LABELLOOP_WEIGHTS names a file of this machine"):
        open_trainer(machine.settings).check(thorough=False)
    for name in ("Epochs", "Location"):
        machine.given = {"trainer": f"{ADDRESS}&parameter.{name}=3"}
        with pytest.raises(TrainingError, match=f"parameter.{name} would give runs something else"):
            open_trainer(machine.settings).check(thorough=False)
    machine.given = {"trainer": f"{ADDRESS}&parameter.TrainInstanceType=ml.g5.xlarge"}
    open_trainer(machine.settings).check(thorough=True)
    machine.given = {"aws_location": ""}
    with pytest.raises(SettingsError, match="LABELLOOP_AWS_LOCATION"):
        open_trainer(machine.settings).check(thorough=False)


def test_doctor_names_the_action_that_the_role_lacks(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.apply(NOTHING)
    for name, value in environment_of(machine.settings).items():
        monkeypatch.setenv(name, value)
    assert "sagemaker-pipeline://ours trains (LABELLOOP_TRAINER)" in CliRunner().invoke(main, ["doctor"]).output
    resource = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/ours"
    machine.aws.deny("sagemaker:DescribePipeline", resource, None)
    said = CliRunner().invoke(main, ["doctor"]).output
    assert f"let the role of this process do sagemaker:DescribePipeline on {resource}" in " ".join(said.split())


def test_a_worker_starts_though_its_credentials_have_expired_but_not_without_the_pipeline(machine: Machine) -> None:
    assert "ours" in startup._wrong_training(machine.settings)
    machine.apply(NOTHING)
    machine.aws.fail("sts:GetCallerIdentity", "ExpiredToken", 403, "The security token is expired", None)
    assert startup._wrong_training(machine.settings) == ""


def test_a_pipeline_of_an_older_release_is_told_what_it_lacks(machine: Machine) -> None:
    text = json.dumps(
        {"Version": "2020-12-01", "Parameters": [{"Name": "Model", "Type": "String"}], "Steps": [NOTHING]}
    )
    machine.aws.client("sagemaker").create_pipeline(
        PipelineName="ours", PipelineDefinition=text, ClientRequestToken="t" * 32, RoleArn=machine.settings.aws_role
    )
    with pytest.raises(TrainingError, match=r"has no parameter Weights; it has Model: `labelloop aws pipeline apply`"):
        open_trainer(machine.settings).check(thorough=True)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("sagemaker-pipeline://a_b", "expected a pipeline's name"),
        ("sagemaker-pipeline://ours/x", "expected a pipeline's name"),
        (f"{ADDRESS}&manifst=X", "knows no option 'manifst'. Possible are region, manifest"),
        (f"{ADDRESS}&manifest=", "the option manifest of .* needs a value"),
        (f"{ADDRESS}&region=x", "given twice"),
        (f"{ADDRESS}&judge=endpoint", "judge is for a pipeline that is not ours"),
        (f"{ADDRESS}&manifest=M&judge=me", "judge 'me' is none. There are transform, endpoint, metrics"),
        (f"{ADDRESS}&manifest=M&manifest_format=imagefolder", "manifest_format 'imagefolder' is none"),
    ],
)
def test_an_address_that_cannot_be_is_refused_with_what_is_possible(address: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        open_trainer(Settings(trainer=address, aws_location="s3://b/c"))


def test_addresses_in_a_list_stay_whole_whatever_commas_they_hold() -> None:
    listed = "local,command:./t.sh?verbs=start,poll,sagemaker-pipeline://a?parameter.X=1,2,sagemaker-pipeline://b"
    assert whole_addresses(listed.split(",")) == (
        "local",
        "command:./t.sh?verbs=start,poll",
        "sagemaker-pipeline://a?parameter.X=1,2",
        "sagemaker-pipeline://b",
    )
    assert trainer_address("sagemaker-pipeline://a?region=x") == ""
    assert "sagemaker-pipeline://NAME" in trainer_address("sagemaker-pipeline://")
    assert "sagemaker-pipeline://NAME" in trainer_address("sagemaker-pipelines://x")


@pytest.mark.slow
@pytest.mark.train
def test_it_really_trains_and_comes_back_whole(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_digits(tmp_path / "digits", range(60), classes=3)
    machine.given = {
        "backbone": "test_resnet",
        "image_size": 32,
        "recipes": ("finetune",),
        "epochs": 2,
        "batch_size": 16,
        "training_seconds": 600.0,
        "store": (tmp_path / "store").as_uri(),
    }
    for name, value in environment_of(machine.settings).items():
        monkeypatch.setenv(name, value)
    machine.apply()

    answer = CliRunner().invoke(
        main, ["train", "--run", str(tmp_path / "run"), "--train-location", str(tmp_path / "digits")]
    )

    assert answer.exit_code == 0, answer.output
    assert "evaluate: done before" in answer.output
    folder = RunFolder(tmp_path / "run")
    assert check_bundle(folder.bundle).classes == ("0", "1", "2")
    assert json.loads(folder.trained.read_text())["recipe"] == "finetune"
    report = folder.report.read_text()
    assert "v1" in report
    assert (folder.evaluation / "explanations.json").is_file(), "it is explained there as well"
    (execution,) = machine.aws.client("sagemaker").list_pipeline_executions(PipelineName="ours")[
        "PipelineExecutionSummaries"
    ]
    assert execution["PipelineExecutionDisplayName"] == json.loads(folder.record.read_text())["key"]
