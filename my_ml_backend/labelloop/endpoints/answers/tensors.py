"""Answers of the Open Inference Protocol (KServe v2, Triton), turned into one plain item for each input.

``{"model_name", "model_version", "outputs": [{"name", "shape", "datatype", "data"}]}``; the data of a tensor are its
values row by row, nested or not. Every format then reads the items as if they had stood there.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from labelloop.endpoints.answers.layout import wrong_count
from labelloop.endpoints.failures import WrongAnswer, one_line

_CLASSIFIED = re.compile(r"(-?\d+\.\d+(?:e[+-]\d+)?):(\d{1,9})(?::(.+))?", re.ASCII | re.DOTALL)
"""What Triton's classification extension makes of a score: ``0.750000:2:cat``, or ``0.750000:2``."""


def without_tensors(value: Any, count: int) -> Any:
    """Give ``{"predictions": [...], "model_version": "NAME/VERSION"}`` for tensors, anything else as it is.

    One output tensor is the item itself, several are an object with the slice of each by its name. Raises WrongAnswer
    for a tensor that does not hold what its shape says, or has none for each of ``count`` inputs.
    """
    if not _is_answer(value):
        return value
    sliced = {tensor["name"]: _slices(tensor, count) for tensor in value["outputs"]}
    items: list[Any] = [{name: slices[at] for name, slices in sliced.items()} for at in range(count)]
    if len(sliced) == 1:
        items = [_alone(value) for item in items for value in item.values()]
    named = [value[key] for key in ("model_name", "model_version") if isinstance(value.get(key), str) and value[key]]
    return {"predictions": items} | ({"model_version": "/".join(named)} if named else {})


def _is_answer(value: Any) -> bool:
    outputs = value.get("outputs") if isinstance(value, dict) else None
    return isinstance(outputs, list) and bool(outputs) and all(map(_is_tensor, outputs))


def _is_tensor(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("datatype"), str)
        and isinstance(value.get("data"), list)
        and isinstance(value.get("shape"), list)
        and all(type(size) is int and size >= 0 for size in value["shape"])
    )


def _slices(tensor: dict[str, Any], count: int) -> list[Any]:
    """Cut a tensor into one value for each input; of one input all may be, without a dimension for it."""
    shape, flat = tensor["shape"], list(_flat(tensor["data"]))
    if len(flat) != math.prod(shape):
        raise WrongAnswer(
            f"its tensor {one_line(tensor['name'])!r} has {len(flat)} values, and the shape {'x'.join(map(str, shape))}"
        )
    if shape and shape[0] == count:
        size, inner = len(flat) // count, shape[1:]
        return [_value(flat[at * size : (at + 1) * size], inner) for at in range(count)]
    if count != 1:
        raise wrong_count(count, shape[0] if shape else 1)
    return [_value(flat, shape)]


def _flat(data: Sequence[Any]) -> Iterator[Any]:
    for value in data:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _value(flat: Sequence[Any], shape: Sequence[int]) -> Any:
    """Read what is of one input: classes with their scores, or the values in lists of the shape."""
    classes = [_CLASSIFIED.fullmatch(value) if isinstance(value, str) else None for value in flat]
    found = [(float(one[1]), one[3] or int(one[2])) for one in classes if one is not None]
    if found and len(found) == len(flat):
        return [{"label": label, "score": score} for score, label in found]
    return _nested(flat, shape)


def _alone(value: Any) -> Any:
    """Take a text that is all there is out of a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else value


def _nested(flat: Sequence[Any], shape: Sequence[int]) -> Any:
    if not shape:
        return flat[0]
    if len(shape) == 1 or not flat:
        return list(flat)  # of nothing, a shape may say any number of rows
    size = len(flat) // shape[0]
    return [_nested(flat[at * size : (at + 1) * size], shape[1:]) for at in range(shape[0])]
