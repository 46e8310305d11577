"""A custom job of Vertex AI with our image: it gets labels and pictures, makes all stages, and gives a run back.

One job on one machine, with all of its GPUs. Its machine may be taken away: on the next one it goes on from the last
checkpoint, for these lie in Cloud Storage.
"""

import json
import re
from typing import TYPE_CHECKING, Self

from labelloop.cloud.google.jobs import Job
from labelloop.cloud.google.machines import unfit
from labelloop.cloud.google.objects import Folder
from labelloop.cloud.places import FAILURE, PROGRESS, RECORD, RUN, TOLD, handed_on, job_folder
from labelloop.errors import CloudMissing, SettingsError, TrainingError
from labelloop.settings import Settings
from labelloop.trainers.base import Training
from labelloop.trainers.own import hand_over, require_elsewhere, require_recipes, take_run
from labelloop.trainers.vertex import VertexAddress, VertexTrainer
from labelloop.types import Json

if TYPE_CHECKING:
    from labelloop.run.context import Context

_EXAMPLE = "vertex-job://PROJECT/LOCATION?machine=n1-standard-8&gpu=NVIDIA_TESLA_T4&spot=yes"
_OPTIONS = {
    "machine": (r"[a-z]\w*(-\w+)+", "a machine type, such as n1-standard-8"),
    "gpu": (r"[A-Z][A-Z0-9_]+", "an accelerator type, such as NVIDIA_TESLA_T4"),
    "gpus": (r"[1-9]\d?", "a number of GPUs"),
    "spot": (r"yes|no", "yes or no"),
    "disk": (r"[1-9]\d{2,4}", "the size of a disk in GB, at least 100"),
}
"""What an address may say of the machine, each with its form."""

_MACHINE = "n1-standard-8"


class OwnJob(VertexTrainer):
    """Runs `labelloop train` there: the run's parameters are its arguments, and what it leaves is a run's folder."""

    ours = True
    sort = "customJobs"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Open the trainer of the settings; raises SettingsError."""
        address = VertexAddress.parse(settings.trainer, tuple(_OPTIONS), _EXAMPLE)
        for name, value in address.options.items():
            form, what = _OPTIONS[name]
            if not re.fullmatch(form, value, re.ASCII):
                raise SettingsError(f"LABELLOOP_TRAINER: {name}={value[:40]} is not {what}")
        if "gpus" in address.options and "gpu" not in address.options:
            raise SettingsError("LABELLOOP_TRAINER: gpus says how many; which they are says gpu=NVIDIA_TESLA_T4")
        if wrong := unfit(address.options.get("machine", _MACHINE), address.options.get("gpu", "")):
            raise SettingsError(f"LABELLOOP_TRAINER: {wrong}")
        return cls(address, settings)

    def check(self, *, thorough: bool) -> None:
        """Look at all that every job needs, and for files that only this machine has; see Trainer."""
        require_elsewhere(self._settings, self.name)
        if not self._settings.google_training_image:
            raise TrainingError(
                f"{self.name} runs our image: set LABELLOOP_GOOGLE_TRAINING_IMAGE to the worker's, in Artifact "
                "Registry (docs/trainers.md)"
            )
        super().check(thorough=thorough)

    def _hand_over(self, context: "Context", key: str) -> Json:
        """Write the labels and the pictures; what an earlier job of this run told of itself goes."""
        require_recipes(context, self.name, "with vertex-pipeline:// or command:")
        place, base = hand_over(self.folder, context, key, self.name), self.folder.below(job_folder(key))
        base.below(TOLD).remove()
        given = {"train_location": f"{place.uri}/", **context.parameters}
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value]
        container = {
            "imageUri": self._settings.google_training_image,
            "command": ["python", "-m", "labelloop"],
            "args": ["train", *arguments],
            "env": [{"name": name, "value": value} for name, value in handed_on(self._settings).items()],
        }
        pool = {**self._machine(), "replicaCount": "1", "containerSpec": container}
        return {
            "jobSpec": {
                "workerPoolSpecs": [pool],
                "scheduling": self._scheduling(),
                "baseOutputDirectory": {"outputUriPrefix": base.uri},
                **self._account,
            }
        }

    def _machine(self) -> Json:
        told = self._address.options
        machine: Json = {"machineType": told.get("machine", _MACHINE)}
        if "gpu" in told:
            machine |= {"acceleratorType": told["gpu"], "acceleratorCount": int(told.get("gpus", "1"))}
        # Which types of disk there are depends on the machine: without a size, Google takes one that fits.
        disk = {"diskSpec": {"bootDiskSizeGb": int(told["disk"])}} if "disk" in told else {}
        return {"machineSpec": machine, **disk}

    def _scheduling(self) -> Json:
        """Say how long it may take, and that it may begin anew on another machine where its own is taken away."""
        timeout = {"timeout": f"{self._settings.training_seconds:.0f}s"}
        if self._address.options.get("spot") != "yes":
            return timeout
        return {**timeout, "strategy": "SPOT", "restartJobOnWorkerRestart": True}

    def _base(self, found: Job) -> Folder:
        """Give the folder that a job works in, as it was begun."""
        uri = found.told["jobSpec"]["baseOutputDirectory"]["outputUriPrefix"]
        return Folder(self.google, str(uri))

    def _is_there(self, job: Job) -> bool:
        return self._base(job).below(RUN).has(RECORD)

    def _running(self, job: Job) -> Training:
        """Say what the container told last."""
        try:
            told = json.loads(self._base(job).below(TOLD).read(PROGRESS))
            stage, what = str(told["stage"]), str(told["what"])
            what = what if what == stage else f"{stage}: {what}"
            return Training("running", what, int(told["done"]), int(told["total"]))
        except CloudMissing:
            return Training("running", "begins")
        except (ValueError, TypeError, KeyError):
            return Training("running")

    def _why(self, job: Job) -> str:
        """Say what the container said last, else what Google says."""
        if job.state == "CANCELLED":
            return f"it was stopped, by somebody or at its limit, {_LIMIT}"
        if job.state == "EXPIRED":
            return f"it took longer than it may, {_LIMIT}"
        try:
            return self._base(job).below(TOLD).read(FAILURE).decode(errors="replace")
        except CloudMissing:
            return _remedied(job.error or f"it ended as {job.state}", self._address.location)

    def collect(self, handle: str, context: "Context") -> Json:
        """Take bundle, figures and report into the run's folder; see Trainer."""
        return take_run(self._base(self.jobs.look(handle)).below(RUN), context)


def _remedied(said: str, place: str) -> str:
    """Add to what Google says of a failed job what to do about it, where that is known."""
    found = next((remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, said, re.IGNORECASE)), "")
    return f"{said.rstrip('.')}: {found.format(place=place)}" if found else said


_LIMIT = "LABELLOOP_TRAINING_SECONDS"
_AGAIN = (
    "begun again, it goes on from its last checkpoint. Take spot=yes out of the address, or name another location or "
    "machine, where that comes again and again"
)
_PUSHED = (
    "push the image that LABELLOOP_GOOGLE_TRAINING_IMAGE names, and let Vertex AI read it "
    "(roles/artifactregistry.reader)"
)
_REMEDIES = {
    r"timed? ?out|deadline": f"its limit is {_LIMIT}",
    r"quota|RESOURCE_EXHAUSTED": "ask Google for more of that quota in {place}, or name another machine or gpu",
    r"preempt|stockout|resources? (are|is) insufficient|does not have enough resources": _AGAIN,
    r"status of 137|OOMKilled|out of memory": "take a machine with more memory, or a smaller LABELLOOP_BATCH_SIZE",
    r"(image|manifest).*(not found|does not exist|pull|denied|unknown|invalid)|(pull|fetch).*image": _PUSHED,
    r"permission|denied|forbidden": "give what it lacks to the account that jobs run as (docs/trainers.md)",
}
"""What Google says of failed jobs, and what helps. Wordings: Vertex AI, "Troubleshooting" and "Serverless training
service"; Compute Engine, "Resource availability errors"."""
