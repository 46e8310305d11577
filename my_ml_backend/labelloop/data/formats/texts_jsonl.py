"""Texts as JSON Lines, each with its label or labels: ``{"text": ..., "label": ...}``, as many tools write them.

doccano writes a list of labels, Prodigy ``accept`` or an ``answer``, spaCy ``cats`` with a number for each label.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from labelloop.data.formats.base import Collector, Format, Hints
from labelloop.data.formats.entries import Entry, object_lines, write_lines
from labelloop.data.formats.other_labels import TEXT_NAMES
from labelloop.data.listing import Listing
from labelloop.types import HALF, TEXTS, Json, Side

_LABELS = ("labels", "label", "accept", "cats", "class", "class_name", "category", "intent", "target", "choice")
_SIDES = ("split", "side")


def read_texts(path: Path, hints: Hints, _: str) -> Listing:
    """Read a file; texts without a label are left out where each has at most one. Raises ManifestError."""
    found = Collector(path, hints)
    for entry in object_lines(path):
        text, task = text_of(entry, hints), entry.task("task")
        if reason := answered(entry) if text.strip() else "it has no text":
            found.leave_out(reason, task)
        else:
            found.take("", _labels(entry, hints), task, side_of(entry), text=text)
    return found.listing(kind=TEXTS)


def text_of(entry: Entry, hints: Hints) -> str:
    """Give a line's text; raises ManifestError where no field has one."""
    names = (hints.picture_field,) if hints.picture_field else TEXT_NAMES
    found = next((value for name in names if isinstance(value := entry.values.get(name), str)), None)
    if found is None:
        raise entry.wrong(f"no field {' or '.join(names[:3])} holds a text. Name the one that does (--picture-field)")
    return found


def side_of(entry: Entry) -> Side | None:
    """Give a line's side; raises ManifestError for a name that is none."""
    return entry.side(next((entry.values[name] for name in _SIDES if entry.values.get(name)), None))


def answered(entry: Entry) -> str:
    """Say why an annotator of Prodigy did not take a line as it stands; empty where it was, and for other tools."""
    answer = entry.values.get("answer", "accept")
    return f"its annotator said {answer!r}" if answer in ("reject", "ignore") else ""


def _labels(entry: Entry, hints: Hints) -> Sequence[str]:
    """Give a line's labels, perhaps none; raises ManifestError."""
    names = (hints.label_attribute,) if hints.label_attribute else _LABELS
    key = next((name for name in names if name in entry.values), None)
    match None if key is None else entry.values[key]:
        case None if key is not None:
            return ()
        case str() as label if hints.separator:
            return [part.strip() for part in label.split(hints.separator) if part.strip()]
        case str() as label:
            return [label] if label else ()
        case int() as number:
            return [str(number)]
        case [*labels] if all(isinstance(one, str) for one in labels):
            return labels
        case dict() as cats if all(isinstance(one, int | float) for one in cats.values()):
            return [name for name, value in cats.items() if value >= HALF]
    raise entry.wrong(
        f"its label is none: a text, a list of texts or a number is expected under {', '.join(names[:2])}. Name the "
        "field that holds it (--label-attribute)"
    )


def write_texts(listing: Listing, target: Path, _: Hints) -> None:
    """Write a line for each text; raises ManifestError."""
    write_lines(target, _lines(listing))


def _lines(listing: Listing) -> Iterator[Json]:
    for record in listing.records:
        one = listing.choice == "single"
        label = {"label": record.labels[0]} if one else {"labels": record.labels}
        side = {"split": record.side} if record.side else {}
        yield {"text": record.text, **label, "task": record.task, **side}


JSONL = Format(
    "jsonl",
    "texts as JSON Lines, each with its label or labels",
    frozenset({TEXTS}),
    frozenset({"sides", "names", "several labels", "task ids"}),
    read_texts,
    write_texts,
)
