"""Trains a head on what an endpoint has given for the items of a run, and writes its bundle: by numpy alone."""

import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from labelloop.bundle_info import HEAD, EndpointHeadInfo
from labelloop.errors import TrainingError
from labelloop.files import sha256
from labelloop.models.bundle import DESCRIPTION
from labelloop.types import Json

if TYPE_CHECKING:
    from labelloop.run.context import Context, FeatureSource
    from labelloop.train.crossvalidation import Problem
    from labelloop.train.dataset import Dataset, Sample
    from labelloop.train.logistic import Linear
    from labelloop.train.refitted_head import KeptChoice

Rows = npt.NDArray[np.float32]


class EndpointHead:
    """One training of a head on what the endpoint has given for the items of a run."""

    def __init__(self, context: "Context") -> None:
        from labelloop.run.preprocess import dataset_of
        from labelloop.train.dataset import in_order, require_contrast

        self._context, self._seed = context, context.settings.seed
        whole = in_order(dataset_of(context))
        names = [sample.picture for sample in (*whole.train, *whole.validation)]
        rows, there = source_of(context).rows(names)
        self._rows = {name: row for name, row, at_hand in zip(names, rows, there, strict=True) if at_hand}
        lost = set(names) - self._rows.keys()
        self._left_out = dict.fromkeys(sorted(lost), "the endpoint gave no features of it")
        self._dataset = whole.without(lost)
        require_contrast(self._dataset, len(lost))

    def train(self) -> Json:
        """Choose, calibrate, fit and write; gives what ``train.json`` is to hold."""
        from labelloop.train.calibration import temperature_effect
        from labelloop.train.crossvalidation import solve
        from labelloop.train.dataset import Trained
        from labelloop.train.head_choice import HeadEntrant, choose
        from labelloop.train.label_errors import suspected
        from labelloop.train.selection import Validation, accuracies, settled

        context, dataset, begun = self._context, self._dataset, time.monotonic()
        context.progress("head", 0, 2)
        choice = choose(
            self._problem(dataset.train), context.settings.balance, self._seed, None, confirmed_in(dataset.train)
        )
        logits = solve(choice.problem, choice.strength).logits(self._of(dataset.validation))
        validation = Validation.of(dataset)
        suspects = {dataset.train[one.row].picture: one for one in choice.suspects}
        confirmed = confirmed_in((*dataset.validation, *dataset.train))
        suspects |= choice.doubted(validation.names, validation.truth, logits, confirmed)
        entrant = HeadEntrant(logits, choice.held, suspects)
        temperature, thresholds = settled(entrant, validation)
        entrant = HeadEntrant(logits / temperature, choice.held, suspects, thresholds)
        context.progress("head", 1, 2)
        linear = self._last(dataset.without(suspects), choice.balance, choice.strength)
        self._write(linear, temperature, thresholds)
        kept = kept_choice(context, (*dataset.train, *dataset.validation))
        kept.write(choice.strength, choice.balance, suspects)
        context.progress("head", 2, 2)
        trained = Trained(
            bundle=context.folder.bundle,
            recipe="head",
            validation=accuracies([entrant], validation),
            seconds={"head": round(time.monotonic() - begun, 3)},
            left_out=self._left_out,
            notes=choice.notes(),
            balance=choice.balance,
            temperature=temperature,
            calibration=temperature_effect(validation.held(entrant), dataset.choice, temperature),
            suspects=suspected(suspects, dataset.targets, dataset.classes),
        )
        values = asdict(trained)
        values.pop("bundle")
        return values

    def _of(self, samples: "Sequence[Sample]") -> Rows:
        width = len(next(iter(self._rows.values())))
        return np.array([self._rows[sample.picture] for sample in samples], dtype=np.float32).reshape(-1, width)

    def _problem(self, samples: "Sequence[Sample]") -> "Problem":
        from labelloop.train.crossvalidation import Problem
        from labelloop.train.dataset import indicators

        return Problem(self._of(samples), indicators(samples, len(self._dataset.classes)), self._dataset.choice)

    def _last(self, trusted: "Dataset", balance: str, strength: float) -> "Linear":
        """Fit once more, to the validation side as well: nothing is left to be chosen by it."""
        from dataclasses import replace

        from labelloop.train.balance import class_weights
        from labelloop.train.crossvalidation import solve

        problem = self._problem((*trusted.train, *trusted.validation))
        if balance != "none":
            problem = replace(problem, weights=class_weights(problem.shown, problem.choice))
        return solve(problem, strength)

    def _write(self, linear: "Linear", temperature: float, thresholds: npt.NDArray[np.float64] | None) -> None:
        """Write the bundle, ``model.json`` last; the temperature is in the head."""
        from safetensors.numpy import save_file

        directory, dataset, source = self._context.folder.bundle, self._dataset, source_of(self._context)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        held = {"weight": linear.weight / temperature, "bias": linear.bias / temperature}
        save_file({name: np.ascontiguousarray(one, dtype=np.float32) for name, one in held.items()}, directory / HEAD)
        info = EndpointHeadInfo(
            classes=dataset.classes,
            choice=dataset.choice,
            recipe="head",
            files={HEAD: sha256(directory / HEAD)},
            kind=self._context.manifest.kind,
            endpoint=source.endpoint,
            given_by=source.version,
            features=source.name,
            width=linear.weight.shape[1],
            temperature=temperature,
            thresholds={} if thresholds is None else dict(zip(dataset.classes, thresholds.tolist(), strict=True)),
        )
        (directory / DESCRIPTION).write_text(info.to_json())


def source_of(context: "Context") -> "FeatureSource":
    """Give what features a run learns from; raises TrainingError where it is none of the loop's."""
    if context.endpoint_features is None:
        raise TrainingError(f"{context.folder.path} is a run on an endpoint's features: the loop alone can make it")
    return context.endpoint_features


def confirmed_in(samples: "Sequence[Sample]") -> npt.NDArray[np.bool_]:
    """Say of each sample whether somebody has looked at its label again."""
    return np.array([sample.confirmed for sample in samples], dtype=bool)


def kept_choice(context: "Context", samples: "Iterable[Sample]") -> "KeptChoice":
    """Find what was chosen for all samples that a run learned from, for the gate, which trains such heads anew."""
    from labelloop.train.refitted_head import KeptChoice

    name, choice, settings = source_of(context).name, context.manifest.choice, context.settings
    said = (one.said for one in samples)
    return KeptChoice.of(context.caches, name, said, choice, settings.balance, settings.seed)
