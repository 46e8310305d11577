"""The loop trains in SageMaker: one execution a run, whoever is killed; whatever breaks there, the champion stays."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from labelloop.cli.loop import cancel
from labelloop.kinds import base
from labelloop.loop.redis_client import key_of
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.models.champion import ChampionPointer
from labelloop.models.runs import Runs
from labelloop.models.versions import Versions
from support import numbers_kind
from support.aws import REGION, StandIn
from support.aws.kills import dying_at
from support.crash_store import Killed
from support.studio_api import StudioApi

from .conftest import MakeHub
from .test_training import Factory, Machine

BUCKET = "team"
ROLE = "arn:aws:iam::123456789012:role/models"
THEIRS = f"sagemaker-pipeline://theirs?region={REGION}&manifest=InputManifest&manifest_format=labelloop"


def nearest(data: str, body: bytes, media_type: str) -> bytes:
    """Their model: a number below 4 is low."""
    low = float(json.loads(body)["inputs"]) < 4
    answers = [{"label": "low", "score": 0.9 if low else 0.1}, {"label": "high", "score": 0.1 if low else 0.9}]
    return json.dumps([answers]).encode()


@pytest.fixture
def aws(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """An account with a pipeline of somebody's that registers a model of numbers."""
    stand_in.reset()
    stand_in.use(monkeypatch)
    stand_in.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    sagemaker = stand_in.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="theirs")
    arguments = {
        "ModelPackageGroupName": "theirs",
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [{"Image": "numbers:1", "ModelDataUrl": f"s3://{BUCKET}/model"}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    }
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "InputManifest", "Type": "String"}],
        "Steps": [{"Name": "Register", "Type": "RegisterModel", "Arguments": arguments}],
    }
    sagemaker.create_pipeline(
        PipelineName="theirs", PipelineDefinition=json.dumps(definition), ClientRequestToken="t" * 32, RoleArn=ROLE
    )
    stand_in.models.images["numbers:1"] = nearest
    return stand_in


@pytest.fixture
def make(
    make_hub: MakeHub, studio: StudioApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Machine]:
    """Make machines whose runs are trained there."""
    monkeypatch.setattr(base, "KINDS", {numbers_kind.NAME: numbers_kind.__name__, **base.KINDS})
    factory = Factory(make_hub, studio, monkeypatch, tmp_path)

    def made(**given: Any) -> Machine:
        usual = {"trainer": THEIRS, "aws_role": ROLE, "aws_location": f"s3://{BUCKET}/labelloop", "poll_seconds": 0.1}
        return factory(**{**usual, **given})

    return made


def executions(aws: StandIn) -> list[tuple[str, str]]:
    """Give key and status of each execution there ever was, the newest first."""
    found = aws.client("sagemaker").list_pipeline_executions(PipelineName="theirs")["PipelineExecutionSummaries"]
    return [(one["PipelineExecutionDisplayName"], one["PipelineExecutionStatus"]) for one in found]


def finish(one: Machine, aws: StandIn) -> None:
    """Let nothing go wrong any more, until nothing is left to do."""
    for _ in range(20):
        if executions(aws):
            aws.executions.wait()
        one.pass_time()
        said = one.work()
        if said in (["nothing has changed"], ["1 changed labels wait for their moment"]):
            return
    raise AssertionError(f"it does not come to an end: {said}")


def champion(one: Machine) -> str | None:
    return ChampionPointer(one.hub.store, one.project).read().champion


def told(one: Machine) -> str:
    return "\n".join(standing(project_status(one.hub, one.project)))


def test_a_run_is_one_execution_and_its_package_the_next_version(make: Callable[..., Machine], aws: StandIn) -> None:
    one = make()
    aws.executions.hang("Register")
    one.label(0)
    assert one.work()[-1].endswith("is being trained elsewhere")
    opened = one.open_run()
    assert opened is not None
    assert opened.handle.startswith(f"arn:aws:sagemaker:{REGION}:123456789012:pipeline/theirs/execution/")
    assert one.work() == [f"run {opened.key} is being trained by sagemaker-pipeline://theirs"]
    assert "now: train: step Register" in told(one)
    assert executions(aws) == [(opened.key, "Executing")]

    assert CliRunner().invoke(cancel, ["--project", "7"], obj=one.hub).exit_code == 0
    assert "it was cancelled by `labelloop cancel`" in one.work()
    aws.executions.wait()
    assert executions(aws) == [(opened.key, "Stopped")]
    aws.executions.forget()
    one.label(4)
    finish(one, aws)
    assert champion(one) == "v1"
    assert [status for _, status in executions(aws)] == ["Succeeded"]
    assert Versions(one.hub.store, one.project).get("v1").recipe == "sagemaker-pipeline"


def test_killed_at_any_call_of_aws_there_is_one_execution_per_run(make: Callable[..., Machine], aws: StandIn) -> None:
    at, cut = 0, True
    while cut:
        aws.executions.forget()
        one = make()
        one.label(0)
        done: list[str] = []
        for _ in range(4):
            with suppress(Killed), dying_at(at - len(done), after=at % 2 == 1) as calls:
                one.work()
            one.hub.redis.delete(key_of(one.project, "lease"))
            done += calls
            if executions(aws):
                aws.executions.wait()
            if len(done) >= at:
                break
        cut = len(done) >= at
        finish(one, aws)
        good = [key for key, status in executions(aws) if status == "Succeeded"]
        assert len(good) == len(set(good)) == len(executions(aws)) == 1
        assert champion(one) == "v1"
        assert not aws.client("sagemaker").list_models()["Models"]
        at += 12
    assert at > 24


Breaks = Callable[[StandIn], None]

KMS = (
    "User: arn:aws:sts::123456789012:assumed-role/labelloop/worker is not authorized to perform: kms:GenerateDataKey "
    "on resource: arn:aws:kms:eu-west-1:123456789012:key/1 because no identity-based policy allows it"
)
ELSEWHERE = "The bucket you are attempting to access must be addressed using the specified endpoint."

BROKEN: list[tuple[str, Breaks, str]] = [
    (
        "throttled",
        lambda aws: aws.fail("sagemaker:StartPipelineExecution", "ThrottlingException", 400, "Rate exceeded", None),
        "waits for the cloud: an execution of pipeline theirs: AWS answered ThrottlingException (Rate exceeded)",
    ),
    (
        "expired",
        lambda aws: aws.fail("sagemaker:ListPipelineExecutions", "ExpiredTokenException", 400, "expired", None),
        "the executions of pipeline theirs: AWS answered ExpiredTokenException (expired): the credentials have expired",
    ),
    (
        "denied",
        lambda aws: aws.deny("sagemaker:StartPipelineExecution", "arn:aws:sagemaker:::pipeline/theirs", None),
        "let the role of this process do sagemaker:StartPipelineExecution on arn:aws:sagemaker:::pipeline/theirs",
    ),
    (
        "a key",
        lambda aws: aws.fail("s3:PutObject", "AccessDenied", 403, KMS, None),
        "let the role of this process do kms:GenerateDataKey on arn:aws:kms:eu-west-1:123456789012:key/1",
    ),
    (
        "a bucket elsewhere",
        lambda aws: aws.fail("s3:PutObject", "PermanentRedirect", 301, ELSEWHERE, None),
        "AWS answered PermanentRedirect (The bucket you are attempting to access must be addressed",
    ),
    (
        "no package",
        lambda aws: aws.executions.fail_step("Register", "ClientError: group theirs is full"),
        "its training by sagemaker-pipeline://theirs failed: step Register: ClientError: group theirs is full",
    ),
    (
        "no machine",
        lambda aws: aws.fail(
            "sagemaker:CreateTransformJob", "ResourceLimitExceeded", 400, "limit of 0 Instances", None
        ),
        "AWS answered ResourceLimitExceeded (limit of 0 Instances)",
    ),
]


def test_whatever_breaks_is_said_in_status_the_champion_stays_and_later_it_goes_on(
    make: Callable[..., Machine], aws: StandIn
) -> None:
    one = make(run_attempts=9, retry_seconds=0.0)
    one.label(0)
    finish(one, aws)
    before = champion(one)
    assert before == "v1"
    for number, (name, breaks, says) in enumerate(BROKEN, 2):
        one.label(4)
        breaks(aws)

        for _ in range(3):
            one.pass_time()
            one.work()
            if says in told(one):
                break
            aws.executions.wait()

        assert says in told(one), f"{name}: {told(one)}"
        assert champion(one) == before, name
        aws.mend()
        finish(one, aws)
        before = champion(one)
        assert before == f"v{number}", name
    assert not aws.client("sagemaker").list_models()["Models"]


def test_an_execution_that_cannot_be_asked_about_is_waited_for(make: Callable[..., Machine], aws: StandIn) -> None:
    one = make()
    aws.executions.hang("Register")
    one.label(0)
    one.work()
    aws.fail("sagemaker:DescribePipelineExecution", "ExpiredTokenException", 400, "expired", None)
    assert one.work() == ["the trainer is away: it is asked again later"]
    assert "cannot be asked for now: execution arn:" in told(one)
    assert "the credentials have expired or are wrong" in told(one)
    assert one.open_run() is not None


def test_an_execution_that_hangs_is_stopped_at_the_limit(make: Callable[..., Machine], aws: StandIn) -> None:
    one = make()
    aws.executions.hang("Register")
    one.label(0)
    one.work()
    opened = one.open_run()
    assert opened is not None
    # A day later.
    one.hub.open_runs(one.project)._change(lambda stands: stands and replace(stands, until=1.0))
    said = one.work()
    assert any("LABELLOOP_TRAINING_SECONDS" in sentence for sentence in said)
    aws.executions.wait()
    assert executions(aws) == [(opened.key, "Stopped")]
    record = Runs(one.hub.store, one.project).latest()
    assert record is not None
    assert (record.state, "took longer than LABELLOOP_TRAINING_SECONDS" in record.reason) == ("failed", True)
    assert one.open_run() is None
