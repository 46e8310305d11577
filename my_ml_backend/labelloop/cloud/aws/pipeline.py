"""The definition of the pipeline: our stages as steps of SageMaker, from the labels to a registered package.

    Fetch > Preprocess > Train > Evaluate > Judge > Passed > Register, or RegisterRejected

Every step but Train is a processing job; Train is a training job. They hand each other the run's folder and shards of
pictures in S3 (places.py).
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from labelloop.cloud.aws.pipeline_plan import DAY, GROUP, LONGEST, PipelinePlan, parameters, spelled
from labelloop.cloud.aws.registry import CONTENT_TYPES
from labelloop.cloud.places import INPUT, MODEL, PICTURES, RESULTS, RUN, SHARDS
from labelloop.training_parameters import LOCATIONS, PARAMETERS
from labelloop.types import Json

VERSION = "2020-12-01"
"""The version of the language that definitions are written in; there is no other."""


_INSIDE = "/opt/ml/processing"

_PASSING = {"ExceptionType": ["Step.SERVICE_FAULT", "Step.THROTTLING"], "IntervalSeconds": 10, "MaxAttempts": 5}
_CAPACITY = {
    "ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR", "SageMaker.CAPACITY_ERROR", "SageMaker.RESOURCE_LIMIT"],
    "IntervalSeconds": 60,
    "MaxAttempts": 6,
}


def definition(plan: PipelinePlan) -> Json:
    """Give the definition, as JSON."""
    return {
        "Version": VERSION,
        "Metadata": {},
        "Parameters": parameters(plan),
        "Steps": [
            _fetch(plan),
            _processing(plan, "Preprocess", "Fetch", (_earlier(plan, "fetch"), _pictures(plan))),
            _train(plan),
            _evaluate(plan),
            _judge(plan),
            _condition(plan),
        ],
    }


def to_text(found: Json) -> str:
    """Spell a definition: the same one always the same."""
    return json.dumps(found, indent=2)


def _fetch(plan: PipelinePlan) -> Json:
    given: list[Any] = []
    for name in (*LOCATIONS, *PARAMETERS):
        given += [f"--{name.replace('_', '-')}", _value(spelled(name))]
    shared = _output(PICTURES, _joined(_value("Location"), plan.name, "pictures"))
    return _processing(plan, "Fetch", "", (), arguments=given, outputs=[shared])


def _evaluate(plan: PipelinePlan) -> Json:
    job = {"Get": "Steps.Train.TrainingJobName"}
    packed = _joined(_folder(plan, "train"), job, "output", "output.tar.gz")
    inputs = (
        _earlier(plan, "preprocess"),
        _pictures(plan),
        _input(MODEL, {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}),
        _input(RESULTS, packed),
    )
    return _processing(plan, "Evaluate", "Train", inputs)


def _judge(plan: PipelinePlan) -> Json:
    least = {"LABELLOOP_MINIMUM_F1": _joined(_value("MinimumF1"), on="")}
    step = _processing(plan, "Judge", "Evaluate", (_earlier(plan, "evaluate"), _pictures(plan)), more=least)
    verdict = {"PropertyFileName": "Verdict", "OutputName": RUN, "FilePath": "verdict.json"}
    return step | {"PropertyFiles": [verdict]}


def _condition(plan: PipelinePlan) -> Json:
    promoted = {"Type": "GreaterThanOrEqualTo", "LeftValue": _told("promoted"), "RightValue": 1}
    enough = {"Type": "GreaterThanOrEqualTo", "LeftValue": _told("macro_f1"), "RightValue": _value("MinimumF1")}
    return {
        "Name": "Passed",
        "Type": "Condition",
        "DependsOn": ["Judge"],
        "Arguments": {
            "Conditions": [promoted, enough],
            "IfSteps": [_register(plan, "Register", _value("ApprovalStatus"))],
            "ElseSteps": [_register(plan, "RegisterRejected", "Rejected")],
        },
    }


def _told(path: str) -> Json:
    return {"Std:JsonGet": {"PropertyFile": {"Get": "Steps.Judge.PropertyFiles.Verdict"}, "Path": path}}


def _register(plan: PipelinePlan, name: str, status: Any) -> Json:
    judged = _folder(plan, "judge")
    statistics = {"ContentType": "application/json", "S3Uri": _joined(judged, "evaluation", "metrics.json")}
    report = {"ContentType": "text/html", "S3Uri": _joined(judged, "report.html")}
    model = {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    least = ("; macro F1 must be at least ", _value("MinimumF1"))
    return {
        "Name": name,
        "Type": "RegisterModel",
        "RetryPolicies": [_PASSING],
        "Arguments": {
            "ModelPackageGroupName": _value(GROUP),
            "ModelPackageDescription": _joined({"Get": "Steps.Judge.ExitMessage"}, *least, on=""),
            "ModelApprovalStatus": status,
            "InferenceSpecification": {
                "Containers": [{"Image": plan.inference_image, "ModelDataUrl": model}],
                "SupportedContentTypes": list(CONTENT_TYPES),
                "SupportedResponseMIMETypes": ["application/json"],
            },
            "ModelMetrics": {"ModelQuality": {"Statistics": statistics}, "Explainability": {"Report": report}},
            "MetadataProperties": {"CommitId": _value("CommitId")},
            "CustomerMetadataProperties": {
                "run": _value("RunKey"),
                "key": {"Get": "Steps.Fetch.ExitMessage"},
                "manifest": {"Get": "Steps.Preprocess.ExitMessage"},
                "recipe": {"Get": "Steps.Evaluate.ExitMessage"},
                "project": _value("ProjectKey"),
                "registered_as": status,
                "pipeline": plan.name,
                "execution": {"Get": "Execution.PipelineExecutionId"},
            },
        },
    }


def _train(plan: PipelinePlan) -> Json:
    stopping = {"MaxRuntimeInSeconds": plan.seconds}
    # SageMaker refuses a waiting time without spot, so spot can be no parameter of an execution.
    spot = {"EnableManagedSpotTraining": True} if plan.spot else {}
    stopping |= {"MaxWaitTimeInSeconds": max(plan.seconds, min(2 * plan.seconds, LONGEST))} if plan.spot else {}
    arguments: Json = {
        "AlgorithmSpecification": {
            "TrainingImage": plan.training_image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-m", "labelloop"],
            "ContainerArguments": ["train"],
        },
        "HyperParameters": {name: _value(spelled(name)) for name in PARAMETERS},
        "InputDataConfig": [
            _channel(RUN, "S3Prefix", _folder(plan, "preprocess")),
            _channel(PICTURES, "ManifestFile", _joined(_folder(plan, "fetch"), SHARDS)),
        ],
        "OutputDataConfig": {"S3OutputPath": _folder(plan, "train")},
        "CheckpointConfig": {"S3Uri": _folder(plan, "checkpoints"), "LocalPath": "/opt/ml/checkpoints"},
        "TensorBoardOutputConfig": {
            "S3OutputPath": _folder(plan, "tensorboard"),
            "LocalPath": "/opt/ml/output/tensorboard",
        },
        "ResourceConfig": _cluster("TrainInstanceType", plan.disk),
        "StoppingCondition": stopping,
        "RoleArn": plan.role,
        "Environment": dict(plan.environment),
        **spot,
    }
    return {
        "Name": "Train",
        "Type": "Training",
        "DependsOn": ["Preprocess"],
        "RetryPolicies": [_PASSING, _CAPACITY],
        "Arguments": arguments,
    }


def _processing(
    plan: PipelinePlan,
    name: str,
    after: str,
    inputs: Iterable[Json],
    *,
    arguments: Iterable[Any] = (),
    outputs: Iterable[Json] = (),
    more: Mapping[str, Any] | None = None,
) -> Json:
    """Make the step of a stage, after another one: it gets the run's folder and leaves it."""
    return {
        "Name": name,
        "Type": "Processing",
        "DependsOn": [after] if after else [],
        "RetryPolicies": [_PASSING, _CAPACITY],
        "Arguments": {
            "AppSpecification": {
                "ImageUri": plan.training_image,
                "ContainerEntrypoint": ["python", "-m", "labelloop"],
                "ContainerArguments": ["stage", name.lower(), *arguments],
            },
            "ProcessingInputs": list(inputs),
            "ProcessingOutputConfig": {"Outputs": [_output(RUN, _folder(plan, name.lower())), *outputs]},
            "ProcessingResources": {"ClusterConfig": _cluster("ProcessingInstanceType", plan.disk)},
            "StoppingCondition": {"MaxRuntimeInSeconds": DAY},
            "RoleArn": plan.role,
            "Environment": {**plan.environment, **(more or {})},
        },
    }


def _cluster(parameter: str, disk: int) -> Json:
    return {"InstanceCount": 1, "InstanceType": _value(parameter), "VolumeSizeInGB": disk}


def _value(parameter: str) -> Json:
    return {"Get": f"Parameters.{parameter}"}


def _joined(*values: Any, on: str = "/") -> Json:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def _folder(plan: PipelinePlan, step: str) -> Json:
    """Give the folder of a step of an execution, as ``places.results`` says."""
    return _joined(_value("Location"), plan.name, "executions", {"Get": "Execution.PipelineExecutionId"}, step)


def _earlier(plan: PipelinePlan, step: str) -> Json:
    return _input(RUN, _folder(plan, step))


def _pictures(plan: PipelinePlan) -> Json:
    return _input(PICTURES, _joined(_folder(plan, "fetch"), SHARDS), "ManifestFile")


def _input(name: str, uri: Any, kind: str = "S3Prefix") -> Json:
    place = {"S3Uri": uri, "LocalPath": f"{_INSIDE}/{INPUT}/{name}", "S3DataType": kind, "S3InputMode": "File"}
    return {"InputName": name, "S3Input": place}


def _output(name: str, uri: Any) -> Json:
    return {
        "OutputName": name,
        "S3Output": {"S3Uri": uri, "LocalPath": f"{_INSIDE}/{name}", "S3UploadMode": "EndOfJob"},
    }


def _channel(name: str, kind: str, uri: Any) -> Json:
    source = {"S3DataType": kind, "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "InputMode": "File", "DataSource": {"S3DataSource": source}}
