"""The labels of a ``Choices`` tag."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from labelloop.errors import LabelConfigError

_SHOWN = 60
_VARIABLE = re.compile(r"\$[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a control tag; ``name`` is what stands in results: the alias where there is one, else the value.

    ``predicted_values`` are the model classes that the label config says mean this label.
    """

    name: str
    predicted_values: tuple[str, ...] = ()
    value: str = ""


def labels_in(shown: str, choices: Element) -> tuple[tuple[Label, ...], tuple[str, ...]]:
    """Collect the labels of one ``Choices`` tag, in order, and what of it is no label that an annotator can choose.

    ``shown`` names the tag in messages. Raises LabelConfigError when there is no label, or task data has them.
    """
    found: dict[str, Label] = {}
    warnings: list[str] = []
    for choice in _choice_tags(choices):
        label = _label(shown, choice)
        if label is None:
            warnings.append(f"{shown}: a <Choice> without value and alias, or with a name, is no label")
            continue
        if len(choice):
            warnings.append(f"{shown}: choices inside {shown_name(label.name)} are not shown without allowNested")
        if label.name in found:
            warnings.append(f"{shown}: the label {shown_name(label.name)} is there twice")
            label = _merged(found[label.name], label)
        found[label.name] = label
    if not found:
        raise LabelConfigError(f'{shown} has no label; write each as <Choice value="..."/>')
    return tuple(found.values()), tuple(warnings)


def _choice_tags(choices: Element) -> Iterator[Element]:
    """Walk to the choices, which may stand inside views, but not into another control tag; however deep they are."""
    waiting = list(reversed(choices))
    while waiting:
        element = waiting.pop()
        if element.tag == "Choice":
            yield element
        elif not (element.get("name") and element.get("toName")):
            waiting.extend(reversed(element))


def _label(shown: str, choice: Element) -> Label | None:
    value, alias = choice.get("value", ""), choice.get("alias", "")
    if choice.get("name") or not (alias or value):
        return None
    if not alias and _VARIABLE.fullmatch(value):
        raise LabelConfigError(
            f"{shown} takes the label {shown_name(value)} from task data; give that <Choice> an alias"
        )
    predicted = choice.get("predicted_values", "").strip()
    parts = (part.strip() for part in predicted.split(","))
    # The whole text counts too: the name of a class may hold a comma.
    return Label(alias or value, tuple(dict.fromkeys(part for part in (*parts, predicted) if part)), value)


def _merged(first: Label, second: Label) -> Label:
    return replace(first, predicted_values=tuple(dict.fromkeys(first.predicted_values + second.predicted_values)))


def shown_name(text: str) -> str:
    """Quote a name for a message, shortened."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
