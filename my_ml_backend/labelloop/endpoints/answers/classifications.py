"""Classifications: classes with scores, as records, parallel lists or a map, or scores alone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labelloop.endpoints.answers.format import (
    Asked,
    Malformed,
    class_name,
    entries,
    is_number,
    is_share,
    read_score,
    whole,
)
from labelloop.endpoints.answers.layout import wrapped
from labelloop.endpoints.answers.vocabulary import (
    CHOSEN,
    IDS,
    LABELS,
    SCORES,
    WRITTEN,
    field,
    folded,
    has_place,
    is_class,
    is_reserved,
    is_scalar,
    is_word,
    label_column,
    label_key,
    numeric,
    score_column,
    score_key,
)
from labelloop.types import Answer, Findings, Output

SUM_TOLERANCE = 0.01
"""How far the scores of a ``single`` answer may be from 1, and ``score`` from ``scores[label]``."""


def classified(pairs: Iterable[tuple[str, float]], version: str, *, listed: bool = False) -> Output:
    """Make a classification of classes and their scores; raises Malformed.

    Scores that sum to 1 are of classes that exclude each other (``single``). All others are taken as they are, each for
    itself (``multiple``), also the first few of many classes: what their model gave to the rest is not known, so that
    nothing is added to make a sum. A single choice still gets the best of them.

    A name that comes twice is an error, but in a list of all the model's classes (``listed``): ImageNet has two cranes,
    the bird and the machine. There scores that exclude each other are added up, of others the larger counts.
    """
    found = list(pairs)
    single = abs(math.fsum(score for _, score in found) - 1) <= SUM_TOLERANCE
    scores: dict[str, float] = {}
    for label, value in found:
        if label in scores and not listed:
            raise Malformed(f"a class comes twice: {label[:60]!r}")
        before = scores.get(label, 0.0)
        scores[label] = min(1.0, before + value) if single else max(before, value)
    if not scores:
        raise Malformed("it holds no class")
    best = max(scores, key=scores.__getitem__)
    return Output(best, scores[best], scores, version, "single" if single else "multiple")


class Labels:
    """The answer format ``labels``: ``[{"label", "score"}, ...]`` by any of the vocabulary's names, or one alone."""

    name = "labels"
    made_by = "Hugging Face, Azure Custom Vision and Roboflow classification, Google Vision labels"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is one or more objects with a label and a score and no place."""
        if isinstance(item, list):
            return bool(item) and all(map(_is_label, item))
        return _is_label(item) and not (_is_written(item) or _says_more(item))

    def read(self, item: Any, one: Asked) -> Output:
        """Read one input's classes; see ``classified`` for single and multiple. Raises Malformed."""
        return classified([_pair(entry, one) for entry in entries(item)], one.version)


def _is_label(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and field(entry, SCORES, is_scalar) is not None
        and field(entry, LABELS, is_scalar) is not None
        and not has_place(entry)
        and not _is_binary(entry)
    )


def _says_more(entry: Mapping[str, Any]) -> bool:
    """Whether it is the best class with the scores of all, or inside an object of another kind."""
    inside = wrapped(entry)
    if inside is not None and not is_scalar(inside[1]):
        return True
    return (
        not {"label", "score"} <= entry.keys() and field(entry, SCORES, lambda value: not is_scalar(value)) is not None
    )


def _is_written(entry: Mapping[str, Any]) -> bool:
    key = label_key(entry)
    return key is not None and folded(key) in WRITTEN


def _pair(entry: Mapping[str, Any], one: Asked) -> tuple[str, float]:
    key = label_key(entry) or field(entry, LABELS, is_scalar)
    score = score_key(entry) or field(entry, SCORES, is_scalar) or "score"
    return class_of(key, entry.get(key or ""), one), read_score(score, entry.get(score))


def class_of(key: str | None, value: Any, one: Asked) -> str:
    """Read a class as ``class_name`` does; the text of a field of ids may be a number. Raises Malformed."""
    if key is not None and folded(key) in IDS and isinstance(value, str) and (index := numeric(value)) is not None:
        return class_name(index, one)
    return class_name(value, one)


class Columns:
    """The answer format ``columns``: a list of scores, perhaps one of classes beside it, by the vocabulary's names.

    ``{"probabilities": [...], "labels": [...], "predicted_label": "cat"}`` (JumpStart), ``{"sequence", "labels",
    "scores"}`` (zero-shot), ``{"label": ["__label__cat"], "prob": [0.9]}`` (BlazingText), ``{"score": [...],
    "predicted_label": 2}`` (linear learner). Lists may lie in lists of one. Without names the scores are those of the
    model's classes.
    """

    name = "columns"
    made_by = "JumpStart, AutoGluon, Hugging Face zero-shot, BlazingText, linear learner"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:
        """Whether it is an object with a list of scores, and with one of classes or as many as Probabilities takes."""
        if not isinstance(item, dict) or has_place(item):
            return False
        flat = _flat(item)
        key = score_column(flat)
        return key is not None and (
            label_column(flat, len(flat[key])) is not None or len(flat[key]) >= min(2, len(classes) or 2)
        )

    def read(self, item: Any, one: Asked) -> Answer:
        """Read one input's classes, perhaps none. Raises Malformed, also where the best is not the one it names."""
        flat = _flat(item) if isinstance(item, dict) else {}
        key = score_column(flat)
        if key is None:
            raise Malformed("it is not an object with a list of scores")
        if not flat[key]:
            return Findings((), one.version)
        names = label_column(flat, len(flat[key]))
        said = field(flat, CHOSEN, is_class)
        if names is None and not one.classes and said is not None and isinstance(flat[said], str):
            best = max(read_score(key, value) for value in flat[key])
            return classified([(_unprefixed(flat[said]), best)], one.version)
        if names is None:
            output = of_classes(flat[key], one)
            labels: Sequence[str] = one.classes
        else:
            labels = [_unprefixed(class_of(names, value, one)) for value in flat[names]]
            scores = [read_score(key, value) for value in flat[key]]
            output = classified(zip(labels, scores, strict=True), one.version, listed=True)
        if said is not None:
            require_best(output, _chosen(flat[said], labels))
        return output


def _chosen(value: Any, labels: Sequence[str]) -> str:
    """Read the class that an answer names as the best: its name, or its place among the labels. Raises Malformed."""
    if isinstance(value, str) and (value in labels or numeric(value) is None):
        return _unprefixed(value)
    index = whole("label", value)
    if 0 <= index < len(labels):
        return labels[index]
    raise Malformed(f"it names class {index}, counted from 0, of {len(labels)}")


def _flat(item: Mapping[str, Any]) -> dict[str, Any]:
    """Take lists out of lists of one, as arrays of one row are; a list of one predicted class is that class."""
    flat: dict[str, Any] = {}
    for key, value in item.items():
        inner = value
        while isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], list):
            inner = inner[0]
        one = isinstance(inner, list) and len(inner) == 1 and folded(key).startswith("predicted") and is_class(inner[0])
        flat[key] = inner[0] if one else inner
    return flat


def _unprefixed(label: str) -> str:
    """Take off what fastText puts before a class."""
    return label.removeprefix("__label__") or label


def require_best(output: Output, label: str) -> None:
    """Raise Malformed where the class that an answer names is not the best by its own scores."""
    if output.scores.get(label, 0.0) < output.score - SUM_TOLERANCE:
        raise Malformed(
            f"it names the class {label[:60]!r}, and by its scores {output.label[:60]!r} is the best: a mapping says "
            "which of them counts"
        )


class ClassScores:
    """The answer format ``scores``: a map from class to score, ``{"dog": 0.7, "cat": 0.2}``.

    The score may be in an object, ``{"dog": {"confidence": 0.7}}`` (Roboflow), the map in one with the best class,
    ``{"label": "dog", "probabilities": {"dog": 0.7, "cat": 0.2}}``, and the class before ``_proba``,
    ``{"animal": "dog", "dog_proba": 0.7, "cat_proba": 0.2}`` (AutoGluon).
    """

    name = "scores"
    made_by = "TorchServe, Vertex AI PyTorch, Roboflow multi-label, AutoGluon"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:
        """Whether it is a map of several names that mean nothing else, or are the model's classes, to scores."""
        found = _scores(item)
        if found is None or not all(is_share(value) for value in found.values()):
            return False
        if classes:
            return all(name in classes or numeric(name) is not None for name in found)
        return len(found) > 1 and not any(is_reserved(name) for name in found)

    def read(self, item: Any, one: Asked) -> Output:
        """Read one input's classes. Raises Malformed, also where the best is not the one it names."""
        found = _scores(item)
        if found is None:
            raise Malformed("it is not a map from class to score")
        output = classified(
            [(_by_name(name, one), read_score(name, value)) for name, value in found.items()], one.version
        )
        if not found.keys() <= item.keys() and (said := field(item, CHOSEN, is_word)) is not None:
            require_best(output, item[said])
        return output


def _scores(item: Any) -> Mapping[str, Any] | None:
    """Find the map in an answer, its values plain; None where there is none."""
    if not isinstance(item, dict):
        return None
    if (inside := field(item, (*SCORES, "allscore"), lambda value: isinstance(value, dict))) is not None:
        return None if has_place(item) else _plain_scores(item[inside])
    if columns := {key.removesuffix("_proba"): item[key] for key in item if key.endswith("_proba")}:
        return columns
    return _plain_scores(item)


def _plain_scores(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    plain = {name: _plain(value) for name, value in item.items() if name != "model_version"}
    return plain if plain and all(map(is_scalar, plain.values())) else None


def _plain(value: Any) -> Any:
    if not isinstance(value, dict) or has_place(value):
        return value
    key = score_key(value)
    return value if key is None else value[key]


def _by_name(name: str, one: Asked) -> str:
    """Read a key as a class; a number is its place, unless one of the model's classes is called so."""
    if name not in one.classes and (index := numeric(name)) is not None:
        return class_name(index, one)
    return class_name(name, one)


class Probabilities:
    """The answer format ``probabilities``: a list, one for each class, as SageMaker image classification answers.

    They must be probabilities: raw outputs of a network (logits) are refused, because whether they want a softmax or a
    sigmoid cannot be seen in them.
    """

    name = "probabilities"
    made_by = "SageMaker image classification and XGBoost, TensorFlow Serving"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:
        """Whether it is a list of several numbers, or of as many as there are classes."""
        return isinstance(item, list) and len(item) >= min(2, len(classes) or 2) and all(map(is_number, item))

    def read(self, item: Any, one: Asked) -> Output:
        """Give the numbers the names of the classes. Raises Malformed."""
        if not isinstance(item, list) or not item or not all(map(is_number, item)):
            raise Malformed("it is not a list of numbers")
        return of_classes(item, one)


def of_classes(values: Sequence[Any], one: Asked) -> Output:
    """Give scores, one for each of the model's classes, their names. Raises Malformed."""
    if not one.classes:
        raise Malformed(
            f"it is a list of {len(values)} numbers: set the {len(values)} classes that they are for, in the model's "
            "order, with LABELLOOP_CLASSES, or classes in extra_params"
        )
    if len(values) != len(one.classes):
        raise Malformed(f"it is a list of {len(values)} numbers, and classes lists {len(one.classes)}")
    if not all(map(is_share, values)):
        raise Malformed("its numbers are not all between 0 and 1: let the endpoint answer probabilities, not logits")
    pairs = ((name, read_score(name, value)) for name, value in zip(one.classes, values, strict=True))
    return classified(pairs, one.version, listed=True)


class Binary:
    """The answer format ``binary``: the probability of the second of two classes, alone or with its label.

    ``{"score": 0.4, "predicted_label": 0}`` (linear learner), ``0.4`` (XGBoost with ``binary:logistic``). ``auto``
    takes a number alone for a number.
    """

    name = "binary"
    made_by = "SageMaker linear learner and XGBoost, of two classes"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - what is missing is said on reading
        """Whether it is a number, alone, as a score, or as a score with the number of a class."""
        return is_number(_positive(item))

    def read(self, item: Any, one: Asked) -> Output:
        """Give the number, and what it leaves of 1, to the two classes. Raises Malformed."""
        score = read_score("score", _positive(item))
        if len(one.classes) != 2 or len(set(one.classes)) != 2:
            raise Malformed(
                f"it is the score of the second of two classes, and classes lists {len(one.classes)}: set both, the "
                "negative one first, with LABELLOOP_CLASSES, or classes in extra_params"
            )
        output = classified(zip(one.classes, (1 - score, score), strict=True), one.version)
        if isinstance(item, dict) and (said := label_key(item)) is not None:
            require_best(output, class_of(said, item[said], one))
        return output


def _positive(item: Any) -> Any:
    if isinstance(item, list) and len(item) == 1:
        return item[0]
    if not isinstance(item, dict):
        return item
    return item["score"] if item.keys() == {"score"} or _is_binary(item) else None


def _is_binary(item: Any) -> bool:
    """Whether it is what linear learner answers: a score, which is the second class's, and a label that is 0 or 1."""
    return isinstance(item, dict) and item.keys() == {"score", "predicted_label"} and item["predicted_label"] in (0, 1)


class Rekognition:
    """The answer format ``rekognition``, Amazon's: ``{"Labels": [{"Name": "Cat", "Confidence": 98.1}]}``, in percent.

    ``CustomLabels`` and ``ModerationLabels`` likewise. Every class stands for itself.
    """

    name = "rekognition"
    made_by = "Amazon Rekognition labels, custom and moderation labels"

    def fits(self, item: Any, classes: tuple[str, ...]) -> bool:  # noqa: ARG002 - names are in the answer
        """Whether it is an object with such a list, of things without a place."""
        listed = _rekognized(item)
        return listed is not None and all(_is_rekognized(entry) for entry in listed)

    def read(self, item: Any, one: Asked) -> Answer:
        """Read one picture's labels, perhaps none. Raises Malformed where they may not be in percent."""
        listed = _rekognized(item)
        if listed is None or not all(_is_rekognized(entry) for entry in listed):
            raise Malformed('it has no list "Labels" of objects with "Name" and "Confidence"')
        if not listed:
            return Findings((), one.version)
        certain = "Labels" not in item or any(mark in listed[0] for mark in ("Instances", "Parents", "Categories"))
        if not certain and all(entry["Confidence"] <= 1 for entry in listed):
            raise Malformed("whether its confidences are in percent cannot be told: a mapping says so")
        scores: dict[str, float] = {}
        for entry in listed:
            score = read_score("Confidence", entry["Confidence"] / 100)
            scores[entry["Name"]] = max(score, scores.get(class_name(entry["Name"], one), 0.0))
        best = max(scores, key=scores.__getitem__)
        return Output(best, scores[best], scores, one.version, "multiple")


def _rekognized(item: Any) -> list[Any] | None:
    for key in ("Labels", "CustomLabels", "ModerationLabels"):
        if isinstance(item, dict) and isinstance(item.get(key), list):
            return list(item[key])
    return None


def _is_rekognized(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("Name"), str)
        and is_number(entry.get("Confidence"))
        and "Geometry" not in entry
    )
