"""SageMaker's pipelines: executions whose steps really run, one after another, in a thread each."""

import random
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import sagemaker_backends

from labelloop.types import Json
from support.aws.definitions import Definition, DefinitionError, dependencies
from support.aws.events import Events
from support.aws.front import Handler
from support.aws.job import stop
from support.aws.steps import Execution, Fault, Steps
from support.aws.wire import Call, Refused, invalid, page, without_nothing

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,81}")


@dataclass
class Executions:
    """All executions, and what tests do to their steps."""

    steps: Steps
    events: Events
    executions: dict[str, Execution] = field(default_factory=dict)
    _tokens: dict[str, str] = field(default_factory=dict)
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
        self.steps.hanging.clear()
        self.steps.failing.clear()

    # What a test does.
    def hang(self, step: str) -> None:
        """Let steps of this name begin, do nothing, and never end unless they are stopped."""
        self.steps.hanging.add(step)

    def fail_step(self, step: str, reason: str, times: int = 1, *, kind: str = "") -> None:
        """Let the next tries of steps of this name fail for a reason, without being run.

        ``kind`` is what a retry policy knows it by, such as ``SageMaker.CAPACITY_ERROR``.
        """
        self.steps.failing.setdefault(step, []).extend(Fault(reason, kind) for _ in range(times))

    def interrupt(self, step: str) -> None:
        """Take the machine of a running step away, as AWS does with spot instances; raises LookupError."""
        for execution in self.executions.values():
            found = execution.steps.get(step)
            if found and found.job and found.job.child:
                self.steps.jobs.interrupt(found.job)
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
            step = self.steps.run(execution, ready)
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
