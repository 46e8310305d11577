"""What tasks show is known once somebody has read it, until their data change or it is erased."""

import hashlib
from pathlib import Path

from labelloop.models.task_contents import TaskContents
from labelloop.types import ProjectKey
from support.memory_store import MemoryStore

PROJECT = ProjectKey("1790000000", 7)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def noted(store: MemoryStore, folder: Path) -> TaskContents:
    found = TaskContents(store, PROJECT, folder)
    found.note([(1, "s3://b/1"), (2, "s3://b/2"), (3, "s3://b/1")], [sha("one"), sha("two"), sha("one")])
    return found


def test_another_machine_knows_what_tasks_show(tmp_path: Path) -> None:
    store = MemoryStore()
    noted(store, tmp_path / "here")
    asked = [(3, "s3://b/1"), (2, "s3://b/2"), (4, "s3://b/4")]
    assert TaskContents(store, PROJECT, tmp_path / "there").find(asked) == [sha("one"), sha("two"), ""]


def test_a_task_whose_data_have_changed_is_unknown_until_it_is_noted(tmp_path: Path) -> None:
    contents = noted(MemoryStore(), tmp_path)
    assert contents.find([(1, "s3://b/new")]) == [""]
    contents.note([(1, "s3://b/new")], [sha("new")])
    assert contents.find([(1, "s3://b/new")]) == [sha("new")]
    assert contents.shown_by([1]) == {sha("one"), sha("new")}


def test_hashes_that_end_in_zeros_are_whole(tmp_path: Path) -> None:
    contents, odd = noted(MemoryStore(), tmp_path), "ab" * 30 + "0000"
    contents.note([(5, "x")], [odd])
    assert contents.find([(5, "x")]) == [odd]
    assert contents.shown_by([5]) == {odd}
    assert contents.forget([], {odd}) == 1


def test_tasks_are_forgotten_with_all_that_show_the_same(tmp_path: Path) -> None:
    store = MemoryStore()
    assert noted(store, tmp_path).forget([2], {sha("one")}) == 3
    assert list(store.walk("")) == []
    assert TaskContents(store, PROJECT, tmp_path).shown_by([1, 2, 3]) == set()
