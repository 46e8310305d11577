"""A manifest's file with some tasks as they are now is the manifest that all of them make."""

import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.data import manifest as manifests
from labelloop.data.annotation_counts import AnnotationCounts, Counting
from labelloop.data.manifest import Manifest
from labelloop.data.manifest_file import ManifestFile
from labelloop.data.rows import FileRows
from labelloop.errors import Damaged
from labelloop.types import Item, LeftOut, ProjectKey
from support.examples import examples

PROJECT = ProjectKey("localhost-8080", 7)
CLASSES = ("cat", "dog\n\u2028")

NUMBERS = st.integers(1, 40)
FOUND = st.one_of(
    st.builds(lambda shows, label: Item(1, f"{shows:064x}", (label,)), st.integers(0, 9), st.sampled_from(CLASSES)),
    st.builds(lambda text: Item.of_text(1, text, ("cat",), '[{"x":1}]'), st.text(min_size=1, max_size=5)),
    # Not one label, and so left out.
    st.just(Item(1, "a" * 64, ("cat", CLASSES[1]), confirmed=True)),
    st.builds(lambda why: LeftOut(1, why), st.text(max_size=5)),
)


def of_task(task: int, found: Item | LeftOut) -> Item | LeftOut:
    if isinstance(found, LeftOut):
        return LeftOut(task, found.reason)
    return Item(task, found.content, found.labels, found.text, found.result, found.confirmed)


def manifest_of(found: dict[int, Item | LeftOut]) -> Manifest:
    rows = [of_task(task, one) for task, one in found.items()]
    return Manifest.of(
        PROJECT,
        "single",
        CLASSES,
        [one for one in rows if isinstance(one, Item)],
        [one for one in rows if isinstance(one, LeftOut)],
    )


@settings(max_examples=examples(60))
@given(
    before=st.dictionaries(NUMBERS, FOUND, max_size=12),
    now=st.dictionaries(NUMBERS, st.none() | FOUND, max_size=12),
    large=st.booleans(),
)
def test_replaced_lines_make_the_manifest_of_now(
    before: dict[int, Item | LeftOut], now: dict[int, Item | LeftOut | None], large: bool
) -> None:
    after = {task: one for task, one in {**before, **now}.items() if one is not None}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        if large:
            patched.setattr(manifests, "HELD", 0)
        old, new = Path(folder) / "old.jsonl", Path(folder) / "new.jsonl"
        manifest_of(before).write(old)
        found = {task: None if one is None else of_task(task, one) for task, one in now.items()}
        made, whole = ManifestFile(old).changed(found, new), manifest_of(after)

        assert isinstance(made.items, FileRows) == large
        assert (made.hash, tuple(made.items), tuple(made.left_out)) == (whole.hash, whole.items, whole.left_out)
        assert new.read_text() == whole.to_jsonl()
        made.write(old)
        assert old.read_bytes() == new.read_bytes()


def test_what_is_not_what_its_name_says_is_carried_on_by_nobody(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    manifest_of({1: Item(1, "a" * 64, ("cat",)), 2: Item(2, "b" * 64, ("cat",))}).write(path)
    path.write_bytes(path.read_bytes().replace(b"b" * 64, b"c" * 64))
    with pytest.raises(Damaged, match="is not what it says"):
        ManifestFile(path).changed({1: None}, tmp_path / "new.jsonl")
    assert not (tmp_path / "new.jsonl").exists()


@settings(max_examples=examples(60))
@given(
    before=st.dictionaries(NUMBERS, st.integers(1, 5), max_size=12),
    now=st.dictionaries(NUMBERS, st.integers(0, 5), max_size=12),
)
def test_counts_of_annotations_are_those_of_now(before: dict[int, int], now: dict[int, int]) -> None:
    counting = Counting()
    for task in sorted(before):
        counting.add(task, before[task])
    found = AnnotationCounts.unpacked(counting.all().changed(now).packed())
    after = {task: count for task, count in {**before, **now}.items() if count}
    assert dict(zip(found.tasks.tolist(), found.counts.tolist(), strict=True)) == dict(sorted(after.items()))
    assert found.total == sum(after.values())


@pytest.mark.parametrize("content", [b"", b"not compressed", zlib.compress(b"cut off")])
def test_damaged_counts_are_said_to_be_that(content: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        AnnotationCounts.unpacked(content)
