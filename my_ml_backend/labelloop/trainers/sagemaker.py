"""``sagemaker-pipeline://NAME?region=R``: a run is one execution of a SageMaker pipeline (docs/trainers.md).

The execution's display name is the run's key: by that it is looked up before one is started, so that there are never
two.
"""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urlsplit

from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.executions import RUNNING, Execution, Pipeline, Step
from labelloop.cloud.aws.objects import Folder, location_of
from labelloop.errors import (
    CloudDenied,
    CloudError,
    CloudMissing,
    SettingsError,
    TrainingError,
)
from labelloop.settings import Settings
from labelloop.trainers.base import Training, looked_at, waited_for
from labelloop.types import Answer, Failure, Input, Json

if TYPE_CHECKING:
    from labelloop.run.context import Context

_SCHEME = "sagemaker-pipeline"
_EXAMPLE = f"{_SCHEME}://NAME?region=eu-west-1"
_OPTIONS = ("manifest", "manifest_format", "validation_manifest", "test_manifest", "group", "judge", "instance")
"""What is said of a pipeline that is not ours."""

_PARAMETER = "parameter."


@dataclass(frozen=True, slots=True)
class PipelineAddress:
    """An address taken apart: the pipeline's ``name``, options, and ``parameters`` that each execution is given."""

    name: str
    region: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it is a pipeline of our stages, and not one that is told where it finds its labels."""
        return "manifest" not in self.options

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Read the settings' trainer; None where that is no pipeline. Raises SettingsError."""
        return cls.parse(settings.trainer) if settings.trainer.startswith(f"{_SCHEME}:") else None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address; raises SettingsError."""
        parts = urlsplit(text)
        if not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}", parts.netloc) or parts.path.strip("/"):
            raise SettingsError(f"LABELLOOP_TRAINER: expected a pipeline's name: {_EXAMPLE}")
        given = parse_qsl(parts.query, keep_blank_values=True)
        parameters = {name.removeprefix(_PARAMETER): value for name, value in given if name.startswith(_PARAMETER)}
        options = {name: value for name, value in given if not name.startswith(_PARAMETER)}
        if len(options) + len(parameters) != len(given):
            raise SettingsError(f"LABELLOOP_TRAINER: an option of {_EXAMPLE} is given twice")
        if strange := [name for name in options if name not in ("region", *_OPTIONS)]:
            possible = ", ".join(("region", *_OPTIONS, f"{_PARAMETER}NAME"))
            raise SettingsError(
                f"LABELLOOP_TRAINER: {_SCHEME}:// knows no option {strange[0][:40]!r}. Possible are {possible}"
            )
        if empty := [name for name, value in options.items() if not value]:
            raise SettingsError(f"LABELLOOP_TRAINER: the option {empty[0]} of {_EXAMPLE} needs a value")
        found = cls(parts.netloc, options.pop("region", ""), options, parameters)
        if found.ours and options:
            raise SettingsError(
                f"LABELLOOP_TRAINER: {next(iter(options))} is for a pipeline that is not ours: name the parameter that "
                "takes its labels, too, as in manifest=InputManifest"
            )
        return found


class PipelineTrainer(ABC):
    """What is the same for every pipeline: one execution for a key, how it stands, and its end."""

    elsewhere, predicts, ours = True, False, False

    def __init__(self, address: PipelineAddress, settings: Settings) -> None:
        self._address, self._settings = address, settings
        self.name = f"{_SCHEME}://{address.name}"

    @cached_property
    def account(self) -> Account:
        """Who we are; raises SettingsError where no region is known."""
        return Account(self._address.region)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline."""
        return Pipeline(self.account, self._address.name)

    @property
    def folder(self) -> Folder:
        """The folder in S3 where files are handed over; raises SettingsError where the settings name none."""
        return Folder(self.account, location_of(self._settings)).below(self._address.name)

    def check(self, *, thorough: bool) -> None:
        """Look at the address; and whether who we are there may do all of it, the pipeline is there and takes it."""
        location_of(self._settings)
        if not thorough:
            return
        with looked_at(self.name):
            self.account.number()
            self._require_parameters(self._gives())
            next(self.pipeline.executions(), None)
            self.folder.check()

    @abstractmethod
    def _gives(self) -> Sequence[str]:
        """Name the parameters that an execution is given."""

    @abstractmethod
    def _hand_over(self, context: "Context", key: str) -> dict[str, str]:
        """Bring the labels of a run to where the execution finds them; gives the execution's parameters."""

    @abstractmethod
    def collect(self, handle: str, context: "Context") -> Json:
        """Take over what the execution has made; see Trainer."""

    def start(self, context: "Context", key: str) -> str:
        """Begin the execution of a key, unless it goes on or is done; one that failed is begun anew. See Trainer."""
        before = [one for one in self.pipeline.executions() if one.name == display_name(key)]
        if before and before[0].status in (*RUNNING, "Succeeded"):
            return before[0].arn
        parameters = {**self._hand_over(context, key), **self._address.parameters}
        self._require_parameters(tuple(parameters))
        # AWS lists an execution a moment after it has begun: until then it is known by this.
        token = hashlib.sha256(f"{self.name}\n{key}\n{len(before)}".encode()).hexdigest()
        return self.pipeline.start(display_name(key), parameters, token).arn

    def find(self, key: str) -> str:
        """Give the ARN of the newest execution of a key."""
        with waited_for():
            found = self.pipeline.find(display_name(key))
        return found.arn if found else ""

    def poll(self, handle: str) -> Training:
        """Say how many of the steps are done, and which one runs."""
        try:
            with waited_for():
                execution = self.pipeline.look(handle)
                steps = self._steps(handle)
                if execution.status in RUNNING:
                    return self._running(execution, steps)
        except CloudMissing as error:
            return Training("failed", reason=str(error))
        if execution.status == "Succeeded":
            return Training("done")
        return Training("failed", reason=_why(execution, steps))

    def cancel(self, handle: str) -> None:
        """Stop the execution."""
        with waited_for():
            try:
                self.pipeline.stop(handle)
            except CloudMissing:
                return

    def predict(self, model: str, inputs: Sequence[Input], classes: tuple[str, ...] = ()) -> list[Answer | Failure]:
        """What this pipeline makes answers by its bundle."""
        raise TrainingError(
            f"{model} cannot be asked for {len(inputs)} answers ({len(classes)} classes) by {self.name}"
        )

    def _running(self, execution: Execution, steps: Sequence[Step]) -> Training:
        going = [step.name for step in steps if step.status in ("Starting", "Executing", "Stopping")]
        done = sum(step.status == "Succeeded" for step in steps)
        what = f"step {', '.join(going)}" if going else "steps"
        return Training("running", "stopping" if execution.status == "Stopping" else what, done, self._count)

    @cached_property
    def _count(self) -> int:
        """How many steps the pipeline has, of branches the longer one; 0 where it cannot be asked."""
        try:
            return _counted(self._definition().get("Steps", []))
        except CloudError:
            return 0

    def _steps(self, handle: str) -> list[Step]:
        """Give the steps; none where we may not see them, for without them it goes on as well."""
        try:
            return self.pipeline.steps(handle)
        except CloudDenied:
            return []

    def _definition(self) -> Json:
        try:
            found: Json = json.loads(self.pipeline.describe()["PipelineDefinition"])
        except (ValueError, KeyError) as error:
            raise CloudError(f"the definition of pipeline {self._address.name} cannot be read: {error}") from error
        return found

    def _require_parameters(self, given: Sequence[str]) -> None:
        """Refuse parameters that the pipeline has not, which AWS would refuse without naming those that it has."""
        known = [str(one.get("Name")) for one in self._definition().get("Parameters", [])]
        if missing := [name for name in given if name not in known]:
            raise CloudError(
                f"pipeline {self._address.name} has no parameter {missing[0]}; it has {', '.join(known) or 'none'}: "
                f"{self._remedy}"
            )

    _remedy = "correct the address of the trainer"


def display_name(key: str) -> str:
    """Spell a run's key as the name of an execution, which has no dots."""
    return key.replace(".", "-")


def _why(execution: Execution, steps: Sequence[Step]) -> str:
    """Say why an execution did not succeed: by its failed steps, else as it says itself."""
    failed = [f"step {step.name}: {step.reason or 'it gives no reason'}" for step in steps if step.status == "Failed"]
    said = "; ".join(failed) or execution.reason
    return said or ("it was stopped" if execution.status == "Stopped" else f"it ended as {execution.status}")


def _counted(steps: Sequence[Json]) -> int:
    branches = ([step.get("Arguments", {}).get(name, []) for name in ("IfSteps", "ElseSteps")] for step in steps)
    return len(steps) + sum(max(map(_counted, either)) for either in branches)
