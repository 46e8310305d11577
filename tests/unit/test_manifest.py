import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.data.duplicates import Twins
from labelloop.data.manifest import Manifest, truth_by_task
from labelloop.data.rows import FileRows
from labelloop.errors import Damaged, StoreError
from labelloop.kinds.majority import Truth
from labelloop.types import IMAGES, Item, LeftOut, ProjectKey, canonical
from support.examples import examples

PROJECT = ProjectKey("localhost-8080", 7)
CLASSES = ("dog", "cat", "Ärger, \n\u2028\ud800")


def picture(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def item(task: int, *labels: str, shows: object = None) -> Item:
    return Item(task, picture(task if shows is None else shows), labels)


ITEMS = [item(5, "dog"), item(2, "cat"), item(9, CLASSES[2])]
MANIFEST = Manifest.of(
    PROJECT, "single", CLASSES, ITEMS, [LeftOut(4, "two annotators disagree"), LeftOut(3, "no image")]
)

TASKS = st.lists(
    st.builds(
        lambda task, shows, labels: item(task, *labels, shows=shows),
        st.integers(1, 10**9),
        st.integers(0, 30),
        st.lists(st.sampled_from(CLASSES)),
    ),
    max_size=30,
    unique_by=lambda each: each.task,
)


def test_items_are_in_the_order_of_their_tasks() -> None:
    assert [each.task for each in MANIFEST.items] == [2, 5, 9]
    assert [out.task for out in MANIFEST.left_out] == [3, 4]
    assert MANIFEST.classes == CLASSES


def test_the_hash_is_the_same_for_ever() -> None:
    manifest = Manifest.of(PROJECT, "single", ("cat", "dog"), [Item(1, "a" * 64, ("cat",))])
    assert manifest.hash == "7d12b2f157f3d42b15758a50943124d01573a7b34d8bcf36e746c8e785792ace"


@given(TASKS, st.randoms())
@settings(max_examples=examples(50))
def test_the_hash_does_not_depend_on_the_order(items: list[Item], random) -> None:  # type: ignore[no-untyped-def]
    before = Manifest.of(PROJECT, "multiple", CLASSES, items)
    random.shuffle(items)
    again = Manifest.of(PROJECT, "multiple", CLASSES, [replace(each, labels=each.labels[::-1]) for each in items])
    assert again == before
    assert again.hash == before.hash == Manifest(PROJECT, "multiple", CLASSES, tuple(again.items[::-1])).hash


@pytest.mark.parametrize(
    "other",
    [
        replace(MANIFEST, choice="multiple"),
        replace(MANIFEST, classes=CLASSES[::-1]),
        replace(MANIFEST, classes=(*CLASSES, "bird")),
        replace(MANIFEST, items=MANIFEST.items[1:]),
        Manifest.of(PROJECT, "single", CLASSES, [*ITEMS, item(10, "dog")]),
        Manifest.of(PROJECT, "single", CLASSES, [*ITEMS[1:], item(5, "cat")]),
        Manifest.of(PROJECT, "single", CLASSES, [*ITEMS[1:], item(5, "dog", shows="other")]),
        Manifest.of(PROJECT, "single", CLASSES, [*ITEMS, item(10, "dog", shows=5)]),
        Manifest.of(PROJECT, "single", CLASSES, [*ITEMS, item(10, "cat", shows=5)]),
        Manifest.of(PROJECT, "single", CLASSES, [*ITEMS[1:], replace(ITEMS[0], confirmed=True)]),
    ],
)
def test_whatever_the_annotations_say_is_in_the_hash(other: Manifest) -> None:
    assert other.hash != MANIFEST.hash


def test_project_and_left_out_tasks_are_not_in_the_hash() -> None:
    assert replace(MANIFEST, project=ProjectKey("elsewhere", 1), left_out=()).hash == MANIFEST.hash


TEXTS = Manifest.of(
    PROJECT, "single", CLASSES, [Item.of_text(4, "3.5\n\ud800", ("dog",)), item(6, "cat")], (), "numbers"
)


def test_an_input_that_stands_in_the_task_is_kept_as_it_is() -> None:
    header, first, second = map(json.loads, TEXTS.lines())
    assert header["learns"] == "numbers"
    assert first == {"task": 4, "text": "3.5\n\ud800", "labels": ["dog"]}
    assert second == {"task": 6, "picture": picture(6), "labels": ["cat"]}
    read = Manifest.from_jsonl(TEXTS.lines())
    assert (read, read.kind, read.items[0].text) == (TEXTS, "numbers", "3.5\n\ud800")
    assert read.items[0].content == hashlib.sha256("3.5\n\ud800".encode(errors="surrogatepass")).hexdigest()


def test_kind_and_texts_are_in_the_hash() -> None:
    assert len({TEXTS.hash, replace(TEXTS, kind="other").hash, replace(TEXTS, kind=IMAGES).hash}) == 3
    other = (Item.of_text(4, "3.6", ("dog",)), *TEXTS.items[1:])
    assert replace(TEXTS, items=other).hash != TEXTS.hash
    with pytest.raises(ValueError, match=r"task 4: \w+ is not the sha256 of its text"):
        Manifest.of(PROJECT, "single", CLASSES, [replace(TEXTS.items[0], text="3.6")])


BOX = {"from_name": "box", "value": {"x": 1.5, "y": 2, "rectanglelabels": ["dog"]}, "type": "rectanglelabels"}
RESULTS = Manifest.of(
    PROJECT,
    "multiple",
    CLASSES,
    [replace(item(6, "dog"), result=canonical([BOX])), Item.of_text(4, "3.5", (), "[]"), item(9, "cat")],
    (),
    "annotations",
)


def test_what_annotators_said_beside_labels_is_kept_and_in_the_hash(tmp_path: Path) -> None:
    _, first, second, third = map(json.loads, RESULTS.lines())
    assert first == {"task": 4, "text": "3.5", "labels": [], "result": []}
    assert second == {"task": 6, "picture": picture(6), "labels": ["dog"], "result": [BOX]}
    assert third == {"task": 9, "picture": picture(9), "labels": ["cat"]}
    RESULTS.write(tmp_path / "m")
    assert Manifest.from_file(tmp_path / "m") == Manifest.from_jsonl(RESULTS.to_jsonl()) == RESULTS
    told = [Truth((), result="[]"), Truth(("dog",), result=canonical([BOX])), Truth(("cat",))]
    assert list(truth_by_task(tmp_path / "m")) == list(zip((4, 6, 9), told, strict=True))
    moved = BOX | {"value": BOX["value"] | {"x": 1.25}}  # type: ignore[operator]
    for result in ("", "[]", canonical([moved])):
        other = replace(RESULTS, items=(RESULTS.items[0], replace(RESULTS.items[1], result=result), RESULTS.items[2]))
        assert other.hash != RESULTS.hash


def test_one_input_with_two_results_is_learned_from_in_no_task() -> None:
    same = [replace(item(task, "dog", shows=1), result=canonical([BOX])) for task in (1, 2)]
    assert [one.task for one in Manifest.of(PROJECT, "multiple", CLASSES, same).distinct()] == [1]
    other = replace(same[1], result=canonical([BOX, BOX]))
    both = Manifest.of(PROJECT, "multiple", CLASSES, [same[0], other])
    assert list(both.distinct()) == []
    assert [out.task for out in both.twins.contradictions("picture")] == [1, 2]


def test_a_file_of_another_kind_gives_its_labels(tmp_path: Path) -> None:
    (tmp_path / "m").write_text(TEXTS.to_jsonl())
    assert list(truth_by_task(tmp_path / "m")) == [(4, Truth(("dog",))), (6, Truth(("cat",)))]
    (tmp_path / "m").write_text(TEXTS.to_jsonl().replace('"numbers"', '"others"'))
    with pytest.raises(Damaged):
        next(truth_by_task(tmp_path / "m"))


def test_labels_are_sorted_and_taken_once() -> None:
    manifest = Manifest.of(PROJECT, "multiple", CLASSES, [item(1, "dog", "cat", "dog")])
    assert manifest.items[0].labels == ("cat", "dog")


def test_of_a_task_that_comes_twice_the_last_counts() -> None:
    manifest = Manifest.of(PROJECT, "single", CLASSES, [item(1, "dog"), item(1, "cat")], [LeftOut(1, "skipped")])
    assert [each.labels for each in manifest.items] == [("cat",)]
    assert manifest.left_out == ()
    manifest = Manifest.of(PROJECT, "single", CLASSES, [item(1, "dog"), item(1, "bird")])
    assert (manifest.items, [out.task for out in manifest.left_out]) == ((), [1])


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (("bird",), "label 'bird' is not in the label config"),
        (("cat", "dog"), "2 labels where exactly one is expected"),
        ((), "0 labels where exactly one is expected"),
    ],
)
def test_what_cannot_be_learned_is_left_out_with_its_reason(labels: tuple[str, ...], reason: str) -> None:
    manifest = Manifest.of(PROJECT, "single", CLASSES, [item(1, "dog"), item(2, *labels)])
    assert [each.task for each in manifest.items] == [1]
    assert manifest.left_out == (LeftOut(2, reason),)


def test_no_label_is_an_answer_where_several_are_allowed() -> None:
    assert Manifest.of(PROJECT, "multiple", CLASSES, [item(1)]).items == (item(1),)


@pytest.mark.parametrize("wrong", ["", "A" * 64, "a" * 63, "../" + "a" * 61])
def test_a_picture_is_named_by_a_sha256(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"task 1: picture .* is no sha256"):
        Manifest.of(PROJECT, "single", CLASSES, [Item(1, wrong, ("cat",))])


def test_a_picture_in_several_tasks_counts_once() -> None:
    items = [item(1, "cat", shows="a"), item(2, "dog", shows="b"), item(3, "cat", shows="a")]
    manifest = Manifest.of(PROJECT, "single", CLASSES, items)
    assert [each.task for each in manifest.distinct()] == [1, 2]
    assert list(manifest.twins.contradictions("picture")) == []


def test_whoever_has_looked_again_has_done_so_for_every_task_of_a_picture(tmp_path: Path) -> None:
    items = [item(1, "cat", shows="a"), item(2, "dog", shows="b"), replace(item(3, "cat", shows="a"), confirmed=True)]
    manifest = Manifest.from_jsonl(Manifest.of(PROJECT, "single", CLASSES, items).to_jsonl())
    assert [(each.task, each.confirmed) for each in manifest.distinct()] == [(1, True), (2, False)]
    manifest.write(tmp_path / "m")
    assert [truth and truth.confirmed for _, truth in truth_by_task(tmp_path / "m")] == [False, False, True]


def test_a_picture_whose_tasks_contradict_each_other_does_not_count() -> None:
    items = [item(1, "cat", shows="a"), item(2, "dog", shows="b"), item(3, "dog", shows="a"), item(4, "dog", shows="a")]
    manifest = Manifest.of(PROJECT, "single", CLASSES, items)
    assert [each.task for each in manifest.distinct()] == [2]
    reason = "tasks 1, 3, 4 show the same picture and are labeled differently"
    assert list(manifest.twins.contradictions("picture")) == [LeftOut(task, reason) for task in (1, 3, 4)]


def test_a_long_contradiction_is_told_in_short() -> None:
    items = [item(task, "cat" if task % 2 else "dog", shows="a") for task in range(1, 9)]
    assert next(Twins.among(items).contradictions("picture")).reason.startswith(
        "tasks 1, 2, 3, 4, 5, ... show the same picture"
    )


@given(TASKS)
@settings(max_examples=examples(50))
def test_a_manifest_is_read_as_it_was_written(items: list[Item]) -> None:
    manifest = Manifest.of(PROJECT, "multiple", CLASSES, items, [LeftOut(10**10, 'a\nb\u2028c "quoted"')])
    assert Manifest.from_jsonl(manifest.to_jsonl()) == manifest
    assert Manifest.from_jsonl(manifest.lines()) == manifest


@given(TASKS, st.sets(st.integers(1, 10**9), max_size=10))
@settings(max_examples=examples(50))
def test_its_file_gives_labels_in_the_order_of_tasks(items: list[Item], others: set[int]) -> None:
    manifest = Manifest.of(PROJECT, "multiple", CLASSES, items, [LeftOut(task, "no image") for task in others])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.jsonl"
        path.write_text(manifest.to_jsonl())
        found = list(truth_by_task(path))

    expected = {out.task: None for out in manifest.left_out} | {one.task: Truth(one.labels) for one in manifest.items}
    assert found == sorted(expected.items(), key=lambda entry: entry[0])


@pytest.mark.parametrize(
    "change", [("cat", "dog"), ("\n", "\n{"), ('"task":2', '"task":3'), ('"left_out":2', '"left_out":3')]
)
def test_a_damaged_file_gives_nothing(tmp_path: Path, change: tuple[str, str]) -> None:
    (tmp_path / "m").write_text(MANIFEST.to_jsonl().replace(*change))
    with pytest.raises(Damaged):
        next(truth_by_task(tmp_path / "m"))


def test_a_manifest_is_json_line_by_line() -> None:
    lines = MANIFEST.to_jsonl().removesuffix("\n").split("\n")
    header, *rest = (json.loads(line) for line in lines)
    assert (header["project"], header["kind"], header["hash"]) == (str(PROJECT), "single", MANIFEST.hash)
    assert rest[0] == {"task": 2, "picture": picture(2), "labels": ["cat"]}
    assert rest[-1] == {"task": 4, "left_out": "two annotators disagree"}
    assert MANIFEST.to_jsonl().isascii()


def test_lines_are_made_and_read_one_at_a_time() -> None:
    class Gone(Exception):
        pass

    def broken() -> Iterator[str]:
        lines = MANIFEST.lines()
        yield next(lines)
        raise Gone

    with pytest.raises(Gone):
        Manifest.from_jsonl(broken())


@pytest.mark.parametrize("line", range(6))
def test_a_manifest_that_lost_a_line_is_damaged(line: int) -> None:
    lines = list(MANIFEST.lines())
    del lines[line]
    with pytest.raises(StoreError, match="manifest"):
        Manifest.from_jsonl(lines)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "[]\n",
        "{}\n",
        MANIFEST.to_jsonl()[:-3],
        MANIFEST.to_jsonl().replace('"format":1', '"format":2'),
        MANIFEST.to_jsonl().replace('"dog"]', '"cat"]'),
        MANIFEST.to_jsonl().replace("localhost-8080/7", "../7"),
        MANIFEST.to_jsonl() + "3\n",
        MANIFEST.to_jsonl() + "{}\n",
    ],
)
def test_a_damaged_manifest_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(StoreError, match="remove it, the next run writes it anew"):
        Manifest.from_jsonl(text)


LONG = "0123456789" * 100
"""A text so long that few items are more than is held in memory."""

MANY = [Item.of_text(task, f"{task % 8_500} {LONG}", ("dog" if task % 3 else "cat",)) for task in range(1, 9_001)]
OUTS = [LeftOut(task, "skipped") for task in range(10_001, 10_011)]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("large") / "not there yet"
    made = Manifest.gathered(PROJECT, "single", CLASSES, (*MANY, *OUTS), folder, "texts")
    assert list(folder.iterdir()) == [], "what is read goes with who reads it"
    return made


def test_a_large_manifest_lies_in_a_file_and_says_the_same(large: Manifest, tmp_path: Path) -> None:
    usual = Manifest.of(PROJECT, "single", CLASSES, MANY[::-1], OUTS, "texts")
    large.write(tmp_path / "m")
    read = Manifest.from_file(tmp_path / "m")
    (tmp_path / "m").unlink()
    for found in (large, read):
        assert isinstance(found.items, FileRows)
        assert (found.hash, len(found.items), len(found.left_out)) == (usual.hash, 9_000, 10)
        assert (tuple(found.items), tuple(found.left_out)) == (usual.items, usual.left_out)
        assert found.to_jsonl() == usual.to_jsonl()
        assert replace(found, project=ProjectKey("elsewhere", 1)).hash == usual.hash
        assert list(found.distinct()) == list(usual.distinct())
        assert list(found.twins.contradictions("picture")) == list(usual.twins.contradictions("picture"))
    assert 8_000 < len(list(usual.distinct())) < 8_500


def test_rows_of_a_file_are_a_sequence_whoever_else_goes_through_them(large: Manifest) -> None:
    assert (large.items[0], large.items[-1], large.items[8_000]) == (MANY[0], MANY[-1], MANY[8_000])
    assert tuple(large.items[5:1:-2]) == (MANY[5], MANY[3])
    with pytest.raises(IndexError):
        large.items[9_000]
    assert all(one == other for one, other in zip(large.items, large.items, strict=True))
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: list(large.items) == MANY, range(4)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('["dog"]', '["cat"]', 1),
        lambda text: text.replace('"learns":"texts"', '"learns":"other"'),
        lambda text: text[:-3],
        lambda text: "".join(text.splitlines(keepends=True)[:-1]),
        lambda text: "".join((lines := text.splitlines(keepends=True))[:5_000] + lines[5_001:]),
        lambda text: "".join((lines := text.splitlines(keepends=True))[:1] + lines[-1:] + lines[1:-1]),
        lambda text: text.replace(str(PROJECT), "../7"),
        lambda text: text.replace(CLASSES[1], "Ä", 1),
    ],
)
def test_a_large_file_that_is_damaged_is_refused(large: Manifest, tmp_path: Path, damage: Callable[[str], str]) -> None:
    (tmp_path / "m").write_text(damage(large.to_jsonl()))
    with pytest.raises(Damaged, match="remove it, the next run writes it anew"):
        Manifest.from_file(tmp_path / "m")


def test_a_file_that_is_cut_while_it_is_read_is_damaged(large: Manifest, tmp_path: Path) -> None:
    large.write(tmp_path / "m")
    read = Manifest.from_file(tmp_path / "m")
    with (tmp_path / "m").open("r+b") as file:
        file.truncate(5_000_000)
    with pytest.raises(Damaged, match="cut while it was read"):
        list(read.items)


@given(TASKS, st.sets(st.integers(1, 10**9), max_size=10))
@settings(max_examples=examples(50))
def test_gathered_in_order_it_is_the_same(items: list[Item], others: set[int]) -> None:
    outs = [LeftOut(task, "no image") for task in others - {one.task for one in items}]
    usual = Manifest.of(PROJECT, "single", CLASSES[:2], items, outs)
    both: list[Item | LeftOut] = [*items, *outs]
    found = sorted(both, key=lambda one: one.task)
    gathered = Manifest.gathered(PROJECT, "single", CLASSES[:2], found, Path("/nowhere"))
    assert (gathered, gathered.hash, gathered.to_jsonl()) == (usual, usual.hash, usual.to_jsonl())


@pytest.mark.parametrize("tasks", [(1, 1), (2, 1), (0,)])
def test_what_comes_in_another_order_is_not_gathered(tasks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="they must be in order"):
        Manifest.gathered(PROJECT, "single", CLASSES, [item(task, "dog") for task in tasks], Path("/nowhere"))


def test_a_folder_that_cannot_hold_the_labels_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"labels cannot be kept in .*file/labels: Not a directory"):
        Manifest.gathered(PROJECT, "single", CLASSES, MANY, tmp_path / "file" / "labels")
