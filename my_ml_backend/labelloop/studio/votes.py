"""What a task's annotations say: its labels, or their whole results, in the words of today's label config."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from labelloop.data.classes import Find
from labelloop.data.site import Begun
from labelloop.kinds.base import Says
from labelloop.kinds.majority import Vote, chosen, listed, regions_of, votes_of
from labelloop.regions import write_regions
from labelloop.studio.control_tag import DRAWING, ControlTag
from labelloop.studio.label_config import LabelConfig
from labelloop.studio.mapping import label_finder
from labelloop.studio.results.drawn import Drawn, drawn_with
from labelloop.studio.results.prediction import labels_value
from labelloop.types import Json, canonical

_COUNTING = ("from_name", "to_name", "type", "value", "original_width", "original_height", "image_rotation")
"""What of a result counts as said. Its id, origin, score, meta and history change without a word of the annotator."""

_PER_TASK = ("Choices", "Taxonomy", "TextArea", "Rating", "Number")
"""Control tags that are answered once for a task; of the others there may be any number of results, or none."""

Reader = Callable[[Iterable[object]], tuple[Vote, ...]]
"""Reads the annotations of one task."""


def vote_reader(config: LabelConfig) -> Reader:
    """Make the function that reads what each annotation of one task chooses; a skipped one votes for nothing.

    The first control tag of the label config is what counts.

    A label that was renamed with ``predicted_values`` counts as what it is called today; one that the label config no
    longer has does not.
    """
    # Made once: the tables of a label config cost more than to read the annotations of a task.
    find = label_finder(config.tags[0].labels, labels_first=True)
    return lambda annotations: votes_of(annotations, lambda annotation: _vote(config, find, annotation))


def _vote(config: LabelConfig, find: Find, annotation: Json) -> Vote:
    tag = config.tags[0]
    regions = regions_of(annotation)
    names = set(chosen(region.get("value") for region in regions if region.get("from_name") == tag.name))
    labels = {name: find(name) for name in names}
    known = frozenset(label for label in labels.values() if label is not None)
    gone = sorted(name for name, label in labels.items() if label is None)
    if not names:
        return _nothing(config, regions)
    if not known:
        return Vote(reason=f"the label config has no label {listed(*gone)} any more")
    if tag.choice == "single" and len(known) + len(gone) > 1:
        return Vote(reason=f"annotated with several labels ({listed(*sorted(known), *gone)}), of which one is allowed")
    return Vote(known)


def _nothing(config: LabelConfig, regions: Iterable[Json]) -> Vote:
    """Tell "none of the labels" from an answer to a question that the label config asks no more."""
    if replaced := _replaced(config, regions):
        return Vote(reason=replaced)
    return Vote() if config.tags[0].choice == "multiple" else Vote(reason="annotated without a label")


def _replaced(config: LabelConfig, regions: Iterable[Json]) -> str:
    """Say so where results are of control tags that the label config has no more; empty where none is."""
    names = {name for region in regions if isinstance(name := region.get("from_name"), str)}
    gone = sorted(names - config.names)
    return f"annotated with the control tag {listed(*gone)}, which the label config has no more" if gone else ""


def region_reader(config: LabelConfig) -> Reader:
    """Make the function that reads what each annotation of one task draws with the first control tag.

    ``Vote.result`` holds its regions (labelloop/regions.py), none where nothing is drawn, for that is an answer, too.
    Labels are renamed and dropped as for ``vote_reader``. What has no label or no extent says nothing beside regions
    that have both; alone, it says nothing that can be used.
    """
    tag = config.tags[0]
    find = label_finder(tag.labels, labels_first=True)
    return lambda annotations: votes_of(
        annotations, lambda annotation: _outlined(config, drawn_with(tag, find, regions_of(annotation)), annotation)
    )


def _outlined(config: LabelConfig, drawn: Drawn, annotation: Json) -> Vote:
    if drawn.turned:
        return Vote(
            reason="drawn on a picture that was turned in the editor: nobody can tell where on the file that is"
        )
    if drawn.regions:
        # How sure a prediction was of a region does not become what an annotator says of it.
        said = write_regions(replace(region, score=None) for region in drawn.regions)
        return Vote(frozenset(region.label for region in drawn.regions), result=said)
    if drawn.gone:
        return Vote(reason=f"the label config has no label {listed(*sorted(drawn.gone))} any more")
    if drawn.damaged:
        return Vote(reason="nothing that is drawn there has both an extent and a label")
    replaced = _replaced(config, regions_of(annotation))
    return Vote(reason=replaced) if replaced else Vote(result=write_regions(()))


def result_reader(config: LabelConfig) -> Reader:
    """Make the function that reads all that each annotation of one task says, from old to new, as ``Vote.result``.

    That is what it has for the control tags that LabelLoop predicts for, without what changes by itself, in an order
    of its own. Labels are renamed and dropped as for ``vote_reader``, and with its last label a region.
    """
    tags = {tag.name: (tag, label_finder(tag.labels, labels_first=True)) for tag in _answered(config)}

    def read(annotations: Iterable[object]) -> tuple[Vote, ...]:
        in_order = sorted((one for one in annotations if isinstance(one, dict)), key=_changed)
        return votes_of(in_order, lambda annotation: _said(config, tags, regions_of(annotation)))

    return read


READERS: Mapping[Says, Callable[[LabelConfig], Reader]] = {
    "labels": vote_reader,
    "regions": region_reader,
    "result": result_reader,
}
"""What makes the reader of a kind's votes, by what they must carry."""


def begun_with(annotations: Iterable[object], predictions: Iterable[object], read: Reader) -> tuple[Begun, ...]:
    """Say which of a task's annotations began with which of its predictions, and whether they still say what it says.

    Skipped ones say nothing, and predictions that were deleted are not known any more. Label Studio adds the time of
    each edit to ``lead_time``; annotations that are imported or made in bulk have none.
    """
    known = {one["id"]: one for one in predictions if isinstance(one, dict) and "id" in one}
    found = []
    for annotation in annotations:
        if not isinstance(annotation, dict) or annotation.get("was_cancelled") is True:
            continue
        seconds, by = _seconds(annotation), _annotator(annotation)
        prediction = known.get(annotation.get("parent_prediction"))
        if prediction is None:
            found.append(Begun("", False, seconds, by))
            continue
        said, predicted = (read([{"result": one.get("result")}]) for one in (annotation, prediction))
        version, blank = str(prediction.get("model_version") or ""), not prediction.get("result")
        found.append(Begun(version, said == predicted, seconds, by, blank))
    return tuple(found)


def _seconds(annotation: Json) -> float | None:
    taken = annotation.get("lead_time")
    if isinstance(taken, bool) or not isinstance(taken, int | float) or not 0 < taken < math.inf:
        return None
    return float(taken)


def _annotator(annotation: Json) -> int | None:
    by = annotation.get("completed_by")
    number = by.get("id") if isinstance(by, dict) else by
    return number if isinstance(number, int) else None


def _answered(config: LabelConfig) -> Iterator[ControlTag]:
    """Give the control tags that results are from: where ``Labels`` say what another tag draws, both of them."""
    for tag in config.tags:
        yield replace(tag, labels_tag="")
        if tag.labels_tag:
            yield replace(tag, tag="Labels", name=tag.labels_tag, labels_tag="")


def _changed(annotation: Json) -> tuple[float, int]:
    """Give the moment of an annotation's last change (Unix seconds) and its id, for two of one moment."""
    number = annotation.get("id")
    try:
        moment = datetime.fromisoformat(str(annotation.get("updated_at"))).timestamp()
    except (ValueError, OverflowError):
        moment = 0.0
    return moment, number if isinstance(number, int) else 0


def _said(config: LabelConfig, tags: Mapping[str, tuple[ControlTag, Find]], regions: Sequence[Json]) -> Vote:
    kept: list[Json] = []
    labels: set[str] = set()
    gone: set[str] = set()
    unlabelled = _unlabelled(tags, regions)
    for region in regions:
        tag, find = tags.get(str(region.get("from_name")), (None, None))
        value = region.get("value")
        if tag is None or find is None or region.get("type") != tag.type or not isinstance(value, dict):
            continue
        if tag.tag in DRAWING and region.get("id") in unlabelled:
            continue
        names = list(_names(tag, value))
        known = list(dict.fromkeys(label for name in names if (label := find(name)) is not None))
        gone |= {name for name in names if find(name) is None}
        if known or not names:
            labels |= set(known)
            said = {key: region[key] for key in _COUNTING if key in region}
            kept.append(said | {"value": value | labels_value(tag, known)} if known else said)
    if kept or (not gone and any(_may_be_empty(tag) for tag in config.tags) and not _replaced(config, regions)):
        return Vote(frozenset(labels), result=canonical(sorted(kept, key=canonical)))
    if gone:
        return Vote(reason=f"the label config has no label {listed(*sorted(gone))} any more")
    return Vote(reason=_replaced(config, regions) or "annotated without an answer")


def _unlabelled(tags: Mapping[str, tuple[ControlTag, Find]], regions: Sequence[Json]) -> set[str]:
    """Give the ids of what was drawn with labels, of which the label config has none any more."""
    found: dict[str, bool] = {}
    for region in regions:
        tag, find = tags.get(str(region.get("from_name")), (None, None))
        name, value = region.get("id"), region.get("value")
        if (
            tag is None
            or find is None
            or tag.tag != "Labels"
            or not isinstance(name, str)
            or not isinstance(value, dict)
        ):
            continue
        found[name] = found.get(name, False) or any(find(label) is not None for label in _names(tag, value))
    return {name for name, known in found.items() if not known}


def _names(tag: ControlTag, value: Json) -> Iterator[str]:
    """Give the labels that a result uses."""
    listed_there = value.get(tag.type)
    if tag.tag == "Choices":
        yield from chosen([value])
    elif isinstance(listed_there, list) and tag.labels:
        for entry in listed_there:
            parts = entry if isinstance(entry, list) else [entry]
            if parts and all(isinstance(part, str) for part in parts):
                yield "/".join(parts)


def _may_be_empty(tag: ControlTag) -> bool:
    """Whether nothing is an answer, too."""
    return tag.tag not in _PER_TASK or (tag.tag in ("Choices", "Taxonomy") and tag.choice == "multiple")
