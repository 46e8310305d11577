"""What a pipeline is made of: by which images, as whom, with which parameters, from the settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from labelloop.cloud.places import handed_on
from labelloop.errors import SettingsError
from labelloop.settings import Settings
from labelloop.training_parameters import LOCATIONS, PARAMETERS
from labelloop.types import Json

DAY = 86_400
"""Seconds."""

LONGEST = 28 * DAY
"""A training job of SageMaker may take no longer."""

NOBODY = "none"
"""A parameter that says nothing: SageMaker takes no empty text where packages are described."""

GROUP = "ModelPackageGroup"
"""The parameter that says where packages are registered."""


@dataclass(frozen=True, kw_only=True)
class PipelinePlan:
    """What a pipeline is made of: its name, who runs it, by which images, and what its parameters are by default.

    ``values`` are defaults of parameters by their names in a pipeline. ``spot``: train on spare capacity, waiting for
    it as long again as training may take. ``disk`` is each instance's, in GB; ``seconds`` the longest training.
    """

    name: str
    role: str
    training_image: str
    inference_image: str
    environment: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    spot: bool = False
    disk: int = 50
    seconds: int = DAY


def plan_of(settings: Settings, name: str, region: str = "", **choices: Any) -> PipelinePlan:
    """Make a plan from the settings; raises SettingsError naming the first that is missing."""
    needed = {
        "LABELLOOP_AWS_ROLE": (settings.aws_role, "the ARN of the role that the steps run as"),
        "LABELLOOP_AWS_TRAINING_IMAGE": (settings.aws_training_image, "the worker's image in ECR: the steps run it"),
        "LABELLOOP_AWS_INFERENCE_IMAGE": (settings.aws_inference_image, "the inference image in ECR: packages name it"),
    }
    for variable, (value, what) in needed.items():
        if not value:
            raise SettingsError(f"a pipeline needs {variable}: {what} (docs/aws.md)")
    return PipelinePlan(
        name=name,
        role=settings.aws_role,
        training_image=settings.aws_training_image,
        inference_image=settings.aws_inference_image,
        environment=_environment(settings, region),
        **choices,
    )


def _environment(settings: Settings, region: str) -> dict[str, str]:
    """Give the variables of every step; the store is named where steps can read it."""
    told = handed_on(settings)
    if settings.store_address.startswith("s3://"):
        told["LABELLOOP_STORE"] = settings.store_address
    return told | ({"AWS_DEFAULT_REGION": region} if region else {})


def spelled(name: str) -> str:
    """Spell a run's parameter as a pipeline's: ``learning_rate`` is ``LearningRate``."""
    return "".join(part.capitalize() for part in name.split("_"))


def parameters_of_run(given: Mapping[str, str]) -> dict[str, str]:
    """Spell a run's parameters as a pipeline's."""
    return {spelled(name): value for name, value in given.items()}


def parameters(plan: PipelinePlan) -> list[Json]:
    """Give the pipeline's parameters with their defaults; raises SettingsError for one that cannot be."""
    texts = {
        **{spelled(name): "" for name in LOCATIONS},
        **{spelled(name): "" for name in PARAMETERS},
        "TrainInstanceType": "ml.m5.xlarge",
        "ProcessingInstanceType": "ml.m5.xlarge",
        "ApprovalStatus": "Approved",
        "RunKey": NOBODY,
        "Location": "",
        GROUP: plan.name,
        "CommitId": NOBODY,
        "ProjectKey": "local/1",
    }
    unknown = sorted(set(plan.values) - {*texts, "MinimumF1"})
    if unknown:
        raise SettingsError(
            f"the pipeline has no parameter {unknown[0]}; it has {', '.join(sorted((*texts, 'MinimumF1')))}"
        )
    found = [_parameter(name, plan.values.get(name, default)) for name, default in texts.items()]
    return [*found, {"Name": "MinimumF1", "Type": "Float", "DefaultValue": _number(plan.values.get("MinimumF1", "0"))}]


def _parameter(name: str, default: str) -> Json:
    # What nobody could guess has to be given at every start.
    needed = name == "TrainLocation" and not default
    return {"Name": name, "Type": "String"} | ({} if needed else {"DefaultValue": default})


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f"MinimumF1 is {text!r}: give a number from 0 to 1") from error
