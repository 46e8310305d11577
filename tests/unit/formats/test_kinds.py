"""Texts, spans and boxes: what is written in a format that holds their kind is read back, whatever they say."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import settings as tries
from hypothesis import strategies as st

from labelloop.data.formats import FORMATS, Hints, read_listing, write_listing
from labelloop.data.formats.spans import apart, spans_in, tagged_words
from labelloop.data.listing import Listing, Record
from labelloop.errors import ManifestError
from labelloop.kinds.base import KINDS
from labelloop.regions import write_regions
from labelloop.types import BOXES, IMAGES, SPANS, TEXTS, Region, Span
from support.examples import examples

CLASSES = Listing(
    "single",
    ("good", "so, so"),
    (
        Record("", ("good",), 1, "train", text='Fine,\n"very" fine\t😀.'),
        Record("", ("so, so",), 7, "test", text=" a|b "),
        Record("", ("good",), 9, text="e\u0301te\u0301 שלום 夏"),
    ),
    kind=TEXTS,
)
TOPICS = Listing(
    "multiple",
    ("price", "speed"),
    (
        Record("", ("price", "speed"), 1, "train", text="cheap and fast"),
        Record("", (), 2, "validation", text="blue"),
    ),
    kind=TEXTS,
)


def spans(text: str, *marked: tuple[int, int, str], task: int = 1, side: object = None) -> Record:
    result = write_regions(Region(label, Span(start, end)) for start, end, label in marked)
    labels = tuple(sorted({label for *_, label in marked}))
    return Record("", labels, task, side, text=text, result=result)  # type: ignore[arg-type]


NAMES = Listing(
    "multiple",
    ("LOC", "PER"),
    (
        spans("Ada saw Oslo .", (0, 3, "PER"), (8, 12, "LOC"), task=1, side="train"),
        spans("nobody here", task=2, side="test"),
        spans("😀 Ada e\u0301te\u0301 שלום", (2, 5, "PER"), (12, 16, "LOC"), task=3),
    ),
    kind=SPANS,
)


def of_kind(kind: str) -> list[str]:
    return [name for name, one in FORMATS.items() if kind in one.kinds]


def through(listing: Listing, format: str, folder: Path) -> tuple[Listing, list[str]]:
    target = folder / f"list{FORMATS[format].suffix}"
    lost = write_listing(listing, target, format)
    return read_listing(target), lost


def carried_by(listing: Listing, format: str) -> Listing:
    """The listing without what the format has no place for."""
    records = list(listing.records)
    if "task ids" not in FORMATS[format].carries:
        records = [replace(one, task=number) for number, one in enumerate(records, 1)]
    if "sides" not in FORMATS[format].carries:
        records = [replace(one, side=None) for one in records]
    return replace(listing, records=tuple(records))


def test_every_kind_of_a_format_is_one_of_ours() -> None:
    learned = {IMAGES, TEXTS, SPANS, BOXES}
    assert set().union(*(one.kinds for one in FORMATS.values())) == learned
    assert learned >= KINDS.keys() - {"annotations"}


@pytest.mark.parametrize("listing", [CLASSES, TOPICS], ids=["single", "multiple"])
@pytest.mark.parametrize("format", of_kind(TEXTS))
def test_classes_of_texts_survive(format: str, listing: Listing, tmp_path: Path) -> None:
    found, _ = through(listing, format, tmp_path)
    assert found == carried_by(listing, format)


@pytest.mark.parametrize("format", [name for name in of_kind(SPANS) if name != "conll"])
def test_spans_survive(format: str, tmp_path: Path) -> None:
    found, _ = through(NAMES, format, tmp_path)
    assert found == carried_by(NAMES, format)


def test_conll_carries_words_and_spans_and_says_what_else_is_lost(tmp_path: Path) -> None:
    found, lost = through(NAMES, "conll", tmp_path)
    assert lost == [
        "the sides of 2 records",
        "the spacing of 1 texts: their words are read back with one blank between",
    ]
    assert [marked(one) for one in found.records] == [marked(one) for one in NAMES.records]
    assert [one.text for one in found.records[:2]] == [one.text for one in NAMES.records[:2]]
    assert (found.kind, found.choice, found.classes) == (SPANS, "multiple", NAMES.classes)


def marked(record: Record) -> list[tuple[str, str]]:
    """The words of a record's spans, without the space in them."""
    return [("".join(record.text[start:end].split()), label) for start, end, label in spans_in(record.result)]


@pytest.mark.parametrize(("kind", "listing"), [(TEXTS, CLASSES), (SPANS, NAMES)], ids=[TEXTS, SPANS])
@pytest.mark.parametrize("format", FORMATS)
def test_a_format_of_other_kinds_refuses_and_names_those_that_do_not(
    kind: str, listing: Listing, format: str, tmp_path: Path
) -> None:
    if {kind, TEXTS} & FORMATS[format].kinds:
        return
    with pytest.raises(
        ManifestError, match=f"3 of its records are for {kind}, which format {format} cannot carry"
    ) as e:
        write_listing(listing, tmp_path / "list", format)
    assert str(e.value).endswith(f"write it as {', '.join(of_kind(kind))}")
    assert list(tmp_path.iterdir()) == []


def test_where_spans_have_no_place_their_labels_are_written(tmp_path: Path) -> None:
    assert write_listing(NAMES, tmp_path / "list.csv", "csv") == [
        "all but the labels of what annotators said of 3 inputs",
        f"that it is for {SPANS}",
    ]
    found = read_listing(tmp_path / "list.csv")
    assert (found.kind, [one.labels for one in found.records]) == (TEXTS, [one.labels for one in NAMES.records])


def test_classes_of_ones_own_go_for_spans_too(tmp_path: Path) -> None:
    write_listing(NAMES, tmp_path / "list.jsonl", "spacy")
    found = read_listing(tmp_path / "list.jsonl", hints=Hints(classes=("per", "ORG")))
    assert [(one.task, spans_in(one.result)) for one in found.records] == [
        (1, [(0, 3, "per")]),
        (2, []),
        (3, [(2, 5, "per")]),
    ]
    assert found.remarks == ("'LOC' is none of the classes: 2 records that have it were taken without it",)
    only = read_listing(tmp_path / "list.jsonl", hints=Hints(classes=("ORG",)))
    assert [out.reason for out in only.left_out] == ["labeled 'LOC', 'PER', which is none of the classes"] * 2


WILD = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20).filter(lambda text: bool(text.strip()))
LABELS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=5)


@st.composite
def marked_texts(draw: st.DrawFn) -> Record:
    text = draw(WILD)
    marks = st.tuples(st.integers(0, len(text) - 1), st.integers(1, len(text)), LABELS)
    found = draw(st.lists(marks, max_size=3))
    return spans(text, *dict.fromkeys((start, end, label) for start, end, label in found if start < end))


def written(listing: Listing, target: Path, format: str) -> bool:
    """Write a listing; false where its texts are none that UTF-8 has."""
    if format in ("csv", "conll") and any(re.search("[\ud800-\udfff]", one.text) for one in listing.records):
        with pytest.raises(ManifestError, match="surrogates not allowed"):
            write_listing(listing, target, format)
        return False
    write_listing(listing, target, format)
    return True


@given(st.lists(WILD, min_size=1, max_size=4), st.sampled_from(of_kind(TEXTS)))
@tries(max_examples=examples(100))
def test_any_text_survives_or_is_refused(texts: list[str], format: str) -> None:
    records = tuple(Record("", (f"label {len(text) % 2}",), task, text=text) for task, text in enumerate(texts, 1))
    with tempfile.TemporaryDirectory() as folder:
        if not written(Listing.of(records, kind=TEXTS), Path(folder) / "list", format):
            return
        assert read_listing(Path(folder) / "list", format).records == records


@given(st.lists(marked_texts(), min_size=1, max_size=3), st.sampled_from(of_kind(SPANS)))
@tries(max_examples=examples(100))
def test_any_spans_survive(records: list[Record], format: str) -> None:
    numbered = [Record("", one.labels, task, text=one.text, result=one.result) for task, one in enumerate(records, 1)]
    listing = Listing.of(numbered, kind=SPANS)
    with tempfile.TemporaryDirectory() as folder:
        if not written(listing, Path(folder) / "list", format):
            return
        # An export without any span does not say what could have been drawn.
        assume(format != "label-studio" or any(one.labels for one in numbered))
        found = read_listing(Path(folder) / "list", format)
    if format != "conll":
        assert found.records == listing.records
        return
    for one, other in zip(found.records, numbered, strict=True):
        kept = apart(spans_in(other.result))
        assert "".join(one.text.split()) == "".join(other.text.split())
        in_words = [("".join(other.text[start:end].split()), label) for start, end, label in kept]
        assert marked(one) == [word for word in in_words if word[0]]
        assert [tag for _, tag in tagged_words(one.text, spans_in(one.result))] == [
            tag for _, tag in tagged_words(other.text, kept)
        ]
