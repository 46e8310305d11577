"""An endpoint's answer in the words of an ontology: which of its questions and tools it answers, in which classes.

What Labelbox is sent is written of that and of the data row (lines.py): boxes in its pixels, and its id.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from labelloop.errors import LabelConfigError, LabelMappingError
from labelloop.kinds.majority import listed
from labelloop.labelbox.model_types import Feature
from labelloop.labelbox.ontology import Ontology
from labelloop.types import (
    Answer,
    Box,
    Findings,
    Mask,
    Number,
    Output,
    Point,
    Polygon,
    Region,
    Rendering,
    Shape,
    Span,
    Text,
    Whole,
    bare,
)

_ANSWERED_BY: Mapping[type[Shape], tuple[Feature, ...]] = {
    Box: ("rectangle",),
    Span: ("named-entity",),
    Whole: ("radio", "checklist"),
    # An LLM says a class in words, some models its number.
    Text: ("radio", "checklist"),
    Number: ("radio", "checklist"),
}

_CALLED: Mapping[type[Shape], str] = {
    Box: "boxes",
    Polygon: "polygons",
    Mask: "masks",
    Point: "points",
    Span: "parts of a text",
    Text: "texts",
    Number: "numbers",
    Whole: "classes of the whole",
}

Fitted = tuple[Ontology, Answer]
"""A part of an ontology, and what is answered there, in its classes."""


def fitted(ontologies: Sequence[Ontology], answer: Answer, how: Rendering) -> list[Fitted]:
    """Say what an answer is to each part of an ontology that takes it; of what is not sure enough, nothing.

    Raises LabelConfigError where no part takes it, LabelMappingError where none of its classes is one there.
    """
    among = [one for one in ontologies if not how.tag or how.tag in names_of(one)]
    if not among:
        raise LabelConfigError(
            f"the option tag names {listed(how.tag)}, and the ontology has {_all_asked(ontologies)}: take the name of "
            "one of its questions, or of a tool"
        )
    if isinstance(answer, Output):
        return [_classified(among, answer, how)]
    return _found(among, answer, how)


def names_of(ontology: Ontology) -> tuple[str, ...]:
    """Give the names that a part of an ontology goes by, the first one where an LLM is asked about it."""
    return ontology.question.names if ontology.question is not None else ("entities", *ontology.classes)


def _classified(among: Sequence[Ontology], output: Output, how: Rendering) -> Fitted:
    """Answer the first question that shares a class with the model."""
    asking = [one for one in among if one.question is not None]
    if not asking:
        raise _untaken("a classification", among)
    for ontology in asking:
        scores = _scores(ontology, output, how)
        if scores:
            return ontology, _output(ontology, output, scores, how)
    raise _no_class(asking, output.scores)


def _scores(ontology: Ontology, output: Output, how: Rendering) -> dict[str, float]:
    """Score each class that the model knows, in the ontology's order; several that mean one count together."""
    find, found = ontology.finder(how.given), dict[str, float]()
    for name, score in output.scores.items():
        label = find(name)
        if label is not None:
            before = found.get(label, 0.0)
            found[label] = max(before, score) if output.choice == "multiple" else min(1.0, before + score)
    return {name: found[name] for name in ontology.classes if name in found}


def _output(ontology: Ontology, output: Output, scores: dict[str, float], how: Rendering) -> Answer:
    """Spell an output in the ontology's classes; where one answer is wanted, the best of several is it."""
    best, version = max(scores, key=scores.__getitem__), output.model_version
    if ontology.type.choice == "single" or output.choice == "single":
        if how.threshold is not None and scores[best] < how.threshold:
            return Findings((), version)
        return Output(best, scores[best], scores, version, "single")
    find = ontology.finder(how.given)
    own = {label: least for name, least in output.thresholds.items() if (label := find(name)) is not None}
    least = own if how.threshold is None else dict.fromkeys(scores, how.threshold)
    return Output(best, scores[best], scores, version, "multiple", least)


def _found(among: Sequence[Ontology], findings: Findings, how: Rendering) -> list[Fitted]:
    """Give each part what was found for it, perhaps nothing where it could have been."""
    taken: dict[int, list[Region]] = {}
    strange: list[Region] = []
    classed = False
    for region in findings.regions:
        parts = _parts(among, region)
        placed = next(((at, found) for at in parts if (found := _labelled(among[at], region, how))), None)
        if placed is not None:
            at, regions = placed
            taken.setdefault(at, []).extend(one for one in regions if _is_sure(one, how))
        classed = classed or bool(parts)
        if placed is None:
            strange.append(region)
    if findings.regions and not classed:
        raise _untaken(_holds(findings.regions), among)
    if strange and not taken and not how.label_map:
        asked = dict.fromkeys(at for region in strange for at in _parts(among, region))
        raise _no_class([among[at] for at in asked], [_said(region) for region in strange])
    return [(among[at], replace(findings, regions=tuple(_one_of(among[at], found)))) for at, found in taken.items()]


def _parts(among: Sequence[Ontology], region: Region) -> list[int]:
    """Name the parts that take a region of this sort, or the one among them that it is for."""
    wanted = _ANSWERED_BY.get(type(region.shape), ())
    return [
        at
        for at, one in enumerate(among)
        if one.type.feature in wanted and (not region.tag or region.tag in names_of(one))
    ]


def _labelled(ontology: Ontology, region: Region, how: Rendering) -> list[Region]:
    """Give a region its class, or each class that a text names; nothing where a word of it is none."""
    find = ontology.finder(how.given)
    if not isinstance(region.shape, Text | Number):
        label = find(region.label)
        if label is None and not region.label and len(ontology.classes) == 1:
            label = ontology.classes[0]
        return [] if label is None else [replace(region, label=label, tag="")]
    text = bare(region.shape.content) if isinstance(region.shape, Text) else region.label
    several = ontology.type.choice == "multiple" and find(text) is None
    words = [word for one in re.split(r"[,;\n]", text) if (word := bare(one))] if several else [text]
    labels = [find(word) for word in words]
    return [Region(label, Whole(), region.score) for label in dict.fromkeys(labels) if label] if all(labels) else []


def _one_of(ontology: Ontology, regions: Sequence[Region]) -> Iterable[Region]:
    """Keep the surest where one answer is wanted."""
    if ontology.type.choice == "single" and ontology.question is not None:
        return sorted(regions, key=lambda one: -1.0 if one.score is None else -one.score)[:1]
    return regions


def _is_sure(region: Region, how: Rendering) -> bool:
    return region.score is None or how.threshold is None or region.score >= how.threshold


def _holds(regions: Iterable[Region]) -> str:
    return " and ".join(dict.fromkeys(_CALLED[type(one.shape)] for one in regions))


def _said(region: Region) -> str:
    return region.shape.content if isinstance(region.shape, Text) else region.label


def _untaken(holds: str, among: Sequence[Ontology]) -> LabelConfigError:
    return LabelConfigError(
        f"the endpoint's answer holds {holds}, and the ontology has {_all_asked(among)}: choose an endpoint that "
        "answers with what the ontology asks for, or give the model an ontology that asks for it"
    )


def _no_class(among: Sequence[Ontology], classes: Iterable[str]) -> LabelMappingError:
    names = list(dict.fromkeys(classes))
    first = names[0][:_LONGEST] if names and names[0] else "class"
    label = among[0].classes[0]
    return LabelMappingError(
        f"none of the endpoint's classes is one of the ontology's ({_all_asked(among)}). The endpoint's: "
        f"{_named(names)}. The ontology's: {_named(name for one in among for name in one.classes)}. Say in the model "
        f'run\'s training config what a class means: {{"label_map": {{"{first}": "{label}"}}}}'
    )


_LONGEST, _NAMED = 60, 20


def _named(names: Iterable[str]) -> str:
    """List names: the first twenty, shortened."""
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return (", ".join(repr(name[:_LONGEST]) for name in every[:_NAMED]) or "(none)") + more


def _all_asked(ontologies: Iterable[Ontology]) -> str:
    return " and ".join(one.asked for one in ontologies)
