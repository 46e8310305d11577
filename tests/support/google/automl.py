"""Training pipelines of AutoML, which really learn of the pictures in a data set: the colour of each label.

A pipeline is over when it has been looked at ``looks`` times. A model answers as AutoML's do, in a batch and, deployed,
at an endpoint.
"""

import base64
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from labelloop.types import Json
from support.google.datasets import DataItem, Dataset, Datasets
from support.google.front import Route
from support.google.gcs import Objects
from support.google.listing import listed
from support.google.models import Models
from support.google.names import check_display_name, check_labels, new_id
from support.google.operations import Operations
from support.google.served import Served
from support.google.wire import Call, Refused, failed, invalid, missing, now, without_nothing

_DEFINITIONS = "gs://google-cloud-aiplatform/schema/trainingjob/definition"
_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
_FILTERED = ("displayName", "state", "trainingTaskDefinition", "labels")
_LEAST_PICTURES = 10
_MADE = {
    "supportedDeploymentResourcesTypes": ["DEDICATED_RESOURCES", "AUTOMATIC_RESOURCES"],
    "modelSourceInfo": {"sourceType": "AUTOML"},
}
_NEAR = 60.0
"""How far a pixel's colour may be from a label's to belong to it."""

_MOBILE = dict.fromkeys(
    ("MOBILE_TF_LOW_LATENCY_1", "MOBILE_TF_VERSATILE_1", "MOBILE_TF_HIGH_ACCURACY_1"), (1_000, 100_000)
)
_TASKS: dict[str, dict[str, tuple[int, int]]] = {
    "automl_image_classification": {"CLOUD": (8_000, 800_000), **_MOBILE},
    "automl_image_object_detection": {
        "CLOUD_HIGH_ACCURACY_1": (20_000, 900_000),
        "CLOUD_LOW_LATENCY_1": (20_000, 900_000),
        **_MOBILE,
    },
}
"""Model types and budgets in milli node hours: least and most."""


@dataclass
class Pipeline:
    """One training pipeline, and what has become of it."""

    name: str
    told: Json
    dataset: Dataset
    state: str = "PENDING"
    looks: int | None = 2
    fault: Refused | None = None
    error: Refused | None = None
    metadata: Json = field(default_factory=dict)
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
                "trainingTaskMetadata": self.metadata,
                "createTime": self.created,
                "startTime": self.started,
                "endTime": self.ended,
            }.items()
        )

    def end(self, state: str, error: Refused | None = None) -> None:
        """It is over."""
        self.state, self.error, self.ended = state, error, now()


@dataclass
class Trainings:
    """All training pipelines; ``looks`` is how often a new one is seen before it is over, None: it goes on."""

    operations: Operations
    objects: Objects
    datasets: Datasets
    models: Models
    served: Served
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    looks: int | None = 2
    _faults: list[Refused] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Keep data sets that are being learned from."""
        self.datasets.in_use = lambda name: any(
            one.dataset.name == name and one.state not in _ENDED for one in self.pipelines.values()
        )

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        say = "aiplatform:"
        return [
            Route(f"{say}POST trainingPipelines", "trainingPipelines.create", self._create, "TrainingPipeline"),
            Route(f"{say}GET trainingPipelines", "trainingPipelines.list", self._list, query=None),
            Route(f"{say}GET trainingPipelines/*", "trainingPipelines.get", self._get),
            Route(f"{say}POST trainingPipelines/*:cancel", "trainingPipelines.cancel", self._cancel),
            Route(f"{say}DELETE trainingPipelines/*", "trainingPipelines.delete", self._delete),
        ]

    def forget(self) -> None:
        """Forget everything."""
        self.pipelines.clear()
        self._faults.clear()
        self.looks = 2

    def fail(self, status: str, message: str) -> None:
        """Let the next training that would succeed fail, after it has run."""
        self._faults.append(Refused(status, message))

    def states(self) -> list[str]:
        """Say what became of each pipeline, in their order."""
        return [one.state for one in self.pipelines.values()]

    def finish(self) -> None:
        """Let all that go on be over now."""
        for one in self.pipelines.values():
            if one.state not in _ENDED:
                one.looks = 0
                self._look(one)

    def _named(self, call: Call) -> Pipeline:
        if call.resource not in self.pipelines:
            raise missing("TrainingPipeline", call.resource)
        return self.pipelines[call.resource]

    def _create(self, call: Call) -> Json:
        told = dict(call.body)
        check_display_name(told["displayName"])
        check_labels(told.get("labels", {}))
        dataset = self.datasets.named(f"{call.parent}/datasets/{told['inputDataConfig']['datasetId']}")
        _check_task(told["trainingTaskDefinition"], told["trainingTaskInputs"], dataset)
        fault = self._faults.pop(0) if self._faults else None
        name = f"{call.parent}/trainingPipelines/{new_id()}"
        self.pipelines[name] = Pipeline(name, told, dataset, looks=self.looks, fault=fault)
        return self.pipelines[name].describe()

    def _list(self, call: Call) -> Json:
        with self.operations.lock:
            found = [one.describe() for one in self.pipelines.values() if one.name.startswith(f"{call.parent}/")]
            return listed(call, found, "trainingPipelines", _FILTERED)

    def _get(self, call: Call) -> Json:
        with self.operations.lock:
            found = self._named(call)
            self._look(found)
            return found.describe()

    def _cancel(self, call: Call) -> Json:
        with self.operations.lock:
            found = self._named(call)
            if found.state not in _ENDED:
                found.state, found.looks = "CANCELLING", 0
            return {}

    def _delete(self, call: Call) -> Json:
        found = self._named(call)
        if found.state not in _ENDED:
            raise failed(f"TrainingPipeline {found.name} is not over: cancel it first.")

        def delete() -> Json:
            self.pipelines.pop(found.name, None)
            return {}

        return self.operations.begin("delete", found.name, delete, "DeleteOperationMetadata")

    # What happens in a training.
    def _look(self, one: Pipeline) -> None:
        if one.state in _ENDED or one.looks is None:
            return
        if one.state == "CANCELLING":
            one.end("CANCELLED", Refused("CANCELLED", "The TrainingPipeline was cancelled."))
            return
        one.started = one.started or now()
        if one.looks:
            one.state, one.looks = "RUNNING", one.looks - 1
            return
        try:
            if one.fault:
                raise one.fault
            learned = self._learned(one)
        except Refused as error:
            one.end("FAILED", error)
            return
        uploaded = dict(one.told["modelToUpload"])
        made = self.models.add(one.name.partition("/trainingPipelines/")[0], {**uploaded, **_MADE})
        self.served.trained[made["model"], made["modelVersionId"]] = learned.answer
        one.told["modelToUpload"] = {**uploaded, "name": made["model"]}
        one.metadata = {"costMilliNodeHours": "6200", "successfulStopReason": "MODEL_CONVERGED"}
        one.end("SUCCEEDED")

    def _learned(self, one: Pipeline) -> "Colours":
        """Learn of what the split calls training; raises Refused where that is too little."""
        split = one.told["inputDataConfig"]["filterSplit"]
        parts = [one.dataset.chosen(split[f"{side}Filter"]) for side in ("training", "validation", "test")]
        if not parts[0] or not parts[1]:
            raise invalid("The training and the validation set must not be empty.")
        counts = Counter(name for part in parts for item in part for name in item.known)
        if few := [name for name, count in sorted(counts.items()) if count < _LEAST_PICTURES]:
            raise invalid(f"Each label needs at least {_LEAST_PICTURES} examples, and there are fewer of {few[0]}.")
        boxes = "object_detection" in one.told["trainingTaskDefinition"]
        several = bool(one.told["trainingTaskInputs"].get("multiLabel"))
        return Colours(self.objects, self._means(parts[0]), boxes, several)

    def _means(self, items: Sequence[DataItem]) -> dict[str, Any]:
        seen: dict[str, list[Any]] = {}
        for item in items:
            shown = _pixels(self.objects.read(item.uri) or b"")
            for name in item.names:
                seen.setdefault(name, []).append(shown.reshape(-1, 3).mean(axis=0))
            high, wide = shown.shape[:2]
            for name, left, right, top, bottom in item.boxes:
                part = shown[round(top * high) : round(bottom * high), round(left * wide) : round(right * wide)]
                seen.setdefault(name, []).append(part.reshape(-1, 3).mean(axis=0))
        return {name: np.mean(colours, axis=0) for name, colours in seen.items()}


def _check_task(definition: str, inputs: Json, dataset: Dataset) -> None:
    task = definition.removeprefix(f"{_DEFINITIONS}/").removesuffix("_1.0.0.yaml")
    if task not in _TASKS:
        raise invalid(f"Training task definition {definition} is not supported.")
    if ("bounding_box" in dataset.schema) != (task == "automl_image_object_detection"):
        raise invalid(f"The Dataset {dataset.name} has no annotations for {task}.")
    if strange := inputs.keys() - {"modelType", "multiLabel", "budgetMilliNodeHours", "disableEarlyStopping"}:
        raise invalid(f"Invalid training task inputs: {min(strange)!r}.")
    if ("multi_label" in dataset.schema) != bool(inputs.get("multiLabel")):
        raise invalid(f"multiLabel does not fit the annotations of the Dataset {dataset.name}.")
    kind, budget = inputs.get("modelType"), int(inputs.get("budgetMilliNodeHours", 0))
    least, most = _TASKS[task].get(str(kind), (0, 0))
    if not least <= budget <= most or not most:
        raise invalid(f"modelType {kind} with budgetMilliNodeHours {budget} is not supported for {task}.")


@dataclass(frozen=True)
class Colours:
    """What was learned: the mean colour of each label; where ``boxes`` are learned, they are around its pixels."""

    objects: Objects
    means: dict[str, Any]
    boxes: bool
    several: bool

    def answer(self, artifacts: str, body: bytes, media_type: str) -> bytes:  # noqa: ARG002
        """Answer as an endpoint does; see Answer in served.py."""
        asked = json.loads(body)
        parameters = asked.get("parameters") or {}
        shown = [base64.b64decode(one["content"]) for one in asked["instances"]]
        return json.dumps({"predictions": [self.predict(one, parameters) for one in shown]}).encode()

    def predict(self, content: bytes, parameters: Json) -> Json:
        """Answer to one picture; raises ValueError for what is none."""
        shown = _pixels(content)
        found = [*(self._boxes(shown) if self.boxes else self._classes(shown))]
        found.sort(key=lambda one: -one[1])
        least = parameters.get("confidenceThreshold", 0.0)
        kept = [one for one in found if one[1] >= least][: parameters.get("maxPredictions", 10)]
        names = sorted(self.means)
        told: Json = {
            "ids": [str(names.index(one[0])) for one in kept],
            "displayNames": [one[0] for one in kept],
            "confidences": [one[1] for one in kept],
        }
        return told | ({"bboxes": [list(one[2]) for one in kept]} if self.boxes else {})

    def _classes(self, shown: Any) -> list[tuple[str, float]]:
        seen = shown.reshape(-1, 3).mean(axis=0)
        near = {name: float(np.abs(seen - mean).sum()) for name, mean in self.means.items()}
        if self.several:
            return [(name, 0.9 if away < _NEAR else 0.1) for name, away in near.items()]
        best = min(near, key=near.__getitem__)
        others = 0.2 / max(1, len(near) - 1)
        return [(name, 0.8 if name == best else others) for name in near]

    def _boxes(self, shown: Any) -> list[tuple[str, float, tuple[float, float, float, float]]]:
        found = []
        high, wide = shown.shape[:2]
        for name, mean in self.means.items():
            rows, columns = np.nonzero(np.abs(shown - mean).sum(axis=2) < _NEAR)
            if len(rows):
                left, right = columns.min() / wide, (columns.max() + 1) / wide
                top, bottom = rows.min() / high, (rows.max() + 1) / high
                found.append((name, 0.9, (float(left), float(right), float(top), float(bottom))))
        return found


def _pixels(content: bytes) -> Any:
    """Give RGB, float (height, width, 3); raises ValueError."""
    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), float)
    except OSError as error:
        raise ValueError(f"it is no picture: {error}") from None
