"""AutoML of Vertex AI for pictures: a data set, what is imported into it, and the pipeline that trains a model of it.

cloud.google.com/vertex-ai, REST reference, ``datasets`` and ``trainingPipelines``, and "Prepare image training data".
Data sets and pipelines carry the label of their run, by which whoever was killed before their names were kept finds
them again; their display names are for people alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from labelloop.cloud.google.automl_terms import Wish
from labelloop.cloud.google.client import Google, failed, finished
from labelloop.cloud.google.jobs import LABEL, Jobs, run_label
from labelloop.errors import CloudMissing
from labelloop.types import BOXES, IMAGES, Choice, Json

_SCHEMA = "gs://google-cloud-aiplatform/schema"
_USE = "labels.aiplatform.googleapis.com/ml_use"
_SPLIT = {"trainingFilter": f"{_USE}=training", "validationFilter": f"{_USE}=validation", "testFilter": "-"}
"""``-`` matches nothing: the test side is ours, and no item of it is in the data set."""

_IO = {
    (IMAGES, "single"): "image_classification_single_label",
    (IMAGES, "multiple"): "image_classification_multi_label",
    (BOXES, "multiple"): "image_bounding_box",
}
_TASKS = {IMAGES: "automl_image_classification_1.0.0", BOXES: "automl_image_object_detection_1.0.0"}


@dataclass(frozen=True, slots=True)
class Fitting:
    """How a training stands: its ``model`` once it is done, what it cost as far as that is told, why it failed.

    ``run`` is the label of its run, ``most`` says what it may cost.
    """

    state: Literal["running", "done", "failed"]
    run: str
    most: str
    waits: bool = False
    model: str = ""
    cost: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import has left: how many items the data set holds, 0 where that is not told, and complaints."""

    held: int
    complaints: tuple[str, ...]


@dataclass(frozen=True)
class AutoMl:
    """What is made for runs in a project and location. Raises CloudError or one of its kinds."""

    google: Google

    def check(self) -> None:
        """Look whether we may look, and whether there is such a location."""
        self._trainings.check()

    def datasets(self, run: str) -> list[str]:
        """Give the data sets of a run, by its label: the first is learned from, others are empty.

        There are two where somebody was killed after one was asked for, and before it was listed.
        """
        found = sorted(self._labelled("datasets", run), key=lambda one: str(one.get("createTime", "")))
        return [str(one["name"]) for one in found]

    def run_of(self, dataset: str) -> str:
        """Give the label of the run that a data set was made for; raises CloudMissing."""
        told = self.google.ask("GET", dataset, what=f"data set {dataset}")
        return str(told.get("labels", {}).get(LABEL, ""))

    def make_dataset(self, key: str, title: str, seconds: float, every: float) -> str:
        """Make an empty data set, which costs nothing, and give its name."""
        body = {
            "displayName": title,
            "metadataSchemaUri": f"{_SCHEMA}/dataset/metadata/image_1.0.0.yaml",
            "labels": {LABEL: run_label(key)},
        }
        what = "a data set of Vertex AI"
        made = self.google.ask("POST", self._path("datasets"), body, what=what)
        return str(self.google.wait(made, seconds, what, every)["name"])

    def importing(self, dataset: str) -> str:
        """Give the newest import into a data set that goes on or went well; empty for none."""
        found = self.google.listing(f"{dataset}/operations", "operations", what=f"what goes on in {dataset}")
        imports = [one for one in found if "ImportData" in str(one.get("metadata", {}).get("@type", ""))]
        imports.sort(key=lambda one: str(_generic(one).get("createTime", "")))
        return next((str(one["name"]) for one in reversed(imports) if not one.get("error")), "")

    def begin_import(self, dataset: str, address: str, kind: str, choice: Choice) -> str:
        """Begin to import the lines of a file, and give the operation."""
        schema = f"{_SCHEMA}/dataset/ioformat/{_IO[kind, choice]}_io_format_1.0.0.yaml"
        body = {"importConfigs": [{"gcsSource": {"uris": [address]}, "importSchemaUri": schema}]}
        return str(self.google.ask("POST", f"{dataset}:import", body, what=f"an import into {dataset}")["name"])

    def imported(self, dataset: str, operation: str) -> Imported | None:
        """Say what an import has left; None while it goes on. Raises what it failed with."""
        seen = self.google.operation(operation, what=f"the import into {dataset}")
        if finished(seen, f"the import into {dataset}") is None:
            return None
        held = self.google.ask("GET", dataset, what=f"data set {dataset}").get("dataItemCount", 0)
        complaints = (str(one.get("message", "")) for one in _generic(seen).get("partialFailures", ()))
        return Imported(int(held), tuple(filter(None, complaints)))

    def fitting(self, key: str) -> str:
        """Give the newest training of a run that goes on or went well; empty for none."""
        found = self._trainings.of(key)
        return next((one.name for one in found if one.stands != "failed" and one.state != "CANCELLING"), "")

    def newest(self, key: str) -> str:
        """Give the newest training of a run, whatever became of it; empty for none."""
        return next((one.name for one in self._trainings.of(key)), "")

    def fit(self, key: str, title: str, dataset: str, kind: str, choice: Choice, wish: Wish) -> str:
        """Begin a training, which costs, and give its name."""
        inputs: Json = {"modelType": wish.model, "budgetMilliNodeHours": str(wish.budget)}
        if kind == IMAGES:
            inputs["multiLabel"] = choice == "multiple"
        body = {
            "displayName": title,
            "inputDataConfig": {"datasetId": dataset.rpartition("/")[2], "filterSplit": _SPLIT},
            "trainingTaskDefinition": f"{_SCHEMA}/trainingjob/definition/{_TASKS[kind]}.yaml",
            "trainingTaskInputs": inputs,
            "modelToUpload": {"displayName": title, "labels": {LABEL: run_label(key)}},
        }
        return self._trainings.begin(key, body, self._trainings.of(key)).name

    def look(self, fitting: str) -> Fitting:
        """Say how a training stands; raises CloudMissing."""
        found = self._trainings.look(fitting)
        cost = _cost(found.told.get("trainingTaskMetadata") or {})
        budget = int(found.told.get("trainingTaskInputs", {}).get("budgetMilliNodeHours", 0))
        stands = Fitting(found.stands, found.run, Wish(budget=budget).hours, waits=found.waits, cost=cost)
        if found.stands == "failed":
            why = found.told.get("error") or {"message": "Google does not say why"}
            stopped = found.state == "CANCELLED"
            return replace(stands, reason="it was stopped" if stopped else str(failed("AutoML", why)))
        return replace(stands, model=str(found.told.get("modelToUpload", {}).get("name", "")))

    def cancel(self, fitting: str) -> None:
        """Stop a training, unless it has ended; raises CloudMissing."""
        self._trainings.cancel(fitting)

    def forgotten(self, before: datetime) -> Iterator[str]:
        """Give the data sets that were made for runs whose trainings were all over before then."""
        ended: dict[str, list[datetime | None]] = {}
        for one in self._labelled("trainingPipelines"):
            moment = datetime.fromisoformat(str(one["endTime"])) if one.get("endTime") else None
            ended.setdefault(str(one.get("inputDataConfig", {}).get("datasetId", "")), []).append(moment)
        for one in self._labelled("datasets"):
            moments = ended.get(str(one["name"]).rpartition("/")[2], [])
            if moments and all(moment is not None and moment < before for moment in moments):
                yield str(one["name"])

    def remove_dataset(self, dataset: str) -> None:
        """Remove a data set, and what it holds; what it was imported from stays. May be repeated."""
        try:
            self.google.ask("DELETE", dataset, what=f"data set {dataset} to be removed")
        except CloudMissing:
            return

    @property
    def _trainings(self) -> Jobs:
        return Jobs(self.google, "trainingPipelines")

    def _path(self, name: str) -> str:
        return f"{self.google.parent}/{name}"

    def _labelled(self, what: str, run: str = "") -> Iterator[Json]:
        """List what was made for a run, by its label, or for any."""
        query = {"filter": f'labels.{LABEL}="{run}"' if run else f"labels.{LABEL}:*"}
        return self.google.listing(self._path(what), what, query=query, what=f"the {what} in {self.google.parent}")


def _generic(operation: Json) -> Json:
    found: Json = operation.get("metadata", {}).get("genericMetadata", {})
    return found


def _cost(metadata: Json) -> str:
    """Say what a training took: ``{"costMilliNodeHours", "successfulStopReason"}``; empty where that is not told."""
    if not (spent := int(metadata.get("costMilliNodeHours") or 0)):
        return ""
    why = metadata.get("successfulStopReason")
    return f"{spent / 1000:g} node hours" + (f" ({why})" if why else "")
