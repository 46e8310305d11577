"""Classifications that give all classes their scores at once: parallel lists, or a map."""

from collections.abc import Mapping, Sequence
from typing import Any

from labelloop.endpoints.answers.classifications import class_of, classified, of_classes, require_best
from labelloop.endpoints.answers.format import Asked, Malformed, class_name, is_number, is_share, read_score, whole
from labelloop.endpoints.answers.vocabulary import (
    CHOSEN,
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
    numeric,
    score_column,
    score_key,
)
from labelloop.types import Answer, Findings, Output


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
            _require_places(names, flat[names])
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


def _require_places(key: str, values: Sequence[Any]) -> None:
    """Raise Malformed where numbers may say of each class whether it was chosen, and not which classes these are."""
    if len(values) > 1 and all(map(is_number, values)) and (len(set(values)) < len(values) or _is_predicted(key)):
        raise Malformed(
            f"whether the numbers of {key[:60]!r} name classes, or say of each whether it was chosen, cannot be told: "
            "a mapping that leaves them out, or calls them labels, says so"
        )


def _is_predicted(key: str) -> bool:
    return folded(key).startswith(WRITTEN)


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
