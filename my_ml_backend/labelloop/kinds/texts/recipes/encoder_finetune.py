"""The finetune of an encoder: for the classes of texts, and for the tags of their sub-tokens.

Either begins with the last layer that a logistic regression finds on the encoder as it is, so that its first steps do
not spoil what the encoder knows (Kumar et al., 2022, "Fine-Tuning can Distort Pretrained Features", section 3).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from labelloop.kinds.hyperparameters import OwnParameters
from labelloop.kinds.texts.bio import IGNORED, Tags
from labelloop.kinds.texts.encoder_engine import tag_probabilities
from labelloop.kinds.texts.encoder_settings import too_few
from labelloop.kinds.texts.recipes.encoder import Encoder
from labelloop.kinds.texts.recipes.encoder_network import Array, EncoderNetwork, network_of, outputs_of
from labelloop.kinds.texts.recipes.encoder_plan import EncoderPlan, plan
from labelloop.kinds.texts.recipes.encoder_training import Aim, Classes, Job, Reached, SubTokenTags, train
from labelloop.kinds.texts.windows import Floats, Ids, Tokens
from labelloop.train import metrics
from labelloop.train.crossvalidation import DEFAULT, Problem, cross_validate, solve
from labelloop.train.logistic import Linear, fit
from labelloop.train.recipes.base import Budget
from labelloop.types import Choice, Epoch, Progress, Watch, unwatched

Indicators = npt.NDArray[np.bool_]

_MOST = 5000
"""Sub-tokens that the first layer of tags is fitted to: more of them change it little, and take seconds."""


ReachedTags = Callable[[Sequence[Floats]], Mapping[str, float]]
"""Measures the validation side by the probabilities of tags, (sub-tokens, tags) of each text."""


@dataclass(frozen=True, slots=True)
class How:
    """How a finetune goes: the settings' ``epochs``, ``batch_size``, ``learning_rate`` and ``seed``.

    ``alone``: no other recipe competes. ``checkpoints`` is a folder of the run alone, None for none.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    alone: bool
    progress: Progress
    watch: Watch = unwatched
    checkpoints: Path | None = None
    budget: Budget = field(default_factory=Budget)

    @classmethod
    def of(
        cls, parameters: OwnParameters, progress: Progress, checkpoints: Path | None, watch: Watch = unwatched
    ) -> Self:
        """Take it from a run's parameters."""
        values = parameters.values
        return cls(
            values["epochs"],
            values["batch_size"],
            values["learning_rate"],
            parameters.seed,
            alone=parameters.recipes == ("finetune",),
            progress=progress,
            watch=watch,
            checkpoints=checkpoints,
        )

    def plan(self, network: EncoderNetwork, rows: Sequence[Ids]) -> EncoderPlan:
        """Plan the training on these windows."""
        return plan(
            network,
            rows,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            alone=self.alone,
            budget=self.budget,
        )


def against(
    parameters: OwnParameters, validation: int, planned: Callable[[], EncoderPlan], *, challenger: bool = False
) -> str:
    """Say why a finetune does not compete beside a head; "" where it does, or where it is meant to be alone.

    ``validation`` is how many texts would tell whether it is worse, ``planned`` makes its plan. As a ``challenger`` it
    meets the head later.
    """
    if parameters.recipes == ("finetune",) and not challenger:
        return ""
    if reason := too_few(validation):
        return reason
    if planned().too_long:
        return (
            f"finetune is left out: {parameters.values['encoder']} would take this CPU more than about eight minutes; "
            "use a GPU or a smaller encoder, or set LABELLOOP_RECIPES=finetune"
        )
    return ""


def shortened(plan: EncoderPlan) -> tuple[str, ...]:
    """Say so where a CPU takes fewer epochs than the settings ask for."""
    if plan.epochs == plan.wanted:
        return ()
    return (f"finetune takes {plan.epochs} epochs instead of {plan.wanted}: about eight minutes of this CPU",)


class ClassesFinetune:
    """Learns the classes of texts: ``plan`` tells what that takes, before ``fit`` does it. Raises TrainingError."""

    def __init__(
        self, encoder: Encoder, train: Sequence[str], validation: Sequence[str], outputs: int, how: How
    ) -> None:
        self.encoder, self.how = encoder, how
        self.network = network_of(encoder, outputs, pooled=True)
        self._train, self._validation = (
            [encoder.cutter.beginning(text) for text in side] for side in (train, validation)
        )
        self.plan = how.plan(self.network, self._train)

    def fit(
        self, shown: Indicators, validation: Indicators, choice: Choice, weights: Floats | None = None
    ) -> tuple[Array, tuple[Epoch, ...]]:
        """Train ``network`` on what texts show, (texts, classes); gives validation logits and what each epoch reached.

        ``weights`` say how much each answer counts, 1 on average (None: all the same).
        """
        self.network.put(self._start(shown, choice, weights))
        counts = np.ones(shown.shape) if weights is None else weights
        aim = Classes(shown.astype(np.float32), counts.astype(np.float32), choice)

        def reached(outputs: Sequence[Array]) -> Mapping[str, float]:
            if not outputs:
                return {}
            logits = np.stack(outputs)
            return {
                "validation_loss": metrics.log_loss(validation, logits, choice),
                "validation_accuracy": metrics.accuracy(validation, metrics.predictions(logits, choice)),
            }

        outputs, curve = _trained(self, self._train, self._validation, aim, reached)
        logits = np.stack(outputs) if outputs else np.zeros((0, shown.shape[1]), dtype=np.float32)
        return logits, curve

    def _start(self, shown: Indicators, choice: Choice, weights: Floats | None) -> Linear:
        rows = outputs_of(self.network, self._train, self.encoder.cutter.spec.pad, features=True)
        problem = Problem(np.stack(rows), shown, choice, weights)
        validated = cross_validate(problem, self.how.seed)
        return solve(problem, DEFAULT if validated is None else validated.strength)


class TagsFinetune:
    """Learns the tags of sub-tokens, in windows of texts: ``plan`` and ``fit`` as of ClassesFinetune."""

    def __init__(
        self, encoder: Encoder, train: Sequence[Tokens], validation: Sequence[Tokens], outputs: int, how: How
    ) -> None:
        self.encoder, self.how = encoder, how
        self.network = network_of(encoder, outputs, pooled=False)
        self._train, self._validation = train, validation
        self._rows = [row for tokens in train for row in _windows(encoder, tokens)]
        self.plan = how.plan(self.network, self._rows)

    def fit(self, tags: Sequence[Tags], reached: ReachedTags) -> tuple[list[Floats], tuple[Epoch, ...]]:
        """Train ``network`` on the tags of each text's sub-tokens; gives the validation side's probabilities of tags.

        That is, of each text, (sub-tokens, tags), as a server merges them from its windows; and what epochs reached.
        """
        cut = self.encoder.cutter
        before, after = (np.full(len(ids), IGNORED) for ids in (cut.spec.before, cut.spec.after))
        windows = [
            np.concatenate((before, own[first:last], after))[: len(row)]
            for tokens, own in zip(self._train, tags, strict=True)
            for (first, last), row in zip(cut.places(tokens), _windows(self.encoder, tokens), strict=True)
        ]
        self.network.put(self._start(windows))
        rows = [row for tokens in self._validation for row in _windows(self.encoder, tokens)]

        def measured(outputs: Sequence[Array]) -> Mapping[str, float]:
            return reached(self._merged(self._validation, outputs)) if outputs else {}

        outputs, curve = _trained(self, self._rows, rows, SubTokenTags(windows), measured)
        return self._merged(self._validation, outputs), curve

    def probabilities(self, texts: Sequence[Tokens]) -> list[Floats]:
        """Give the probabilities of tags, (sub-tokens, tags) of each text, by the network as it is."""
        rows = [row for tokens in texts for row in _windows(self.encoder, tokens)]
        return self._merged(texts, outputs_of(self.network, rows, self.encoder.cutter.spec.pad))

    def _start(self, tags: Sequence[Tags]) -> Linear:
        rows = outputs_of(self.network, self._rows, self.encoder.cutter.spec.pad, features=True)
        features = np.concatenate([row[own != IGNORED] for row, own in zip(rows, tags, strict=True)])
        wanted = np.concatenate([own[own != IGNORED] for own in tags])
        chosen = np.sort(np.random.default_rng(self.how.seed).permutation(len(wanted))[:_MOST])
        shown = np.eye(self.network.last.out_features, dtype=bool)[wanted[chosen]]
        return fit(features[chosen], shown, "single", DEFAULT)

    def _merged(self, texts: Sequence[Tokens], outputs: Sequence[Array]) -> list[Floats]:
        cut, left = self.encoder.cutter, iter(outputs)
        return [
            tag_probabilities(cut.spec, tokens, places := cut.places(tokens), [next(left) for _ in places])
            for tokens in texts
        ]


def _windows(encoder: Encoder, tokens: Tokens) -> list[Ids]:
    return [encoder.cutter.window(tokens, first, last) for first, last in encoder.cutter.places(tokens)]


def _trained(
    of: ClassesFinetune | TagsFinetune, rows: Sequence[Ids], validation: Sequence[Ids], aim: Aim, reached: Reached
) -> tuple[Sequence[Array], tuple[Epoch, ...]]:
    how, pad = of.how, of.encoder.cutter.spec.pad
    job = Job(rows, validation, aim, reached, of.plan, pad, how.seed, how.checkpoints)
    outcome = train(job, of.network, how.progress, how.watch)
    return outcome.logits, outcome.curve
