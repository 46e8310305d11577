"""Lines cut out of pieces of bytes, wherever these end; what Labelbox says, made fit to be told again."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.labelbox.client import Import, told
from labelloop.labelbox.export import Lines
from support.examples import examples

_ROWS = st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=6) | st.integers(), max_size=3), max_size=8)
_CUTS = st.lists(st.integers(0, 400), max_size=12)


@settings(max_examples=examples(100))
@given(_ROWS, _CUTS, st.booleans())
def test_rows_are_the_same_wherever_the_pieces_end(rows: list[object], cuts: list[int], ends: bool) -> None:
    # Letters of several bytes, line separators of Unicode and surrogates are cut, too.
    content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("utf-8", "surrogatepass")
    content += b"\n" if ends and rows else b""
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    lines, found = Lines(), []
    for start, end in pairwise(edges):
        found += lines.cut(content[start:end])
        assert lines.waiting == len(lines.rest)
    found += [lines.rest] if lines.rest else []
    assert [json.loads(line.decode("utf-8", "surrogatepass")) for line in found] == rows


@settings(max_examples=examples(100))
@given(st.lists(st.binary(max_size=6), max_size=6), st.integers(0, 6))
def test_whoever_goes_on_with_a_rest_cuts_the_same_lines(pieces: list[bytes], at: int) -> None:
    whole, first = Lines(), Lines()
    expected = [line for piece in pieces for line in whole.cut(piece)]
    found = [line for piece in pieces[:at] for line in first.cut(piece)]
    second = Lines(first.rest)
    found += [line for piece in pieces[at:] for line in second.cut(piece)]
    assert found == expected == b"".join(pieces).split(b"\n")[:-1]
    assert second.rest == whole.rest == b"".join(pieces).split(b"\n")[-1]


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("", "it gave no reason"),
        ("a\nb\x00c. ", "a bc"),
        ("of https://bucket/a.png?X-Goog-Signature=abc&x=1, and", "of https://bucket/a.png and"),
        ("key k-1 is dead", "key (the key) is dead"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_what_labelbox_says_is_one_line_without_secrets(said: str, line: str) -> None:
    assert told(said, "k-1") == line


@pytest.mark.parametrize(("progress", "share"), [("", 0.0), ("35%", 0.35), ("100%", 1.0), ("300", 1.0), ("soon", 0.0)])
def test_the_progress_of_an_import_is_read(progress: str, share: float) -> None:
    assert Import("name", "RUNNING", progress).share == share
