"""A definition with a mistake is not sent: each kind of mistake alone, told with its step and its field."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from labelloop.cloud.aws.checks import require_valid, require_values
from labelloop.cloud.aws.pipeline import definition
from labelloop.cloud.aws.pipeline_plan import PipelinePlan
from labelloop.errors import CloudError
from labelloop.types import Json

PLAN = PipelinePlan(
    name="cats",
    role="arn:aws:iam::123456789012:role/steps",
    training_image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/worker:1",
    inference_image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/inference:1",
    environment={"AWS_DEFAULT_REGION": "eu-west-1"},
    values={"Location": "s3://bucket/labelloop"},
)


@pytest.fixture
def right() -> Json:
    return copy.deepcopy(definition(PLAN))


def step(found: Json, name: str) -> Json:
    named: Json = next(one for one in found["Steps"] if one["Name"] == name)
    return named


def parameter(found: Json, name: str) -> Json:
    named: Json = next(one for one in found["Parameters"] if one["Name"] == name)
    return named


def arguments(found: Json, name: str) -> Json:
    held: Json = step(found, name)["Arguments"]
    return held


def package(found: Json, branch: str = "IfSteps") -> Json:
    held: Json = arguments(found, "Passed")[branch][0]["Arguments"]
    return held


MISTAKES = [
    ("Version is '2021'", lambda found: found.update(Version="2021")),
    ("parameter Model is there twice", lambda found: found["Parameters"].append({"Name": "Model", "Type": "String"})),
    (
        "it has 2[0-9]{2} parameters, and SageMaker takes 200",
        lambda found: found["Parameters"].extend({"Name": f"P{at}", "Type": "String"} for at in range(200)),
    ),
    (
        "parameter RunKey, DefaultValue: it is longer than 1024",
        lambda found: parameter(found, "RunKey").update(DefaultValue="x" * 1025),
    ),
    ("step Train: its name is there twice", lambda found: step(found, "Judge").update(Name="Train")),
    (
        "step Register: its name is there twice",
        lambda found: arguments(found, "Passed")["ElseSteps"][0].update(Name="Register"),
    ),
    ("step J{65}: a name is 1 to 64", lambda found: step(found, "Judge").update(Name="J" * 65)),
    ("step Judge it: a name is", lambda found: step(found, "Judge").update(Name="Judge it")),
    ("step Train, Type: there is no 'Trainig'", lambda found: step(found, "Train").update(Type="Trainig")),
    (
        "step Train, DependsOn: there is no step Prep",
        lambda found: step(found, "Train").update(DependsOn=["Prep"]),
    ),
    (
        "step Train, .*ResourceConfig.InstanceType: there is no parameter Instance",
        lambda found: arguments(found, "Train")["ResourceConfig"].update(InstanceType={"Get": "Parameters.Instance"}),
    ),
    (
        "step Train, .*S3Uri: an execution has no Id",
        lambda found: arguments(found, "Train")["CheckpointConfig"].update(
            S3Uri={"Std:Join": {"On": "/", "Values": ["s3://b", {"Get": "Execution.Id"}]}}
        ),
    ),
    (
        "step Evaluate, .*: there is nothing called Steps.Trian.TrainingJobName",
        lambda found: arguments(found, "Evaluate")["ProcessingInputs"][0]["S3Input"].update(
            S3Uri={"Get": "Steps.Trian.TrainingJobName"}
        ),
    ),
    (
        "step Register, .*ModelDataUrl: step Train has no ModelArtifacts.S3ModelArtifact$",
        lambda found: package(found)["InferenceSpecification"]["Containers"][0].update(
            ModelDataUrl={"Get": "Steps.Train.ModelArtifacts.S3ModelArtifact"}
        ),
    ),
    (
        "step Register, .*CommitId: step Passed is a Condition and has no properties",
        lambda found: package(found)["MetadataProperties"].update(CommitId={"Get": "Steps.Passed.Outcome"}),
    ),
    (
        "step Judge, .*ImageUri: Steps.Judge.ExitMessage is of the step itself",
        lambda found: arguments(found, "Judge")["AppSpecification"].update(ImageUri={"Get": "Steps.Judge.ExitMessage"}),
    ),
    (
        "step Passed, .*PropertyFile: there is no property file Steps.Judge.PropertyFiles.Verdict",
        lambda found: step(found, "Judge").pop("PropertyFiles"),
    ),
    (
        "steps wait for each other: ",
        lambda found: step(found, "Fetch").update(DependsOn=["Judge"]),
    ),
    (
        'step Fetch, Missing required parameter in input: "RoleArn"',
        lambda found: arguments(found, "Fetch").pop("RoleArn"),
    ),
    (
        'step Register, Unknown parameter in input: "Description", must be one of',
        lambda found: package(found).update(Description="a cat"),
    ),
    (
        "step Train, Invalid type for parameter HyperParameters.batch_size",
        lambda found: arguments(found, "Train")["HyperParameters"].update(batch_size=32),
    ),
    (
        "step Train, Invalid type for parameter ResourceConfig.VolumeSizeInGB",
        lambda found: arguments(found, "Train")["ResourceConfig"].update(VolumeSizeInGB="50"),
    ),
    (
        "step Judge, Environment.LABELLOOP_STORE: it is longer than 256",
        lambda found: arguments(found, "Judge")["Environment"].update(LABELLOOP_STORE="s3://" + "x" * 256),
    ),
    (
        "step RegisterRejected, ModelApprovalStatus: it is 'rejected', which is none",
        lambda found: package(found, "ElseSteps").update(ModelApprovalStatus="rejected"),
    ),
    (
        "step Train, AlgorithmSpecification.TrainingInputMode: it is 'Files'",
        lambda found: arguments(found, "Train")["AlgorithmSpecification"].update(TrainingInputMode="Files"),
    ),
]


def test_ours_is_right(right: Json) -> None:
    assert require_valid(right) == []


@pytest.mark.parametrize(("told", "mistake"), MISTAKES, ids=[told[:60] for told, _ in MISTAKES])
def test_a_mistake_is_told_with_its_step_and_field(right: Json, told: str, mistake: Callable[[Json], Any]) -> None:
    mistake(right)
    with pytest.raises(CloudError, match=f"is wrong, and was not sent: {told}"):
        require_valid(right)


def test_values_are_looked_at_in_a_pipeline_that_somebody_else_made(right: Json) -> None:
    """SageMaker has taken it, so what it is made of is not for us to judge."""
    right["Steps"].append({"Name": "Call", "Type": "Lambda", "FunctionArn": {"Get": "Parameters.Whatever"}})
    require_values(right)
    parameter(right, "TrainLocation")["DefaultValue"] = "s3://" + "x" * 300
    with pytest.raises(CloudError, match=r"was not started: step Fetch, .*: it is longer than 256"):
        require_values(right)


def test_an_instance_type_that_botocore_does_not_know_is_a_warning(right: Json) -> None:
    arguments(right, "Train")["ResourceConfig"]["InstanceType"] = "ml.g99.huge"
    (told,) = require_valid(right)
    assert told.startswith("step Train, ResourceConfig.InstanceType: it is 'ml.g99.huge'")


def test_defaults_of_parameters_are_looked_at_where_they_stand(right: Json) -> None:
    parameter(right, "ApprovalStatus")["DefaultValue"] = "Yes"
    with pytest.raises(CloudError, match="step Register, ModelApprovalStatus: it is 'Yes'"):
        require_valid(right)
