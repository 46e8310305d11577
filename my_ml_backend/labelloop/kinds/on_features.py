"""Classes of pictures and texts by a head on the features of somebody else's endpoint (docs/endpoint-features.md).

What is true of an item, and which label configs ask for it, is the kind's own matter, which is kept; how it is learned,
measured and judged is here, by numbers alone: no torch, and no file of the items is opened.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from labelloop.bundle_info import HEAD, BundleInfo, EndpointHeadInfo
from labelloop.errors import BundleError, TrainingError
from labelloop.files import sha256
from labelloop.kinds.base import Kind, Learned
from labelloop.kinds.classification import Classification
from labelloop.models.bundle import DESCRIPTION
from labelloop.types import IMAGES, TEXTS, Item, Json, canonical

if TYPE_CHECKING:
    from labelloop.run.context import Context, FeatureSource
    from labelloop.run.refits import Refit
    from labelloop.serve.engines.base import Engine
    from labelloop.settings import Settings
    from labelloop.train.crossvalidation import Problem
    from labelloop.train.dataset import Dataset, Sample
    from labelloop.train.logistic import Linear
    from labelloop.train.refitted_head import KeptChoice

Rows = npt.NDArray[np.float32]

_SHOWN = 60
"""Probable label errors that a report shows with their pictures."""

_LONGEST = 2000
"""Characters of a text that a report may show."""


@dataclass(frozen=True, slots=True)
class FeatureParameters:
    """What decides what a head on an endpoint's ``features`` (their name) learns, beside the labels."""

    features: str
    balance: str
    seed: int
    raised: tuple[str, ...]
    recipes: tuple[str, ...] = ("head",)

    def to_json(self) -> Json:
        """Give the values themselves."""
        return asdict(self)

    def fingerprint(self) -> str:
        """Hash them: features of another model make another version of the same labels."""
        import hashlib

        return hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()


class OnFeatures(Classification):
    """A kind whose items an endpoint gives features of."""

    recipes: Mapping[str, int] = {"head": 1}
    quick: tuple[str, ...] = ("head",)
    refits = quick
    settings: tuple[str, ...] = ("balance",)
    weights = (HEAD,)

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.name, self.item, self.label_configs = kind.name, kind.item, kind.label_configs

    def check(self, content: bytes) -> None:
        """Raise Unreadable for what is no input of the kind."""
        self._kind.check(content)

    def competing(self, settings: "Settings") -> tuple[str, ...]:  # noqa: ARG002 - there is one
        """Name the one recipe there is."""
        return ("head",)

    def hyperparameters(self, settings: "Settings") -> FeatureParameters:
        """Take whose features are learned from, the balance and the seed."""
        from labelloop.run.parameters import raised

        name = settings.trainer.partition(":")[2]
        return FeatureParameters(name, settings.balance, settings.seed, raised(("head",), self._kind.recipes))

    def check_settings(self, settings: "Settings", *, thorough: bool) -> None:  # noqa: ARG002 - nothing takes long
        """Raise TrainingError where no head is learned of what annotators are asked, or something is not installed."""
        from labelloop.train.balance import check_balance

        if self.name not in (IMAGES, TEXTS):
            raise TrainingError(
                f"an endpoint's features serve a head for classes of pictures and texts, and these labels are for "
                f'{self.name}: let extra_params of this project say "features": "" where LABELLOOP_FEATURES is set'
            )
        if missing := [name for name in ("scipy", "threadpoolctl") if find_spec(name) is None]:
            raise TrainingError(f"{missing[0]} is not installed: a head on features is learned with {missing[0]} alone")
        check_balance(settings.balance)

    def prepare(self, context: "Context", items: Iterable[Item], total: int) -> Mapping[str, str]:
        """Ask the endpoint for the features that are not kept yet."""
        return _source(context).take(context, items, total)

    def train(self, context: "Context") -> Json:
        """Fit a head to the features of the two sides that training may see, and write its bundle."""
        from labelloop.run.suspects import with_suspects

        return with_suspects(_Training(context).train(), context.manifest)

    def refit(self, context: "Context", items: Sequence[Item]) -> "Refit":
        """Take the features that a head learned from, to be trained anew without some of them."""
        from labelloop.train.refitted_head import RefittedHead

        samples, problem = _problem(context, items)
        if lost := len({item.content for item in items}) - len({one.picture for one in samples}):
            raise TrainingError(f"{lost} of the items they learned from have no features by now")
        names, confirmed = [one.picture for one in samples], _confirmed(samples)
        balance, seed = context.settings.balance, context.settings.seed
        return RefittedHead.chosen(names, problem, balance, seed, None, confirmed, _kept(context, samples))

    def analyse(self, context: "Context") -> None:
        """Show mistakes and probable label errors."""
        from labelloop.run.parts import make_parts

        self._kind.analyse(context)
        make_parts(context.folder.path.name, {"label errors": partial(self._write_label_errors, context)})

    def label_errors(self, context: "Context", learned: Learned | None) -> Json:  # noqa: ARG002 - all is learned anew
        """Ask heads on the same features that have not seen the labels; see Kind."""
        from labelloop.train.label_errors import doubted, listed

        samples, problem = _problem(context, context.manifest.items)
        items = [one.picture for one in samples]
        found = doubted(problem, context.settings.seed, items)
        return listed(found, items, [one.targets for one in samples], _confirmed(samples), context.manifest)

    def describe(self, raw: Json) -> EndpointHeadInfo:
        """Read ``model.json``."""
        return EndpointHeadInfo.read(raw)

    def problems(self, info: BundleInfo) -> Iterator[str]:  # noqa: ARG002 - see Kind
        """Say nothing: models/bundle.py looks at what such a bundle says, whatever its kind."""
        return iter(())

    def served(self, engine: str) -> tuple[str, ...]:  # noqa: ARG002 - there is one file
        """Name the head."""
        return (HEAD,)

    def open(self, directory: Path, info: BundleInfo, engine: str) -> "Engine":  # noqa: ARG002
        """Refuse: by itself it has no features to answer by."""
        raise BundleError(f"bundle {directory} is a head on the features of an endpoint, and answers beside that")

    def _write_label_errors(self, context: "Context") -> None:
        from labelloop.run.context import read_json, write_json
        from labelloop.run.report.gallery import write_thumbnails
        from labelloop.run.suspects import with_left_out

        found = self.label_errors(context, None)
        left_out = read_json(context.folder.trained, "train").get("suspects", ())
        found["errors"] = with_left_out(found["errors"], left_out)
        if self.name == IMAGES:
            shown = (one["picture"] for one in found["errors"][:_SHOWN])
            write_thumbnails(context.folder, shown, context.pictures.path)
        else:
            texts = {item.task: item.text for item in context.manifest.items}
            for one in found["errors"]:
                one |= {"text": texts.get(one["task"], "")[:_LONGEST], "regions": []}
        write_json(context.folder.evaluation / "label_errors.json", found)


@cache
def of(name: str) -> OnFeatures:
    """Give a kind, by its name, as it is learned on an endpoint's features."""
    from labelloop.kinds.base import find

    return OnFeatures(find(name))


def _source(context: "Context") -> "FeatureSource":
    if context.endpoint_features is None:
        raise TrainingError(f"{context.folder.path} is a run on an endpoint's features: the loop alone can make it")
    return context.endpoint_features


def _problem(context: "Context", items: Iterable[Item]) -> "tuple[list[Sample], Problem]":
    """Take the items that have features, each content once per label, and what is to be learned of them."""
    from labelloop.run.preprocess import samples_of
    from labelloop.train.crossvalidation import Problem
    from labelloop.train.dataset import indicators

    manifest = context.manifest
    samples = sorted(
        samples_of(manifest.classes, context.pictures, items), key=lambda sample: (sample.picture, sample.targets)
    )
    rows, there = _source(context).rows([sample.picture for sample in samples])
    kept = [sample for sample, at_hand in zip(samples, there, strict=True) if at_hand]
    return kept, Problem(rows[there], indicators(kept, len(manifest.classes)), manifest.choice)


def _confirmed(samples: "Sequence[Sample]") -> npt.NDArray[np.bool_]:
    return np.array([sample.confirmed for sample in samples], dtype=bool)


def _kept(context: "Context", samples: "Iterable[Sample]") -> "KeptChoice":
    """Find what was chosen for all samples that a run learned from, for the gate, which trains such heads anew."""
    from labelloop.train.refitted_head import KeptChoice

    name, choice, settings = _source(context).name, context.manifest.choice, context.settings
    said = (one.said for one in samples)
    return KeptChoice.of(context.caches, name, said, choice, settings.balance, settings.seed)


class _Training:
    """One training of a head on what the endpoint has given for the items of a run."""

    def __init__(self, context: "Context") -> None:
        from labelloop.run.preprocess import dataset_of
        from labelloop.train.dataset import in_order, require_contrast

        self._context, self._seed = context, context.settings.seed
        whole = in_order(dataset_of(context))
        names = [sample.picture for sample in (*whole.train, *whole.validation)]
        rows, there = _source(context).rows(names)
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
            self._problem(dataset.train), context.settings.balance, self._seed, None, _confirmed(dataset.train)
        )
        logits = solve(choice.problem, choice.strength).logits(self._of(dataset.validation))
        validation = Validation.of(dataset)
        suspects = {dataset.train[one.row].picture: one for one in choice.suspects}
        confirmed = _confirmed((*dataset.validation, *dataset.train))
        suspects |= choice.doubted(validation.names, validation.truth, logits, confirmed)
        entrant = HeadEntrant(logits, choice.held, suspects)
        temperature, thresholds = settled(entrant, validation)
        entrant = HeadEntrant(logits / temperature, choice.held, suspects, thresholds)
        context.progress("head", 1, 2)
        linear = self._last(dataset.without(suspects), choice.balance, choice.strength)
        self._write(linear, temperature, thresholds)
        kept = _kept(context, (*dataset.train, *dataset.validation))
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

        directory, dataset, source = self._context.folder.bundle, self._dataset, _source(self._context)
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
