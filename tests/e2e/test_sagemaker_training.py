"""A real Label Studio, and its loop trains in a SageMaker pipeline: labels lead to one execution, that to a version.

AWS is a stand-in on this machine, whose steps really run.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.applying import apply
from labelloop.cloud.aws.pipeline_plan import plan_of
from labelloop.demo.examples import Examples
from labelloop.demo.label_studio import LabelStudio
from labelloop.demo.pictures import digits
from labelloop.models.mirrored import Mirrors
from labelloop.models.runs import Runs
from labelloop.models.versions import Versions
from support.aws import REGION, StandIn, aws_stand_in
from support.loop_machine import LoopMachine, loop_settings
from support.waiting import wait_until

pytestmark = [
    pytest.mark.studio,
    pytest.mark.train,
    pytest.mark.process,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

BUCKET, PIPELINE = "team", "digits"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with aws_stand_in(tmp_path_factory.mktemp("aws")) as found, pytest.MonkeyPatch.context() as environment:
        found.use(environment)
        found.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return digits(tmp_path_factory.mktemp("digits"), seed=1, tasks=90)


@pytest.fixture(scope="module")
def machine(label_studio: LabelStudio, aws: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopMachine]:
    """One LabelLoop whose runs are trained by the pipeline that our command makes."""
    folder = tmp_path_factory.mktemp("loop")
    given: dict[str, Any] = {
        "trainer": f"sagemaker-pipeline://{PIPELINE}?region={REGION}",
        "registry": f"sagemaker://{PIPELINE}?region={REGION}",
        "aws_role": "arn:aws:iam::123456789012:role/steps",
        "aws_training_image": "worker:1",
        "aws_inference_image": "inference:1",
        "aws_location": f"s3://{BUCKET}/labelloop",
        "poll_seconds": 0.5,
        "min_labels": 60,
        "recipes": ("finetune",),
        "epochs": 3,
    }
    settings = loop_settings(label_studio, folder, **given)
    apply(Account(REGION), plan_of(settings, PIPELINE, REGION, values={}))
    with LoopMachine(label_studio, settings, folder / "labelloop.log", environment=aws.environment) as made:
        yield made


def test_labels_lead_to_one_execution_and_that_to_a_version_that_pre_annotates(
    machine: LoopMachine, aws: StandIn, pictures: Examples
) -> None:
    project = machine.project(pictures, "SageMaker")
    project.annotator.annotate(project.tasks[:60])
    machine.wait_for(
        project,
        lambda status: status.step is not None and status.step.what.startswith("step "),
        "the execution is looked at",
    )
    # Whoever looked is gone: the execution goes on, and the next worker goes on with it.
    worker = machine.worker()
    worker.kill()
    worker.wait(30)
    wait_until(lambda: _is_another(machine, worker), "another worker is there", 60)

    machine.wait_for(
        project, lambda status: status.announced is not None and status.step is None, "v1 is announced", 600
    )

    record = Versions(machine.hub.store, project.key).get("v1")
    run = Runs(machine.hub.store, project.key).latest()
    assert run is not None
    assert (record.recipe, record.run) == ("finetune", run.key)
    executions = aws.client("sagemaker").list_pipeline_executions(PipelineName=PIPELINE)["PipelineExecutionSummaries"]
    assert [(one["PipelineExecutionDisplayName"], one["PipelineExecutionStatus"]) for one in executions] == [
        (run.key, "Succeeded")
    ]
    waiting = project.tasks[60:]
    found = machine.predictions(project)
    assert {tuple(found[task]) for task in waiting} == {(record.version,)}
    mirrors = Mirrors(machine.hub.store, project.key)
    wait_until(lambda: bool(mirrors.read(f"sagemaker://{PIPELINE}").packages), "the registry was looked at", 60)
    packages = aws.client("sagemaker").list_model_packages(ModelPackageGroupName=_group(aws))["ModelPackageSummaryList"]
    assert [one["ModelApprovalStatus"] for one in packages] == ["Approved"]
    # What the pipeline has registered is taken over, and not made a second time.
    assert mirrors.read(f"sagemaker://{PIPELINE}").packages == {packages[0]["ModelPackageArn"]: ("v1", "approved")}


def _is_another(machine: LoopMachine, worker: psutil.Process) -> bool:
    try:
        return machine.worker().pid != worker.pid
    except AssertionError:
        return False


def _group(aws: StandIn) -> str:
    (found,) = aws.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"]
    return str(found["ModelPackageGroupName"])


def test_the_log_holds_no_secret(machine: LoopMachine, aws: StandIn) -> None:
    log = Path(machine.log).read_text()
    assert aws.environment["AWS_SECRET_ACCESS_KEY"] not in log
