"""The labels of a control tag: the ``Choice`` tags of ``Choices`` and ``Taxonomy``, the ``Label`` tags of others."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from labelloop.data.classes import twin_names
from labelloop.errors import LabelConfigError

_SHOWN = 60
_SEPARATOR = "/"
_VARIABLE = re.compile(r"\$[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a control tag; ``name`` is what stands in results: the alias where there is one, else the value.

    ``predicted_values`` are the model classes that the label config says mean this label. ``path`` leads to a label of
    a ``Taxonomy`` from the outermost choice on, and ``name`` is then that path with slashes. ``hint`` explains it.
    """

    name: str
    predicted_values: tuple[str, ...] = ()
    value: str = ""
    path: tuple[str, ...] = ()
    hint: str = ""


def labels_in(shown: str, control: Element, child: str = "Choice") -> tuple[tuple[Label, ...], tuple[str, ...]]:
    """Collect the labels of one control tag, in order, and what of it is no label that an annotator can choose.

    ``shown`` names the tag in messages. Raises LabelConfigError when there is no label, or task data has them.
    """
    found: dict[str, Label] = {}
    warnings: list[str] = []
    for element in _label_tags(control, child):
        label = read_label(shown, element)
        if label is None:
            warnings.append(f"{shown}: a <{child}> without value and alias, or with a name, is no label")
            continue
        if len(element):
            warnings.append(f"{shown}: what is inside {shown_name(label.name)} is not shown to annotators")
        if label.name in found:
            warnings.append(f"{shown}: the label {shown_name(label.name)} is there twice")
            label = _merged(found[label.name], label)
        found[label.name] = label
    if not found:
        raise LabelConfigError(f'{shown} has no label; write each as <{child} value="..."/>')
    return tuple(found.values()), (*warnings, *_alike(shown, found))


def paths_in(shown: str, taxonomy: Element, *, leaves_only: bool) -> tuple[tuple[Label, ...], tuple[str, ...]]:
    """Collect the choices of a taxonomy, in order, and what of it is no choice, however deep the tree is.

    ``leaves_only`` leaves out choices with choices inside, as ``leafsOnly="true"`` does for annotators. Raises
    LabelConfigError when there is no choice, or task data has them.
    """
    found: dict[tuple[str, ...], Label] = {}
    warnings: list[str] = []
    waiting: list[tuple[Element, tuple[str, ...]]] = [(child, ()) for child in reversed(taxonomy)]
    while waiting:
        element, above = waiting.pop()
        if is_control(element):
            continue
        label = read_label(shown, element) if element.tag == "Choice" else None
        if element.tag == "Choice" and label is None:
            warnings.append(f"{shown}: a <Choice> without value and alias, or with a name, is no label")
            continue
        path = (*above, label.name) if label else above
        inside = [(child, path) for child in reversed(element)]
        if label and not (leaves_only and inside):
            found.setdefault(path, replace(label, name=_SEPARATOR.join(path), path=path))
        waiting += inside
    if not found:
        raise LabelConfigError(f'{shown} has no label; write each as <Choice value="..."/>')
    return tuple(found.values()), (*warnings, *_alike(shown, (label.name for label in found.values())))


def read_label(shown: str, element: Element) -> Label | None:
    """Read one label's attributes, None where it has neither value nor alias; raises LabelConfigError as above."""
    value, alias = element.get("value", ""), element.get("alias", "")
    if element.get("name") or not (alias or value):
        return None
    if not alias and _VARIABLE.fullmatch(value):
        raise LabelConfigError(
            f"{shown} takes the label {shown_name(value)} from task data; give that <{element.tag}> an alias"
        )
    predicted = element.get("predicted_values", "").strip()
    parts = (part.strip() for part in predicted.split(","))
    # The whole text counts too: the name of a class may hold a comma.
    known = tuple(dict.fromkeys(part for part in (*parts, predicted) if part))
    return Label(alias or value, known, value, hint=element.get("hint", ""))


def is_control(element: Element) -> bool:
    """Tell a control tag as Label Studio does: it has a name and says what it is for."""
    return bool(element.get("name") and element.get("toName"))


def shown_name(text: str) -> str:
    """Quote a name for a message, shortened."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _alike(shown: str, names: Iterable[str]) -> Iterator[str]:
    return (f"{shown}: {pair}" for pair in twin_names(names))


def _label_tags(control: Element, child: str) -> Iterator[Element]:
    """Walk to the labels, which may stand inside views, but not into another control tag; however deep they are."""
    waiting = list(reversed(control))
    while waiting:
        element = waiting.pop()
        if element.tag == child:
            yield element
        elif not is_control(element):
            waiting.extend(reversed(element))


def _merged(first: Label, second: Label) -> Label:
    return replace(first, predicted_values=tuple(dict.fromkeys(first.predicted_values + second.predicted_values)))
