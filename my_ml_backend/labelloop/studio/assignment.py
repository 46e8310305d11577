"""What a label config asks, in words, for endpoints that have to be told what is wanted of them."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from labelloop.studio.control_tag import ControlTag
from labelloop.studio.label_config import LabelConfig
from labelloop.types import Assignment, Wanted, WantedLabel

_REMEMBERED = 32


@lru_cache(maxsize=_REMEMBERED)
def assignment_of(config: LabelConfig) -> Assignment:
    """Ask what the control tags ask, in their order; what is drawn has no words. The last ones are remembered."""
    wanted = tuple(one for tag in config.tags if (one := _wanted(tag)) is not None)
    return Assignment(wanted, "\n".join(config.headers))


def _wanted(tag: ControlTag) -> Wanted | None:
    match tag.tag:
        case "Choices" | "Taxonomy":
            return Wanted(tag.name, "labels", tuple(_labels(tag)), tag.choice)
        case "Labels" if tag.target.tag == "Text":
            return Wanted(tag.name, "spans", tuple(_labels(tag)), "multiple")
        case "TextArea":
            return Wanted(tag.name, "text", hint=tag.hint)
        case "Rating":
            return Wanted(tag.name, "number", least=1.0, most=tag.maximum, whole=True)
        case "Number":
            return Wanted(tag.name, "number", least=tag.minimum, most=tag.maximum, hint=tag.hint)
    return None


def _labels(tag: ControlTag) -> Iterator[WantedLabel]:
    """Name labels as annotators see them, where that tells one from all others; an alias may be a mere number."""
    known = Counter(name for label in tag.labels for name in {label.name, label.value})
    for label in tag.labels:
        is_plain = bool(label.value) and not label.path and known[label.value] == 1
        shown = label.value if is_plain else label.name
        told = (label.value if not shown.endswith(label.value) else "", label.hint)
        yield WantedLabel(label.name, shown, "; ".join(part for part in told if part))
