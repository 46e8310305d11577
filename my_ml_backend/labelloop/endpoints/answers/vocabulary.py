"""What the fields of an answer are called, whoever wrote it: which name a class, which say how sure the model is.

Names are compared without case, ``_``, ``-`` and blanks, plurals as singulars: ``class_names`` is ``className``.
"""

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

LABELS = (
    *(
        "label",
        "predictedlabel",
        "labelname",
        "class",
        "classname",
        "classlabel",
        "predictedclass",
        "predictedclassname",
    ),
    *("displayname", "tagname", "tag", "category", "categoryname", "detectionclass", "detectionclassentity"),
    *(
        "detectionclassname",
        "textlabel",
        "phrase",
        "detectionclassesastext",
        "predclass",
        "objectname",
        "name",
        "prediction",
        "predicted",
        "top",
        "top1",
        "description",
    ),
)
"""Names of a class, the surest first."""

CHOSEN = (
    *("predictedlabel", "predictedclass", "predictedclassname", "label", "class", "classname", "prediction"),
    *("predicted", "top", "top1"),
)
"""Names of the class that is the best, where those of all classes stand beside it."""

WRITTEN = ("prediction", "predicted")
"""Names of what is any text, and a class only where one is asked for."""

IDS = ("labelid", "classid", "categoryid", "tagid", "classindex", "labelindex", "classidx", "cls", "id", "index", "idx")
"""Numbers and keys of a class: they count where nothing names it."""

SCORES = (
    *("score", "confidence", "probability", "prob", "proba", "conf", "confidencescore", "predictedscore"),
    *("predictedprobability", "detectionscore", "classprobability", "classscore", "softmax", "certainty", "likelihood"),
)
"""How sure the model is, the surest name first."""

PLACES = frozenset(
    (
        *(
            "box",
            "bbox",
            "boundingbox",
            "boundingpoly",
            "rect",
            "rectangle",
            "normalizedbox",
            "detectionbox",
            "geometry",
        ),
        *("roi", "predbox", "detbox", "boundingrect", "xyxy", "xywh"),
        *("mask", "segmentation", "segment", "contour", "polygon", "point", "keypoint", "rle", "corner", "span"),
        *("x", "y", "left", "cx", "cy", "xcenter", "ycenter", "xmin", "ymin", "xmax", "ymax", "x0", "y0", "x1", "y1"),
        *("start", "end", "offset", "startoffset", "endoffset", "textsegmentstartoffset", "textsegmentendoffset"),
    )
)
"""Where something is: what has one of these is no classification. ``top`` is one only where it is a number."""

PLAIN_WRAPPERS = ("predictions", "prediction", "outputs", "output")
"""Fields that hold the answer itself, or one item for each input, spelled as they are; also one value alone."""

WRAPPERS = (
    *(*PLAIN_WRAPPERS, "responses", "response", "results", "result", "body"),
    *("labelAnnotations", "classifications"),
)
"""These and others, which hold other things as well."""

_MEASURES = frozenset(
    (
        *("time", "timestamp", "took", "duration", "elapsed", "latency", "inferencetime", "second", "ms", "threshold"),
        *("value", "count", "total", "loss", "accuracy", "temperature", "version", "width", "height", "lat", "lon"),
        *("latitude", "longitude", "modelversion", "mean", "std", "variance", "precision", "recall", "f1", "compound"),
        *("status", "statuscode", "code", "progress", "batch", "entropy", "uncertainty"),
        *("iou", "miou", "meaniou", "auc", "mse", "rmse", "mae", "psnr", "ssim", "f1score"),
    )
)

_FIELDS = frozenset((*LABELS, *IDS, *SCORES))

_NO_PLACES = frozenset((*_FIELDS, "logit", "embedding", "vector", "feature", "allscore"))
"""What may be a few numbers, or a map, without being a place."""

_COORDINATES = PLACES | {"top", "right", "bottom", "w", "h", "originx", "originy"}
"""What a number is called that is a part of a place, where two of them stand together."""


def folded(name: str) -> str:
    """Write a field's name as this vocabulary does: ``Class_Names`` and ``className`` become ``classname``."""
    return _folded(name[:80])  # whatever an endpoint calls its fields, little of it is kept


@lru_cache(maxsize=8192)
def _folded(name: str) -> str:
    plain = "".join(letter for letter in name.lower() if letter not in "_- ")
    if plain.endswith("ies"):
        return plain[:-3] + "y"
    if plain.endswith(("sses", "xes")):
        return plain[:-2]
    if plain.endswith("indices"):
        return plain[:-4] + "ex"
    if plain in ("cls", "ms") or plain.endswith(("ss", "us")):  # no plurals
        return plain
    return plain.removesuffix("s")


def field(record: Mapping[str, Any], names: Collection[str], accepts: Callable[[Any], bool]) -> str | None:
    """Find the key of the first of the names, in their order, whose value is accepted; None where there is none."""
    here: dict[str, list[str]] = {}
    for key in record:
        here.setdefault(folded(key), []).append(key)
    for name in names:
        for key in here.get(name, ()):
            if accepts(record[key]):
                return key
    return None


def label_key(record: Mapping[str, Any]) -> str | None:
    """Find the field of one thing that names its class: a word before a number, a name before an id."""
    return field(record, LABELS, is_word) or field(record, (*LABELS, *IDS), is_class)


def score_key(record: Mapping[str, Any]) -> str | None:
    """Find the field of one thing that says how sure the model is of it, a number or one written as text."""
    return field(record, SCORES, is_numeric)


def label_column(item: Mapping[str, Any], length: int | None = None) -> str | None:
    """Find the list that names the class of each thing: words before numbers, names before ids.

    With a length, the list must have it. An empty list is one of any kind.
    """

    def lists(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
        return lambda value: _is_list_of(value, accepts, length)

    return field(item, LABELS, lists(is_word)) or field(item, (*LABELS, *IDS), lists(is_class))


def score_column(item: Mapping[str, Any], length: int | None = None) -> str | None:
    """Find the list that says of each thing how sure the model is; with a length, it must have that."""
    return field(item, SCORES, lambda value: _is_list_of(value, is_numeric, length))


def has_place(record: Mapping[str, Any]) -> bool:
    """Whether something says where it is, by a name or by its numbers, so that it is no classification."""
    key = field(record, SCORES, lambda value: isinstance(value, list))
    length = 0 if key is None else _width(record[key])
    return any(
        folded(key) in PLACES
        or (folded(key) == "top" and is_numeric(value))
        or (not is_scalar(value) and folded(key) not in _NO_PLACES and _is_place(value, length))
        for key, value in record.items()
        if value is not None
    )


def _is_place(value: list[Any] | dict[str, Any], length: int) -> bool:
    """Whether it is coordinates, whatever it is called: four to eight numbers, rows of such, an outline, a named place.

    As many numbers as there are scores, ``length``, stand beside those.
    """
    if isinstance(value, dict):
        return sum(folded(key) in _COORDINATES and is_numeric(inner) for key, inner in value.items()) > 1
    first = value[0] if value else None
    if isinstance(first, dict):
        return _is_place(first, length)
    if not isinstance(first, list):
        return 4 <= len(value) <= 8 and len(value) != length and all(map(is_numeric, value))
    if len(value) == 1 and len(first) == length and all(map(is_scalar, first)):
        return False
    return _is_place(first, 0) or (len(value) > 2 and len(first) == 2 and all(map(is_numeric, first)))


def _width(values: list[Any]) -> int:
    return len(values[0]) if len(values) == 1 and isinstance(values[0], list) else len(values)


def is_reserved(name: str) -> bool:
    """Whether a field of this name holds something else than the score of the class of that name."""
    plain = folded(name)
    return (
        name in WRAPPERS
        or plain in PLACES
        or plain in _MEASURES
        or plain in _FIELDS
        or name.lower().endswith(("_ms", "_time", "_seconds"))
    )


def is_scalar(value: object) -> bool:
    """Whether it is one value: no list and no object."""
    return not isinstance(value, list | dict)


def is_numeric(value: object) -> bool:
    """Whether it is a number, perhaps written as text; JSON's ``true`` is none."""
    if isinstance(value, str):
        return numeric(value) is not None
    return type(value) is float or type(value) is int


def numeric(text: str) -> float | None:
    """Read a number that is written as text, in JSON's or C's way; None for all else, hexadecimal and ``nan`` too."""
    plain = text.strip()
    if not plain or len(plain) > 40 or not set(plain) <= set("0123456789+-.eE"):
        return None
    try:
        return float(plain)
    except ValueError:
        return None


def is_class(value: object) -> bool:
    """Whether it can name a class: a text, or a whole number."""
    return (
        (isinstance(value, str) and value != "") or type(value) is int or (type(value) is float and value.is_integer())
    )


def is_word(value: object) -> bool:
    """Whether it is a text that is no number."""
    return isinstance(value, str) and value != "" and numeric(value) is None


def _is_list_of(value: object, accepts: Callable[[Any], bool], length: int | None) -> bool:
    return isinstance(value, list) and (length is None or len(value) == length) and all(map(accepts, value))
