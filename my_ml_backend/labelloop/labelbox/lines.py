"""Predictions as the lines that a model run takes: one an answer, a box or a span, and one a metric of a data row.

Labelbox puts a line in the place of an earlier one of its uuid, so that uploads may be repeated. It has no call that
takes a single prediction back: where another version finds fewer regions in a data row than the one before, those of
the higher numbers would stay. They are withdrawn: uploaded once more with a confidence of 0.
"""

import math
import uuid
from collections.abc import Mapping, Sequence

from labelloop.errors import LabelConfigError
from labelloop.kinds.majority import listed
from labelloop.labelbox.ontology import Ontology
from labelloop.labelbox.questions import Path, Question
from labelloop.labelbox.rows import Row
from labelloop.labelbox.shapes import box_json, span_json
from labelloop.types import BOXES, Answer, Box, Findings, Json, Output, Region, Span, Whole, canonical

MOST = 5000
"""Annotations that Labelbox takes for one data row and feature."""

RESERVED = frozenset(
    (
        *("true_positive_count", "false_positive_count", "true_negative_count", "false_negative_count"),
        *("precision", "recall", "f1", "iou"),
    )
)
"""Names of metrics that Labelbox computes itself and takes from nobody; letter case does not count."""

_NAMESPACE = uuid.UUID("4b2f5c9e-8d0b-5a4e-9a57-2f0f7a3a6c11")
"""Fixed for ever: with another one, a repeated upload would stand beside the first."""

_DIGITS = 6
_LARGEST_METRIC = 100_000_000.0


def prediction_lines(answer: Answer, row: Row, ontology: Ontology, model_run: str) -> list[Json]:
    """Write an answer in an ontology's classes; classes that it does not have are left out.

    Of a question with one answer that is the best one, where several may be given those that the answer gives; nothing
    where it gives none. Of regions the surest ``MOST`` of each class. Boxes are drawn in pixels of the answer's size,
    else the row's. Raises LabelConfigError where the ontology asks for something of another form, or a picture's size
    is not known.
    """
    if ontology.question is not None:
        said = _answered(answer, ontology, ontology.question)
        return [] if said is None else [_line(model_run, row, ontology.question.name, 0) | {"answer": said}]
    if isinstance(answer, Output):
        raise LabelConfigError(f"the model gives classes, and the ontology is asked for {ontology.asked}")
    return _marked(answer, row, ontology, model_run)


def metric_lines(metrics: Mapping[str, float], row: Row, model_run: str) -> list[Json]:
    """Write metrics of a data row, of which Labelbox shows the mean; those without a finite value are left out.

    Raises ValueError for a name that Labelbox keeps for itself.
    """
    reserved = sorted(name for name in metrics if name.strip().lower() in RESERVED or not name.strip())
    if reserved:
        raise ValueError(f"Labelbox takes no metric called {listed(*reserved)}: it computes that itself")
    return [
        {
            "uuid": _uuid(model_run, row, "metric", name),
            "dataRow": {"id": row.data_row},
            "metricName": name,
            "metricValue": round(min(value, _LARGEST_METRIC), _DIGITS),
            "aggregation": "ARITHMETIC_MEAN",
        }
        for name, value in metrics.items()
        if math.isfinite(value) and value >= 0.0
    ]


def withdrawn(line: Json) -> Json | None:
    """Give an earlier line so that it says nothing any more: with a confidence of 0; None for a metric, which stays."""
    if "metricName" in line:
        return None
    if "answer" in line:
        return line | {"answer": _doubted(line["answer"])}
    return line | {"confidence": 0.0}


def _doubted(answer: Json | list[Json]) -> Json | list[Json]:
    if isinstance(answer, list):
        return [told for one in answer if isinstance(told := _doubted(one), dict)]
    below = [one | {"answer": _doubted(one["answer"])} for one in answer.get("classifications", ())]
    return answer | {"confidence": 0.0} | ({"classifications": below} if below else {})


def _line(model_run: str, row: Row, feature: str, index: int) -> Json:
    return {"uuid": _uuid(model_run, row, feature, index), "dataRow": {"id": row.data_row}, "name": feature}


def _uuid(model_run: str, row: Row, *what: str | int) -> str:
    return str(uuid.uuid5(_NAMESPACE, canonical([model_run, row.data_row, *what])))


def _answered(answer: Answer, ontology: Ontology, question: Question) -> Json | list[Json] | None:
    """Write the answer of a question, None for none."""
    scores = _scores(answer)
    known = {ontology.paths[name]: score for name, score in scores.items() if name in ontology.paths}
    given = [ontology.paths[name] for name in _given(answer, scores) if name in ontology.paths]
    independent = ontology.type.choice == "multiple" or isinstance(answer, Findings)
    answers = _Answers(known, independent).of(question, (), given)
    if question.several:
        return answers or None
    return answers[0] if answers else None


def _scores(answer: Answer) -> Mapping[str, float | None]:
    if isinstance(answer, Output):
        return answer.scores
    strange = [one for one in answer.regions if not isinstance(one.shape, Whole)]
    if strange:
        raise LabelConfigError("the model finds regions, and the ontology is asked a question about all of a data row")
    return {one.label: one.score for one in answer.regions}


def _given(answer: Answer, scores: Mapping[str, float | None]) -> Sequence[str]:
    """Name the classes that an answer gives, the best one first."""
    if isinstance(answer, Output):
        if answer.choice == "single":
            return [answer.label]
        scores = {name: score for name, score in answer.scores.items() if answer.gives(name)}
    return sorted(scores, key=lambda name: -_sure(scores[name]))


class _Answers:
    """Writes answers with those below them, each as sure as the classes in it.

    Of exclusive classes, an answer is as probable as all that lie below it together; of ``independent`` ones at least
    as the likeliest.
    """

    def __init__(self, scores: Mapping[Path, float | None], independent: bool) -> None:
        self._scores, self._independent = scores, independent

    def of(self, question: Question, above: Path, given: Sequence[Path]) -> list[Json]:
        """Write the answers of a question below ``above``, in the order in which they are ``given``."""
        steps = dict.fromkeys(path[: len(above) + 1] for path in given if len(path) > len(above))
        own = [step for step in steps if step[-1][0] == question.name]
        made = []
        for step in own if question.several else own[:1]:
            option = next(one for one in question.options if one.name == step[-1][1])
            within = [path for path in given if path[: len(step)] == step]
            below = [
                {"name": one.name, "answer": answers if one.several else answers[0]}
                for one in option.questions
                if (answers := self.of(one, step, within))
            ]
            told: Json = {"name": option.name}
            sure = self._confidence(step, within)
            if sure is not None:
                told["confidence"] = sure
            made.append(told | {"classifications": below} if below else told)
        return made

    def _confidence(self, step: Path, within: Sequence[Path]) -> float | None:
        among = within if self._independent else [path for path in self._scores if path[: len(step)] == step]
        scores = [score for path in among if (score := self._scores[path]) is not None]
        if not scores:
            return None
        return _confidence(max(scores) if self._independent else math.fsum(scores))


def _marked(answer: Findings, row: Row, ontology: Ontology, model_run: str) -> list[Json]:
    """Write boxes or spans, numbered for each class from the surest on."""
    boxes = ontology.type.kind == BOXES
    strange = [one for one in answer.regions if not isinstance(one.shape, Box if boxes else Span)]
    if strange and len(strange) == len(answer.regions):
        wanted = "boxes" if boxes else "parts of a text"
        raise LabelConfigError(f"the model's answer holds no {wanted}, and the ontology is asked for {ontology.asked}")
    counts = dict.fromkeys(ontology.classes, 0)
    lines: list[Json] = []
    for region in sorted(answer.regions, key=lambda one: -_sure(one.score)):
        if region.label not in counts or counts[region.label] >= MOST:
            continue
        placed = _place(region, row, answer)
        if placed is None:
            continue
        line = _line(model_run, row, region.label, counts[region.label])
        sure = {} if region.score is None else {"confidence": _confidence(region.score)}
        lines.append(line | sure | placed)
        counts[region.label] += 1
    return lines


def _place(region: Region, row: Row, answer: Findings) -> Json | None:
    """Write where a region is; None where that is nowhere in the data row, or it is of another shape."""
    match region.shape:
        case Span() as span:
            location = span_json(span, row.text)
            return None if location is None else {"location": location}
        case Box() as box:
            size = answer.size or row.size
            if size is None:
                raise LabelConfigError(
                    f"the boxes of data row {row.data_row} cannot be drawn in pixels: the size of its picture is not "
                    "known. Have the endpoint tell it, or let Labelbox measure the picture (media attributes)"
                )
            bbox = box_json(box, size)
            return None if bbox is None else {"bbox": bbox}
    return None


def _sure(score: float | None) -> float:
    """Give how sure something is; what has no score is as sure as can be."""
    return 1.0 if score is None else score


def _confidence(score: float) -> float:
    return round(min(1.0, max(0.0, score)), _DIGITS)
