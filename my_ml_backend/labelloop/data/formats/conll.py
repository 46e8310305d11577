"""CoNLL: a word and its tag in each line, sentences parted by empty lines (Tjong Kim Sang and De Meulder, 2003).

Each sentence is a text of its own: its words with one blank between. A span begins at a ``B-``, and at an ``I-`` that
goes on with nothing, so that BIO and IOB1 are read alike, and so are ``E-`` and ``S-`` (BIOES), ``L-`` and ``U-``.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from labelloop.data.formats.base import Collector, Format, Hints
from labelloop.data.formats.entries import MOST_CHARACTERS, Entry, open_text, write_parts
from labelloop.data.formats.spans import apart, spans_in, tagged_words
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.types import SPANS, Region, Span

TAG = re.compile(r"O|[BIESLU]-(?P<label>\S+)")

_SEPARATORS = re.compile(r"[ \t]+")
_START = "-DOCSTART-"
_BEGIN, _END = ("B", "S", "U"), ("E", "S", "L", "U")
_REMARK = re.compile(r"#( |$)")

Word = tuple[str, str]
"""A word and its tag."""


def read_conll(path: Path, hints: Hints, _: str) -> Listing:
    """Read a file's sentences; raises ManifestError."""
    found = Collector(path, hints)
    for words in _sentences(path):
        text, regions = sentence(words)
        found.take_regions("", regions, None, text=text)
    return found.listing(kind=SPANS)


def _sentences(path: Path) -> Iterator[list[Word]]:
    words: list[Word] = []
    for number, line in _lines(path):
        cells = _SEPARATORS.split(line.strip(" \t")) if line.strip(" \t") else []
        if cells and cells[0] != _START:
            if words or not _is_remark(line, cells):
                words.append(_word(Entry(path, number, {}), cells))
        elif words:
            yield words
            words = []
    if words:
        yield words


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with open_text(path) as file:
        number = 0
        while line := file.readline(MOST_CHARACTERS):
            number += 1
            yield number, line.rstrip("\r\n")


def _is_remark(line: str, cells: Sequence[str]) -> bool:
    """Tell a remark above a sentence (``# id 7``) from the word ``#``."""
    return _REMARK.match(line) is not None and (len(cells) < 2 or TAG.fullmatch(cells[-1]) is None)


def _word(entry: Entry, cells: Sequence[str]) -> Word:
    if len(cells) < 2:
        raise entry.wrong(f"{cells[0][:60]!r} has no tag behind it. Each line holds a word first and its tag last")
    if TAG.fullmatch(cells[-1]) is None:
        raise entry.wrong(f"{cells[-1][:60]!r} is no tag: O is one, and B- or I- (E-, S-, L-, U-) with a label behind")
    return cells[0], cells[-1]


def sentence(words: Iterable[Word]) -> tuple[str, list[Region]]:
    """Give the text of tagged words, one blank between two, and its spans."""
    parts: list[str] = []
    regions: list[Region] = []
    at, start, current = 0, 0, ""
    for word, tag in words:
        kind, _, label = tag.partition("-")
        if current and (label != current or kind in _BEGIN):
            regions.append(Region(current, Span(start, at - 1)))
            current = ""
        if label and not current:
            start, current = at, label
        parts.append(word)
        at += len(word) + 1
        if current and kind in _END:
            regions.append(Region(current, Span(start, at - 1)))
            current = ""
    if current:
        regions.append(Region(current, Span(start, at - 1)))
    return " ".join(parts), regions


def write_conll(listing: Listing, target: Path, _: Hints) -> list[str]:
    """Write sentences in BIO; raises ManifestError for a label that no tag can hold. Says what spans are lost."""
    for label in listing.classes:
        if TAG.fullmatch(f"B-{label}") is None:
            raise ManifestError(
                f"a tag of CoNLL cannot hold the label {label[:60]!r}, for there is space in it: write it as spacy"
            )
    write_parts(target, _parts(listing.records))
    overlapping = bare = empty = respaced = 0
    for record in listing.records:
        spans = spans_in(record.result)
        kept = apart(spans)
        overlapping += len(spans) - len(kept)
        words = list(tagged_words(record.text, kept))
        bare += len(kept) - sum(tag.startswith("B-") for _, tag in words)
        empty += not words
        respaced += " ".join(word for word, _ in words) != record.text
    return [
        *([f"{overlapping} spans that overlap a longer one"] if overlapping else []),
        *([f"{bare} spans of nothing but space"] if bare else []),
        *([f"{empty} texts of nothing but space"] if empty else []),
        *([f"the spacing of {respaced} texts: their words are read back with one blank between"] if respaced else []),
    ]


def _parts(records: Iterable[Record]) -> Iterator[str]:
    yield f"{_START} -X- O\n\n"
    for record in records:
        for word, tag in tagged_words(record.text, apart(spans_in(record.result))):
            yield f"{word} {tag}\n"
        yield "\n"


CONLL = Format(
    "conll",
    "CoNLL: a word and its tag in each line (BIO, IOB1, BIOES), an empty line behind each text",
    frozenset({SPANS}),
    frozenset({"names", "several labels"}),
    read_conll,
    write_conll,
    ".conll",
)
