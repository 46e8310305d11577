"""Reads label configs: for which control tags LabelLoop predicts, of what, with which labels; suggests one, too.

What counts is what Label Studio's import of predictions accepts and its labeling interface shows. Both read tag names
in any case; attributes, ``Choice`` and ``Label`` must be spelled as its documentation spells them, or the import drops
the predictions without a word (contract, "Imports").
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, tostring

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from labelloop.data.labeling import FIRST, Subject
from labelloop.errors import LabelConfigError
from labelloop.kinds.base import learnable
from labelloop.studio.control_tag import (
    DRAWING,
    OBJECTS,
    TAKEN_BY,
    ControlTag,
    ObjectTag,
    drawn_by,
    read_control,
    read_object,
    shown_tag,
)
from labelloop.studio.label_tag import is_control, shown_name
from labelloop.types import Answer, Choice, Input, Number, Output, Shape, Text, Whole

_MAX_CHARACTERS = 5_000_000
_REASONS = 3
_REMEMBERED = 32
_WHY_NOT = {
    ("Labels", "hypertext"): " (Label Studio counts the characters that are shown, and a model those of its source)"
}
_REPEATED = "inside a <Repeater>, which shows it once for each entry of a list; LabelLoop takes one object per task"
_NOTHING, _UNLEARNED = "LabelLoop cannot predict for this label config", "LabelLoop learns nothing of this label config"
_EXAMPLE = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image"><Choice value="cat"/>'
    '<Choice value="dog"/></Choices></View>'
)


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """A label config: the control tags that LabelLoop predicts for, all about one object tag, in their order.

    ``names`` are those of all its tags; ``warnings`` say what of it is not predicted for; ``text`` is its XML;
    ``headers`` are what annotators read in it. Where the one tag is what is learned, ``others`` could be in its place.
    """

    tags: tuple[ControlTag, ...]
    names: frozenset[str] = frozenset()
    warnings: tuple[str, ...] = ()
    text: str = field(default="", repr=False)
    headers: tuple[str, ...] = ()
    others: tuple[ControlTag, ...] = ()

    @property
    def target(self) -> ObjectTag:
        """The object tag whose data goes to the endpoint."""
        return self.tags[0].target


def parse_label_config(text: object) -> LabelConfig:
    """Find the control tags that LabelLoop can predict for.

    The first of them decides which object tag's data goes to the endpoint; those about another are left out with a
    warning. Raises LabelConfigError, whatever is given: no text, no XML, or nothing in it to predict for.
    """
    return _parsed(_text(text), None)


def parse_trained(text: object, subject: Subject = FIRST) -> LabelConfig:
    """Find the control tag that a kind learns (labelloop.kinds), and keep it alone: the ``subject``'s, else the first.

    Raises LabelConfigError, whatever is given: no text, no XML, or nothing in it that LabelLoop can train for.
    """
    return _parsed(_text(text), subject)


def suggest_config(item: Input, answer: Answer) -> str:
    """Write a label config whose tags take the answer, with the answer's own classes as labels."""
    view = Element("View")
    tag, key = _object(item)
    SubElement(view, tag, name=key, value=f"${key}")
    if isinstance(answer, Output):
        _add_labels(
            SubElement(view, "Choices", name="label", toName=key, choice=answer.choice), "Choice", answer.scores
        )
    else:
        for shape in dict.fromkeys(type(region.shape) for region in answer.regions):
            labels = [region.label for region in answer.regions if isinstance(region.shape, shape)]
            _add_regions(view, shape, key, dict.fromkeys(labels))
    indent(view)
    return tostring(view, "unicode")


def _text(label_config: object) -> str:
    if not isinstance(label_config, str):
        raise LabelConfigError(f"the label config must be text (XML), not {type(label_config).__name__}")
    if len(label_config) > _MAX_CHARACTERS:
        raise LabelConfigError(
            f"the label config has {len(label_config)} characters; at most {_MAX_CHARACTERS} are read"
        )
    return label_config


@lru_cache(maxsize=_REMEMBERED)
def _parsed(text: str, subject: Subject | None) -> LabelConfig:
    """Read a label config: all that is predicted for, or what of it is learned. The last ones are remembered."""
    supported, drawers = (OBJECTS, DRAWING) if subject is None else _learnable(subject)
    root = _read(text)
    elements = list(root.iter())
    names = Counter(name for element in elements if (name := element.get("name")))
    twice = [shown_name(name) for name, count in names.items() if count > 1]
    if twice:
        raise LabelConfigError(f"the label config gives the name {twice[0]} to several tags; each needs its own")
    unused = "does not predict for it" if subject is None else "does not learn it"
    found, warnings = _controls(elements, _repeated(root), supported, drawers, unused)
    if not found:
        why = "; ".join(warnings[:_REASONS]) or f"it has no {_one_of(list(supported))} tag"
        raise LabelConfigError(f"{_NOTHING if subject is None else _UNLEARNED}: {why}. One that works: {_EXAMPLE}")
    told = frozenset(names), tuple(_headers(elements))
    if subject is not None:
        learned = _named(found, subject.tag) if subject.tag else found[0]
        others = tuple(tag for tag in found if tag is not learned)
        warnings += [f"{tag.shown}: LabelLoop learns {learned.shown} alone" for tag in others]
        return LabelConfig((learned,), told[0], tuple(warnings), text, told[1], others)
    same = tuple(tag for tag in found if tag.target == found[0].target)
    warnings += [
        f"{tag.shown} is about {shown_name(tag.to_name)}; LabelLoop sends {shown_name(found[0].to_name)}, which the "
        f"first control tag is about"
        for tag in found
        if tag.target != found[0].target
    ]
    return LabelConfig(same, told[0], tuple(warnings), text, told[1])


def _named(found: Sequence[ControlTag], name: str) -> ControlTag:
    """Give the control tag of that name; raises LabelConfigError naming those there are."""
    tag = next((tag for tag in found if name in tag.names), None)
    if tag is None:
        raise LabelConfigError(
            f'"learn" in extra_params of the ML backend names the control tag {shown_name(name)}, and nothing of that '
            # Names alone: Label Studio cuts tags out of what it passes on.
            f"name can be learned here: name one of {', '.join(shown_name(tag.name) for tag in found)}, or leave it out"
        )
    return tag


def _learnable(subject: Subject) -> tuple[Mapping[str, tuple[str, ...]], tuple[str, ...]]:
    """Give the control tags that kinds learn with their object tags, and those that draw what ``Labels`` name."""
    known = dict(learnable(foreign=subject.foreign and not subject.tag))
    drawing = tuple(tag for tag in DRAWING if known.pop(tag, ()))
    labels = {"Labels": (*known.get("Labels", ()), "Image")} if drawing else {}
    return {**known, **labels}, drawing


def _headers(elements: Iterable[Element]) -> Iterator[str]:
    """Yield the headers, but for those that task data hold."""
    for element in elements:
        value = element.get("value", "").strip()
        if element.tag.lower() == "header" and value and not value.startswith("$"):
            yield value


def _read(text: str) -> Element:
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except DefusedXmlException:
        raise LabelConfigError("the label config has a DOCTYPE, which Label Studio refuses too; remove it") from None
    except (ParseError, ValueError) as error:
        raise LabelConfigError(f"the label config is not valid XML: {error}") from None
    return root


def _repeated(root: Element) -> frozenset[Element]:
    """Collect what stands inside a ``Repeater``, of which Label Studio makes a copy for each entry of a list."""
    found: set[Element] = set()
    waiting = [(root, False)]
    while waiting:
        element, inside = waiting.pop()
        if inside:
            found.add(element)
        inside = inside or element.tag.lower() == "repeater"
        waiting += [(child, inside) for child in element]
    return frozenset(found)


def _controls(
    elements: Sequence[Element],
    repeated: frozenset[Element],
    supported: Mapping[str, tuple[str, ...]],
    drawers: tuple[str, ...],
    unused: str,
) -> tuple[list[ControlTag], list[str]]:
    """Read the control tags in their order, and say of what is left out why; ``unused`` is all others' reason."""
    spelled = {tag.lower(): tag for tag in supported}
    # As for Label Studio's import: what has a toName is a control tag, never an object tag.
    objects = {one.attrib["name"]: one for one in elements if _is_object(one) and one not in repeated}
    drawing = _drawing(elements, repeated, drawers)
    found: list[ControlTag] = []
    warnings: list[str] = []
    for element in elements:
        tag = spelled.get(element.tag.lower())
        if tag is None:
            if is_control(element) and element.attrib["name"] not in drawing and len(supported) > 1:
                warnings.append(f"{shown_tag(element.tag, element.attrib['name'])}: LabelLoop {unused}")
            continue
        if element in repeated:
            warnings.append(f"{shown_tag(tag, element.get('name', ''))} is {_REPEATED}")
            continue
        try:
            control, left_out = _control(element, tag, objects, supported[tag])
            found += _drawn(control, drawing, drawers) if _labels_pictures(control) else [control]
        except LabelConfigError as error:
            warnings.append(str(error))
            continue
        warnings += left_out
    idle = {name for name in drawing if not any(tag.name == name for tag in found)}
    warnings += [f"{shown_tag(drawing[name].tag, name)}: no <Labels> say what it draws" for name in sorted(idle)]
    return found, warnings


def _labels_pictures(control: ControlTag) -> bool:
    return control.tag == "Labels" and control.target.tag == "Image"


def _drawn(labels: ControlTag, drawing: Mapping[str, Element], drawers: Sequence[str]) -> list[ControlTag]:
    """Give the tags that draw on a picture what its ``Labels`` give a label; raises LabelConfigError if none does.

    Any of the ``drawers`` would do.
    """
    beside = [one for one in drawing.values() if labels.to_name in one.attrib["toName"].split(",")]
    if not beside:
        raise LabelConfigError(
            f"{labels.shown} has toName={shown_name(labels.to_name)}, which names no <Text> tag but a picture, and "
            f"nothing draws there what it labels: put a {_one_of(drawers)} beside it"
        )
    return [drawn_by(labels, one) for one in beside]


def _drawing(
    elements: Iterable[Element], repeated: frozenset[Element], drawers: Iterable[str]
) -> Mapping[str, Element]:
    """Collect the ``drawers``, tags that draw on pictures, by their names."""
    tags = {tag.lower() for tag in drawers}
    drawing = (one for one in elements if one.tag.lower() in tags and is_control(one) and one not in repeated)
    return {one.attrib["name"]: one for one in drawing}


def _is_object(element: Element) -> bool:
    return bool(element.get("name")) and not element.get("toName")


def _control(
    element: Element, tag: str, objects: Mapping[str, Element], allowed: tuple[str, ...]
) -> tuple[ControlTag, tuple[str, ...]]:
    name, targets = element.get("name", ""), element.get("toName", "")
    if not name or not targets:
        raise LabelConfigError(f"{shown_tag(tag, name)} needs both attributes, name and toName")
    spelled = {wanted.lower(): wanted for wanted in allowed}
    about = [objects[target] for target in targets.split(",") if target in objects]
    target = next((one for one in about if one.tag.lower() in spelled), None)
    if target is None:
        why = next((why for one in about if (why := _WHY_NOT.get((tag, one.tag.lower())))), "")
        raise LabelConfigError(
            f"{shown_tag(tag, name)} has toName={shown_name(targets)}, which names no {_one_of(allowed)} tag{why}"
        )
    return read_control(element, tag, read_object(target, spelled[target.tag.lower()]))


def _one_of(tags: Sequence[str]) -> str:
    names = [f"<{tag}>" for tag in tags]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _object(item: Input) -> tuple[str, str]:
    if item.text is not None:
        return "Text", "text"
    return ("Audio", "audio") if item.media_type.startswith("audio/") else ("Image", "image")


def _add_regions(view: Element, shape: type[Shape], key: str, labels: Collection[str]) -> None:
    tag = TAKEN_BY[shape][-1]
    if issubclass(shape, Text | Number):
        SubElement(view, tag, name="answer", toName=key)
    elif issubclass(shape, Whole):
        several: Choice = "single" if len(labels) == 1 else "multiple"
        _add_labels(SubElement(view, tag, name="label", toName=key, choice=several), "Choice", labels)
    else:
        control = SubElement(view, tag, name=tag.lower(), toName=key)
        _add_labels(control, "Label", [label for label in labels if label] or ["object"])


def _add_labels(control: Element, tag: str, labels: Iterable[str]) -> None:
    for label in labels:
        SubElement(control, tag, value=label)
