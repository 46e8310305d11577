"""A small model run of each model type, which our recipes learn in seconds.

Each has rows of which some splits are named, a row with three labels of which two agree, answers below answers, a few
rows that nobody has labeled, and letters that are not ASCII.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelloop.types import Box, Json, Region
from support import scattered, shapes
from support.digit_pictures import write_digits
from support.labelbox.ontologies import checklist, entity, ontology, radio, rectangle
from support.labelbox.rows import Row, answered, box, data_row_id, multi, single, span
from support.labelbox.stand_in import LabelboxStandIn

LABELED, UNLABELED = 60, 4
_SIDES = (*("TRAINING",) * 5, "VALIDATION", "TEST", "")
"""Splits of eight groups of rows in turn; of the last one nobody has named any."""

_PICTURES = {"backbone": "test_resnet", "weights": "none", "image_size": 32, "epochs": 2, "recipes": ("finetune",)}


@dataclass(frozen=True)
class Told:
    """What a row is to be: its content, what is right of it, and what one person says wrongly of the first row.

    ``truth``: paths of answers, or ``(label, left, top, width, height)``, or ``(label, start, end)`` with the end left
    out.
    """

    truth: tuple[Any, ...]
    label: tuple[Json, ...]
    wrong: tuple[Json, ...]
    text: str = ""
    content: bytes = b""


@dataclass(frozen=True)
class Material:
    """A model run in a stand-in. ``truth`` is what is right of each row by its id, of unlabeled ones too.

    ``classes`` are those that are right somewhere; an ontology has others, too: answers above answers.
    ``settings`` are those of LabelLoop (names of its fields) by which it is learned in seconds; boxes want first
    weights, too: ``scattered.weights(folder)``.
    """

    run: str
    model: str
    ontology: Json
    rows: tuple[Row, ...]
    splits: Mapping[str, str]
    truth: Mapping[str, tuple[Any, ...]]
    classes: tuple[str, ...]
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def unlabeled(self) -> tuple[Row, ...]:
        """The rows that nobody has labeled."""
        return tuple(row for row in self.rows if not row.labels)


@dataclass(frozen=True)
class _Subject:
    """What a model type's material is made of."""

    ontology: Json
    classes: tuple[str, ...]
    rows: Callable[[int], Iterator[Told]]
    settings: Mapping[str, object] = field(default_factory=dict)


def model_run_of(
    labelbox: LabelboxStandIn,
    model_type: str,
    *,
    labeled: int = LABELED,
    unlabeled: int = UNLABELED,
    config: Json | None = None,
    split_key: str = "data_split",
) -> Material:
    """Make a model, and a model run, for a model type (``bounding_box`` and the five others)."""
    subject = _SUBJECTS[model_type.lower()]
    rows, truth = [], {}
    for number, told in enumerate(subject.rows(labeled + unlabeled)):
        rows.append(_row(model_type.lower(), number, told, labeled))
        truth[rows[-1].id] = told.truth
    splits = {row.id: side for at, row in enumerate(rows) if (side := _SIDES[at // 4 % 8])}
    model = labelbox.add_model(subject.ontology, model_type)
    run = labelbox.add_model_run(model, rows, splits, config, name=f"{model_type} run", split_key=split_key)
    return Material(run, model, subject.ontology, tuple(rows), splits, truth, subject.classes, subject.settings)


def _row(model_type: str, number: int, told: Told, labeled: int) -> Row:
    """Put a row together: the first one has three labels; one text in ten comes as a file."""
    labels = () if number >= labeled else (told.label, told.wrong, told.label) if not number else (told.label,)
    name = f"{model_type}-{number}"
    key = f"key of {name}" if number % 2 else ""
    if told.content:
        return Row(data_row_id(name), file=f"{name}.png", content=told.content, labels=labels, global_key=key)
    if number % 10 == 3:
        content = told.text.encode()
        return Row(data_row_id(name), file=f"{name}.txt", content=content, labels=labels, global_key=key)
    return Row(data_row_id(name), told.text, labels=labels, global_key=key)


# --- Pictures: digits, of which the even ones are told apart below; bars, of which none, one or both are there.
def _digits(count: int) -> Iterator[Told]:
    said = {
        "0": ("even/zero", single("digit", "even", single("which", "zero"))),
        "1": ("one", single("digit", "one")),
        "2": ("even/two", single("digit", "even", single("which", "two"))),
    }
    with tempfile.TemporaryDirectory() as folder:
        write_digits(Path(folder), range(count), classes=3)
        for path in sorted(Path(folder).glob("*/*.png"), key=lambda one: int(one.stem)):
            truth, label = said[path.parent.name]
            yield Told((truth,), (label,), (said["1" if truth != "one" else "0"][1],), content=path.read_bytes())


def _bars(count: int) -> Iterator[Told]:
    said = (answered("bars", "across"), answered("bars", "upright", single("lean", "straight")))
    paths = ("across", "upright/straight")
    for number in range(count):
        shown = ((0,), (1,), (0, 1), ())[number % 4]
        truth = tuple(paths[one] for one in shown)
        yield Told(truth, _checked("bars", [said[one] for one in shown]), (), content=shapes.picture(shown, number))


def _checked(question: str, answers: list[Json]) -> tuple[Json, ...]:
    """Answer a question with several answers; who ticks none leaves no trace of it in the label."""
    return (multi(question, *answers),) if answers else ()


def _scattered(count: int) -> Iterator[Told]:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, count + 1):
            path, regions = scattered.picture(Path(folder), number)
            truth = tuple((one.label, *_pixels(one)) for one in regions)
            label = tuple(box(*one) for one in truth)
            # A question about a box is nothing that is learned here.
            below = {**label[0], "classifications": [single("filled", "yes")]}
            wrong = (box("square", 0, 0, 5, 5),)
            yield Told(truth, (below, *label[1:]), wrong, content=path.read_bytes())


def _pixels(region: Region) -> tuple[float, float, float, float]:
    shape, width, height = region.shape, scattered.WIDTH, scattered.HEIGHT
    assert isinstance(shape, Box)
    return shape.x * width, shape.y * height, shape.width * width, shape.height * height


# --- Texts.
_ASKED = {
    "card": ("my card has not arrived", "the card was swallowed", "where is my new card", "card payment declined"),
    "transfer/in": ("money sent to me is missing", "I wait for money from a friend", "my salary has not come in"),
    "transfer/out": ("the transfer to her failed", "how long until he has it", "cancel what I sent to him"),
}


def _answer(path: str) -> Json:
    name, _, below = path.partition("/")
    return answered("topic", name, *((single("direction", below),) if below else ()))


def _topics(count: int) -> Iterator[Told]:
    for number in range(count):
        path = tuple(_ASKED)[number % 3]
        said = _ASKED[path][number // 3 % len(_ASKED[path])]
        label = ({**single("topic", ""), "radio_answer": _answer(path)},)
        wrong = ({**single("topic", ""), "radio_answer": _answer("card" if path != "card" else "transfer/in")},)
        yield Told((path,), label, wrong, f"{number}: {said} \N{SLIGHTLY SMILING FACE}")


def _several_topics(count: int) -> Iterator[Told]:
    for number in range(count):
        paths = ((), ("card",), ("transfer/out",), ("card", "transfer/out"))[number % 4]
        said = " and ".join(_ASKED[path][number // 4 % len(_ASKED[path])] for path in paths)
        label = _checked("topic", [_answer(path) for path in paths])
        wrong = _checked("topic", [_answer("card")]) if not paths else ()
        yield Told(paths, label, wrong, f"{number}: {said or 'good morning to you'} \N{SLIGHTLY SMILING FACE}")


_PEOPLE, _PLACES = ("Ada Byron", "Bob", "Cleo de Witt", "Dr. Eve"), ("Rome", "Oslo", "New York")


def _mentions(count: int) -> Iterator[Told]:
    for number in range(count):
        text = f"nothing of note happened on day {number}"
        truth: list[tuple[str, int, int]] = []
        if number % 7 != 6:
            said = (("person", _PEOPLE[number % 4]), ("place", _PLACES[number % 3]))
            text = f"\N{WAVING HAND SIGN} day {number}:\n{said[0][1]} was seen in {said[1][1]} ne\u0301e"
            truth = [(label, text.index(name), text.index(name) + len(name)) for label, name in said]
        label = tuple(span(name, text, start, end) for name, start, end in truth)
        yield Told(tuple(truth), label, (span("person", text, 0, 1),), text)


_SUBJECTS = {
    "bounding_box": _Subject(
        ontology(
            rectangle("round", radio("filled", ("yes", "no"))), rectangle("square", radio("filled", ("yes", "no")))
        ),
        scattered.CLASSES,
        _scattered,
        {**_PICTURES, "image_size": 96, "learning_rate": 0.008},
    ),
    "ner": _Subject(ontology(entity("person"), entity("place")), ("person", "place"), _mentions),
    "image_single_classification": _Subject(
        ontology(radio("digit", {"even": [radio("which", ("zero", "two"))], "one": ()})),
        ("even/zero", "even/two", "one"),
        _digits,
        {**_PICTURES, "epochs": 6},
    ),
    "image_multi_classification": _Subject(
        ontology(checklist("bars", {"across": (), "upright": [radio("lean", ("straight",))]})),
        ("across", "upright/straight"),
        _bars,
        _PICTURES,
    ),
    "text_single_classification": _Subject(
        ontology(radio("topic", {"card": (), "transfer": [radio("direction", ("in", "out"))]})),
        tuple(_ASKED),
        _topics,
    ),
    "text_multi_classification": _Subject(
        ontology(checklist("topic", {"card": (), "transfer": [radio("direction", ("in", "out"))]})),
        ("card", "transfer/out"),
        _several_topics,
    ),
}
MODEL_TYPES = tuple(_SUBJECTS)
"""The six of Labelbox's specification."""
