"""The pipeline's definition: what it is made of, and that SageMaker's own descriptions of its requests allow it."""

import json
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from labelloop.cloud.aws.checks import require_valid
from labelloop.cloud.aws.executions import Step
from labelloop.cloud.aws.pipeline import definition, to_text
from labelloop.cloud.aws.pipeline_plan import LONGEST, PipelinePlan, plan_of, spelled
from labelloop.errors import SettingsError
from labelloop.settings import Settings
from labelloop.training_parameters import LOCATIONS, PARAMETERS
from labelloop.types import Json

SETTINGS = Settings(
    aws_role="arn:aws:iam::123456789012:role/steps",
    aws_training_image="worker:1",
    aws_inference_image="inference:1",
    aws_location="s3://bucket/labelloop",
)
PLAN = plan_of(SETTINGS, "cats", "eu-west-1")


def steps(found: Json) -> dict[str, Json]:
    branches = [found["Steps"][-1]["Arguments"][name] for name in ("IfSteps", "ElseSteps")]
    return {one["Name"]: one for branch in (found["Steps"], *branches) for one in branch}


@pytest.mark.parametrize(
    ("spot", "region", "train"), list(product([False, True], ["", "eu-west-1"], ["", "s3://b/p/"]))
)
def test_every_choice_gives_a_valid_definition(spot: bool, region: str, train: str) -> None:
    plan = plan_of(SETTINGS, "cats", region, spot=spot, values={"TrainLocation": train}, disk=200, seconds=3600)
    assert require_valid(definition(plan)) == []


def test_all_parameters_of_a_run_are_parameters_of_the_pipeline_and_text() -> None:
    found = {one["Name"]: one for one in definition(PLAN)["Parameters"]}
    assert set(found) >= {spelled(name) for name in (*LOCATIONS, *PARAMETERS)}
    wanted = {"Model", "BatchSize", "Optimizer", "LearningRate", "TrainLocation", "TestLocation", "Augmentations"}
    assert {found[name]["Type"] for name in wanted} == {"String"}
    assert "DefaultValue" not in found["TrainLocation"]
    assert {name for name, one in found.items() if "DefaultValue" not in one} == {"TrainLocation"}


def test_the_first_step_is_given_every_parameter_and_the_training_its_own() -> None:
    made = steps(definition(PLAN))
    given = made["Fetch"]["Arguments"]["AppSpecification"]["ContainerArguments"]
    assert given[:2] == ["stage", "fetch"]
    pairs = dict(zip(given[2::2], given[3::2], strict=True))
    assert pairs["--learning-rate"] == {"Get": "Parameters.LearningRate"}
    assert len(pairs) == len(LOCATIONS) + len(PARAMETERS)
    assert set(made["Train"]["Arguments"]["HyperParameters"]) == set(PARAMETERS)


def test_pictures_are_fetched_once_and_every_other_step_takes_the_same_list_of_shards() -> None:
    made = steps(definition(PLAN))
    listed = [
        one["S3Input"]["S3Uri"]
        for name in ("Preprocess", "Evaluate", "Judge")
        for one in made[name]["Arguments"]["ProcessingInputs"]
        if one["S3Input"]["S3DataType"] == "ManifestFile"
    ]
    channel = made["Train"]["Arguments"]["InputDataConfig"][1]["DataSource"]["S3DataSource"]
    assert channel["S3DataType"] == "ManifestFile"
    assert len(listed) == 3
    assert all(one == channel["S3Uri"] for one in listed)


def test_the_condition_asks_the_verdict_and_the_macro_f1() -> None:
    first, second = steps(definition(PLAN))["Passed"]["Arguments"]["Conditions"]
    verdict = {"Get": "Steps.Judge.PropertyFiles.Verdict"}
    assert first["LeftValue"] == {"Std:JsonGet": {"PropertyFile": verdict, "Path": "promoted"}}
    assert (second["LeftValue"]["Std:JsonGet"]["Path"], second["RightValue"]) == (
        "macro_f1",
        {"Get": "Parameters.MinimumF1"},
    )


def test_what_does_not_pass_is_registered_as_rejected_with_the_reason() -> None:
    made = steps(definition(PLAN))
    passed, rejected = (made[name]["Arguments"] for name in ("Register", "RegisterRejected"))
    assert passed["ModelApprovalStatus"] == {"Get": "Parameters.ApprovalStatus"}
    assert rejected["ModelApprovalStatus"] == "Rejected"
    reason = rejected["ModelPackageDescription"]["Std:Join"]["Values"]
    assert reason[0] == {"Get": "Steps.Judge.ExitMessage"}


@pytest.mark.parametrize("spot", [False, True])
def test_only_spot_waits_for_capacity_and_always_there_are_checkpoints(spot: bool) -> None:
    train = steps(definition(replace(PLAN, spot=spot, seconds=600)))["Train"]["Arguments"]
    assert train.get("EnableManagedSpotTraining", False) is spot
    assert train["StoppingCondition"].get("MaxWaitTimeInSeconds") == (1200 if spot else None)
    assert train["CheckpointConfig"]["LocalPath"] == "/opt/ml/checkpoints"


def test_the_longest_training_waits_for_no_longer() -> None:
    train = steps(definition(replace(PLAN, spot=True, seconds=LONGEST)))["Train"]["Arguments"]
    assert train["StoppingCondition"] == {"MaxRuntimeInSeconds": LONGEST, "MaxWaitTimeInSeconds": LONGEST}


def test_no_step_reads_from_where_it_writes() -> None:
    for step in steps(definition(PLAN)).values():
        read = [one["S3Input"]["LocalPath"] for one in step["Arguments"].get("ProcessingInputs", [])]
        outputs = step["Arguments"].get("ProcessingOutputConfig", {}).get("Outputs", [])
        places = [*read, *(one["S3Output"]["LocalPath"] for one in outputs)]
        assert len(set(places)) == len(places)
        assert all(place.startswith("/opt/ml/processing/") for place in places)


def test_steps_get_what_differs_of_the_settings_and_the_store_they_can_read() -> None:
    settings = replace(SETTINGS, gate_margin=0.2, store="s3://bucket/store", webhook_secret="hush")
    environment = steps(definition(plan_of(settings, "cats")))["Judge"]["Arguments"]["Environment"]
    assert environment["LABELLOOP_GATE_MARGIN"] == "0.2"
    assert environment["LABELLOOP_STORE"] == "s3://bucket/store"
    assert "hush" not in json.dumps(definition(plan_of(settings, "cats")))
    alone = steps(definition(plan_of(replace(SETTINGS, store="file:///data"), "cats")))["Fetch"]["Arguments"]
    assert alone["Environment"] == {}


@pytest.mark.parametrize(
    ("lacking", "variable"),
    [
        ("aws_role", "LABELLOOP_AWS_ROLE"),
        ("aws_training_image", "LABELLOOP_AWS_TRAINING_IMAGE"),
        ("aws_inference_image", "LABELLOOP_AWS_INFERENCE_IMAGE"),
    ],
)
def test_a_setting_that_is_missing_is_named(lacking: str, variable: str) -> None:
    fields: dict[str, Any] = {lacking: ""}
    with pytest.raises(SettingsError, match=variable):
        plan_of(replace(SETTINGS, **fields), "cats")


@pytest.mark.parametrize(("values", "told"), [({"Modle": "x"}, "no parameter Modle"), ({"MinimumF1": "high"}, "high")])
def test_a_default_that_cannot_be_is_refused(values: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        definition(plan_of(SETTINGS, "cats", values=values))


def test_the_same_plan_gives_the_same_text() -> None:
    assert to_text(definition(PLAN)) == to_text(definition(PipelinePlan(**vars(PLAN))))


@pytest.mark.parametrize(
    ("job", "console", "streams"),
    [
        (
            "arn:aws:sagemaker:eu-west-1:123456789012:training-job/pipelines-x-Train-1",
            "eu-west-1.console.aws.amazon.com/cloudwatch/home?region=eu-west-1",
            "$252Faws$252Fsagemaker$252FTrainingJobs$3FlogStreamNameFilter$3Dpipelines-x-Train-1",
        ),
        (
            "arn:aws-cn:sagemaker:cn-north-1:123456789012:processing-job/p",
            "cn-north-1.console.amazonaws.cn/cloudwatch/home?region=cn-north-1",
            "$252Faws$252Fsagemaker$252FProcessingJobs$3FlogStreamNameFilter$3Dp",
        ),
    ],
)
def test_a_job_has_a_link_to_its_logs(job: str, console: str, streams: str) -> None:
    assert Step("Train", "Failed", job=job).log == f"https://{console}#logsV2:log-groups/log-group/{streams}"


@pytest.mark.parametrize("job", ["arn:aws:sagemaker:eu-west-1:123456789012:model-package/cats/3", ""])
def test_what_writes_no_log_has_no_link(job: str) -> None:
    assert Step("Train", "Failed", job=job).log == ""
