"""SageMaker's augmented manifest: JSON Lines of ``source-ref``, a label attribute and its metadata (Ground Truth).

docs.aws.amazon.com, SageMaker Developer Guide, "Labeling job output data": classification and multi-label jobs.
"""

from collections.abc import Iterator
from pathlib import Path

from labelloop.data.formats.base import Collector, Format, Hints, written
from labelloop.data.formats.entries import Entry, object_lines, write_lines
from labelloop.data.formats.other_labels import Other, of_job, refused
from labelloop.data.listing import Listing
from labelloop.errors import ManifestError
from labelloop.types import Json

_SOURCE, _METADATA = "source-ref", "-metadata"
_TYPES = {"single": "groundtruth/image-classification", "multiple": "groundtruth/image-classification-multilabel"}
_ATTRIBUTE = "label"
"""What we call the attribute where nobody names it."""


def read_augmented(path: Path, hints: Hints, base: str) -> Listing:
    """Read a manifest; objects that a labeling job failed on are left out. Raises ManifestError."""
    found = Collector(path, hints)
    attribute, several = hints.label_attribute, False
    for entry in object_lines(path):
        uri = entry.address(entry.text(_SOURCE), base)
        attribute = attribute or _attribute(entry)
        labels = _labels(entry, attribute)
        if isinstance(labels, str):
            found.leave_out(labels, None)
        else:
            several = several or isinstance(entry.values[attribute], list)
            found.take(uri, labels, None)
    return found.listing("multiple" if several else "single")


def _attribute(entry: Entry) -> str:
    """Find the attribute that has metadata, else the only one that is no address. Raises ManifestError."""
    keys = entry.values.keys()
    candidates = [key.removesuffix(_METADATA) for key in keys if key.endswith(_METADATA)]
    candidates = candidates or [key for key in keys if not key.endswith("-ref")]
    # A chain of jobs may have drawn boxes, too.
    candidates = [key for key in candidates if not of_job(entry.values.get(key + _METADATA))] or candidates
    if len(candidates) != 1:
        seen = ", ".join(candidates) or "none"
        raise entry.wrong(
            f"one label attribute is expected beside {_SOURCE}, found: {seen}. Name it (--label-attribute)"
        )
    return candidates[0]


def _labels(entry: Entry, attribute: str) -> list[str] | str:
    """Give the labels of one object, or the reason why there are none. Raises ManifestError."""
    value, metadata = entry.values.get(attribute), entry.values.get(attribute + _METADATA)
    known: Json = metadata if isinstance(metadata, dict) else {}
    if "failure-reason" in known:
        return f"its labeling job failed: {str(known['failure-reason'])[:200]}"
    if other := of_job(known):
        where = f"{entry.source}, line {entry.number}: {attribute!r}"
        raise refused(where, Other(other, f"its type is {str(known['type'])[:60]!r}"))
    if value is None:
        return f"it has no {attribute!r}"
    if isinstance(value, list):
        classes = known.get("class-map")
        return [_name(entry, one, classes if isinstance(classes, dict) else {}) for one in value]
    name = known.get("class-name")
    return [name if isinstance(name, str) else _name(entry, value, {})]


def _name(entry: Entry, value: object, classes: Json) -> str:
    """Name a class by its number, if there is a map that knows it."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise entry.wrong("a label must be the number or the name of a class")
    name = classes.get(str(value), str(value))
    if not isinstance(name, str):
        raise entry.wrong("its class-map must map to names")
    return name


def write_augmented(listing: Listing, target: Path, hints: Hints) -> None:
    """Write a manifest as a labeling job's output would be; raises ManifestError."""
    write_lines(target, _objects(listing, target.absolute().parent, hints.label_attribute or _ATTRIBUTE))


def _objects(listing: Listing, folder: Path, attribute: str) -> Iterator[Json]:
    if attribute.endswith((_METADATA, "-ref")):
        raise ManifestError(f"a label attribute must not end with -ref or {_METADATA}, as {attribute!r} does")
    number = {name: at for at, name in enumerate(listing.classes)}
    for record in listing.records:
        metadata: Json = {"type": _TYPES[listing.choice], "human-annotated": "yes", "job-name": "labelloop"}
        line: Json = {_SOURCE: written(record.uri, folder)}
        if listing.choice == "single":
            line[attribute] = number[record.labels[0]]
            metadata["class-name"] = record.labels[0]
        else:
            line[attribute] = [number[label] for label in record.labels]
            metadata["class-map"] = {str(number[label]): label for label in record.labels}
        yield {**line, attribute + _METADATA: metadata}


AUGMENTED = Format(
    "augmented",
    "SageMaker's augmented manifest (JSON Lines with source-ref)",
    frozenset({"names", "several labels"}),
    read_augmented,
    write_augmented,
)
