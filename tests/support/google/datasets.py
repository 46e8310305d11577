"""Data sets of pictures, and what is imported into them: lines of JSON by the schemas of their import formats.

What Google leaves out of an import stands in its operation, as partial failures ("Prepare image training data").
"""

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, UnidentifiedImageError

from labelloop.types import Json
from support.google.front import Route
from support.google.gcs import Objects
from support.google.listing import ORDERED, condition, listed
from support.google.names import check_display_name, check_labels, new_id
from support.google.operations import Operations
from support.google.wire import Call, Refused, failed, invalid, missing, now, without_nothing

_SCHEMAS = "gs://google-cloud-aiplatform/schema/dataset"
_FORMS = ("JPEG", "GIF", "PNG", "BMP", "ICO")
"""What is learned from; all else is left out."""

_MOST_BYTES = 30_000_000
_USE = "aiplatform.googleapis.com/ml_use"

Box = tuple[str, float, float, float, float]
"""A label, xMin, xMax, yMin and yMax."""


@dataclass(frozen=True)
class DataItem:
    """A picture with what is said of it; ``labels`` are the item's own, such as its ml_use."""

    uri: str
    labels: Mapping[str, str]
    names: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()

    @property
    def known(self) -> set[str]:
        """What it has an example of."""
        return {*self.names, *(box[0] for box in self.boxes)}


@dataclass
class Dataset:
    """One data set; ``schema`` is that of what was imported last."""

    name: str
    told: Json
    items: dict[str, DataItem] = field(default_factory=dict)
    schema: str = ""
    created: str = field(default_factory=now)

    def describe(self) -> Json:
        """Give what Vertex AI answers."""
        count = {"dataItemCount": str(len(self.items))} if self.items else {}
        about = {"createTime": self.created, "updateTime": self.created, **count}
        return without_nothing({"name": self.name, **self.told, **about}.items())

    def chosen(self, text: str) -> list[DataItem]:
        """Give the items that a filter of a split lets through; ``-`` lets none."""
        if text == "-":
            return []
        holds = condition(text, ("labels",))
        return [one for one in self.items.values() if holds({"labels": one.labels})]


@dataclass
class Datasets:
    """All data sets. ``in_use`` says whether a training reads one."""

    operations: Operations
    objects: Objects
    in_use: Callable[[str], bool] = lambda _: False
    datasets: dict[str, Dataset] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        say = "aiplatform:"
        return [
            Route(f"{say}POST datasets", "datasets.create", self._create, "Dataset"),
            Route(f"{say}GET datasets", "datasets.list", self._list, query=None),
            Route(f"{say}GET datasets/*", "datasets.get", lambda call: self.named(call.resource).describe()),
            Route(f"{say}DELETE datasets/*", "datasets.delete", self._delete),
            Route(f"{say}POST datasets/*:import", "datasets.import", self._import, "ImportDataRequest"),
        ]

    def forget(self) -> None:
        """Forget everything."""
        self.datasets.clear()

    def named(self, name: str) -> Dataset:
        """Give a data set; raises Refused."""
        if name not in self.datasets:
            raise missing("Dataset", name)
        return self.datasets[name]

    def _create(self, call: Call) -> Json:
        check_display_name(call.body["displayName"])
        check_labels(call.body.get("labels", {}))
        if call.body["metadataSchemaUri"] != f"{_SCHEMAS}/metadata/image_1.0.0.yaml":
            raise invalid(f"Unsupported metadata schema: {call.body['metadataSchemaUri']}.")
        made = Dataset(f"{call.parent}/datasets/{new_id()}", dict(call.body))

        def create() -> Json:
            self.datasets[made.name] = made
            return made.describe()

        return self.operations.begin("create", made.name, create, "CreateDatasetOperationMetadata", "Dataset")

    def _list(self, call: Call) -> Json:
        found = [one.describe() for one in self.datasets.values() if one.name.startswith(f"{call.parent}/")]
        return listed(call, found, "datasets", ("displayName", "metadataSchemaUri", "labels"), ORDERED)

    def _delete(self, call: Call) -> Json:
        found = self.named(call.resource)
        if self.in_use(found.name):
            raise failed(f"Dataset {found.name} is being used by a training pipeline that is not over.")

        def delete() -> Json:
            self.datasets.pop(found.name, None)
            return {}

        return self.operations.begin("delete", found.name, delete, "DeleteOperationMetadata")

    def _import(self, call: Call) -> Json:
        found, config = self.named(call.resource), call.body["importConfigs"][0]
        called = re.fullmatch(rf"{_SCHEMAS}/ioformat/(\w+)_io_format_1\.0\.0\.yaml", config["importSchemaUri"])
        if called is None or called[1] not in _READERS:
            raise invalid(f"Unsupported import schema: {config['importSchemaUri']}.")
        partial: list[Json] = []

        def bring() -> Json:
            for uri in config["gcsSource"]["uris"]:
                if (content := self.objects.read(uri)) is None:
                    raise invalid(f"There are no files that match {uri}.")
                for item in self._lines(content, called[1], partial):
                    found.items[item.uri] = item
            found.schema = called[1]
            return {}

        kinds = ("ImportDataOperationMetadata", "ImportDataResponse")
        return self.operations.begin("import", found.name, bring, *kinds, partial=partial)

    def _lines(self, content: bytes, schema: str, partial: list[Json]) -> Iterator[DataItem]:
        seen = Counter[str]()
        for number, line in enumerate(content.decode().splitlines(), 1):
            try:
                item = _READERS[schema](json.loads(line))
                seen[item.uri] += 1
                if seen[item.uri] > 1:
                    raise invalid("the file names it twice")
                self._check_picture(item.uri)
            except (Refused, ValueError, KeyError, TypeError) as error:
                said = error.message if isinstance(error, Refused) else f"it cannot be read: {error!r}"
                partial.append(invalid(f"Line {number}: {said}").rpc)
            else:
                yield item

    def _check_picture(self, uri: str) -> None:
        content = self.objects.read(uri)
        if content is None:
            raise invalid(f"{uri} is not found")
        try:
            form = Image.open(io.BytesIO(content)).format
        except UnidentifiedImageError:
            form = None
        if form not in _FORMS or len(content) > _MOST_BYTES:
            raise invalid(f"{uri} is {form or 'no picture'} of {len(content)} bytes")


def _item(line: Json, annotations: str) -> tuple[str, Mapping[str, str], Any]:
    """Take a line apart, which may have nothing that its schema has not."""
    if strange := line.keys() - {"imageGcsUri", "dataItemResourceLabels", annotations}:
        raise invalid(f"unknown field {min(strange)!r}")
    labels = line.get("dataItemResourceLabels", {})
    if labels.get(_USE, "training") not in ("training", "validation", "test"):
        raise invalid(f"ml_use {labels[_USE]!r} is none of training, validation, test")
    if not line["imageGcsUri"].startswith("gs://"):
        raise invalid(f"{line['imageGcsUri']!r} is no Cloud Storage URI")
    return line["imageGcsUri"], labels, line.get(annotations)


def _single(line: Json) -> DataItem:
    uri, labels, told = _item(line, "classificationAnnotation")
    return DataItem(uri, labels, (_name(told),) if told else ())


def _multi(line: Json) -> DataItem:
    uri, labels, told = _item(line, "classificationAnnotations")
    return DataItem(uri, labels, tuple(_name(one) for one in told or ()))


def _boxes(line: Json) -> DataItem:
    uri, labels, told = _item(line, "boundingBoxAnnotations")
    found = []
    for one in told or ():
        left, right, top, bottom = (one.pop(side) for side in ("xMin", "xMax", "yMin", "yMax"))
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise invalid(f"a box is not within its picture: {left}, {right}, {top}, {bottom}")
        found.append((_name(one), left, right, top, bottom))
    return DataItem(uri, labels, boxes=tuple(found))


def _name(annotation: Json) -> str:
    if annotation.keys() != {"displayName"} or not isinstance(annotation["displayName"], str):
        raise invalid(f"an annotation is no displayName: {annotation}")
    name: str = annotation["displayName"]
    return name


_READERS: dict[str, Callable[[Json], DataItem]] = {
    "image_classification_single_label": _single,
    "image_classification_multi_label": _multi,
    "image_bounding_box": _boxes,
}
