"""What all kinds have in common whose truth is regions: votes, measures, and what the gate counts.

A region has a label and a place: a part of a text, a box in a picture. It is right where it has the right label at the
right place; how near that must be, the kind says. An item is right where exactly its regions are found.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from labelloop.errors import TrainingError
from labelloop.kinds.consensus import agreement
from labelloop.kinds.featureless import Featureless
from labelloop.kinds.majority import Truth, Vote, counting, listed, unsaid
from labelloop.regions import read_regions, write_regions
from labelloop.types import Box, Choice, Item, Json, LeftOut, Progress, Region, Span

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from labelloop.bundle_info import BundleInfo
    from labelloop.kinds.base import Learned, Says
    from labelloop.run.context import Context
    from labelloop.run.finders import Contest, Finder
    from labelloop.run.located import Located
    from labelloop.run.matching import Matches
    from labelloop.run.resampled import AveragePrecision, Figure
    from labelloop.run.scoring import Opponent, Rename
    from labelloop.run.verdict import Verdict
    from labelloop.serve.engines.base import Engine


@dataclass(frozen=True, slots=True)
class Learnable:
    """What is learned and measured of an item's truth; ``aside`` says, of each region that is not as drawn, why."""

    regions: tuple[Region, ...]
    aside: tuple[str, ...] = ()


class Regions(Featureless, ABC):
    """A kind whose truth is regions of one ``shape``, and whose model finds regions, each with a score in [0, 1].

    ``figure`` is what its main figure is called, such as ``span F1``. Two regions of a label are the same one where
    they overlap by ``least``; where they overlap by more than ``touching``, the border is wrong.
    """

    name: str
    item: str
    says: "Says" = "regions"
    shape: type[Span | Box]
    figure: str
    least, touching = 1.0, 0.0
    contrasts, as_shown, whoever_trains = False, False, False
    quick: tuple[str, ...] = ()

    @abstractmethod
    def overlaps(self, ones: Sequence[Region], others: Sequence[Region]) -> "npt.NDArray[np.float64]":
        """Give the share of their union that regions have in common, whatever their labels: (ones, others)."""

    @abstractmethod
    def open(self, directory: Path, info: "BundleInfo", engine: str) -> "Engine":
        """Load a bundle; its engine answers with findings. Raises BundleError."""

    def middle(self, drawn: Sequence[Region]) -> Region:
        """Give one region for what a majority drew, all of one label: the most frequent, of several the first."""
        return max(drawn, key=drawn.count)

    def learnable(self, context: "Context", item: Item) -> Learnable:  # noqa: ARG002 - a kind may look at its picture
        """Give what is learned and measured of an item's truth: training and measuring read it here alone."""
        return Learnable(read_regions(item.result or "[]"))

    def shown(self, info: "BundleInfo", region: Region) -> bool:
        """Whether annotators would see a region: from its label's threshold on, where that has any."""
        thresholds: Mapping[str, float] = getattr(info, "thresholds", {})
        return region.score is None or region.score >= thresholds.get(region.label, 0.0)

    def evidence(self, items: Sequence["Located"], classes: Sequence[str]) -> "Figure":
        """Give the main figure of what was found in test items: F1 of the regions that annotators would see."""
        from labelloop.run.region_measures import counted

        return counted(items, [self.matched(one.true, one.given) for one in items], classes)

    def further(self, context: "Context", items: Sequence["Located"]) -> Json:  # noqa: ARG002
        """Give more figures for ``metrics.json``."""
        return {}

    def matched(self, true: Sequence[Region], found: Sequence[Region]) -> "Matches":
        """Say which of the regions found in an item are right, and what the others are instead."""
        from labelloop.run.matching import match

        return match(true, found, self.overlaps(true, found), self.least, self.touching)

    def precisions(self, items: Sequence["Located"], classes: Sequence[str], least: float) -> "AveragePrecision":
        """Give COCO's average precision of all that was found, however unsure, from an overlap of ``least`` on."""
        from labelloop.run.region_measures import precisions

        return precisions(items, classes, self.overlaps, least)

    def truth(self, votes: Sequence[Vote], choice: Choice) -> Truth:  # noqa: ARG002 - a kind is asked in one way
        """Give the regions that most annotators drew, each counting once; none may be what they say.

        A region that half of them drew or fewer is none. Where half of them drew something and nothing else is true,
        there is no truth.
        """
        usable = [vote for vote in counting(votes) if not vote.reason]
        if not usable:
            return Truth(reason=unsaid(votes))
        drawn = [read_regions(vote.result or "[]") for vote in usable]
        agreed, halves = agreement(drawn, self.overlaps, self.least, self.middle)
        if halves and not agreed:
            return Truth(reason=f"half of its {len(drawn)} annotators drew {listed(*halves)}, half did not")
        regions = tuple(replace(region, score=None, tag="") for region in agreed)
        same = [vote for vote, own in zip(usable, drawn, strict=True) if self.matched(regions, own).exact]
        return Truth(
            tuple(sorted({region.label for region in regions})),
            result=write_regions(regions),
            confirmed=len(same) > 1 or any(vote.confirmed for vote in same),
        )

    def measure(self, context: "Context") -> None:
        """Measure what is found in the test side (docs/evaluation.md)."""
        from labelloop.data.split import splits
        from labelloop.run.context import write_json
        from labelloop.run.located import write_located
        from labelloop.run.region_measures import measure_regions
        from labelloop.run.scoring import VersionOpponent

        manifest, folder = context.manifest, context.folder
        items = tuple(splits(manifest, context.named_sides)["test"])
        found = self._located(context, VersionOpponent("the new model", folder.bundle), items)
        tested = [one for one in found if one is not None]
        write_located(folder.predictions, tested)
        if not tested:
            # Of a model that lies elsewhere and answered nothing there is nothing to measure.
            write_json(folder.metrics, {})
            return
        matches = [self.matched(one.true, one.given) for one in tested]
        figure = self.evidence(tested, manifest.classes)
        measured = measure_regions(
            self.figure, figure, tested, matches, manifest.classes, manifest.choice, context.settings.seed
        )
        write_json(folder.metrics, measured | self.further(context, tested))

    def judge(self, context: "Context", name: str, opponent: "Opponent | None", rename: "Rename") -> "Verdict":
        """Let the run's bundle and its opponent meet on the same test items (docs/gate.md)."""
        from labelloop.data.split import splits
        from labelloop.run.figure_gate import judge
        from labelloop.run.finders import Passed
        from labelloop.run.located import read_located

        # By content, so that the order of tasks decides no draw.
        tested = {one.picture: one for one in read_located(context.folder.predictions)}
        items = sorted(splits(context.manifest, context.named_sides)["test"], key=lambda item: item.content)
        met = [item for item in items if item.content in tested]
        after = self._finder(context, name, [tested[item.content] for item in met])
        left_out = len(items) - len(met)
        if opponent is None or opponent.record is None:
            return self._first(context, after, opponent, met, left_out)
        found = self._located(context, opponent, met, rename)
        contest = self._contest(context, opponent.name, found, after)
        since = Passed.read(opponent.record.metrics.get("gate", {}))
        return judge(contest, since, left_out + sum(one is None for one in found))

    def analyse(self, context: "Context") -> None:
        """Write the test items with the most mistakes, and some without, for the report to show."""
        from labelloop.data.split import splits
        from labelloop.run.located import read_located
        from labelloop.run.report.examples import write_examples

        items = [(one, self.matched(one.true, one.given)) for one in read_located(context.folder.predictions)]
        tested = {item.content: item for item in splits(context.manifest, context.named_sides)["test"]}

        def text(content: str) -> str:
            item = tested[content]
            return item.text or b"".join(context.contents([item])).decode(errors="replace")

        write_examples(context.folder, items, text if self.shape is Span else None, context.pictures.path)

    def right(self, context: "Context") -> Mapping[int, bool]:
        """Tell in which test items exactly the right regions are found."""
        from labelloop.run.located import read_located
        from labelloop.run.region_measures import exact

        items = read_located(context.folder.predictions)
        right = exact(items, [self.matched(one.true, one.given) for one in items])
        return {one.task: is_right for one, is_right in zip(items, right, strict=True)}

    def agreement(
        self, context: "Context", by: "Opponent", items: Sequence[Item], rename: "Rename"
    ) -> Sequence[float | None]:
        """Give the F1 of an item's regions; 1 where there is none and none is found."""

        def reached(one: "Located") -> float:
            found = self.matched(one.true, one.given)
            right, wrong = len(found.right), len(found.missed) + len(found.invented)
            return 2 * right / (2 * right + wrong) if one.answered and (right or wrong) else float(one.answered)

        located = self._located(context, by, items, rename)
        return [None if one is None else reached(one) for one in located]

    def aside(self, context: "Context", items: Iterable[Item]) -> Iterator[LeftOut]:
        """Name every region that is not learned as it was drawn, by its task, and why."""
        for item in items:
            yield from (LeftOut(item.task, reason) for reason in self.learnable(context, item).aside)

    def aside_notes(self, context: "Context") -> list[str]:
        """Sum up what is not learned as drawn, for the ``notes`` that ``train`` gives."""
        from labelloop.run.context import read_json

        return [
            f"{one['regions']} regions of {one['items']} {self.item}s are not learned as drawn: {one['reason']}"
            for one in read_json(context.folder.data, "preprocess").get("aside", ())
        ]

    def label_errors(self, context: "Context", learned: "Learned | None") -> Json:  # noqa: ARG002
        """Refuse, unless a kind knows better."""
        raise TrainingError(f"nothing looks for probable label errors where {context.manifest.kind} is learned")

    def nearest(self, asked: Item, learned: "Learned", progress: Progress) -> Sequence[tuple[Item, float]]:  # noqa: ARG002
        """None, unless a kind knows better."""
        return ()

    def _first(
        self, context: "Context", after: "Finder", bootstrap: "Opponent | None", met: Sequence[Item], left_out: int
    ) -> "Verdict":
        """Judge a first version: it must beat finding nothing, and the ``bootstrap`` endpoint where there is one."""
        from labelloop.run.context import read_json
        from labelloop.run.figure_gate import judge_first, meet_bootstrap

        main = read_json(context.folder.metrics, "evaluate").get("main") or {}
        first = judge_first(self.figure, after, (main.get("low"), main.get("high")), left_out)
        if bootstrap is None or not first.passed:
            # Nobody is asked, and paid, where that changes nothing.
            return first
        answers = self._located(context, bootstrap, met)
        found = [one if one is not None and one.answered else None for one in answers]
        return meet_bootstrap(first, self._contest(context, bootstrap.name, found, after), len(met))

    def _contest(
        self, context: "Context", opponent: str, found: "Sequence[Located | None]", after: "Finder"
    ) -> "Contest":
        """Let two meet on the items that the opponent was asked about."""
        import numpy as np

        from labelloop.run.finders import Contest
        from labelloop.run.verdict import GateRule

        asked = np.array([one is not None for one in found], dtype=bool)
        before = self._finder(context, opponent, [one for one in found if one is not None])
        rule = GateRule(margin=context.settings.gate_margin)
        return Contest(self.figure, before, after.only(asked), context.manifest.classes, rule, context.settings.seed)

    def _finder(self, context: "Context", version: str, items: Sequence["Located"]) -> "Finder":
        from labelloop.run.finders import Finder
        from labelloop.run.region_measures import counted

        classes = context.manifest.classes
        counts = counted(items, [self.matched(one.true, one.given) for one in items], classes)
        return Finder(version, self.evidence(items, classes), counts, sum(not one.answered for one in items))

    def _located(
        self, context: "Context", by: "Opponent", items: Sequence[Item], rename: "Rename" = str
    ) -> "list[Located | None]":
        """Let somebody answer items; None where nobody could be asked."""
        from labelloop.bundle_info import ForeignInfo
        from labelloop.models.bundle import read_bundle_info
        from labelloop.run.located import locate
        from labelloop.run.scoring import VersionOpponent

        info = read_bundle_info(by.bundle) if isinstance(by, VersionOpponent) else None
        # What a model that lies elsewhere answers is what annotators see.
        own = None if isinstance(info, ForeignInfo) else info
        classes = context.manifest.classes

        def shown(region: Region) -> bool:
            return own is None or self.shown(own, region)

        return [
            locate(item, self.learnable(context, item).regions, answer, self.shape, shown, rename, classes)
            for item, answer in zip(items, by.answers(context, items), strict=True)
        ]
