"""What a task's annotations say its labels are, each in the words of today's label config."""

from collections.abc import Callable, Iterable

from labelloop.majority import Vote, chosen, listed, regions_of, votes_of
from labelloop.studio.control import Control
from labelloop.studio.mapping import label_finder
from labelloop.types import Json


def vote_reader(control: Control) -> Callable[[Iterable[object]], tuple[Vote, ...]]:
    """Make the function that reads what each annotation of one task chooses; a skipped one votes for nothing.

    A label that was renamed with ``predicted_values`` counts as what it is called today; one that the label config no
    longer has does not.
    """
    # Made once: the tables of a label config cost more than to read the annotations of a task.
    find = label_finder(control.labels, labels_first=True)
    return lambda annotations: votes_of(annotations, lambda annotation: _vote(control, find, annotation))


def _vote(control: Control, find: Callable[[str], str | None], annotation: Json) -> Vote:
    regions = regions_of(annotation)
    names = set(chosen(region.get("value") for region in regions if region.get("from_name") == control.name))
    labels = {name: find(name) for name in names}
    known = frozenset(label for label in labels.values() if label is not None)
    gone = sorted(name for name, label in labels.items() if label is None)
    if not names:
        return _nothing(control, regions)
    if not known:
        return Vote(reason=f"the label config has no label {listed(*gone)} any more")
    if control.choice == "single" and len(known) + len(gone) > 1:
        return Vote(reason=f"annotated with several labels ({listed(*sorted(known), *gone)}), of which one is allowed")
    return Vote(known)


def _nothing(control: Control, regions: Iterable[Json]) -> Vote:
    """Tell "none of the labels" from an answer to a question that the label config asks no more."""
    tags = {name for region in regions if isinstance(name := region.get("from_name"), str)}
    replaced = sorted(tags - control.tags - {control.name})
    if replaced:
        return Vote(reason=f"annotated with the control tag {listed(*replaced)}, which the label config has no more")
    return Vote() if control.choice == "multiple" else Vote(reason="annotated without a label")
