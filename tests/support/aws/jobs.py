"""Training and processing jobs, which really run: as AWS answers for them, and as a test or an execution runs one."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from botocore.exceptions import ClientError

from labelloop.children import stop_group
from labelloop.types import Json
from support.aws import storage
from support.aws.containers import Containers, JobFailed
from support.aws.front import Handler
from support.aws.job import GRACE, PROCESSING, TRAINING, Job, Kind, stop
from support.aws.wire import Call, invalid, page


@dataclass
class Jobs:
    """All jobs. Each has a folder of its name below ``folder``, with ``opt/ml`` and ``log.txt`` in it."""

    folder: Path
    containers: Containers
    jobs: dict[str, Job] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    def operations(self) -> dict[str, Handler]:
        """Give what is answered here."""
        answered: dict[str, Handler] = {}
        for kind in (TRAINING, PROCESSING):
            answered |= {
                f"sagemaker:Create{kind.word}": self._create(kind),
                f"sagemaker:Describe{kind.word}": self._describe(kind),
                f"sagemaker:Stop{kind.word}": self._stop(kind),
                f"sagemaker:List{kind.word}s": self._list(kind),
            }
        return answered

    def forget(self) -> None:
        """Stop and forget everything."""
        for job in list(self.jobs.values()):
            stop(job)
        for thread in self.threads:
            thread.join()
        self.threads.clear()
        self.jobs.clear()
        self.containers.commands.clear()
        self.containers.image_environment.clear()

    def make(self, kind: Kind, arn: str, request: Json) -> Job:
        """Note a job that has not begun; raises Refused where its name is taken."""
        name = arn.rpartition("/")[2]
        if arn in self.jobs:
            raise invalid(f"{kind.word} names must be unique within an AWS account and region. {name} exists already.")
        self.jobs[arn] = Job(kind, arn, request, self.folder / name)
        return self.jobs[arn]

    def run(self, job: Job) -> None:
        """Run a job to its end, whatever that is: its status and reason say it."""
        job.started = time.time()
        try:
            self.containers.run(job)
            job.status = "Completed"
        except (storage.NothingThere, ValueError, JobFailed) as error:
            job.status, job.reason = "Failed", str(error)
        except ClientError as error:
            job.status, job.reason = "Failed", f"ClientError: {error}"
        with job.lock:
            if job.stopping.is_set():
                job.status, job.reason = "Stopped", ""
            job.ended = time.time()
        self.containers.keep_log(job)

    def interrupt(self, job: Job) -> None:
        """Take the job's machine away, as happens to spot instances: it begins anew with its checkpoints."""
        job.interrupted = True
        if job.child is not None:
            stop_group(job.child, GRACE)

    # What AWS answers.
    def _create(self, kind: Kind) -> Handler:
        def create(call: Call) -> Json:
            request = dict(call.parameters)
            job = self.make(kind, call.arn(kind.arn, request.pop(f"{kind.word}Name")), request)
            thread = threading.Thread(target=self.run, args=(job,), daemon=True)
            self.threads.append(thread)
            thread.start()
            return {f"{kind.word}Arn": job.arn}

        return create

    def _describe(self, kind: Kind) -> Handler:
        return lambda call: self._named(kind, call).describe()

    def _stop(self, kind: Kind) -> Handler:
        def end(call: Call) -> Json:
            job = self._named(kind, call)
            if job.status == "InProgress":
                threading.Thread(target=stop, args=(job,), daemon=True).start()
            return {}

        return end

    def _list(self, kind: Kind) -> Handler:
        def give(call: Call) -> Json:
            asked = call.parameters
            found = [
                job
                for job in self.jobs.values()
                if job.kind is kind
                and job.region == call.region
                and asked.get("NameContains", "") in job.name
                and asked.get("StatusEquals", job.status) == job.status
            ]
            newest = sorted(found, key=lambda job: job.created, reverse=asked.get("SortOrder") != "Ascending")
            names = tuple(f"{kind.word}{end}" for end in ("Name", "Arn", "Status"))
            shown = (*names, "CreationTime", "LastModifiedTime")
            told = [{key: value for key, value in job.describe().items() if key in shown} for job in newest]
            return page(call, told, f"{kind.word}Summaries")

        return give

    def _named(self, kind: Kind, call: Call) -> Job:
        arn = call.arn(kind.arn, call.parameters[f"{kind.word}Name"])
        if arn not in self.jobs:
            raise invalid(f"Requested resource not found: Could not find {kind.arn} '{arn}'.")
        return self.jobs[arn]
