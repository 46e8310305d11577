"""Vertex AI Pipelines: jobs of a pipeline's specification, whose containers really run, one task after the other.

A specification is that of Kubeflow Pipelines 2 (``pipeline_spec.proto``) as far as tasks of containers go:
``root.dag`` with tasks that depend on each other, their parameters, ``components`` and ``deploymentSpec.executors``.
Artifacts, loops and conditions are not run. A task may be a function of Python instead: see ``tasks``.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from labelloop.types import Json
from support.google.front import Route
from support.google.gcs import split
from support.google.jobs import over_quota
from support.google.listing import listed
from support.google.names import PIPELINE_JOB_ID, check_display_name, check_id, check_labels, new_id, only_query
from support.google.operations import Operations
from support.google.programs import Program, Runs
from support.google.wire import Call, Refused, failed, invalid, missing, now, without_nothing

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
_FILTERED = ("pipelineName", "displayName", "state", "labels", "templateUri")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "STRING": (str,),
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
}

Task = Callable[[Json, Json], None]
"""Does what a task does: takes its parameters, and the job as it is described; raises Refused where it fails."""


@dataclass
class PipelineRun:
    """One job: what was asked for, and what has become of it and its tasks."""

    name: str
    told: Json
    parameters: Json
    program: Program
    state: str = "PENDING"
    error: Refused | None = None
    done: list[Json] = field(default_factory=list)
    created: str = field(default_factory=now)
    started: str = ""
    ended: str = ""

    def describe(self) -> Json:
        """Give what Vertex AI answers."""
        return without_nothing(
            {
                "name": self.name,
                **self.told,
                "state": f"PIPELINE_STATE_{self.state}",
                "error": self.error.rpc if self.error else None,
                "jobDetail": {"taskDetails": self.done} if self.done else None,
                "createTime": self.created,
                "startTime": self.started,
                "endTime": self.ended,
                "updateTime": self.ended or self.started or self.created,
            }.items()
        )

    def become(self, state: str, error: Refused | None = None) -> None:
        """Change; what has ended stays as it is."""
        if self.state in ENDED:
            return
        self.state, self.error = state, error
        if state == "RUNNING":
            self.started = self.started or now()
        if state in ENDED:
            self.ended = now()


@dataclass
class Pipelines:
    """All pipeline jobs; ``tasks`` are functions that do what a task of that name does, in the place of its container.

    A task in ``hanging`` goes on until its job is cancelled; ``quota`` are metrics that a new job would exceed.
    """

    runs: Runs
    operations: Operations
    tasks: dict[str, Task] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)
    quota: list[str] = field(default_factory=list)
    jobs: dict[str, PipelineRun] = field(default_factory=dict)
    _faults: dict[str, list[Refused]] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        at = "aiplatform:{} pipelineJobs{}".format
        kind = "pipelineJobs"
        return [
            Route(at("POST", ""), f"{kind}.create", self._create, "PipelineJob", "pipeline_job", None),
            Route(at("GET", ""), f"{kind}.list", self._list, query=None),
            Route(at("GET", "/*"), f"{kind}.get", lambda call: self._named(call).describe()),
            Route(at("POST", "/*:cancel"), f"{kind}.cancel", self._cancel),
            Route(at("DELETE", "/*"), f"{kind}.delete", self._delete),
        ]

    def forget(self) -> None:
        """Stop and forget everything."""
        self.runs.forget()
        self.jobs.clear()
        self.tasks.clear()
        self.hanging.clear()
        self.quota.clear()
        self._faults.clear()

    def fail(self, task: str, status: str, message: str) -> None:
        """Let a task fail the next time that it is run."""
        self._faults.setdefault(task, []).append(Refused(status, message))

    def newest(self) -> PipelineRun:
        """Give the job that was begun last."""
        return list(self.jobs.values())[-1]

    # What Vertex AI answers.
    def _create(self, call: Call) -> Json:
        only_query(call, "pipelineJobId")
        told, wanted = dict(call.body), call.query.get("pipelineJobId", "")
        check_display_name(told.get("displayName", ""))
        check_labels(told.get("labels", {}))
        spec, parameters = _specification(told), _parameters(told)
        if wanted:
            check_id("Pipeline job id", wanted, PIPELINE_JOB_ID)
        if self.quota:
            raise over_quota(*self.quota)
        name = f"{call.parent}/pipelineJobs/{wanted or spec['pipelineInfo']['name'] + '-' + new_id(14)}"
        with self.operations.lock:
            if name in self.jobs:
                raise Refused("ALREADY_EXISTS", f"PipelineJob {name} already exists.")
            run = PipelineRun(name, told, parameters, self.runs.program(name.rpartition("/")[2]))
            self.jobs[name] = run
            said = run.describe()
        self.runs.begin(lambda: self._run(run, call))
        return said

    def _list(self, call: Call) -> Json:
        with self.operations.lock:
            found = [one.describe() for one in self.jobs.values() if one.name.startswith(f"{call.parent}/")]
            return listed(call, found, "pipelineJobs", _FILTERED, ("createTime", "updateTime", "endTime", "startTime"))

    def _cancel(self, call: Call) -> Json:
        run = self._named(call)
        if run.state in ENDED:
            raise failed(f"PipelineJob {run.name} is in state PIPELINE_STATE_{run.state} and cannot be cancelled.")
        run.become("CANCELLING")
        self.runs.begin(run.program.stop)
        return {}

    def _delete(self, call: Call) -> Json:
        run = self._named(call)
        if run.state not in ENDED:
            raise failed(f"PipelineJob {run.name} is in state PIPELINE_STATE_{run.state}: cancel it first.")

        def delete() -> Json:
            self.jobs.pop(run.name, None)
            return {}

        return self.operations.begin("delete", run.name, delete, "DeleteOperationMetadata")

    def _named(self, call: Call) -> PipelineRun:
        if call.resource not in self.jobs:
            raise missing("PipelineJob", call.resource)
        return self.jobs[call.resource]

    # What happens to a job.
    def _run(self, run: PipelineRun, call: Call) -> None:
        run.become("RUNNING")
        spec = run.told["pipelineSpec"]
        for name in _in_order(spec["root"]["dag"]["tasks"]):
            if run.program.stopping.is_set():
                break
            task = {"taskName": name, "createTime": now(), "startTime": now()}
            error = self._task(run, call, name)
            stopped = run.program.stopping.is_set()
            state = "CANCELLED" if stopped else "FAILED" if error else "SUCCEEDED"
            run.done.append(task | {"state": state, "endTime": now()} | ({"error": error.rpc} if error else {}))
            if error and not stopped:
                said = f"The DAG failed because some tasks failed. The failed tasks are: [{name}]. {error.message}"
                run.become("FAILED", failed(said))
                return
        if run.program.stopping.is_set():
            run.become("CANCELLED", Refused("CANCELLED", "The PipelineJob was cancelled."))
        run.become("SUCCEEDED")

    def _task(self, run: PipelineRun, call: Call, name: str) -> Refused | None:
        """Do one task; gives what it failed by."""
        spec = run.told["pipelineSpec"]
        task = spec["root"]["dag"]["tasks"][name]
        try:
            if self._faults.get(name):
                raise self._faults[name].pop(0)
            if name in self.hanging:
                run.program.stopping.wait()
                return None
            given = _given(task, run.parameters)
            if name in self.tasks:
                self.tasks[name](given, run.describe())
                return None
            self._container(run, call, spec, task, given)
        except Refused as error:
            return error
        return None

    def _container(self, run: PipelineRun, call: Call, spec: Json, task: Json, given: Json) -> None:
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        container = spec["deploymentSpec"]["executors"][label]["container"]
        words = [*container.get("command", ()), *container.get("args", ())]
        environment = {
            **self.runs.environment(),
            **self.runs.image_environment,
            **{one["name"]: one["value"] for one in container.get("env", ())},
            "CLOUD_ML_PROJECT_ID": call.project,
            "CLOUD_ML_REGION": call.location,
        }
        root = run.told["runtimeConfig"]["gcsOutputDirectory"]
        fixed = {"pipeline_root": root, "pipeline_job_name": run.name.rpartition("/")[2]}
        status = run.program.run([_filled(word, given, fixed) for word in words], environment, run.told)
        if status:
            said = run.program.log.read_text(errors="replace")[-500:].strip()
            raise failed(f"The replica workerpool0-0 exited with a non-zero status of {abs(status)}. {said}")


def _specification(told: Json) -> Json:
    """Give the specification; raises Refused for what is none, or lies elsewhere."""
    if told.get("templateUri"):
        raise invalid(
            "template_uri: only templates of the Vertex Template Registry and Gallery are supported "
            "(https://LOCATION-kfp.pkg.dev/...), and the stand-in has none: send pipeline_spec."
        )
    spec = told.get("pipelineSpec")
    if not isinstance(spec, dict) or "runtimeConfig" not in told:
        raise invalid("pipeline_spec and runtime_config have to be set.")
    try:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", spec["pipelineInfo"]["name"]):
            raise invalid(f"Invalid pipeline name: {spec['pipelineInfo']['name']!r}.")
        if not spec["schemaVersion"].startswith("2."):
            raise invalid(f"Unsupported schema version: {spec['schemaVersion']}.")
        for name, task in spec["root"]["dag"]["tasks"].items():
            label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
            if label not in spec["deploymentSpec"]["executors"]:
                raise invalid(f"Task {name} has no executor {label}.")
    except (KeyError, TypeError, AttributeError) as error:
        raise invalid(f"Invalid pipeline_spec: {type(error).__name__}: {error}") from None
    split(told["runtimeConfig"]["gcsOutputDirectory"])
    return spec


def _parameters(told: Json) -> Json:
    """Give all parameters, the defaults too; raises Refused for one that lacks, is unknown, or of another type."""
    defined = told["pipelineSpec"]["root"].get("inputDefinitions", {}).get("parameters", {})
    given = told["runtimeConfig"].get("parameterValues", {})
    strange = [name for name in given if name not in defined]
    if strange:
        raise invalid(f"The pipeline has no parameter {strange[0]!r}.")
    found: Json = {}
    for name, one in defined.items():
        if name not in given and "defaultValue" not in one and not one.get("isOptional"):
            raise invalid(f"The pipeline parameter {name!r} is required.")
        value = given.get(name, one.get("defaultValue"))
        kinds = _TYPES.get(one["parameterType"], (object,))
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise invalid(f"The pipeline parameter {name!r} is no {one['parameterType']}: {value!r}.")
        found[name] = value
    return found


def _in_order(tasks: Mapping[str, Json]) -> Iterator[str]:
    """Give tasks after those that they depend on."""
    left, done = dict(tasks), set[str]()
    while left:
        ready = [name for name, task in left.items() if {*task.get("dependentTasks", ())} <= done]
        if not ready:
            return
        for name in ready:
            yield name
            done.add(name)
            del left[name]


def _given(task: Json, parameters: Json) -> Json:
    """Give a task's own parameters."""
    told = task.get("inputs", {}).get("parameters", {})
    return {name: _value(one, parameters) for name, one in told.items()}


def _value(told: Json, parameters: Json) -> Any:
    if "componentInputParameter" in told:
        return parameters[told["componentInputParameter"]]
    return told["runtimeValue"]["constant"]


def _filled(word: str, parameters: Json, fixed: Mapping[str, str]) -> str:
    """Put values into a container's word, as ``{{$.inputs.parameters['name']}}`` names them."""

    def of(found: re.Match[str]) -> str:
        if found[2]:
            return fixed[found[2]]
        value = parameters[found[1]]
        return value if isinstance(value, str) else json.dumps(value)

    return re.sub(r"\{\{\$\.(?:inputs\.parameters\['([^']+)'\]|(pipeline_root|pipeline_job_name))\}\}", of, word)
