"""Label Studio's exports, JSON, JSON_MIN, CSV and TSV: tasks with the annotations of one annotator or several.

Read twice: the control tag and the kind are known only when every annotation has been seen.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from labelloop.data.classes import Find
from labelloop.data.formats.base import Collector, Format, Hints, written
from labelloop.data.formats.entries import side_named, table_header, write_parts
from labelloop.data.formats.label_studio_regions import results_of
from labelloop.data.formats.label_studio_survey import SIDE, Survey, survey
from labelloop.data.formats.label_studio_tasks import ALWAYS, Annotation, Task, tasks_in
from labelloop.data.formats.spans import spans_in
from labelloop.data.listing import OF_REGIONS, Listing, Record, meaning
from labelloop.errors import ManifestError
from labelloop.kinds.base import find
from labelloop.kinds.majority import Truth, Vote, listed, settle
from labelloop.regions import read_regions, write_regions
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS, Choice, Json, value_at

_FIELD, _TEXT, _CONTROL = "image", "text", "label"

_FILE = re.compile(r"\s*(https?://|s3://|gs://|/data/)\S+\.txt\s*$", re.IGNORECASE)
"""What is the address of a text, and no text."""


def is_table_of_label_studio(header: str) -> bool:
    """Tell a CSV or TSV export by its first line."""
    try:
        return set(table_header(header)[1]) >= ALWAYS
    except ManifestError:
        return False


def read_label_studio(path: Path, hints: Hints, base: str) -> Listing:
    """Read an export: what most annotators say, without ties, skipped and unlabeled tasks. Raises ManifestError."""
    seen = survey(path, hints)
    choice: Choice = hints.choice or ("multiple" if seen.several else "single")
    found, meant = Collector(path, hints), hints.finder()
    for task in tasks_in(path, scattered=seen.scattered):
        truth, value = _truth(task, seen, choice, meant), value_at(task.data, seen.field)
        text = value if seen.kind in (TEXTS, SPANS) and isinstance(value, str) and not _FILE.match(value) else ""
        if reason := truth.reason or _unreadable(seen, value, truth):
            found.leave_out(reason, task.id)
            continue
        side = task.data.get(SIDE)
        named = side_named(side) if isinstance(side, str) else None
        uri = "" if text else task.entry.address(str(value), base)
        size = next((one.size for a in task.annotations for one in a.drawn.get(seen.control, ()) if one.size), None)
        found.take(
            uri, truth.labels, task.id, named, text=text, result=truth.result, confirmed=truth.confirmed, size=size
        )
    listing = found.listing(choice, kind=seen.kind)
    return replace(listing, remarks=(*listing.remarks, *seen.remarks))


def _unreadable(seen: Survey, value: object, truth: Truth) -> str:
    """Say why a task has no input; empty where it has one."""
    if not isinstance(value, str) or not value.strip():
        return f"no {seen.field!r} in its data"
    if seen.kind == SPANS and not _FILE.match(value) and any(end > len(value) for _, end, _ in spans_in(truth.result)):
        return "a span ends behind its text"
    return ""


def _truth(task: Task, seen: Survey, choice: Choice, meant: Find | None) -> Truth:
    if task.predicted and not task.annotations:
        return Truth(reason="not annotated: only models have answered it")
    if seen.kind in OF_REGIONS:
        votes = [_drawn(annotation, seen.control, meant) for annotation in task.annotations]
        return find(seen.kind).truth(votes, "multiple")
    return settle([_vote(annotation, seen.control, choice, meant) for annotation in task.annotations], choice)


def _drawn(annotation: Annotation, control: str, meant: Find | None) -> Vote:
    """Read the regions of an annotation, none where nothing is drawn: that is an answer, too."""
    if annotation.skipped:
        return Vote(skipped=True)
    drawn = annotation.drawn.get(control, ())
    if any(one.turned for one in drawn):
        return Vote(
            reason="drawn on a picture that was turned in the editor: nobody can tell where on the file that is"
        )
    regions = [region for one in drawn for region in one.regions]
    if drawn and not regions:
        return Vote(reason="nothing that is drawn there has both an extent and a label")
    names = {region.label for region in regions}
    today = {name: name if meant is None else meant(name) for name in names}
    kept = [replace(region, label=name) for region in regions if (name := today[region.label]) is not None]
    if regions and not kept:
        return Vote(reason=f"labeled {listed(*sorted(names))}, which is none of the classes")
    return Vote(
        frozenset(region.label for region in kept),
        ground_truth=annotation.ground_truth,
        confirmed=annotation.confirmed,
        result=write_regions(kept),
    )


def _vote(annotation: Annotation, control: str, choice: Choice, meant: Find | None) -> Vote:
    if annotation.skipped:
        return Vote(skipped=True)
    said = annotation.labels.get(control, ())
    names, gone = (tuple(sorted(set(said))), ()) if meant is None else meaning(said, meant)
    reason = ""
    if gone and not names:
        reason = f"labeled {listed(*gone)}, which is none of the classes"
    elif choice == "single" and len(names) + len(gone) > 1:
        reason = f"annotated with several labels ({listed(*names, *gone)}), of which one is allowed"
    elif choice == "single" and not names:
        reason = f"annotated with {' and '.join(sorted(annotation.kinds))}, and without a label of the picture"
        reason = reason if annotation.kinds else "annotated without a label"
    return Vote(frozenset(names), reason, ground_truth=annotation.ground_truth, confirmed=annotation.confirmed)


def write_label_studio(listing: Listing, target: Path, hints: Hints) -> None:
    """Write tasks with one annotation each, as Label Studio imports them; raises ManifestError."""
    write_parts(target, _parts(listing, target.absolute().parent, hints))


def _parts(listing: Listing, folder: Path, hints: Hints) -> Iterator[str]:
    between = "[\n"
    for record in listing.records:
        yield between + json.dumps(_task(record, listing.kind, folder, hints))
        between = ",\n"
    yield "\n]\n" if listing.records else "[]\n"


def _task(record: Record, kind: str, folder: Path, hints: Hints) -> Json:
    field = hints.picture_field or (_TEXT if record.text else _FIELD)
    data: Json = {field: record.text or written(record.uri, folder)}
    if record.side:
        data[SIDE] = record.side
    control = hints.label_attribute or _CONTROL
    if kind in OF_REGIONS:
        results = results_of(record.text, read_regions(record.result), control, field, record.size)
    else:
        chosen = {"from_name": control, "to_name": field, "type": "choices", "value": {"choices": record.labels}}
        results = [chosen] if record.labels else []
    return {"id": record.task, "data": data, "annotations": [{"result": results}]}


LABEL_STUDIO = Format(
    "label-studio",
    "Label Studio's export (JSON, JSON_MIN, CSV or TSV)",
    frozenset({IMAGES, TEXTS, SPANS, BOXES}),
    frozenset({"sides", "names", "several labels", "task ids"}),
    read_label_studio,
    write_label_studio,
    ".json",
)
