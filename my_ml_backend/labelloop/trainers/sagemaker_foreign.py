"""A SageMaker pipeline that is somebody else's: it gets the labels as it takes them, and registers a model package.

The labels of the test side are in nothing that it is given.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labelloop.bundle_info import ForeignInfo
from labelloop.cloud.aws.account import asking
from labelloop.cloud.aws.answers import Asking, describe_package, name_for
from labelloop.cloud.aws.objects import Folder
from labelloop.cloud.aws.passing_endpoint import PassingEndpoint
from labelloop.cloud.aws.transform import BatchTransform
from labelloop.data.formats.listings import FORMATS
from labelloop.data.split import splits
from labelloop.endpoints.answers.labelloop import write_item
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import (
    CloudAway,
    CloudDenied,
    CloudError,
    CloudMissing,
    SettingsError,
    TrainingError,
)
from labelloop.models.bundle import write_foreign
from labelloop.settings import Settings
from labelloop.trainers.base import waited_for
from labelloop.trainers.cloud_labels import CloudLabels
from labelloop.trainers.handover import RunInputs
from labelloop.trainers.sagemaker import PipelineAddress, PipelineTrainer, display_name
from labelloop.types import Answer, Failure, Input, Json, NotAsked, Side

if TYPE_CHECKING:
    from labelloop.run.context import Context

RECIPE = "sagemaker-pipeline"

_JUDGES = {"transform": BatchTransform, "endpoint": PassingEndpoint}
_APPROVAL = {"Approved": "approved", "Rejected": "rejected"}


class ForeignPipeline(PipelineTrainer):
    """Hands labels over as a list of pictures in S3, and takes the package that the execution has registered."""

    def __init__(self, address: PipelineAddress, settings: Settings) -> None:
        super().__init__(address, settings)
        options = address.options
        self._form = options.get("manifest_format", "augmented")
        self._judge = options.get("judge", "transform")
        listings = [form.name for form in FORMATS.values() if form.suffix]
        if self._form not in listings:
            raise SettingsError(
                f"LABELLOOP_TRAINER: manifest_format {self._form[:40]!r} is none. There are {', '.join(listings)}"
            )
        if self._judge not in (*_JUDGES, "metrics"):
            raise SettingsError(
                f"LABELLOOP_TRAINER: judge {self._judge[:40]!r} is none. There are {', '.join(_JUDGES)}, metrics"
            )
        self.predicts = self._judge in _JUDGES

    def check(self, *, thorough: bool) -> None:
        """Look at all that every pipeline needs, and for the role that the model is asked as; see Trainer."""
        if self.predicts and not self._settings.aws_role:
            raise TrainingError(
                f"{self.name}: its models are asked as the role LABELLOOP_AWS_ROLE: set it, or judge=metrics"
            )
        super().check(thorough=thorough)

    def _gives(self) -> Sequence[str]:
        """Name what is given to an execution."""
        return (*self._manifests().values(), *self._address.parameters)

    def _manifests(self) -> dict[Side, str]:
        """Name the parameters that take a list, by its side."""
        names: dict[Side, str] = {"train": "manifest", "validation": "validation_manifest", "test": "test_manifest"}
        return {side: self._address.options[name] for side, name in names.items() if name in self._address.options}

    def _hand_over(self, context: "Context", key: str) -> dict[str, str]:
        """Write the lists of the sides that the pipeline takes, and the pictures that they name."""
        return self._labels.hand_over(context, display_name(key), self._manifests())

    @property
    def _labels(self) -> CloudLabels:
        return CloudLabels(self.folder, self._form, ("source-ref", "source"))

    def collect(self, handle: str, context: "Context") -> Json:
        """Take the package as the version: what it answers to the test items, or what is reported of it."""
        begun, package, key = time.monotonic(), self._package(handle), self.pipeline.look(handle).name
        reported = self._reported(package)
        answers = self._answers(package, key, context) if self.predicts else {}
        manifest, bundle = context.manifest, context.folder.bundle
        info = ForeignInfo(manifest.classes, manifest.choice, RECIPE, kind=manifest.kind, model=package)
        shutil.rmtree(bundle, ignore_errors=True)
        write_foreign(bundle, info, answers)
        told = f"the model lies elsewhere, as {package}: what needs its weights is left out of this report"
        return {
            "recipe": RECIPE,
            "validation": {"accuracy": reported["accuracy"]} if "accuracy" in reported else {},
            "seconds": {"collect": round(time.monotonic() - begun, 3)},
            "left_out": {},
            "notes": [told, *(f"the format {self._form} does not carry {what}" for what in self._labels.lost(key))],
            "calibration": {},
            "device": "",
            "policy": "",
            **({} if self.predicts else {"reported": reported}),
        }

    def cancel(self, handle: str) -> None:
        """Stop the execution, and remove what was set up to ask its model."""
        super().cancel(handle)
        with waited_for():
            try:
                execution, package = self.pipeline.look(handle), self._package(handle)
            except (CloudMissing, TrainingError):
                return
            if self.predicts:
                self._judging().remove(name_for(package, execution.name))

    def predict(self, model: str, inputs: Sequence[Input], classes: tuple[str, ...] = ()) -> list[Answer | Failure]:
        """Ask a package for answers; see Trainer."""
        if not self.predicts or not model.startswith("arn:"):
            return super().predict(model, inputs, classes)
        contents = inputs.contents if isinstance(inputs, RunInputs) else [_sha256(one) for one in inputs]
        try:
            return self._judging().ask(model, inputs, name_for(model, " ".join(contents)), classes)
        except CloudAway:
            raise
        except CloudError as error:
            raise TrainingError(f"{model} could not be asked: {error}") from error

    def _answers(self, package: str, key: str, context: "Context") -> dict[str, Json]:
        """Ask about the test items, under a name by which what was set up for that is found again."""
        manifest = context.manifest
        items = [
            item
            for item in splits(manifest, context.named_sides)["test"]
            if item.text or context.pictures.has(item.content)
        ]
        found = self._judging().ask(
            package, RunInputs(context, items), name_for(package, key), manifest.classes, context.progress
        )
        told = zip(items, found, strict=True)
        return {item.content: write_item(one) for item, one in told if not isinstance(one, NotAsked)}

    def _judging(self) -> Asking:
        settings = self._settings
        return _JUDGES[self._judge](
            self.account,
            self.folder.below("judged"),
            settings.aws_role,
            self._address.options.get("instance", "ml.m5.large"),
            EndpointSpec.of(settings),
            settings.poll_seconds,
            settings.training_seconds,
        )

    def _package(self, handle: str) -> str:
        """Name the package that an execution has registered; raises TrainingError where there is none."""
        metadata = [step.metadata or {} for step in self.pipeline.steps(handle)]
        arns = [one["RegisterModel"].get("Arn", "") for one in metadata if "RegisterModel" in one]
        group = self._address.options.get("group", "")
        found = next((arn for arn in reversed(arns) if arn), "") or (group and self._newest(group, handle))
        if not found:
            said = (
                f"none is in group {group} since it began" if group else "name the group that it registers in: group="
            )
            raise TrainingError(f"execution {handle} has no step that registered a model package: {said}")
        return str(found)

    def _newest(self, group: str, handle: str) -> str:
        """Name the newest package of a group, if it is younger than the execution."""
        began = self.pipeline.look(handle).started
        with asking(f"packages of group {group}"):
            found = self.account.client("sagemaker").list_model_packages(
                ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", MaxResults=1
            )["ModelPackageSummaryList"]
        return str(found[0]["ModelPackageArn"]) if found and began and found[0]["CreationTime"] >= began else ""

    def _reported(self, package: str) -> Json:
        """Say what a package's pipeline says of it: approval, and accuracy where it reports one."""
        described = describe_package(self.account, package)
        told: Json = {"approval": _APPROVAL.get(described.get("ModelApprovalStatus", ""), "pending")}
        statistics = described.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {}).get("S3Uri", "")
        if not statistics:
            return told
        place, _, name = statistics.rpartition("/")
        try:
            accuracy = _accuracy(json.loads(Folder(self.account, place).read(name)))
        except (CloudDenied, CloudMissing, ValueError) as error:
            told["problem"] = f"{statistics} cannot be read: {error}"
            return told
        return told if accuracy is None else told | {"accuracy": accuracy}


def _accuracy(statistics: object) -> float | None:
    """Find the accuracy in a report of a model's quality: ``{"multiclass_classification_metrics": {"accuracy": ...}}``.

    Shapes: SageMaker Developer Guide, "Model quality metrics". Plain ``{"accuracy": 0.93}`` is taken as well.
    """
    if not isinstance(statistics, dict):
        return None
    found = statistics.get("accuracy")
    value = found.get("value") if isinstance(found, dict) else found
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    return next((one for one in map(_accuracy, statistics.values()) if one is not None), None)


def _sha256(one: Input) -> str:
    return hashlib.sha256(one.content if one.text is None else one.text.encode(errors="surrogatepass")).hexdigest()
