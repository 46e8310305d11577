"""Label Studio's exports, JSON and JSON_MIN: tasks with the annotations of one annotator or several.

Read twice: the control tag and the kind are known only when every annotation has been seen.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from labelloop.data.formats.addresses import written
from labelloop.data.formats.base import Format, Hints
from labelloop.data.formats.collector import Collector
from labelloop.data.formats.entry import side_named
from labelloop.data.formats.label_studio_tasks import Survey, Task, survey, tasks_in
from labelloop.data.formats.lines import write_text
from labelloop.data.listing import Listing, Record
from labelloop.kinds.majority import Truth, Vote, chosen, listed, regions_of, settle, votes_of
from labelloop.types import Choice, Json

_FIELD, _SIDE, _CONTROL = "image", "split", "label"


def read_label_studio(path: Path, hints: Hints, base: str) -> Listing:
    """Read an export: the majority's labels; ties, skipped and unlabeled tasks are left out. Raises ManifestError."""
    seen = survey(path, hints)
    choice: Choice = hints.choice or ("multiple" if seen.several else "single")
    found = Collector(path, hints)
    for task in tasks_in(path):
        truth = _truth(task, seen, choice)
        address = task.data.get(seen.picture_field)
        if truth.reason:
            found.leave_out(truth.reason, task.id)
        elif not isinstance(address, str) or not address:
            found.leave_out(f"no {seen.picture_field!r} in its data", task.id)
        else:
            side = task.data.get(_SIDE)
            named = side_named(side) if isinstance(side, str) else None
            found.take(task.entry.address(address, base), truth.labels, task.id, named)
    return found.listing(choice)


def _truth(task: Task, seen: Survey, choice: Choice) -> Truth:
    return settle(votes_of(task.annotations, lambda annotation: _vote(annotation, seen.control, choice)), choice)


def _vote(annotation: Json, control: str, choice: Choice) -> Vote:
    regions = regions_of(annotation)
    names = frozenset(chosen(region.get("value") for region in regions if region.get("from_name") == control))
    if not names and choice == "single":
        return Vote(reason="annotated without a label")
    if len(names) > 1 and choice == "single":
        return Vote(reason=f"annotated with several labels ({listed(*sorted(names))}), of which one is allowed")
    return Vote(names)


def write_label_studio(listing: Listing, target: Path, hints: Hints) -> None:
    """Write tasks with one annotation each, as Label Studio imports them; raises ManifestError."""
    write_text(target, _parts(listing, target.absolute().parent, hints))


def _parts(listing: Listing, folder: Path, hints: Hints) -> Iterator[str]:
    between = "[\n"
    for record in listing.records:
        yield between + json.dumps(_task(record, folder, hints))
        between = ",\n"
    yield "\n]\n" if listing.records else "[]\n"


def _task(record: Record, folder: Path, hints: Hints) -> Json:
    field = hints.picture_field or _FIELD
    data: Json = {field: written(record.uri, folder)}
    if record.side:
        data[_SIDE] = record.side
    region = {
        "from_name": hints.label_attribute or _CONTROL,
        "to_name": field,
        "type": "choices",
        "value": {"choices": record.labels},
    }
    return {"id": record.task, "data": data, "annotations": [{"result": [region] if record.labels else []}]}


LABEL_STUDIO = Format(
    "label-studio",
    "Label Studio's export (JSON or JSON_MIN)",
    frozenset({"sides", "names", "several labels", "task ids"}),
    read_label_studio,
    write_label_studio,
    ".json",
)
