"""The second half of evaluate: what explains a version's figures on texts, and labels that are probably wrong."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

from labelloop.data.split import SIDES, Part
from labelloop.kinds.text_classification.bundle import TextInfo
from labelloop.kinds.text_classification.engine import TextEngine
from labelloop.kinds.text_classification.reading import word_places
from labelloop.kinds.text_classification.training import labeled_of, parameters_of
from labelloop.kinds.texts.corruptions import CORRUPTIONS
from labelloop.kinds.texts.occlusion import weights
from labelloop.models.bundle import read_bundle_info
from labelloop.run.context import Context, read_json, write_json
from labelloop.run.parts import make_parts, write_run_events
from labelloop.run.report.gallery import worst_mistakes
from labelloop.run.scoring import Scored
from labelloop.run.suspects import with_left_out
from labelloop.run.verdict import Predictions
from labelloop.train import metrics
from labelloop.types import Choice, Item, Json

_CORRUPTED = 500
"""Test texts that are made worse."""

_EXPLAINED = 12
_WORDS = 60
"""Words of a text that are hidden in turn: its first ones."""

_SHOWN = 2000
"""Characters of a text that a report may show."""

Scores = npt.NDArray[np.float64]


def analyse(context: Context) -> None:
    """Write the rest of ``evaluation/`` and TensorBoard's events; see Kind.analyse.

    Of a model that lies elsewhere there are mistakes to show, and nothing more.
    """
    info, texts = read_bundle_info(context.folder.bundle), _texts(context)
    tested = Scored.read(context.folder.predictions)
    parts: dict[str, Callable[[], None]] = {"mistakes": partial(_mistakes, context, tested, texts)}
    if isinstance(info, TextInfo):
        engine = TextEngine(context.folder.bundle, info)
        parts["robustness"] = partial(_robustness, context, engine, tested, texts)
        parts["explanations"] = partial(_explanations, context, engine, tested, texts)
        if find_spec("scipy") is not None:
            parts["label errors"] = partial(_label_errors, context)
            parts["comparison of orders"] = partial(_order, context)
        if find_spec("torch") is not None:
            parts["TensorBoard"] = partial(write_run_events, context)
    make_parts(context.folder.path.name, parts)


def _texts(context: Context) -> Mapping[str, str]:
    """Map the items of the test side (sha256) to their texts, in an order of their own."""
    items = sorted(Part(context.manifest, context.named_sides, ("test",)), key=lambda item: item.content)
    contents = zip(items, context.contents(items), strict=True)
    return {item.content: content.decode(errors="replace") for item, content in contents}


def _mistakes(context: Context, tested: Scored, texts: Mapping[str, str]) -> None:
    found = worst_mistakes(tested, context.manifest.choice)
    shown = [{**one, "text": texts.get(one["picture"], "")[:_SHOWN]} for one in found]
    write_json(context.folder.evaluation / "mistakes.json", shown)


def _robustness(context: Context, engine: TextEngine, tested: Scored, texts: Mapping[str, str]) -> None:
    """Measure accuracy on texts made worse, each by its own hash, so that no other text decides what becomes of it."""
    row = {name: at for at, name in enumerate(tested.pictures)}
    named = [(name, text) for name, text in texts.items() if name in row and text.strip()][:_CORRUPTED]
    if not named:
        raise ValueError("there are no texts to measure robustness on")
    truth = tested.truth[[row[name] for name, _ in named]]
    least = tested.thresholds

    def accuracy(changed: Sequence[str]) -> float:
        scores = _scores(engine, changed)
        return metrics.accuracy(truth, metrics.given(scores, context.manifest.choice, least))

    clean, table = accuracy([text for _, text in named]), {}
    for done, (name, changes) in enumerate(CORRUPTIONS.items(), start=1):
        table[name] = [accuracy([change(text, random.Random(one)) for one, text in named]) for change in changes]
        context.progress("robustness", done, len(CORRUPTIONS))
    found = metrics.robustness_told(clean, len(named), table)
    write_json(context.folder.evaluation / "robustness.json", found)


def _scores(engine: TextEngine, texts: Sequence[str]) -> Scores:
    return metrics.probabilities(engine.logits(texts), engine.info.choice)


def _explanations(context: Context, engine: TextEngine, tested: Scored, texts: Mapping[str, str]) -> None:
    """Say which words speak for a class: of texts that are surest and wrong first, then surest and right."""
    choice: Choice = context.manifest.choice
    answers = Predictions("", tested.scores, thresholds=tested.thresholds)
    right = answers.right(tested.truth, choice)
    best = np.nan_to_num(tested.scores).argmax(axis=1)
    order = sorted(
        (at for at, name in enumerate(tested.pictures) if answers.answered[at] and texts.get(name)),
        key=lambda at: (-tested.scores[at, best[at]], tested.pictures[at]),
    )
    wrong = [at for at in order if not right[at]][: _EXPLAINED // 2]
    chosen = [*wrong, *[at for at in order if right[at]][: _EXPLAINED - len(wrong)]]
    names = np.array(tested.classes)
    found = []
    for done, at in enumerate(chosen, 1):
        text = texts[tested.pictures[at]][:_SHOWN]
        column = int(best[at])
        found.append(
            {
                "picture": tested.pictures[at],
                "task": int(tested.tasks[at]),
                "text": text,
                "kind": "right" if right[at] else "wrong",
                "truth": names[tested.truth[at]].tolist(),
                "predicted": str(names[column]),
                "score": float(tested.scores[at, column]),
                "words": weights(text, word_places(text)[:_WORDS], partial(_column, engine, column)),
            }
        )
        context.progress("explanations", done, len(chosen))
    write_json(context.folder.evaluation / "explanations.json", found)


def _column(engine: TextEngine, column: int, texts: Sequence[str]) -> list[float]:
    scores: list[float] = _scores(engine, texts)[:, column].tolist()
    return scores


def _label_errors(context: Context) -> None:
    found = find_label_errors(context)
    found["errors"] = with_left_out(found["errors"], read_json(context.folder.trained, "train").get("suspects", ()))
    texts = {item.task: text for item, text in _every(context)}
    for one in found["errors"]:
        one |= {"text": texts.get(one["task"], "")[:_SHOWN], "regions": []}
    write_json(context.folder.evaluation / "label_errors.json", found)


def _every(context: Context) -> Iterator[tuple[Item, str]]:
    items = context.manifest.items
    for item, content in zip(items, context.contents(items), strict=True):
        yield item, content.decode(errors="replace")


def find_label_errors(context: Context) -> Json:
    """Examine the label of every text, but for those that are confirmed, by heads that have not seen it."""
    from labelloop.kinds.text_classification.recipes.head import Task
    from labelloop.train.label_errors import doubted, listed

    manifest, seed = context.manifest, parameters_of(context).seed
    labeled, _ = labeled_of(context, manifest.items)
    every = np.arange(len(labeled.names))
    view = Task(manifest.classes, manifest.choice, seed).view(labeled.texts, every, labeled.shown)
    found = doubted(view.problem(every, labeled.shown), seed, labeled.names)
    given = [np.flatnonzero(shown).tolist() for shown in labeled.shown]
    return listed(found, labeled.names, given, labeled.confirmed, manifest)


def _order(context: Context) -> None:
    """Write what the order of tasks was worth, where one has served some of them (train/order_gain.py)."""
    from labelloop.kinds.text_classification.recipes.head import Task
    from labelloop.train.order_gain import order_gain

    sided = {item.content: (side, item) for side, item in Part(context.manifest, context.named_sides, SIDES).sided()}
    served = context.arms(item.task for _, item in sided.values())
    labeled, _ = labeled_of(context, (item for _, item in sided.values()))

    def rows(arm: str, *, train: bool) -> npt.NDArray[np.intp]:
        sides = [sided[name] for name in labeled.names]
        return np.flatnonzero([(side == "train") == train and served.get(item.task) == arm for side, item in sides])

    random_rows, chosen = rows("random", train=False), rows("ordered", train=True)
    if not len(chosen):
        return
    seed = parameters_of(context).seed
    every = np.arange(len(labeled.names))
    view = Task(context.manifest.classes, context.manifest.choice, seed).view(labeled.texts, every, labeled.shown)
    found = order_gain(view.problem(every, labeled.shown), random_rows, chosen, seed)
    if found is not None:
        write_json(context.folder.evaluation / "order.json", found.to_json())
