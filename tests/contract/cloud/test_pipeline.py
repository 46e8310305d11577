"""``labelloop aws pipeline``: a pipeline kept in SageMaker, executions started, watched and ended, on the wire."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from labelloop.cli import main, settings_table
from labelloop.cloud.names import group_of
from labelloop.cloud.places import MANIFEST, SHARDS, SIDES, results, source, write_shards
from labelloop.data.manifest import Manifest
from labelloop.models.archive import bundle_folder
from labelloop.models.bundle import check_bundle
from labelloop.models.opening import open_store
from labelloop.models.runs import Defaults, ProjectDefaults
from labelloop.run.context import Labeled
from labelloop.run.folder import RunFolder
from labelloop.run.steps import Step
from labelloop.types import Item, Json, ProjectKey
from support.aws import REGION, StandIn
from support.digit_pictures import write_digits
from support.waiting import wait_until

ROLE = "arn:aws:iam::123456789012:role/steps"
BUCKET = "team"
LOCATION = f"s3://{BUCKET}/labelloop"
SECONDS = 300.0
"""How long an execution may take on a machine that does much else."""

SMALL = {
    "Model": "test_resnet",
    "Weights": "none",
    "ImageSize": "32",
    "Recipe": "finetune",
    "Epochs": "2",
    "BatchSize": "16",
}


@pytest.fixture
def account(aws: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    for row in settings_table():
        monkeypatch.delenv(row["name"], raising=False)
    settings = {
        "MODEL_DIR": str(tmp_path / "machine"),
        "LABELLOOP_AWS_ROLE": ROLE,
        "LABELLOOP_AWS_TRAINING_IMAGE": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/worker:1",
        "LABELLOOP_AWS_INFERENCE_IMAGE": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/inference:1",
        "LABELLOOP_AWS_LOCATION": LOCATION,
        "LABELLOOP_TRAINER": "local",
        "LABELLOOP_POLL_SECONDS": "0.1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return aws


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["aws", "pipeline", *arguments])


def told(*arguments: str) -> Json:
    answer = call(*arguments, "--json")
    found: Json = json.loads(answer.stdout)
    return found


def done(*arguments: str) -> str:
    answer = call(*arguments)
    assert answer.exit_code == 0, answer.output
    return answer.output


def parameters(**values: str) -> list[str]:
    return [word for name, value in values.items() for word in ("--parameter", f"{name}={value}")]


def sent(aws: StandIn, operation: str) -> int:
    return aws.calls.count(f"sagemaker:{operation}")


def test_apply_creates_then_updates_what_differs_and_then_does_nothing(account: StandIn) -> None:
    assert done("apply", "--name", "digits") == f"pipeline digits in {REGION}: created\n"
    assert done("apply", "--name", "digits") == f"pipeline digits in {REGION}: as it should be\n"
    changed = done("apply", "--name", "digits", "--spot", "--disk-gb", "80", *parameters(BatchSize="64"))
    assert '  Parameters.BatchSize.DefaultValue: "32" -> "64"' in changed
    assert "  Steps.Train.Arguments.EnableManagedSpotTraining: new" in changed
    assert "  Steps.Train.Arguments.ResourceConfig.VolumeSizeInGB: 50 -> 80" in changed
    assert (sent(account, "CreatePipeline"), sent(account, "UpdatePipeline")) == (1, 1)
    described = account.client("sagemaker").describe_pipeline(PipelineName="digits")
    assert json.loads(described["PipelineDefinition"])["Version"] == "2020-12-01"
    assert described["RoleArn"] == ROLE


def test_print_shows_what_apply_sends_and_asks_nobody(account: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    done("apply", "--name", "digits")
    described = account.client("sagemaker").describe_pipeline(PipelineName="digits")
    account.calls.clear()
    assert done("print", "--name", "digits", "--region", REGION).strip() == described["PipelineDefinition"]
    for name in ("AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert json.loads(done("print"))["Steps"][0]["Name"] == "Fetch"
    assert account.calls == []


def test_the_name_and_the_region_are_those_of_the_trainer(account: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_TRAINER", "sagemaker-pipeline://Birds?region=eu-north-1")
    assert done("apply").startswith("pipeline Birds in eu-north-1: created")
    assert account.client("sagemaker", "eu-north-1").describe_pipeline(PipelineName="Birds")["RoleArn"] == ROLE


def test_what_a_search_found_best_for_a_project_is_the_default_and_a_parameter_goes_before(
    account: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://localhost:8080")
    project = ProjectKey("localhost-8080", 7)
    found = {"model": "resnet34", "optimizer": "lamb", "learning_rate": "0.01"}
    store = open_store((tmp_path / "machine" / "store").as_uri())
    ProjectDefaults(store, project).write(Defaults(parameters=found))
    shown = json.loads(done("print", "--project", "7", *parameters(Model="resnet50")))
    defaults = {one["Name"]: one.get("DefaultValue") for one in shown["Parameters"]}
    assert (defaults["Model"], defaults["Optimizer"], defaults["LearningRate"]) == ("resnet50", "lamb", "0.01")
    assert (defaults["ProjectKey"], defaults["ModelPackageGroup"]) == (str(project), group_of("labelloop", project))


@pytest.mark.parametrize(("approval", "status"), [("auto", "Approved"), ("manual", "PendingManualApproval")])
def test_packages_are_approved_as_the_loop_approves(
    account: StandIn, monkeypatch: pytest.MonkeyPatch, approval: str, status: str
) -> None:
    monkeypatch.setenv("LABELLOOP_APPROVAL", approval)
    monkeypatch.setenv("LABELLOOP_MINIMUM_F1", "0.7")
    defaults = {one["Name"]: one.get("DefaultValue") for one in json.loads(done("print"))["Parameters"]}
    assert (defaults["ApprovalStatus"], defaults["MinimumF1"]) == (status, 0.7)


@pytest.mark.parametrize(
    "lacking",
    ["LABELLOOP_AWS_ROLE", "LABELLOOP_AWS_TRAINING_IMAGE", "LABELLOOP_AWS_INFERENCE_IMAGE", "LABELLOOP_AWS_LOCATION"],
)
def test_a_setting_that_is_missing_is_named(account: StandIn, monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    monkeypatch.delenv(lacking)
    answer = call("print")
    assert answer.exit_code == 1
    assert lacking in answer.output


def test_a_wrong_definition_is_not_sent(account: StandIn) -> None:
    answer = call("apply", *parameters(ApprovalStatus="Yes"))
    assert answer.exit_code == 1
    assert "was not sent: step Register, ModelApprovalStatus: it is 'Yes'" in answer.output
    assert not [one for one in account.calls if one.startswith("sagemaker:Create")]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "has no default for TrainLocation: --parameter TrainLocation=VALUE"),
        ({"TrainLocation": "s3://b/x", "BatchSise": "1"}, "has no parameter 'BatchSise' (did you mean BatchSize?)"),
        ({"TrainLocation": "s3://b/" + "x" * 300}, "ContainerArguments[3]: it is longer than 256"),
        ({"TrainLocation": "s3://b/x", "ApprovalStatus": "Yes"}, "ModelApprovalStatus: it is 'Yes'"),
    ],
    ids=["missing", "misspelt", "too long", "no choice"],
)
def test_an_execution_does_not_start_with_wrong_parameters(
    account: StandIn, given: dict[str, str], reason: str
) -> None:
    done("apply")
    answer = call("start", "--no-wait", *parameters(**given))
    assert answer.exit_code == 1
    assert reason in answer.output
    assert not sent(account, "StartPipelineExecution")


def test_numbers_of_a_pipeline_that_somebody_else_made_are_read_as_numbers(account: StandIn) -> None:
    instances = {"InstanceCount": {"Get": "Parameters.Count"}, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 10}
    arguments = {
        "ProcessingResources": {"ClusterConfig": instances},
        "AppSpecification": {"ImageUri": "theirs:1"},
        "RoleArn": ROLE,
    }
    text = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Count", "Type": "Integer", "DefaultValue": 1}],
        "Steps": [{"Name": "Learn", "Type": "Processing", "Arguments": arguments}],
    }
    account.client("sagemaker").create_pipeline(
        PipelineName="theirs", PipelineDefinition=json.dumps(text), ClientRequestToken="t" * 32, RoleArn=ROLE
    )
    account.executions.hang("Learn")
    refused = call("start", "--name", "theirs", "--no-wait", *parameters(Count="many"))
    assert "parameter Count is 'many', which is no Integer" in refused.output
    assert not sent(account, "StartPipelineExecution")
    assert told("start", "--name", "theirs", "--no-wait", *parameters(Count="2"))["status"] == "Executing"
    done("stop", "--name", "theirs")


def test_a_pipeline_that_is_not_ours_is_not_replaced(account: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_TRAINER", "sagemaker-pipeline://theirs?region=eu-west-1&manifest=InputManifest")
    answer = call("apply")
    assert answer.exit_code == 1
    assert "pipeline theirs is somebody else's" in answer.output
    assert account.calls == []
    assert done("apply", "--name", "ours").startswith("pipeline ours in eu-west-1: created")


def test_one_key_is_not_started_twice_while_it_runs(account: StandIn) -> None:
    done("apply")
    account.executions.hang("Fetch")
    start = ["start", "--no-wait", "--key", "commit-1", *parameters(TrainLocation="s3://b/x")]
    first, again = (told(*start)["execution"] for _ in range(2))
    assert first == again
    assert sent(account, "StartPipelineExecution") == 1
    assert done("stop").startswith("execution commit-1 of pipeline labelloop is stopped")
    assert account.executions.wait() == "Stopped"
    assert "has ended before: Stopped" in done("stop", "--execution", first)
    assert told(*start)["execution"] != first


@pytest.mark.process
def test_status_names_the_step_that_failed_why_and_where_its_log_is(account: StandIn) -> None:
    done("apply", *parameters(TrainLocation=f"s3://{BUCKET}/pictures/", Format="tfrecord"))
    answer = call("start", "--key", "no-format")
    assert answer.exit_code == 1
    assert "Error: execution no-format of pipeline labelloop has ended: Failed" in answer.output
    (step,) = told("status")["steps"]
    assert (step["name"], step["status"]) == ("Fetch", "Failed")
    assert "there is no format 'tfrecord'" in step["reason"], "the job says itself what was wrong"
    assert "log-group/$252Faws$252Fsagemaker$252FProcessingJobs$3FlogStreamNameFilter$3Dpipelines-" in step["log"]
    lines = done("status", "--execution", "no-format").splitlines()
    assert lines[0].startswith("execution no-format (")
    assert lines[1].split()[:2] == ["Fetch", "Failed"]
    assert step["log"] in lines[3]
    account.deny("sagemaker:DescribeProcessingJob")
    assert "exit code: 1" in told("status")["steps"][0]["reason"], "without that right it is shown as SageMaker says it"


def test_what_is_not_there_is_said_with_what_to_do(account: StandIn) -> None:
    missing = call("status", "--name", "none")
    assert missing.exit_code == 1
    assert "none" in missing.output
    done("apply")
    assert "no execution yet: labelloop aws pipeline start" in call("status").output
    assert "has no execution other" in call("stop", "--execution", "other").output


def test_a_role_that_lacks_an_action_is_told_which(account: StandIn) -> None:
    resource = f"arn:aws:sagemaker:{REGION}:123456789012:pipeline/labelloop"
    account.deny("sagemaker:CreatePipeline", resource)
    answer = call("apply")
    assert answer.exit_code == 1
    assert f"let the role of this process do sagemaker:CreatePipeline on {resource}" in answer.output
    assert "created" in done("apply")


def test_the_role_of_the_workflow_may_do_what_the_commands_ask_and_the_docs_name_it(account: StandIn) -> None:
    root = Path(__file__).parents[3]
    done("apply")
    account.executions.fail_step("Fetch", "as a test wants it")
    done("apply", *parameters(TrainLocation="s3://b/x"))
    call("start", *parameters(ModelPackageGroup="another"))
    account.executions.hang("Fetch")
    done("start", "--no-wait")
    done("status")
    done("stop")
    asked = {one for one in account.calls if one.startswith("sagemaker:")}
    allowed = set(re.findall(r'"(sagemaker:\w+)"', (root / "deploy/terraform/aws/github.tf").read_text()))
    assert asked - allowed == set()
    page = (root / "docs" / "aws.md").read_text()
    assert {
        one for one in asked if f"`{one.removeprefix('sagemaker:')}`" not in page and f"`{one}`" not in page
    } == set()


def test_expired_credentials_and_throttling_are_told(account: StandIn) -> None:
    done("apply")
    account.fail("sagemaker:DescribePipeline", "ExpiredTokenException", 400)
    assert "the credentials have expired or are wrong" in call("apply").output
    account.fail("sagemaker:DescribePipeline", "ThrottlingException", 400)
    assert "as it should be" in done("apply")


def upload(aws: StandIn, folder: Path, prefix: str) -> str:
    s3 = aws.client("s3")
    for file in folder.rglob("*.png"):
        s3.upload_file(str(file), BUCKET, f"{prefix}{file.relative_to(folder)}")
    return f"s3://{BUCKET}/{prefix}"


def packages(aws: StandIn, group: str) -> list[Json]:
    sagemaker = aws.client("sagemaker")
    listed = sagemaker.list_model_packages(ModelPackageGroupName=group, SortOrder="Ascending")
    return [
        sagemaker.describe_model_package(ModelPackageName=one["ModelPackageArn"])
        for one in listed["ModelPackageSummaryList"]
    ]


def objects(aws: StandIn, prefix: str) -> dict[str, bytes]:
    s3 = aws.client("s3")
    start = f"labelloop/digits/{prefix}"
    listed: list[dict[str, Any]] = s3.list_objects_v2(Bucket=BUCKET, Prefix=start).get("Contents", [])
    return {
        one["Key"].removeprefix(start): s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in listed
    }


def test_fetch_takes_the_labels_that_were_handed_over_as_they_are(account: StandIn, tmp_path: Path) -> None:
    pictures = [Item(task, hashlib.sha256(b"%d" % task).hexdigest(), ("cat",)) for task in range(1, 9)]
    labeled = Labeled(
        Manifest.of(ProjectKey("local", 1), "single", ("cat", "dog"), pictures), {pictures[0].content: "test"}
    )
    given = RunFolder(tmp_path / "given")
    labeled.write(given)
    place = f"{LOCATION}/digits/{source('k1')}/"
    folder, step = RunFolder(tmp_path / "run"), Step(tmp_path, {})
    assert step.source(folder, place) is None, "a folder of that name may be anybody's"
    for name, content in (
        (MANIFEST, given.manifest.read_bytes()),
        (SIDES, given.sides.read_bytes()),
        (SHARDS, write_shards("s3://b/", [])),
    ):
        account.client("s3").put_object(Bucket=BUCKET, Key=f"labelloop/digits/source/k1/{name}", Body=content)

    read = step.source(folder, place)

    assert read is not None
    found = read(lambda *_: None)
    assert (found.manifest.hash, found.sides) == (labeled.manifest.hash, labeled.sides)
    assert folder.manifest.read_bytes() == given.manifest.read_bytes()


# Five processes that load torch: what each of them does is told by the tests of the steps.
@pytest.mark.slow
@pytest.mark.train
def test_an_execution_trains_and_registers_a_package(account: StandIn, tmp_path: Path) -> None:
    write_digits(tmp_path / "digits", range(60), classes=3)
    place = upload(account, tmp_path / "digits", "scenes/")
    done("apply", "--name", "digits", *parameters(**SMALL, CommitId="abc123"))
    out = done("start", "--name", "digits", "--key", "first", *parameters(TrainLocation=place))

    assert re.search(r"Register +Succeeded .* digits/1$", out, re.MULTILINE)
    found = told("status", "--name", "digits")
    assert found["status"] == "Succeeded"
    names = ["Fetch", "Preprocess", "Train", "Evaluate", "Judge", "Passed", "Register"]
    assert [one["name"] for one in found["steps"]] == names
    (package,) = packages(account, "digits")
    judged = results(found["execution"], "judge")
    run = objects(account, f"{judged}/")
    record, verdict = json.loads(run["run.json"]), json.loads(run["verdict.json"])
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["ModelPackageDescription"].startswith(verdict["sentence"][:100])
    metadata = package["CustomerMetadataProperties"]
    assert (metadata["key"], metadata["manifest"], metadata["recipe"]) == (
        record["key"],
        record["manifest"],
        "finetune",
    )
    assert package["MetadataProperties"]["CommitId"] == "abc123"
    quality = package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"]
    assert quality == f"{LOCATION}/digits/{judged}/evaluation/metrics.json"
    assert {"manifest.jsonl", "sides.json", "data.json", "train.json", "report.html", "bundle/model.onnx"} <= set(run)
    prefix, *shards = json.loads(run["shards.json"])
    assert prefix == {"prefix": f"{LOCATION}/digits/pictures/"}
    assert set(objects(account, "pictures/")) == set(shards)
    model = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    account.client("s3").download_file(BUCKET, model.removeprefix(f"s3://{BUCKET}/"), str(tmp_path / "model.tar.gz"))
    assert check_bundle(bundle_folder(tmp_path / "model.tar.gz", tmp_path)).classes == ("0", "1", "2")


@pytest.mark.slow
@pytest.mark.train
def test_what_does_not_reach_the_least_f1_is_registered_as_rejected_and_spot_training_goes_on(
    account: StandIn, tmp_path: Path
) -> None:
    write_digits(tmp_path / "digits", range(60), classes=3)
    write_digits(tmp_path / "other", range(60, 80), classes=3)
    for file in sorted((tmp_path / "other").glob("[12]/*.png"))[::3]:
        file.rename(file.parents[1] / "0" / file.name)  # so that no model has all of them right
    places = {"TrainLocation": upload(account, tmp_path / "digits", "scenes/")}
    places["TestLocation"] = upload(account, tmp_path / "other", "unseen/")
    done("apply", "--name", "digits", "--spot", *parameters(**SMALL | {"Epochs": "12"}, MinimumF1="1.0"))
    group = {"ModelPackageGroup": "strict"}
    begun = told("start", "--name", "digits", "--no-wait", *parameters(**places, **group))
    jobs, kept = account.folder / "jobs", f"*{begun['execution']}-Train-*/opt/ml/checkpoints/*.ckpt"
    wait_until(lambda: bool(list(jobs.glob(kept))), "a checkpoint", SECONDS)
    before = epochs(next(jobs.glob(kept)))
    account.executions.interrupt("Train")
    assert account.executions.wait(seconds=SECONDS) == "Succeeded"

    found = told("status", "--name", "digits")
    assert found["execution"] == begun["execution"]
    assert found["steps"][-1]["name"] == "RegisterRejected"
    (package,) = packages(account, "strict")
    assert package["ModelApprovalStatus"] == "Rejected"
    assert "LABELLOOP_MINIMUM_F1 asks for 1" in package["ModelPackageDescription"]
    assert package["ModelPackageDescription"].endswith("; macro F1 must be at least 1.0")
    run = objects(account, f"{results(found['execution'], 'judge')}/")
    assert json.loads(run["verdict.json"])["promoted"] == 0
    trained = json.loads(run["train.json"])["curves"]["finetune"]
    assert 0 < len(before) < len(trained)
    assert trained[: len(before)] == before, "it went on, and did not begin anew"


def epochs(checkpoint: Path) -> list[dict[str, Any]]:
    """Give the epochs that a checkpoint knows of, with the seconds that each took."""
    import torch

    known: list[dict[str, Any]] = torch.load(checkpoint, weights_only=True)["finetune"]["curve"]
    return known
