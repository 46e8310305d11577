"""Spans of texts as JSON Lines, as spaCy's users, Prodigy and doccano write them: a text, and offsets with labels.

spaCy: ``{"text", "entities": [[start, end, label]]}``; Prodigy: ``{"text", "spans": [{"start", "end", "label"}],
"answer"}``; doccano: ``{"text", "label": [[start, end, label]]}``, or ``entities`` with ``start_offset``. Offsets count
Unicode characters, and the end is the first one behind the span.
"""

from collections.abc import Iterator
from pathlib import Path

from labelloop.data.formats.base import Collector, Format, Hints
from labelloop.data.formats.entries import Entry, object_lines, write_lines
from labelloop.data.formats.spans import span_of, spans_in
from labelloop.data.formats.texts_jsonl import answered, side_of, text_of
from labelloop.data.listing import Listing, Record
from labelloop.types import SPANS, Json, Region

_SPANS = ("entities", "spans", "label", "labels")
_STARTS, _ENDS = ("start", "start_offset", "startOffset"), ("end", "end_offset", "endOffset")
_LABELS = ("label", "label_", "type")


def read_spacy(path: Path, hints: Hints, _: str) -> Listing:
    """Read a file; what an annotator of Prodigy rejected or passed over is left out. Raises ManifestError."""
    found = Collector(path, hints)
    for entry in object_lines(path):
        text, task = text_of(entry, hints), entry.task("task")
        if reason := answered(entry) if text.strip() else "it has no text":
            found.leave_out(reason, task)
        else:
            found.take_regions("", _spans(entry, text, hints), task, side_of(entry), text=text)
    return found.listing(kind=SPANS)


def _spans(entry: Entry, text: str, hints: Hints) -> Iterator[Region]:
    names = (hints.label_attribute,) if hints.label_attribute else _SPANS
    key = next((name for name in names if isinstance(entry.values.get(name), list)), None)
    if key is None:
        raise entry.wrong(
            f"it has no list of spans in a field {' or '.join(names)}. Name the field that has one (--label-attribute)"
        )
    for span in entry.values[key]:
        match span:
            case [start, end, label]:
                yield span_of(entry, text, start, end, label)
            case dict():
                yield span_of(entry, text, *(_first(span, names) for names in (_STARTS, _ENDS, _LABELS)))
            case _:
                raise entry.wrong(f"a span in {key!r} is neither [start, end, label] nor an object with these")


def _first(span: Json, names: tuple[str, ...]) -> object:
    return next((span[name] for name in names if name in span), None)


def write_spacy(listing: Listing, target: Path, _: Hints) -> None:
    """Write a line for each text, as spaCy's ``Example.from_dict`` takes them; raises ManifestError."""
    write_lines(target, map(_line, listing.records))


def _line(record: Record) -> Json:
    side = {"split": record.side} if record.side else {}
    return {"text": record.text, "entities": spans_in(record.result), "task": record.task, **side}


SPACY = Format(
    "spacy",
    "spans of texts as JSON Lines (spaCy, Prodigy, doccano)",
    frozenset({SPANS}),
    frozenset({"sides", "names", "several labels", "task ids"}),
    read_spacy,
    write_spacy,
)
