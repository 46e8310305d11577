"""The recipe ``head``: a linear-chain CRF, learned by CRFsuite in seconds on one core.

L1 beside little L2 (orthant-wise L-BFGS: Andrew and Gao, ICML 2007) keeps the few attributes that tell something.
"""

import itertools
import random
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pycrfsuite

from labelloop.kinds.named_entity_recognition.crf import Crf
from labelloop.kinds.named_entity_recognition.engine import CRF, write_crf
from labelloop.kinds.named_entity_recognition.features import attributes
from labelloop.kinds.named_entity_recognition.recipes.base import Candidate, Labeled, Material, Regions
from labelloop.kinds.named_entity_recognition.tokens import ends, inside, pieces, tokenize
from labelloop.types import Json, Progress

L1, L2 = 0.05, 0.003
"""Chosen on the training parts of three of five folds of real contracts (docs/training.md)."""

ITERATIONS = 50
"""Picked on one draw of folds of these contracts, and looked at on two others: 80 found no more."""

FOLDS = 5
ENOUGH = 300
"""Spans in texts that were held out by which scores are calibrated: no more folds are trained for more."""

_STRENGTH = 1.0
_STEPS = 50

Held = tuple[Labeled, Regions]


class CrfModel:
    """A CRF that has been learned."""

    def __init__(self, crf: Crf) -> None:
        self.crf = crf

    def find(self, texts: Sequence[str]) -> list[Regions]:
        """Find the spans of each text; see Model."""
        return self.crf.find(texts)

    def write(self, folder: Path) -> tuple[str, ...]:
        """Write the one file."""
        write_crf(folder / CRF, self.crf)
        return (CRF,)


def fit(material: Material) -> Candidate:
    """Learn from the training side, calibrate by what is said of texts that were held out."""
    crf = learn(material.train)
    said = list(zip(material.validation, crf.find([one.text for one in material.validation]), strict=True))
    held = [*said, *unseen(material.train, material.parameters.seed, ENOUGH - _spans(said), material.progress)]
    slope, shift, calibration = calibrate(held)
    crf = replace(crf, slope=slope, shift=shift)

    def refit() -> CrfModel:
        return CrfModel(replace(learn((*material.train, *material.validation)), slope=slope, shift=shift))

    found = crf.find([one.text for one in material.validation])
    return Candidate("head", CrfModel(crf), tuple(found), refit, calibration)


def learn(texts: Sequence[Labeled]) -> Crf:
    """Learn a CRF; the same texts in the same order give the same one. Without any span it never finds any."""
    labels = tuple(sorted({region.label for one in texts for region in one.regions}))
    # Numbers, for CRFsuite's dump takes no line breaks.
    vocabulary: defaultdict[str, str] = defaultdict(map(str, itertools.count()).__next__)
    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params({"c1": L1, "c2": L2, "max_iterations": ITERATIONS})
    for one in texts:
        tokens = tokenize(one.text)
        states, held = _states(one, tokens, labels)
        words = (one.text[start:end] for start, end in tokens)
        told = [[*map(vocabulary.__getitem__, names)] for names in attributes(list(words))]
        for first, last in pieces(one.text, tokens, held):
            trainer.append(told[first:last], states[first:last])
    count = 1 + 2 * len(labels)
    if not labels:
        return Crf((), {}, np.zeros((0, count)), np.zeros((count, count)))
    return _read(trainer, labels, list(vocabulary), count)


def unseen(texts: Sequence[Labeled], seed: int, enough: float, progress: Progress) -> list[Held]:
    """Give texts with what a CRF finds in them that has not seen them, until they hold ``enough`` spans.

    They are held out in five parts; of texts that are the same, all together. One fold leaves nothing to learn from.
    """
    parts = folds(texts, seed)
    found: list[Held] = []
    for done, part in enumerate(parts):
        if _spans(found) >= enough:
            break
        progress("folds of the head", done, len(parts))
        inside_part = set(part)
        crf = learn([one for at, one in enumerate(texts) if at not in inside_part])
        found += zip((texts[at] for at in part), crf.find([texts[at].text for at in part]), strict=True)
    return found


def folds(texts: Sequence[Labeled], seed: int) -> list[list[int]]:
    """Give positions of texts in up to five parts, drawn by ``seed``; none where there are fewer than two texts."""
    contents = sorted({one.content for one in texts})
    random.Random(seed).shuffle(contents)
    part = {content: at % FOLDS for at, content in enumerate(contents)}
    found = [[at for at, one in enumerate(texts) if part[one.content] == fold] for fold in range(FOLDS)]
    return [one for one in found if one] if len(contents) > 1 else []


def calibrate(held: Sequence[Held]) -> tuple[float, float, Json]:
    """Fit slope and shift of the scores' logits to whether spans are true (Platt, 1999), and say what it changed.

    Both are held near 1 and 0, so that a few spans change little.
    """
    scores, right = (
        np.array([value for text, regions in held for value in _told(text, regions, truth=truth)], dtype=np.float64)
        for truth in (False, True)
    )
    if not len(scores):
        return 1.0, 0.0, {}
    bounded = np.clip(scores, 1e-9, 1 - 1e-9)
    rows = np.stack((np.log(bounded / (1 - bounded)), np.ones(len(scores))), axis=1)
    prior = weights = np.array((1.0, 0.0))
    for _ in range(_STEPS):
        chance = _sigmoid(rows @ weights)
        gradient = rows.T @ (chance - right) + _STRENGTH * (weights - prior)
        curved = (rows * (chance * (1 - chance))[:, None]).T @ rows + _STRENGTH * np.eye(2)
        step = np.linalg.solve(curved, gradient)
        # Where hardly anything curves, Newton's step leads far away.
        weights = weights - step / max(1.0, float(np.abs(step).max()))
    if weights[0] <= 0:
        return 1.0, 0.0, {}
    before, after = (_log_loss(one, right) for one in (scores, _sigmoid(rows @ weights)))
    return float(weights[0]), float(weights[1]), {"log_loss_before": before, "log_loss_after": after}


def _states(
    one: Labeled, tokens: Sequence[tuple[int, int]], labels: Sequence[str]
) -> tuple[list[str], list[tuple[int, int]]]:
    """Give the state of each token, and the tokens of each span."""
    states, held = ["0"] * len(tokens), []
    for region in one.regions:
        first, last = inside(tokens, ends(region))
        begins = 1 + 2 * labels.index(region.label)
        states[first:last] = [str(begins), *[str(begins + 1)] * (last - first - 1)]
        held.append((first, last))
    return states, held


def _read(trainer: pycrfsuite.Trainer, labels: tuple[str, ...], names: Sequence[str], count: int) -> Crf:
    """Train, and take the weights out of CRFsuite's model, which lives no longer than this."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model")
        trainer.train(path)
        tagger = pycrfsuite.Tagger()
        tagger.open(path)
        found = tagger.info()
        tagger.close()
    kept = sorted({int(name) for name, _ in found.state_features})
    row = {name: at for at, name in enumerate(kept)}
    weights, moves = np.zeros((len(kept), count)), np.zeros((count, count))
    for (name, state), weight in found.state_features.items():
        weights[row[int(name)], int(state)] = weight
    for (before, after), weight in found.transitions.items():
        moves[int(before), int(after)] = weight
    return Crf(labels, {names[name]: at for name, at in row.items()}, weights, moves)


def _told(text: Labeled, regions: Regions, *, truth: bool) -> list[float]:
    true = {(one.label, one.shape) for one in text.regions}
    return [float((one.label, one.shape) in true) if truth else float(one.score or 0.0) for one in regions]


def _spans(held: Sequence[Held]) -> int:
    return sum(len(text.regions) for text, _ in held)


def _sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-logits)))


def _log_loss(scores: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    bounded = np.clip(scores, 1e-9, 1 - 1e-9)
    return float(-np.mean(right * np.log(bounded) + (1 - right) * np.log(1 - bounded)))
