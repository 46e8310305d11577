"""The layout of an answer: one item for each input, whatever wraps them, or what there is instead.

The shape of an unknown answer is described without its values, which may be anybody's.
"""

import csv
from collections.abc import Iterator, Sequence
from typing import Any

from labelloop.endpoints.answers.format import AnswerFormat, Asked, is_number, strict_json
from labelloop.endpoints.answers.vocabulary import PLAIN_WRAPPERS, WRAPPERS, is_scalar, is_word, numeric
from labelloop.endpoints.failures import WrongAnswer, WrongCount, one_line, words_of

_DEEPEST = 5


Arranged = tuple[AnswerFormat, Sequence[Any], Asked]
"""The format that reads an answer, one item for each input, and what was asked, with the version that wrappers name."""


def layers(value: Any, asked: Asked) -> Iterator[tuple[Any, Asked]]:
    """Peel wrappers off, the outermost first: ``{"predictions": ...}`` and the like.

    With what is left comes what was asked, and in it what the wrappers said of the model.
    """
    yield value, asked
    for _ in range(_DEEPEST):
        if isinstance(value, dict):
            asked = asked.said(_text(value, "model_version"), _text(value, "deployedModelId"))
        inner = _peeled(value, single=len(asked.inputs) == 1)
        if inner is None:
            return
        (value,) = inner
        yield value, asked


def wrapped(value: Any) -> tuple[str, Any] | None:
    """Find what an object holds as the answer itself, with its name; None where it is not inside anything.

    One value alone is an answer under a name that says so, or where the object holds nothing else: ``"result": "ok"``
    beside other fields is none.
    """
    if not isinstance(value, dict):
        return None
    names = (name for name in WRAPPERS if name in value)
    held = ((name, value[name]) for name in names)
    return next(
        ((name, inner) for name, inner in held if name in PLAIN_WRAPPERS or len(value) == 1 or not is_scalar(inner)),
        None,
    )


def _peeled(value: Any, *, single: bool) -> tuple[Any] | None:
    """Take one wrapper off: a field that holds the answer, a table's columns, or a list around one input's."""
    if (inside := wrapped(value)) is not None:
        return (inside[1],)
    if (rows := _rows(value)) is not None:
        return (rows,)
    if not single or not isinstance(value, list) or len(value) != 1:
        return None
    return (value[0],) if isinstance(value[0], list) or wrapped(value[0]) is not None else None


def _rows(value: Any) -> list[dict[str, Any]] | None:
    """Turn a table into its rows: pandas writes columns, ``{"label": {"0": "cat"}, "score": {"0": 0.9}}``."""
    if not isinstance(value, dict) or not all(isinstance(column, dict) for column in value.values()):
        return None
    columns = list(value.values())
    if not columns or list(columns[0]) != [str(row) for row in range(len(columns[0]))]:
        return None
    if any(column.keys() != columns[0].keys() for column in columns):
        return None
    return [{name: column[row] for name, column in value.items()} for row in columns[0]]


def arrange(value: Any, asked: Asked, formats: Sequence[AnswerFormat]) -> Arranged | None:
    """Find the first format, and in it one item for each input; None when there is none.

    An outer layer goes before an inner one, and a format that fits every item before one that fits some: the others
    are then wrong by themselves. Errors and empty lists fit beside anything. An empty list by itself is one input's
    answer: nothing was found. Each item may be wrapped once more.
    """
    count = len(asked.inputs)
    peeled = [(said, splits) for inner, said in layers(value, asked) if (splits := list(_splits(inner, count)))]
    peeled += [(said, [inner for items in splits if (inner := _each_peeled(items))]) for said, splits in peeled]
    for enough in (all, any):
        for said, splits in peeled:
            for form in formats:
                for items in splits:
                    telling = [item for item in items if _tells(item)]
                    if telling and enough(form.fits(item, asked.classes) for item in telling):
                        return form, items, said
    return _neutral(value, asked, formats)


def _each_peeled(items: Sequence[Any]) -> Sequence[Any] | None:
    """Peel every item that is wrapped; None where none is, or a version would be lost."""
    inner = [_peeled(item, single=True) for item in items]
    if not any(inner) or any(isinstance(item, dict) and _text(item, "model_version") for item in items):
        return None
    return [item if peeled is None else peeled[0] for item, peeled in zip(items, inner, strict=True)]


def unpacked(value: Any, depth: int = _DEEPEST) -> Any:
    """Read JSON that is written inside a text: the whole, an entry of a list, or what a wrapper holds."""
    if isinstance(value, str):
        return _json_in(value)
    if isinstance(value, list):
        # Numbers may be a million, those of a mask.
        plain = not depth or not value or not isinstance(value[0], str | list | dict)
        return value if plain else [unpacked(item, depth - 1) for item in value]
    if not isinstance(value, dict) or not depth:
        return value
    return value | {name: unpacked(value[name], depth - 1) for name in WRAPPERS if name in value}


def _json_in(text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return strict_json(text)
    except (ValueError, RecursionError):
        return text


def table(text: str) -> Any:
    """Read what a model writes as ``text/csv``: a row for each input, of numbers, or of texts under names.

    One row alone is a list, as one of numbers in JSON; lists may stand in it (SageMaker XGBoost). None if it is empty.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        rows = [strict_json(f"[{line}]") for line in lines]
    except (ValueError, RecursionError):
        rows = list(csv.reader(lines))
        if len(rows) > 1 and len(set(rows[0])) == len(rows[0]) > 1 and all(is_word(cell) for cell in rows[0]):
            return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]
        rows = [[value if (value := numeric(cell)) is not None else cell for cell in row] for row in rows]
    if len(rows) > 1 and all(len(row) == 1 for row in rows):
        rows = [[cell for row in rows for cell in row]]
    return rows[0] if len(rows) == 1 else rows or None


def is_error(item: Any) -> bool:
    """Whether an item says why there is no prediction; ``"error": null`` beside one does not."""
    return isinstance(item, dict) and "error" in item and (len(item) == 1 or words_of(item["error"]) != "")


def _splits(value: Any, count: int) -> Iterator[Sequence[Any]]:
    """Yield the ways in which a value may hold one item for each input."""
    if count == 1:
        yield [value]
    if isinstance(value, list) and len(value) == count:
        yield value


def _tells(item: Any) -> bool:
    """Whether the shape of an item tells its format."""
    return item != [] and not is_error(item)


def _neutral(value: Any, asked: Asked, formats: Sequence[AnswerFormat]) -> Arranged | None:
    """Arrange errors and empty lists among themselves."""
    form = next((form for form in formats if form.fits([], ())), formats[0])
    for depth, (inner, said) in enumerate(layers(value, asked)):
        if inner == [] and depth:
            continue  # an empty list by itself is an answer, inside a wrapper it is one too few
        for items in _splits(inner, len(asked.inputs)):
            if not any(map(_tells, items)):
                return form, items, said
    return None


def _text(value: dict[str, Any], key: str) -> str:
    text = value.get(key)
    return text if isinstance(text, str) else ""


def wrong_count(sent: int, came: int) -> WrongAnswer:
    """There are more or fewer predictions than inputs; of one alone, its server may list what it found in that."""
    what = WrongAnswer if sent == 1 else WrongCount
    return what(f"{sent} input{'' if sent == 1 else 's'} sent, {came} prediction{'' if came == 1 else 's'} came back")


def miscounted(value: Any, asked: Asked, formats: Sequence[AnswerFormat]) -> WrongAnswer | None:
    """Say that the number of predictions is wrong, if that is all that is."""
    count = len(asked.inputs)
    for items, _ in layers(value, asked):
        if not isinstance(items, list) or len(items) == count:
            continue
        if any(_fit_all(items, form, asked.classes) for form in formats):
            return wrong_count(count, len(items))
    return None


def _fit_all(items: list[Any], form: AnswerFormat, classes: tuple[str, ...]) -> bool:
    return all(form.fits(item, classes) or is_error(item) for item in items)


_MOST_KEYS = 12
_LONGEST_KEY = 40


def outline(value: Any, depth: int = 4) -> str:
    """Say what a JSON value is: ``a list of 2 objects with keys id: text, conf: number``."""
    if isinstance(value, bytes):
        return "a PNG picture"
    if isinstance(value, dict):
        return f"an object {_keys(value, depth)}" if value else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value)} {_plural(value, depth)}" if value else "an empty list"
    return {"text": "a text", "number": "a number"}.get(_kind(value, depth), _kind(value, depth))


def _kind(value: Any, depth: int) -> str:
    if isinstance(value, dict | list):
        return outline(value, depth - 1) if depth > 1 else ("an object" if isinstance(value, dict) else "a list")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return "number" if is_number(value) else "text"


def _plural(values: Sequence[Any], depth: int) -> str:
    """Describe the entries of a list by the first; only whether the others are of its kind is looked at."""
    first = values[0]
    if any(_family(value) != _family(first) for value in values):
        return f"values of several kinds, the first {outline(first, depth - 1)}"
    if isinstance(first, dict):
        return f"object{_plural_s(values)} {_keys(first, depth)}" if first else f"empty object{_plural_s(values)}"
    if isinstance(first, list):
        inner = f" of {len(first)} {_plural(first, depth - 1)}" if first and depth > 1 else ""
        return f"list{_plural_s(values)}{inner}"
    return f"{_family(first)}{_plural_s(values)}"


def _keys(value: dict[str, Any], depth: int) -> str:
    shown = [f"{one_line(str(key)[:_LONGEST_KEY])}: {_kind(value[key], depth)}" for key in list(value)[:_MOST_KEYS]]
    more = f" and {len(value) - _MOST_KEYS} more" if len(value) > _MOST_KEYS else ""
    return f"with keys {', '.join(shown)}{more}"


def _family(value: Any) -> str:
    if isinstance(value, dict | list):
        return "object" if isinstance(value, dict) else "list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    return "number" if is_number(value) else "text"


def _plural_s(values: Sequence[Any]) -> str:
    return "" if len(values) == 1 else "s"
