"""A pipeline in Vertex AI that is somebody else's: it gets the labels as it takes them, and leaves a bundle or a model.

What it leaves is what a program that trains leaves (docs/trainers.md), in the folder that it is given. The labels of
the test side are in nothing that it is given.
"""

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import yaml

from labelloop.cloud.google.client import Google
from labelloop.cloud.google.jobs import Job, run_label
from labelloop.cloud.google.objects import Folder
from labelloop.cloud.places import job_folder
from labelloop.data.formats.listings import FORMATS
from labelloop.errors import CloudError, SettingsError, TrainingError
from labelloop.settings import Settings
from labelloop.trainers.base import Training
from labelloop.trainers.cloud_labels import CloudLabels
from labelloop.trainers.handover import Handover
from labelloop.trainers.results import take_result
from labelloop.trainers.vertex import PARAMETER, VertexAddress, VertexTrainer
from labelloop.types import Json, Side

if TYPE_CHECKING:
    from labelloop.run.context import Context

RECIPE = "vertex-pipeline"
_EXAMPLE = f"{RECIPE}://PROJECT/LOCATION?template=gs://bucket/pipeline.yaml&manifest=PARAMETER&output=PARAMETER"
_MANIFESTS: Mapping[Side, str] = {
    "train": "manifest",
    "validation": "validation_manifest",
    "test": "test_manifest",
}
_NEEDED = ("template", "manifest", "output")
_OPTIONS = ("template", *_MANIFESTS.values(), "manifest_format", "output", PARAMETER)

_OUTPUT = "output"
_ENDED_WELL = ("SUCCEEDED", "SKIPPED", "NOT_TRIGGERED")


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled pipeline: its ``spec``, or the ``address`` in Artifact Registry by which Google reads it itself.

    ``types`` are those of its parameters, by their names; None where that is not known here.
    """

    address: str = ""
    spec: Json = field(default_factory=dict)
    types: Mapping[str, str] | None = None

    @classmethod
    def read(cls, address: str, google: Google) -> Self:
        """Read one; raises CloudError where it cannot be read."""
        if not address.startswith("gs://"):
            return cls(address)
        place, _, name = address.rpartition("/")
        try:
            found: Json = next(iter(yaml.safe_load_all(Folder(google, place).read(name))), {})
            spec = found.get("pipelineSpec", found)
            declared = spec["root"].get("inputDefinitions", {}).get("parameters", {})
            types = {key: str(one.get("parameterType") or "STRING") for key, one in declared.items()}
            version = str(spec["schemaVersion"])
        except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as error:
            raise CloudError(f"{address} is no compiled pipeline (kfp compiler, YAML or JSON): {error!r}") from error
        if version.startswith("2.0."):
            # PipelineJob.RuntimeConfig: such pipelines read ``parameters``, later ones ``parameterValues``.
            raise CloudError(
                f"{address} was compiled by an old kfp (schemaVersion {version}), whose parameters are "
                "given otherwise: compile the pipeline anew with kfp 2"
            )
        return cls("", spec, types)

    def values(self, given: Mapping[str, str]) -> Json:
        """Give parameters the types that the pipeline says; raises CloudError for one that it has not, or cannot be."""
        if self.types is None:
            return dict(given)
        if missing := [name for name in given if name not in self.types]:
            raise CloudError(
                f"the pipeline has no parameter {missing[0]}; it has {', '.join(self.types) or 'none'}: correct the "
                "address of the trainer"
            )
        return {name: _typed(name, value, self.types[name]) for name, value in given.items()}

    @property
    def tasks(self) -> int:
        """How many tasks it has; 0 where that is not known."""
        return len(self.spec.get("root", {}).get("dag", {}).get("tasks", {}))


def _typed(name: str, value: str, kind: str) -> Any:
    """Read a parameter's value as one of its type (ml_pipelines, ParameterType.ParameterTypeEnum)."""
    try:
        match kind:
            case "NUMBER_INTEGER":
                return int(value)
            case "NUMBER_DOUBLE":
                return float(value)
            case "BOOLEAN":
                return {"true": True, "false": False}[value.lower()]
            case "LIST" | "STRUCT":
                return json.loads(value)
            case _:
                return value
    except (ValueError, KeyError) as error:
        raise CloudError(f"parameter.{name}={value[:40]} is no {kind}, which the pipeline takes there") from error


class ForeignJob(VertexTrainer):
    """Hands labels over as lists in Cloud Storage, and takes what the pipeline leaves in the folder it is given."""

    sort = "pipelineJobs"

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Open the trainer of the settings; raises SettingsError."""
        address = VertexAddress.parse(settings.trainer, _OPTIONS, _EXAMPLE)
        if missing := [name for name in _NEEDED if name not in address.options]:
            raise SettingsError(f"LABELLOOP_TRAINER: {RECIPE}:// needs the option {missing[0]}: {_EXAMPLE}")
        template, form = address.options["template"], address.options.get("manifest_format", "vertex")
        if not template.startswith(("gs://", "https://")):
            raise SettingsError(
                f"LABELLOOP_TRAINER: template {template[:60]!r} is none: name gs://bucket/pipeline.yaml, or "
                "https://LOCATION-kfp.pkg.dev/PROJECT/REPOSITORY/NAME/TAG"
            )
        listings = [one.name for one in FORMATS.values() if one.suffix]
        if form not in listings:
            raise SettingsError(
                f"LABELLOOP_TRAINER: manifest_format {form[:40]!r} is none. There are {', '.join(listings)}"
            )
        return cls(address, settings)

    def _look_there(self) -> None:
        """Look at what every job needs, and whether the template is there and takes what it would be given."""
        super()._look_there()
        folders = (*self._manifests.values(), self._address.options["output"])
        self._template.values({**dict.fromkeys(folders, "gs://"), **self._address.parameters})

    @property
    def _template(self) -> Template:
        return Template.read(self._address.options["template"], self.google)

    @property
    def _manifests(self) -> dict[Side, str]:
        """Name the parameters that take a list, by its side."""
        options = self._address.options
        return {side: options[name] for side, name in _MANIFESTS.items() if name in options}

    @property
    def _labels(self) -> CloudLabels:
        return CloudLabels(self.folder, self._address.options.get("manifest_format", "vertex"))

    def _hand_over(self, context: "Context", key: str) -> Json:
        """Write the lists of the sides that the pipeline takes, and the pictures that they name."""
        template, base = self._template, self.folder.below(job_folder(run_label(key)))
        output = base.below(_OUTPUT)
        output.remove()
        lists = self._labels.hand_over(context, run_label(key), self._manifests)
        given = {**lists, self._address.options["output"]: output.uri, **self._address.parameters}
        told = {"templateUri": template.address} if template.address else {"pipelineSpec": template.spec}
        values = template.values(given)
        runtime = {"gcsOutputDirectory": base.below("artifacts").uri, "parameterValues": values}
        return {**told, "runtimeConfig": runtime, **self._account}

    def _is_there(self, job: Job) -> bool:
        return next(self._output(job).names(), None) is not None

    def _output(self, job: Job) -> Folder:
        """Give the folder that an execution was given."""
        values = job.told.get("runtimeConfig", {}).get("parameterValues", {})
        return Folder(self.google, str(values[self._address.options["output"]]))

    def _running(self, job: Job) -> Training:
        """Say how many of the tasks are done, and which ones run."""
        tasks = _tasks(job)
        going = [str(one.get("taskName")) for one in tasks if one.get("state") in ("PENDING", "RUNNING")]
        done = sum(one.get("state") in _ENDED_WELL for one in tasks)
        count = max(len(tasks), Template(spec=job.told.get("pipelineSpec") or {}).tasks)
        return Training("running", f"task {', '.join(going)}" if going else "tasks", done, count)

    def _why(self, job: Job) -> str:
        """Say which tasks failed, and why."""
        if job.state == "CANCELLED":
            return "it was stopped"
        failed = [
            f"task {one.get('taskName')}: {(one.get('error') or {}).get('message') or 'it gives no reason'}"
            for one in _tasks(job)
            if one.get("state") == "FAILED"
        ]
        return "; ".join(failed) or job.error or f"it ended as {job.state}"

    def collect(self, handle: str, context: "Context") -> Json:
        """Take what lies in the folder that the pipeline was given: a bundle, or a model's name; see Trainer."""
        begun, job = time.monotonic(), self.jobs.look(handle)
        place, labels = self._output(job), self._labels
        lost = [f"the format {labels.form} does not carry {what}" for what in labels.lost(job.run)]
        with tempfile.TemporaryDirectory(prefix="labelloop-collected-") as path:
            handover = Handover(Path(path))
            handover.output.mkdir()
            place.fetch(handover.output)
            try:
                return take_result(context, handover, RECIPE, lost, begun)
            except TrainingError as error:
                # Where it lies, and not where it was looked at.
                raise TrainingError(str(error).replace(str(handover.output), place.uri)) from error


def _tasks(job: Job) -> list[Json]:
    """Give the tasks of an execution that do something: those that no other one belongs to."""
    found: list[Json] = job.told.get("jobDetail", {}).get("taskDetails", [])
    above = {one["parentTaskId"] for one in found if "parentTaskId" in one}
    return [one for one in found if one.get("taskId") not in above]
