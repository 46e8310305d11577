"""Custom jobs, which really run: as Vertex AI answers for them, and what a test lets happen to them."""

import json
import threading
from dataclasses import dataclass, field
from typing import Any

from labelloop.types import Json
from support.google.front import Route, error_info
from support.google.gcs import split
from support.google.listing import listed
from support.google.names import check_display_name, check_labels, check_machine, new_id
from support.google.operations import Operations
from support.google.programs import Program, Runs
from support.google.wire import Call, Refused, failed, invalid, missing, now, seconds, without_nothing

_ENTRYPOINT = ("python", "-m", "labelloop")
"""The entry point of our training image."""

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "PARTIALLY_SUCCEEDED", "EXPIRED")
FILTERED = ("state", "displayName", "labels")


@dataclass
class Job:
    """One custom job: what was asked for, and what has become of it."""

    name: str
    request: Json
    program: Program
    state: str = "PENDING"
    error: Refused | None = None
    created: str = field(default_factory=now)
    started: str = ""
    ended: str = ""
    updated: str = field(default_factory=now)

    @property
    def id(self) -> str:
        return self.name.rpartition("/")[2]

    @property
    def spec(self) -> Json:
        spec: Json = self.request["jobSpec"]
        return spec

    def describe(self) -> Json:
        """Give what Vertex AI answers."""
        return without_nothing(
            {
                "name": self.name,
                **self.request,
                "state": f"JOB_STATE_{self.state}",
                "createTime": self.created,
                "startTime": self.started,
                "endTime": self.ended,
                "updateTime": self.updated,
                "error": self.error.rpc if self.error else None,
            }.items()
        )

    def become(self, state: str, error: Refused | None = None) -> None:
        """Change; what has ended stays as it is."""
        if self.state in ENDED:
            return
        self.state, self.error, self.updated = state, error, now()
        if state == "RUNNING":
            self.started = self.started or self.updated
        if state in ENDED:
            self.ended = self.updated


@dataclass
class Jobs:
    """All custom jobs. ``quota`` are metrics that a new one would exceed; ``held`` lets jobs wait for machines."""

    runs: Runs
    operations: Operations
    jobs: dict[str, Job] = field(default_factory=dict)
    quota: list[str] = field(default_factory=list)
    restarts: int = 3
    """How often a program is begun anew where its machine was taken away."""
    _free: threading.Event = field(default_factory=threading.Event)
    _lock: Any = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        """Let machines be free."""
        self._free.set()

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        return [
            Route("aiplatform:POST customJobs", "customJobs.create", self._create, "CustomJob", "custom_job"),
            Route("aiplatform:GET customJobs", "customJobs.list", self._list, query=None),
            Route("aiplatform:GET customJobs/*", "customJobs.get", lambda call: self.named(call).describe()),
            Route("aiplatform:POST customJobs/*:cancel", "customJobs.cancel", self._cancel),
            Route("aiplatform:DELETE customJobs/*", "customJobs.delete", self._delete),
        ]

    def forget(self) -> None:
        """Stop and forget everything."""
        self._free.set()
        self.runs.forget()
        self.jobs.clear()
        self.quota.clear()
        self.restarts = 3

    def hold(self) -> None:
        """Let jobs that begin from now on stay PENDING, as where there are no machines just now."""
        self._free.clear()

    def release(self) -> None:
        """Let jobs have their machines."""
        self._free.set()

    def preempt(self, job: Job) -> None:
        """Take a job's machine away, as happens to spot instances: it begins anew, unless it may not."""
        job.program.preempt()

    def newest(self) -> Job:
        """Give the job that was begun last."""
        return list(self.jobs.values())[-1]

    def named(self, call: Call) -> Job:
        """Give the job that a call is about; raises Refused."""
        found = self.jobs.get(call.resource)
        if found is None:
            raise missing("CustomJob", call.resource)
        return found

    # What Vertex AI answers.
    def _create(self, call: Call) -> Json:
        _check(call.body)
        if self.quota:
            raise over_quota(*self.quota)
        with self._lock:
            name = f"{call.parent}/customJobs/{new_id()}"
            job = Job(name, dict(call.body), self.runs.program(name.rpartition("/")[2]))
            self.jobs[name] = job
            told = job.describe()
        self.runs.begin(lambda: self._run(job, call))
        return told

    def _list(self, call: Call) -> Json:
        with self._lock:
            return listed(
                call,
                [one.describe() for one in self.jobs.values() if one.name.startswith(call.parent + "/")],
                "customJobs",
                FILTERED,
            )

    def _cancel(self, call: Call) -> Json:
        job = self.named(call)
        if job.state in ENDED:
            raise failed(f"The CustomJob {job.name} is in state JOB_STATE_{job.state} and cannot be cancelled.")
        job.become("CANCELLING")
        self.runs.begin(job.program.stop)
        return {}

    def _delete(self, call: Call) -> Json:
        job = self.named(call)
        if job.state not in ENDED:
            raise failed(f"The CustomJob {job.name} is in state JOB_STATE_{job.state}: cancel it before it is deleted.")
        return self.operations.begin("delete", job.name, lambda: self._forgotten(job), "DeleteOperationMetadata")

    def _forgotten(self, job: Job) -> Json:
        self.jobs.pop(job.name, None)
        return {}

    # What happens to a job.
    def _run(self, job: Job, call: Call) -> None:
        while not self._free.wait(0.02) and not job.program.stopping.is_set():
            pass
        try:
            self._attempt(job, call)
        except Refused as error:
            job.become("FAILED", error)
        else:
            job.become("SUCCEEDED")

    def _attempt(self, job: Job, call: Call) -> None:
        """Run the program until it ends by itself; raises Refused for how it ended badly."""
        pool, scheduling = job.spec["workerPoolSpecs"][0], job.spec.get("scheduling", {})
        container = pool["containerSpec"]
        limit = seconds(scheduling["timeout"]) if "timeout" in scheduling else None
        while True:
            if not job.program.stopping.is_set():
                job.become("RUNNING")
            status = job.program.run(self._command(container), self._environment(job, call), job.request, limit)
            if job.program.stopping.is_set():
                job.become("CANCELLED", Refused("CANCELLED", "CustomJob is cancelled."))
                return
            if not job.program.preempted:
                break
            if scheduling.get("disableRetries") or job.program.attempts > self.restarts:
                raise Refused("UNAVAILABLE", "The replica workerpool0-0 was preempted, and the job is not restarted.")
            job.become("PENDING")
        if status:
            raise _exited(job, 128 - status if status < 0 else status)

    def _command(self, container: Json) -> list[str]:
        entry = container.get("command") or self.runs.commands.get(container["imageUri"]) or _ENTRYPOINT
        return [*entry, *container.get("args", ())]

    def _environment(self, job: Job, call: Call) -> dict[str, str]:
        spec = job.spec
        places = {}
        if "baseOutputDirectory" in spec:
            base = spec["baseOutputDirectory"]["outputUriPrefix"].rstrip("/")
            named = {"MODEL_DIR": "model", "CHECKPOINT_DIR": "checkpoints", "TENSORBOARD_LOG_DIR": "logs"}
            places = {f"AIP_{name}": f"{base}/{folder}/" for name, folder in named.items()}
        cluster = {"workerpool0": ["127.0.0.1:2222"]}
        task = {"type": "workerpool0", "index": 0}
        return {
            **self.runs.environment(),
            **self.runs.image_environment,
            **{one["name"]: one["value"] for one in spec["workerPoolSpecs"][0]["containerSpec"].get("env", ())},
            **places,
            "CLUSTER_SPEC": json.dumps({"cluster": cluster, "task": task, "environment": "cloud"}),
            "CLOUD_ML_PROJECT_ID": call.project,
            "CLOUD_ML_JOB_ID": job.id,
            "CLOUD_ML_REGION": call.location,
        }


def _check(job: Json) -> None:
    """Refuse what Vertex AI would not begin."""
    check_display_name(job["displayName"])
    check_labels(job.get("labels", {}))
    spec = job["jobSpec"]
    for number, pool in enumerate(spec["workerPoolSpecs"]):
        at = f"job_spec.worker_pool_specs[{number}]"
        if "containerSpec" not in pool and "pythonPackageSpec" not in pool:
            raise invalid(f"{at}: container_spec or python_package_spec has to be set.")
        if "containerSpec" not in pool:
            raise Refused("UNIMPLEMENTED", f"the stand-in runs containers, and {at} has none")
        if not pool.get("machineSpec", {}).get("machineType"):
            raise invalid(f"{at}.machine_spec.machine_type has to be set.")
        check_machine(pool["machineSpec"])
        if int(pool.get("replicaCount", "0")) < 1:
            raise invalid(f"{at}.replica_count has to be at least 1.")
    if int(spec["workerPoolSpecs"][0]["replicaCount"]) != 1:
        raise invalid("The first worker pool has exactly one replica.")
    if "baseOutputDirectory" in spec:
        split(spec["baseOutputDirectory"]["outputUriPrefix"])
    account = spec.get("serviceAccount")
    if account is not None and "@" not in account:
        raise invalid(f"Service account {account!r} is invalid: it is named by its email address.")
    if spec.get("tensorboard") and not account:
        raise invalid("service_account has to be set where tensorboard is.")


def over_quota(*metrics: str) -> Refused:
    """Say that a quota would be exceeded, as Vertex AI names it."""
    return Refused(
        "RESOURCE_EXHAUSTED",
        f"The following quota metrics exceed quota limits: {', '.join(metrics)}",
        error_info("RATE_LIMIT_EXCEEDED", "aiplatform", {"quota_metric": metrics[0]}),
    )


def _exited(job: Job, status: int) -> Refused:
    """Say how a program ended, and what it said last."""
    said = job.program.log.read_text(errors="replace")[-1024:] if job.program.log.is_file() else ""
    reason = "OOMKilled" if status == 137 else "Error"
    return invalid(
        f"The replica workerpool0-0 exited with a non-zero status of {status}. Termination reason: {reason}. "
        f"Termination log message: {said.strip()} To find out more about why your job exited please check the logs: "
        f"https://console.cloud.google.com/logs/viewer?resource=ml_job%2Fjob_id%2F{job.id}"
    )
