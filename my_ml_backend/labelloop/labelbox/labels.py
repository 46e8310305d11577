"""What one label of a data row says: an answer to the question that is learned, or what was marked with its tools."""

from collections import Counter

from labelloop.kinds.majority import Vote, listed
from labelloop.labelbox.ontology import Ontology
from labelloop.labelbox.questions import Option, Path, Question, entries, read_name
from labelloop.labelbox.shapes import Size, cut, in_fractions, objects_of, read_box, read_span
from labelloop.regions import write_regions
from labelloop.types import BOXES, Box, Json, Region, Span

NESTED_IN_REGIONS = "answers about a single box or span"
NOT_FOLLOWED = "answers below an answer that are not learned"
UNCHECKED = "labels that check nothing in a checklist that need not be answered, read as none of its answers"
DAMAGED = "boxes or spans without an extent, or outside their data row"


def vote_of(label: object, ontology: Ontology, text: str, size: Size | None, aside: Counter[str]) -> Vote:
    """Read one label; ``aside`` counts what of it is not learned. ``text`` is the row's, empty where it is in a file.

    Without a ``size`` boxes stay in pixels.
    """
    annotations = label.get("annotations") if isinstance(label, dict) else None
    if not isinstance(label, dict) or not isinstance(annotations, dict):
        return Vote(reason="the label holds no annotations")
    if ontology.question is None:
        return _marked(label, ontology, text, size, aside)
    question = ontology.question
    answers = entries(annotations, "classifications")
    given = [entry for entry in answers if read_name(entry.get("name")) in question.names]
    return _answered(given, ontology, question, aside) if given else _unanswered(question, aside)


def _unanswered(question: Question, aside: Counter[str]) -> Vote:
    """Tell "none of its answers" from nothing: an export is silent about a checklist in which nothing is checked."""
    if not question.several or question.required:
        return Vote(reason=f"the question {listed(question.name)} is not answered")
    aside[UNCHECKED] += 1
    return Vote()


def _answered(given: list[Json], ontology: Ontology, question: Question, aside: Counter[str]) -> Vote:
    answers = [answer for entry in given for answer in _answers(entry, question)]
    known = [(option, answer) for answer in answers if (option := _option(question, answer)) is not None]
    gone = {read_name(answer.get("name")) for answer in answers if _option(question, answer) is None}
    paths = {path for option, answer in known for path in _down(question, option, answer, aside)}
    labels = frozenset(name for name, path in ontology.paths.items() if path in paths)
    if gone and not known:
        return Vote(reason=f"the ontology has no answer {listed(*sorted(gone))} any more")
    if known and not labels:
        names = sorted(option.name for option, _ in known)
        return Vote(reason=f"what has to be answered below {listed(*names)} is not answered")
    if question.several:
        return Vote(labels)
    if len(labels) + len(gone) > 1:
        names = sorted(labels | gone)
        return Vote(reason=f"labeled with several answers ({listed(*names)}), of which one is allowed")
    return Vote(labels) if labels else Vote(reason=f"the question {listed(question.name)} is answered with nothing")


def _down(question: Question, option: Option, answer: Json, aside: Counter[str]) -> list[Path]:
    """Give the paths that an answer begins, each as far down as it is answered and the ontology goes."""
    step = (question.name, option.name)
    found: list[Path] = []
    for entry in entries(answer, "classifications"):
        below = next((one for one in option.questions if read_name(entry.get("name")) in one.names), None)
        if below is None:
            aside[NOT_FOLLOWED] += 1
            continue
        for further in _answers(entry, below):
            chosen = _option(below, further)
            if chosen is None:
                aside[NOT_FOLLOWED] += 1
            else:
                found += [(step, *rest) for rest in _down(below, chosen, further, aside)]
    return found or [(step,)]


def _answers(entry: Json, question: Question) -> list[Json]:
    """Give the answers of an entry; which key Labelbox uses for those of a checklist is not documented."""
    if not question.several:
        answer = entry.get("radio_answer")
        return [answer] if isinstance(answer, dict) else []
    return entries(entry, "checklist_answers") or entries(entry, "checklist_answer")


def _option(question: Question, answer: Json) -> Option | None:
    name, value, schema = read_name(answer.get("name")), answer.get("value"), answer.get("feature_schema_id")
    by_name = (one for one in question.options if one.name == name)
    by_id = (one for one in question.options if one.id and one.id == schema)
    by_value = (one for one in question.options if one.value and one.value == value)
    return next(by_name, None) or next(by_id, None) or next(by_value, None)


def _marked(label: Json, ontology: Ontology, text: str, size: Size | None, aside: Counter[str]) -> Vote:
    regions: list[Region] = []
    gone: set[str] = set()
    damaged = 0
    for entry in objects_of([label]):
        name = read_name(entry.get("name"))
        if not _is_of(entry, ontology) or (name in ontology.known and name not in ontology.classes):
            continue
        shape = _shape(entry, ontology, text, size)
        if name not in ontology.classes:
            gone.add(name)
        elif shape is None:
            damaged += 1
        else:
            regions.append(Region(name, shape))
            aside[NESTED_IN_REGIONS] += len(entries(entry, "classifications"))
    aside[DAMAGED] += damaged
    if regions or not (gone or damaged):
        return Vote(frozenset(one.label for one in regions), result=write_regions(regions))
    if gone:
        return Vote(reason=f"the ontology has no tool {listed(*sorted(gone))} any more")
    return Vote(reason="nothing that is marked there has both an extent and a place in its data row")


def _is_of(entry: Json, ontology: Ontology) -> bool:
    """Whether something was marked with a tool of the sort that is learned; Labelbox may leave its kind out."""
    kind, key = ("ImageBoundingBox", "bounding_box") if ontology.type.kind == BOXES else ("TextEntity", "location")
    told = entry.get("annotation_kind")
    return told == kind if isinstance(told, str) else key in entry


def _shape(entry: Json, ontology: Ontology, text: str, size: Size | None) -> Box | Span | None:
    if ontology.type.kind != BOXES:
        return read_span(entry, text)
    box = read_box(entry)
    return box if box is None or size is None else cut(in_fractions(box, size))
