"""Classes of pictures and texts by a head on the features of somebody else's endpoint (docs/endpoint-features.md).

What is true of an item, and which label configs ask for it, is the kind's own matter, which is kept; how it is learned
(kinds/endpoint_head.py), measured and judged goes by numbers alone: no torch, and no file of the items is opened.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.bundle_info import HEAD, BundleInfo, EndpointHeadInfo
from labelloop.errors import BundleError, TrainingError
from labelloop.kinds.base import Kind, Learned
from labelloop.kinds.classification import Classification
from labelloop.kinds.endpoint_head import EndpointHead, confirmed_in, kept_choice, source_of
from labelloop.types import IMAGES, TEXTS, Item, Json, canonical

if TYPE_CHECKING:
    from labelloop.run.context import Context
    from labelloop.run.refits import Refit
    from labelloop.serve.engines.base import Engine
    from labelloop.settings import Settings
    from labelloop.train.crossvalidation import Problem
    from labelloop.train.dataset import Sample

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
        return source_of(context).take(context, items, total)

    def train(self, context: "Context") -> Json:
        """Fit a head to the features of the two sides that training may see, and write its bundle."""
        from labelloop.run.suspects import with_suspects

        return with_suspects(EndpointHead(context).train(), context.manifest)

    def refit(self, context: "Context", items: Sequence[Item], others: Sequence[Item]) -> "Refit":  # noqa: ARG002 - an item's features are its own
        """Take the features that a head learned from, to be trained anew without some of them."""
        from labelloop.train.refitted_head import RefittedHead

        samples, problem = _problem(context, items)
        if lost := len({item.content for item in items}) - len({one.picture for one in samples}):
            raise TrainingError(f"{lost} of the items they learned from have no features by now")
        names, confirmed = [one.picture for one in samples], confirmed_in(samples)
        balance, seed = context.settings.balance, context.settings.seed
        return RefittedHead.chosen(names, problem, balance, seed, None, confirmed, kept_choice(context, samples))

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
        return listed(found, items, [one.targets for one in samples], confirmed_in(samples), context.manifest)

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


def _problem(context: "Context", items: Iterable[Item]) -> "tuple[list[Sample], Problem]":
    """Take the items that have features, each content once per label, and what is to be learned of them."""
    from labelloop.run.preprocess import samples_of
    from labelloop.train.crossvalidation import Problem
    from labelloop.train.dataset import indicators

    manifest = context.manifest
    samples = sorted(
        samples_of(manifest.classes, context.pictures, items), key=lambda sample: (sample.picture, sample.targets)
    )
    rows, there = source_of(context).rows([sample.picture for sample in samples])
    kept = [sample for sample, at_hand in zip(samples, there, strict=True) if at_hand]
    return kept, Problem(rows[there], indicators(kept, len(manifest.classes)), manifest.choice)
