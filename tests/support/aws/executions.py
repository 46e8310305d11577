"""SageMaker's pipelines: executions whose steps really run, one after another, in a thread each."""

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import sagemaker_backends

from labelloop.types import Json
from support.aws import storage
from support.aws.definitions import Definition, DefinitionError, Resolver, dependencies, refuse_strangers
from support.aws.events import Events
from support.aws.front import Handler
from support.aws.jobs import PROCESSING, TRAINING, Job, Jobs, stop
from support.aws.wire import Call, Refused, invalid, page, without_nothing

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,81}")
_ENDED = ("Succeeded", "Failed", "Stopped")


@dataclass
class Step:
    """One step of an execution that has begun; ``known`` is what references to it see."""

    name: str
    kind: str
    status: str = "Executing"
    reason: str = ""
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
                "AttemptCount": 1,
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
class Executions:
    """All executions, and what tests do to their steps.

    ``client`` gives a client of the stand-in.
    """

    jobs: Jobs
    events: Events
    client: Callable[..., Any]
    executions: dict[str, Execution] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict)
    _hanging: set[str] = field(default_factory=set)
    _failing: dict[str, list[str]] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock)

    def operations(self) -> dict[str, Handler]:
        """Give what is answered here."""
        return {
            "sagemaker:CreatePipeline": self._check,
            "sagemaker:UpdatePipeline": self._check,
            "sagemaker:StartPipelineExecution": self._start,
            "sagemaker:StopPipelineExecution": self._stop,
            "sagemaker:RetryPipelineExecution": self._retry,
            "sagemaker:DescribePipelineExecution": self._describe,
            "sagemaker:ListPipelineExecutions": self._list,
            "sagemaker:ListPipelineExecutionSteps": self._list_steps,
            "sagemaker:ListPipelineParametersForExecution": self._list_parameters,
            "sagemaker:DescribePipelineDefinitionForExecution": self._describe_definition,
        }

    def forget(self) -> None:
        """Stop and forget everything."""
        for execution in list(self.executions.values()):
            self._end(execution)
        for execution in list(self.executions.values()):
            if execution.thread is not None:
                execution.thread.join()
        self.executions.clear()
        self._tokens.clear()
        self._hanging.clear()
        self._failing.clear()

    # What a test does.
    def hang(self, step: str) -> None:
        """Let steps of this name begin, do nothing, and never end unless they are stopped."""
        self._hanging.add(step)

    def fail_step(self, step: str, reason: str, times: int = 1) -> None:
        """Let the next steps of this name fail for a reason, without being run."""
        self._failing.setdefault(step, []).extend([reason] * times)

    def interrupt(self, step: str) -> None:
        """Take the machine of a running step away, as AWS does with spot instances; raises LookupError."""
        for execution in self.executions.values():
            found = execution.steps.get(step)
            if found and found.job and found.job.child:
                self.jobs.interrupt(found.job)
                return
        raise LookupError(f"no step {step} is running")

    def wait(self, arn: str = "", seconds: float = 120) -> str:
        """Wait until an execution, or else the newest, has ended; gives its status, and raises TimeoutError."""
        execution = self.executions[arn] if arn else next(reversed(self.executions.values()))
        assert execution.thread is not None
        execution.thread.join(seconds)
        if execution.thread.is_alive():
            raise TimeoutError(f"{arn} is {execution.status} after {seconds} s")
        return execution.status

    # What AWS answers.
    def _check(self, call: Call) -> None:
        if call.parameters.get("PipelineDefinition"):
            try:
                Definition.read(call.parameters["PipelineDefinition"])
            except DefinitionError as error:
                raise invalid(str(error)) from None

    def _start(self, call: Call) -> Json:
        with self._lock:
            token = call.parameters["ClientRequestToken"]
            if token not in self._tokens:
                execution = self._made(call)
                self.executions[execution.arn] = execution
                self._tokens[token] = execution.arn
                self._go(execution)
            return {"PipelineExecutionArn": self._tokens[token]}

    def _made(self, call: Call) -> Execution:
        name = call.parameters["PipelineName"].rpartition("/")[2]
        pipeline = sagemaker_backends[DEFAULT_ACCOUNT_ID][call.region].pipelines.get(name)
        if pipeline is None:
            raise Refused("ResourceNotFound", f"Pipeline '{call.arn('pipeline', name)}' does not exist.")
        display = call.parameters.get("PipelineExecutionDisplayName")
        if display is not None and _NAME.fullmatch(display) is None:
            raise invalid(f"Value '{display}' at 'pipelineExecutionDisplayName' must satisfy {_NAME.pattern}")
        try:
            definition = Definition.read(pipeline.pipeline_definition)
            values = definition.values(call.parameters.get("PipelineParameters") or [])
        except DefinitionError as error:
            raise invalid(str(error)) from None
        one = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=12))
        pipeline.last_execution_time = datetime.now(UTC)
        arn = call.arn("pipeline", f"{name}/execution/{one}")
        return Execution(arn, call.parameters, pipeline.pipeline_definition, definition, values)

    def _stop(self, call: Call) -> Json:
        execution = self._named(call)
        if execution.status != "Executing":
            raise invalid(f"Pipeline execution {execution.arn} cannot be stopped: it is {execution.status}.")
        threading.Thread(target=self._end, args=(execution,), daemon=True).start()
        return {"PipelineExecutionArn": execution.arn}

    def _retry(self, call: Call) -> Json:
        execution = self._named(call)
        if execution.status not in ("Failed", "Stopped"):
            raise invalid(f"Pipeline execution {execution.arn} cannot be retried: it is {execution.status}.")
        execution.stopping.clear()
        execution.reason = ""
        self._go(execution)
        return {"PipelineExecutionArn": execution.arn}

    def _describe(self, call: Call) -> Json:
        execution = self._named(call)
        return without_nothing(
            {
                "PipelineArn": execution.arn.partition("/execution/")[0],
                "PipelineExecutionArn": execution.arn,
                "PipelineExecutionDisplayName": execution.request.get("PipelineExecutionDisplayName"),
                "PipelineExecutionStatus": execution.status,
                "PipelineExecutionDescription": execution.request.get("PipelineExecutionDescription"),
                "FailureReason": execution.reason or None,
                "CreationTime": execution.created,
                "LastModifiedTime": execution.modified,
            }.items()
        )

    def _list(self, call: Call) -> Json:
        name = call.parameters["PipelineName"].rpartition("/")[2]
        if name not in sagemaker_backends[DEFAULT_ACCOUNT_ID][call.region].pipelines:
            raise Refused("ResourceNotFound", f"Pipeline '{call.arn('pipeline', name)}' does not exist.")
        found = [one for one in self.executions.values() if (one.pipeline, one.region) == (name, call.region)]
        if call.parameters.get("SortOrder") != "Ascending":
            found.reverse()
        told = [
            without_nothing(
                {
                    "PipelineExecutionArn": one.arn,
                    "StartTime": one.created,
                    "PipelineExecutionStatus": one.status,
                    "PipelineExecutionDescription": one.request.get("PipelineExecutionDescription"),
                    "PipelineExecutionDisplayName": one.request.get("PipelineExecutionDisplayName"),
                    "PipelineExecutionFailureReason": one.reason or None,
                }.items()
            )
            for one in found
        ]
        return page(call, told, "PipelineExecutionSummaries")

    def _list_steps(self, call: Call) -> Json:
        told = [one.describe() for one in self._named(call).steps.values()]
        if call.parameters.get("SortOrder") != "Ascending":
            told.reverse()
        return page(call, told, "PipelineExecutionSteps")

    def _list_parameters(self, call: Call) -> Json:
        execution = self._named(call)
        told = [{"Name": name, "Value": str(value)} for name, value in execution.values.items()]
        return page(call, told, "PipelineParameters")

    def _describe_definition(self, call: Call) -> Json:
        execution = self._named(call)
        return {"PipelineDefinition": execution.text, "CreationTime": execution.created}

    def _named(self, call: Call) -> Execution:
        arn = call.parameters["PipelineExecutionArn"]
        if arn not in self.executions:
            raise Refused("ResourceNotFound", f"Pipeline execution '{arn}' does not exist.")
        return self.executions[arn]

    # How an execution runs.
    def _go(self, execution: Execution) -> None:
        self._now(execution, "Executing")
        execution.thread = threading.Thread(target=self._run, args=(execution,), daemon=True)
        execution.thread.start()

    def _end(self, execution: Execution) -> None:
        with self._lock:
            if execution.status != "Executing":
                return
            execution.stopping.set()
            self._now(execution, "Stopping")
        for step in list(execution.steps.values()):
            if step.status == "Executing":
                step.status = "Stopping"
                if step.job is not None:
                    stop(step.job)

    def _now(self, execution: Execution, status: str) -> None:
        before, execution.status, execution.modified = execution.status, status, time.time()
        moment = datetime.fromtimestamp(execution.created, UTC)
        detail = without_nothing(
            {
                "pipelineArn": execution.arn.partition("/execution/")[0],
                "pipelineExecutionArn": execution.arn,
                "pipelineExecutionDisplayName": execution.request.get("PipelineExecutionDisplayName"),
                "currentPipelineExecutionStatus": status,
                "previousPipelineExecutionStatus": before,
                "executionStartTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            }.items()
        )
        kind = "SageMaker Model Building Pipeline Execution Status Change"
        self.events.emit(kind, execution.region, [execution.arn], detail)

    def _run(self, execution: Execution) -> None:
        waiting = list(execution.definition.steps)
        done: set[str] = set()
        while waiting and not execution.stopping.is_set():
            ready = next((one for one in waiting if dependencies(one) <= done), None)
            if ready is None:  # what is left waits for a branch that was not taken
                break
            waiting.remove(ready)
            step = self._run_step(execution, ready)
            if step.status != "Succeeded":
                break
            done.add(step.name)
            if step.kind == "Condition":
                taken = "IfSteps" if step.metadata["Condition"]["Outcome"] == "True" else "ElseSteps"
                waiting[:0] = ready["Arguments"].get(taken) or []
        with self._lock:
            if execution.stopping.is_set():
                self._now(execution, "Stopped")
            elif any(step.status == "Failed" for step in execution.steps.values()):
                execution.reason = "Step failure: One or multiple steps failed."
                self._now(execution, "Failed")
            else:
                self._now(execution, "Succeeded")

    def _run_step(self, execution: Execution, told: Json) -> Step:
        before = execution.steps.get(told["Name"])
        if before is not None and before.status == "Succeeded":  # a retry begins where it failed
            return before
        step = execution.steps[told["Name"]] = Step(told["Name"], told["Type"])
        try:
            refuse_strangers(told)
            self._fail_as_told(step)
            if step.name in self._hanging:
                execution.stopping.wait()
            else:
                _ACTS[step.kind](self, execution, step, told)
        except (DefinitionError, storage.NothingThere) as error:
            step.status, step.reason = "Failed", str(error)
        except (ClientError, ParamValidationError) as error:
            step.status, step.reason = "Failed", f"ClientError: {error}"
        except (KeyError, TypeError, ValueError) as error:
            step.status = "Failed"
            step.reason = f"ClientError: step {step.name} cannot be read: {type(error).__name__}: {error}"
        if execution.stopping.is_set() and step.status in ("Executing", "Stopping"):
            step.status = "Stopped"
        elif step.status == "Executing":
            step.status = "Succeeded"
        step.ended = time.time()
        return step

    def _fail_as_told(self, step: Step) -> None:
        reasons = self._failing.get(step.name)
        if reasons:
            raise DefinitionError(reasons.pop(0))

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
        suffix = "".join(random.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789", k=10))
        root = execution.arn.partition(":pipeline/")[0]
        job = self.jobs.make(kind, f"{root}:{kind.arn}/pipelines-{execution.id}-{step.name}-{suffix}", request)
        step.job, step.metadata = job, {kind.word: {"Arn": job.arn}}
        if execution.stopping.is_set():
            stop(job)
        self.jobs.run(job)
        step.known = job.describe() | {"PropertyFiles": _property_files(told, request)}
        if job.status == "Failed":
            step.status, step.reason = "Failed", f"ClientError: {job.reason.removeprefix('ClientError: ')}"

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


_ACTS: dict[str, Callable[[Executions, Execution, Step, Json], None]] = {
    "Processing": Executions._run_job,
    "Training": Executions._run_job,
    "Condition": Executions._decide,
    "RegisterModel": Executions._register,
    "Fail": Executions._give_up,
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
