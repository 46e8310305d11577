"""Steps of an execution as they run: jobs, conditions, packages, and what a test lets happen to them."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError
from botocore.loaders import create_loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from labelloop.types import Json
from support.aws import storage
from support.aws.definitions import Definition, DefinitionError, Resolver, refuse_strangers
from support.aws.job import PROCESSING, TRAINING, Job, Kind, stop
from support.aws.jobs import Jobs
from support.aws.wire import without_nothing

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789"


class Fault(DefinitionError):
    """What a step fails by; ``kind`` is the exception by which its retry policies know it, if they do."""

    def __init__(self, reason: str, kind: str = "") -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass
class Step:
    """One step of an execution that has begun; ``known`` is what references to it see."""

    name: str
    kind: str
    status: str = "Executing"
    reason: str = ""
    attempts: int = 1
    started: float = field(default_factory=time.time)
    ended: float | None = None
    metadata: Json = field(default_factory=dict)
    known: Json = field(default_factory=dict)
    job: Job | None = None

    def describe(self) -> Json:
        """Give what ListPipelineExecutionSteps says of it."""
        return without_nothing(
            {
                "StepName": self.name,
                "StepStatus": self.status,
                "StartTime": self.started,
                "EndTime": self.ended,
                "FailureReason": self.reason or None,
                "Metadata": self.metadata or None,
                "AttemptCount": self.attempts,
            }.items()
        )


@dataclass
class Execution:
    """One execution of a pipeline, as it was defined when it began."""

    arn: str
    request: Json
    text: str
    definition: Definition
    values: dict[str, Any]
    status: str = "Executing"
    reason: str = ""
    created: float = field(default_factory=time.time)
    modified: float = field(default_factory=time.time)
    steps: dict[str, Step] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def region(self) -> str:
        return self.arn.split(":")[3]

    @property
    def pipeline(self) -> str:
        return self.arn.split("/")[1]


@dataclass
class Steps:
    """Runs steps. ``client`` gives a client of the stand-in."""

    jobs: Jobs
    client: Callable[..., Any]
    hanging: set[str] = field(default_factory=set)
    failing: dict[str, list[Fault]] = field(default_factory=dict)

    def run(self, execution: Execution, told: Json) -> Step:
        """Run a step to its end, whatever that is; one that a retry finds done is left as it is."""
        before = execution.steps.get(told["Name"])
        if before is not None and before.status == "Succeeded":
            return before
        step = execution.steps[told["Name"]] = Step(told["Name"], told["Type"])
        while self._try(execution, step, told):
            step.attempts += 1
        if execution.stopping.is_set() and step.status in ("Executing", "Stopping"):
            step.status = "Stopped"
        elif step.status == "Executing":
            step.status = "Succeeded"
        step.ended = time.time()
        return step

    def _try(self, execution: Execution, step: Step, told: Json) -> bool:
        """Try a step once; says whether its policies want another try, which follows without a pause."""
        try:
            self._act(execution, step, told)
        except Fault as error:
            if _tries(told, error.kind) > step.attempts:
                return True
            reason = str(error)
        except (DefinitionError, storage.NothingThere) as error:
            reason = str(error)
        except (ClientError, ParamValidationError) as error:
            reason = f"ClientError: {error}"
        except (KeyError, TypeError, ValueError) as error:
            reason = f"ClientError: step {step.name} cannot be read: {type(error).__name__}: {error}"
        else:
            return False
        step.status, step.reason = "Failed", reason
        return False

    def _act(self, execution: Execution, step: Step, told: Json) -> None:
        refuse_strangers(told)
        faults = self.failing.get(step.name)
        if faults:
            raise faults.pop(0)
        if step.name in self.hanging:
            execution.stopping.wait()
        else:
            _ACTS[step.kind](self, execution, step, told)

    def _resolver(self, execution: Execution) -> Resolver:
        known = {step.name: step.known for step in execution.steps.values()}
        about = {
            "PipelineExecutionId": execution.id,
            "PipelineExecutionArn": execution.arn,
            "PipelineName": execution.pipeline,
            "PipelineArn": execution.arn.partition("/execution/")[0],
            "StartDateTime": datetime.fromtimestamp(execution.created, UTC).isoformat(),
            "CurrentDateTime": datetime.now(UTC).isoformat(),
        }
        s3 = self.client("s3", execution.region)
        return Resolver(execution.values, about, known, lambda place: storage.read(s3, place))

    def _run_job(self, execution: Execution, step: Step, told: Json) -> None:
        kind = TRAINING if step.kind == "Training" else PROCESSING
        request = self._resolver(execution).resolve(told["Arguments"])
        _check(kind, request)
        suffix = "".join(random.choices(_LETTERS, k=10))
        root = execution.arn.partition(":pipeline/")[0]
        job = self.jobs.make(kind, f"{root}:{kind.arn}/pipelines-{execution.id}-{step.name}-{suffix}", request)
        step.job, step.metadata = job, {kind.word: {"Arn": job.arn}}
        if execution.stopping.is_set():
            stop(job)
        self.jobs.run(job)
        step.known = job.describe() | {"PropertyFiles": _property_files(told, request)}
        if job.status == "Failed":
            raise Fault(f"ClientError: {job.reason.removeprefix('ClientError: ')}")

    def _decide(self, execution: Execution, step: Step, told: Json) -> None:
        resolver = self._resolver(execution)
        holds = all(resolver.holds(one) for one in told["Arguments"]["Conditions"])
        step.metadata = {"Condition": {"Outcome": str(holds)}}
        step.known = {"Outcome": holds}

    def _register(self, execution: Execution, step: Step, told: Json) -> None:
        sagemaker = self.client("sagemaker", execution.region)
        made = sagemaker.create_model_package(**self._resolver(execution).resolve(told["Arguments"]))
        step.metadata = {"RegisterModel": {"Arn": made["ModelPackageArn"]}}
        step.known = {"ModelPackageArn": made["ModelPackageArn"]}

    def _give_up(self, execution: Execution, step: Step, told: Json) -> None:
        message = self._resolver(execution).resolve(told["Arguments"].get("ErrorMessage", ""))
        step.metadata = {"Fail": {"ErrorMessage": message}}
        raise DefinitionError(message)


_ACTS: dict[str, Callable[[Steps, Execution, Step, Json], None]] = {
    "Processing": Steps._run_job,
    "Training": Steps._run_job,
    "Condition": Steps._decide,
    "RegisterModel": Steps._register,
    "Fail": Steps._give_up,
}


def _property_files(told: Json, request: Json) -> dict[str, str]:
    """Say where in S3 the property files of a step are."""
    outputs = {
        one["OutputName"]: one["S3Output"]["S3Uri"]
        for one in (request.get("ProcessingOutputConfig") or {}).get("Outputs") or ()
    }
    return {
        one["PropertyFileName"]: f"{outputs[one['OutputName']].rstrip('/')}/{one['FilePath']}"
        for one in told.get("PropertyFiles") or ()
        if one["OutputName"] in outputs
    }


def _tries(told: Json, kind: str) -> int:
    """Say how often a step's policies try it where it fails by this exception, the first time included."""
    policies = [one for one in told.get("RetryPolicies") or () if kind and kind in one["ExceptionType"]]
    return 1 + max((one.get("MaxAttempts", 0) for one in policies), default=0)


@cache
def _shape(kind: Kind) -> Any:
    model = ServiceModel(create_loader().load_service_model("sagemaker", "service-2"), "sagemaker")
    return model.operation_model(f"Create{kind.word}").input_shape


def _check(kind: Kind, request: Json) -> None:
    """Refuse a request that SageMaker would; raises Fault."""
    wrong = ParamValidator().validate({**request, f"{kind.word}Name": "job"}, _shape(kind))
    said = wrong.generate_report() if wrong.has_errors() else ""
    waits = "MaxWaitTimeInSeconds" in (request.get("StoppingCondition") or {})
    if waits and not request.get("EnableManagedSpotTraining"):
        said = "MaxWaitTimeInSeconds is only for managed spot training"
    if said:
        raise Fault(f"ClientError: Failed to invoke sagemaker:Create{kind.word}. Error Details: {said}")
