"""A trainer elsewhere: its jobs lie in a folder and go on whatever becomes of the process that began them.

They train numbers (support.numbers_kind) when they are collected. What a real one charges for is a job that runs.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from labelloop.errors import TrainingError
from labelloop.run.context import Context
from labelloop.trainers.base import Training
from labelloop.types import Answer, Failure, Input, Json


@dataclass(frozen=True)
class CloudJob:
    """One job: of which run, and how it stands: running, done, failed or cancelled."""

    name: str
    key: str
    state: str = "running"


class CloudTrainer:
    """Keeps its jobs in ``folder``; ``step`` is told where a process may be killed."""

    name, elsewhere, predicts, ours = "cloud", True, False, False

    def __init__(self, folder: Path, step: Callable[[str], None] = lambda _: None) -> None:
        self._folder, self._step = folder, step
        folder.mkdir(parents=True, exist_ok=True)

    def check(self, *, thorough: bool) -> None:
        """It is there."""

    def start(self, context: Context, key: str) -> str:  # noqa: ARG002 - a trainer is started in one way
        self._step("before start")
        found = self.find(key)
        if found and self.job(found).state in ("running", "done"):
            return found
        self._step("in start")
        name = f"job-{len(self.jobs()) + 1}"
        self._write(CloudJob(name, key))
        self._step("after start")
        return name

    def find(self, key: str) -> str:
        return next((job.name for job in reversed(self.jobs()) if job.key == key), "")

    def poll(self, handle: str) -> Training:
        state = self.job(handle).state
        if state == "cancelled":
            return Training("failed", reason="it was cancelled")
        if state == "failed":
            return Training("failed", reason="its machine was taken away")
        return Training("done") if state == "done" else Training("running", "epochs", 3, 10)

    def collect(self, handle: str, context: Context) -> Json:
        if self.job(handle).state != "done":
            raise TrainingError(f"{handle} is not done")
        return context.kind.train(context)

    def cancel(self, handle: str) -> None:
        self._step("before cancel")
        if self.job(handle).state == "running":
            self.settle(handle, "cancelled")

    def predict(self, model: str, inputs: Sequence[Input]) -> list[Answer | Failure]:
        raise AssertionError(f"{model} is a bundle and is not asked about {len(inputs)} inputs")

    def settle(self, name: str, state: str) -> None:
        """Let a job end."""
        self._write(replace(self.job(name), state=state))

    def jobs(self) -> list[CloudJob]:
        """All jobs there ever were, in the order they were begun."""
        files = sorted(self._folder.glob("job-*.json"), key=lambda file: int(file.stem.partition("-")[2]))
        return [CloudJob(**json.loads(file.read_text())) for file in files]

    def running(self) -> list[CloudJob]:
        """The jobs that are being paid for."""
        return [job for job in self.jobs() if job.state == "running"]

    def job(self, name: str) -> CloudJob:
        """One job."""
        return CloudJob(**json.loads((self._folder / f"{name}.json").read_text()))

    def _write(self, job: CloudJob) -> None:
        (self._folder / f"{job.name}.json").write_text(json.dumps(asdict(job)))
