"""What the order of tasks was worth for spans: texts that it chose against as many at random."""

from pathlib import Path

from labelloop.data.manifest import Manifest
from labelloop.kinds.named_entity_recognition import NamedEntityRecognition
from labelloop.kinds.named_entity_recognition.recipes.order import compared_orders
from labelloop.regions import write_regions
from labelloop.run.context import Context, Labeled
from labelloop.run.folder import RunFolder
from labelloop.settings import Settings
from labelloop.types import SPANS, Arm, Item, ProjectKey, Region, Span

RANDOM, CHOSEN = range(30), range(30, 60)


def item(task: int, *, told: bool) -> Item:
    """Give a text that names somebody; ``told`` as what is to be learned, else as if nobody were named."""
    name = ("Ada", "Bob", "Cleo", "Dan", "Eve")[task % 5]
    text = f"On day {task} {name} came by"
    at = text.index(name)
    result = write_regions([Region("who", Span(at, at + len(name)))] if told else [])
    return Item.of_text(task, text, ("who",) if told else (), result)


def test_texts_that_teach_what_is_asked_are_worth_more_than_such_that_do_not(tmp_path: Path) -> None:
    # What was chosen is labeled as the random ones are; of the rest nothing can be learned.
    items = [item(task, told=True) for task in (*RANDOM, *CHOSEN)] + [item(task, told=False) for task in range(60, 70)]
    manifest = Manifest.of(ProjectKey("x", 1), "multiple", ("who",), items, kind=SPANS)
    sides = {one.content: "train" if one.task >= 30 else "test" for one in items}
    folder = RunFolder(tmp_path)
    Labeled(manifest, sides).write(folder)  # type: ignore[arg-type]

    def arms(served: int) -> Arm | None:
        return "random" if served in RANDOM else "ordered" if served in CHOSEN else None

    def compare(count: int) -> object:
        known = {task: arm for task in range(70) if (arm := arms(task)) and task not in range(30 + count, 60)}
        context = Context(folder, Settings(), lambda *_: None, SPANS, arms=lambda _: known)
        return compared_orders(context, NamedEntityRecognition())

    found = compare(30)
    assert found is not None
    assert (found.labels, found.items) == (24, 30)  # type: ignore[attr-defined]
    assert found.low <= 0 <= found.high  # type: ignore[attr-defined]
    assert compare(10) is None
