"""The second half of evaluate: what explains the figures of what finds spans, and spans that are probably wrong."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from labelloop.bundle_info import ForeignInfo
from labelloop.data.split import splits
from labelloop.kinds.named_entity_recognition.info import SpanInfo
from labelloop.kinds.named_entity_recognition.tokens import ends, inside, tokenize
from labelloop.kinds.named_entity_recognition.training import text_of
from labelloop.kinds.texts.corruptions import CORRUPTIONS
from labelloop.kinds.texts.occlusion import weights
from labelloop.models.bundle import read_bundle_info
from labelloop.run.context import Context, write_json
from labelloop.run.located import Located, read_located
from labelloop.run.parts import make_parts, write_run_events
from labelloop.serve.engines.base import Predictor
from labelloop.train.metrics import robustness_told
from labelloop.types import Findings, Json, Region

if TYPE_CHECKING:
    from labelloop.kinds.named_entity_recognition import NamedEntityRecognition

_CORRUPTED = 200
"""Test texts that are made worse."""

_EXPLAINED = 12
_AROUND = 12
"""Words on each side of a span that may speak for it."""

_AT_ONCE = 32

Texts = Sequence[tuple[Located, str]]


def analyse(context: Context, kind: "NamedEntityRecognition") -> None:
    """Write the rest of ``evaluation/`` and TensorBoard's events; see Kind.analyse.

    Of a model that lies elsewhere there are examples to show, and nothing more.
    """
    info = read_bundle_info(context.folder.bundle)
    if isinstance(info, ForeignInfo) or not isinstance(info, SpanInfo):
        return
    engine = kind.open(context.folder.bundle, info, "onnx")
    parts: Mapping[str, Callable[[], None]] = {
        "robustness": partial(_robustness, context, kind, engine),
        "explanations": partial(_explanations, context, engine.measured),
        "label errors": partial(_label_errors, context, kind),
        "comparison of orders": partial(_order, context, kind),
        "TensorBoard": partial(write_run_events, context),
    }
    make_parts(context.folder.path.name, {name: part for name, part in parts.items() if _is_possible(name)})


def _is_possible(part: str) -> bool:
    """Whether what a part needs is installed: a worker that lets others train has no torch and no CRFsuite."""
    needs = {"TensorBoard": "torch", "label errors": "pycrfsuite", "comparison of orders": "pycrfsuite"}.get(part)
    return needs is None or find_spec(needs) is not None


def _texts(context: Context) -> Iterator[tuple[Located, str]]:
    """Give test items that were answered with their texts, in an order of their own."""
    tested = {one.picture: one for one in read_located(context.folder.predictions) if one.answered}
    items = splits(context.manifest, context.named_sides)["test"]
    for item in sorted(items, key=lambda one: one.content):
        if item.content in tested:
            yield tested[item.content], text_of(context, item)


def _robustness(context: Context, kind: "NamedEntityRecognition", engine: Predictor) -> None:
    texts = list(_texts(context))[:_CORRUPTED]
    if not texts:
        raise ValueError("there are no texts to measure robustness on")
    clean = _figure(context, kind, engine, texts)
    table = {}
    for done, (name, changes) in enumerate(CORRUPTIONS.items(), start=1):
        # By each text's hash, so that no other text decides what becomes of it.
        worse = [[(one, change(text, random.Random(one.picture))) for one, text in texts] for change in changes]
        table[name] = [_figure(context, kind, engine, changed) for changed in worse]
        context.progress("robustness", done, len(CORRUPTIONS))
    found = {"figure": kind.figure, **robustness_told(clean, len(texts), table)}
    write_json(context.folder.evaluation / "robustness.json", found)


def _figure(context: Context, kind: "NamedEntityRecognition", engine: Predictor, texts: Texts) -> float:
    """Measure the main figure on texts whose spans are where they were."""
    regions = _found(engine, [text for _, text in texts])
    found = [Located(one.picture, one.task, one.true, given) for (one, _), given in zip(texts, regions, strict=True)]
    figure = kind.evidence(found, context.manifest.classes)
    return float(np.nan_to_num(figure(np.ones((1, len(found)))).whole[0]))


def _found(engine: Predictor, texts: Sequence[str]) -> Iterator[tuple[Region, ...]]:
    for start in range(0, len(texts), _AT_ONCE):
        contents = [text.encode(errors="surrogatepass") for text in texts[start : start + _AT_ONCE]]
        for answer in engine.predict(contents, ""):
            yield answer.regions if isinstance(answer, Findings) else ()


def _explanations(context: Context, engine: Predictor) -> None:
    """Say which words speak for spans: those that are surest and wrong first, then those that are surest and right."""
    spans = [(one, text, region) for one, text in _texts(context) for region in one.given]
    true = {(one.picture, region.label, region.shape) for one, _, _ in spans for region in one.true}

    def is_right(one: Located, region: Region) -> bool:
        return (one.picture, region.label, region.shape) in true

    spans.sort(key=lambda span: (is_right(span[0], span[2]), -(span[2].score or 0.0), span[0].picture))
    wrong = [span for span in spans if not is_right(span[0], span[2])][: _EXPLAINED // 2]
    right = [span for span in spans if is_right(span[0], span[2])][: _EXPLAINED - len(wrong)]
    found = [
        {
            "picture": one.picture,
            "task": one.task,
            "text": text,
            "kind": "right" if is_right(one, region) else "wrong",
            "truth": sorted({each.label for each in one.true if _touch(each, region)}),
            "predicted": region.label,
            "score": region.score,
            "span": list(ends(region)),
            "words": _words(engine, text, region),
        }
        for one, text, region in (*wrong, *right)
    ]
    write_json(context.folder.evaluation / "explanations.json", found)


def _words(engine: Predictor, text: str, region: Region) -> list[Json]:
    """Weigh the words of a span and around it."""
    tokens = tokenize(text)
    first, last = inside(tokens, ends(region))
    near = tokens[max(0, first - _AROUND) : last + _AROUND]

    def score(texts: Sequence[str]) -> list[float]:
        return [
            max(
                (one.score or 0.0 for one in regions if (one.label, one.shape) == (region.label, region.shape)),
                default=0.0,
            )
            for regions in _found(engine, texts)
        ]

    return weights(text, near, score)


def _touch(one: Region, other: Region) -> bool:
    return ends(one)[0] < ends(other)[1] and ends(other)[0] < ends(one)[1]


def _label_errors(context: Context, kind: "NamedEntityRecognition") -> None:
    write_json(context.folder.evaluation / "label_errors.json", kind.label_errors(context, None))


def _order(context: Context, kind: "NamedEntityRecognition") -> None:
    from labelloop.kinds.named_entity_recognition.recipes.order import compared_orders

    found = compared_orders(context, kind)
    if found is not None:
        write_json(context.folder.evaluation / "order.json", found.to_json())
