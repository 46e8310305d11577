"""The sides that a tool names: those of the content go without saying, and of two the test side wins."""

from hypothesis import given, settings
from hypothesis import strategies as st

from labelloop.data.listing import Record
from labelloop.data.named_sides import NamedSides
from labelloop.data.split import SIDES
from labelloop.run.source import named_sides
from labelloop.types import Item, Side, side
from support.examples import examples


def item(task: int, text: str) -> Item:
    return Item.of_text(task, text, ("a",))


@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from([*SIDES, None])), max_size=40))
@settings(max_examples=examples(60))
def test_it_says_what_a_list_of_all_sides_says(named: list[tuple[int, Side | None]]) -> None:
    items = [item(task, f"text {text}") for task, (text, _) in enumerate(named, 1)]
    gathered = NamedSides()
    for one, (_, wanted) in zip(items, named, strict=True):
        if wanted:
            gathered.add(one.task, one.content, wanted)
    sides, moved = gathered.settled(items)
    pairs = ((Record("", (), one.task, wanted), one.content) for one, (_, wanted) in zip(items, named, strict=True))
    expected, lost = named_sides(pairs)
    assert {one.content: sides.get(one.content, side(one.content)) for one in items} == {
        one.content: expected.get(one.content, side(one.content)) for one in items
    }
    assert all(side(content) != wanted for content, wanted in sides.items())
    assert sorted(moved, key=lambda out: (out.task, out.reason)) == sorted(lost, key=lambda out: (out.task, out.reason))
