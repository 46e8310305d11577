"""Jobs of Vertex AI that runs have begun: custom jobs, and executions of pipelines.

cloud.google.com/vertex-ai, REST reference, ``customJobs`` and ``pipelineJobs``. A job is known by the resource name
that Google gave it; whoever was killed before that was kept finds it by the label of its run. Display names are for
people alone.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from labelloop.cloud.google.client import Google
from labelloop.errors import CloudError, CloudMissing
from labelloop.types import Json

LABEL = "labelloop-run"

_WAITS = ("QUEUED", "PENDING")
_FAILED = ("FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")


@dataclass(frozen=True, slots=True)
class Job:
    """A job as Google tells of it: its resource name, its ``state`` (``RUNNING``), and ``told``, all the rest."""

    name: str
    state: str
    told: Json

    @property
    def stands(self) -> Literal["running", "done", "failed"]:
        """Say whether it goes on: one that is being stopped does, until it has ended."""
        return "failed" if self.state in _FAILED else "done" if self.state == "SUCCEEDED" else "running"

    @property
    def waits(self) -> bool:
        """Whether it has no machine yet, or none any more."""
        return self.state in _WAITS

    @property
    def run(self) -> str:
        """Give the label of its run."""
        return str(self.told.get("labels", {}).get(LABEL, ""))

    @property
    def error(self) -> str:
        """Say in Google's words why it failed; empty where they are not there."""
        return str((self.told.get("error") or {}).get("message") or "")


@dataclass(frozen=True)
class Jobs:
    """The jobs of one ``sort``, ``customJobs`` or ``pipelineJobs``, in a location; asks as Google says."""

    google: Google
    sort: str

    def check(self) -> None:
        """Ask for one, whichever: raises CloudDenied, CloudMissing, or what else is in the way of asking."""
        query = {"pageSize": "1", "filter": f"labels.{LABEL}:*"}
        self.google.ask("GET", self._parent, query=query, what=f"the {self.sort} in {self.google.parent}")

    def of(self, key: str) -> list[Job]:
        """Give the jobs that were begun for a run, by its key, the newest first."""
        query = {"filter": f'labels.{LABEL}="{run_label(key)}"'}
        told = self.google.listing(self._parent, self.sort, query=query, what=f"the {self.sort} of run {key}")
        return [_job(one) for one in sorted(told, key=lambda one: str(one.get("createTime", "")), reverse=True)]

    def begin(self, key: str, body: Json, before: Sequence[Job]) -> Job:
        """Begin a run's job that has these ``before`` it; one whose answer was lost is looked up, not begun again."""
        body = {**body, "labels": {LABEL: run_label(key)}}
        # Executions of pipelines may be given ids, by which Google itself refuses a second one.
        chosen = f"labelloop-{run_label(key)}-{_next_number(before)}" if self.sort == "pipelineJobs" else ""
        query = {"pipelineJobId": chosen} if chosen else None
        try:
            return _job(self.google.ask("POST", self._parent, body, query=query, what=f"a new one of the {self.sort}"))
        except CloudError:
            known = {one.name for one in before}
            if new := [one for one in self.of(key) if one.name not in known]:
                return new[0]
            with suppress(CloudMissing):
                if chosen:
                    return self.look(f"{self._parent}/{chosen}")
            raise

    def look(self, name: str) -> Job:
        """Look how a job stands; raises CloudMissing."""
        return _job(self.google.ask("GET", name, what=f"job {name}"))

    def cancel(self, name: str) -> None:
        """End a job, unless it has ended; raises CloudMissing."""
        if self.look(name).stands != "running":
            return
        try:
            self.google.ask("POST", f"{name}:cancel", {}, what=f"the end of job {name}")
        except CloudError:
            # It may have ended by itself meanwhile, or is being ended.
            found = self.look(name)
            if found.stands == "running" and found.state != "CANCELLING":
                raise

    @property
    def _parent(self) -> str:
        return f"{self.google.parent}/{self.sort}"


def run_label(key: str) -> str:
    """Spell a run's key as the value of a label, which has lower case letters, digits and dashes alone."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _next_number(before: Sequence[Job]) -> int:
    """Give a number that no id of these ends in: somebody may have deleted some of them."""
    ends = (one.name.rpartition("-")[2] for one in before)
    return max((int(end) + 1 for end in ends if end.isdecimal()), default=0)


def _job(told: Json) -> Job:
    state = str(told.get("state", "")).removeprefix("JOB_STATE_").removeprefix("PIPELINE_STATE_")
    return Job(str(told.get("name", "")), state, told)
