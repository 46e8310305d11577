"""The labels of a ``Taxonomy``: every choice of its tree, named by the path that leads to it."""

from dataclasses import replace
from xml.etree.ElementTree import Element

from labelloop.errors import LabelConfigError
from labelloop.studio.choices import Label, is_control, read_label

_SEPARATOR = "/"


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
    return tuple(found.values()), tuple(warnings)
