"""What follows the run of a model run: its version answers validation and test items, and people are told what it is.

Any machine can do it: bundle, manifest and sides come from the store, and files that are not at hand from the tool.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import urlsplit

from labelloop.bundle_info import BundleInfo, ForeignInfo
from labelloop.data.model_run_site import Answered, ModelRunSite, Uploaded
from labelloop.data.split import SIDES
from labelloop.errors import LabelLoopError, NotFound, OptionsError
from labelloop.front.redaction import redact
from labelloop.kinds.base import Kind, find
from labelloop.kinds.regions import Regions
from labelloop.loop.attempts import project_settings
from labelloop.loop.hub import Hub
from labelloop.loop.lease import ProgressReporter
from labelloop.loop.project_endpoint import project_endpoint
from labelloop.loop.project_labels import restore_labels
from labelloop.models.bundle import read_bundle_info
from labelloop.models.headline import ACCURACY, headline_told
from labelloop.models.model_runs import ModelRunJob
from labelloop.models.versions import VersionRecord
from labelloop.run.context import Context, Labeled
from labelloop.run.folder import RunFolder
from labelloop.run.scoring import VersionOpponent
from labelloop.settings import Settings
from labelloop.trainers.opening import open_trainer
from labelloop.types import Answer, Failure, Findings, Item, Json, ProjectKey, Side, chunks, side

_AT_ONCE, _IN_MEMORY = 1000, 10_000
"""Answers that are handed over at a time, and items of which a version's engine is asked."""

_REASONS, _LONGEST = 3, 400

_LEAST_SECRET = 6
"""Letters: what is shorter stands in words by chance."""

_CONFIG = "the training config of the model run"

_LINK = re.compile(r"(?:https?|gs|s3)://[^\s'\"<>]+")


@dataclass(frozen=True, slots=True)
class _OfSide:
    """The items of a manifest on one side, those that show the same among them; found anew at every pass."""

    labeled: Labeled
    side: Side

    def __iter__(self) -> Iterator[Item]:
        named = self.labeled.sides
        return (
            one for one in self.labeled.manifest.items if (named.get(one.content) or side(one.content)) == self.side
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class Conclusion:
    """What the version of a job is, and what it answers; ``site`` is the model run that hears of it."""

    hub: Hub
    project: ProjectKey
    job: ModelRunJob
    site: ModelRunSite
    reporter: ProgressReporter

    def upload(self) -> Uploaded:
        """Let the version answer, unless an endpoint has done so by now, and upload that; may be repeated."""
        if not self.job.endpoint:
            self._answer()
        self.reporter.stage("upload")
        uploaded = self.site.finish(self.job.version, self.reporter)
        before = self.job.uploaded
        reasons = tuple(dict.fromkeys((*uploaded.reasons, *before.get("reasons", ()))))
        return replace(uploaded, left_out=uploaded.left_out + before.get("left_out", 0), reasons=reasons)

    def metadata(self, uploaded: Uploaded) -> dict[str, str]:
        """Say what it came to, all in words: for whoever looks at the model run."""
        facts = self._of_endpoint() if self.job.endpoint else self._of_version()
        told = {
            **facts,
            "rows_with_predictions": f"{uploaded.rows:,}",
            "rows_without_predictions": f"{uploaded.left_out:,}" if uploaded.left_out else "",
            "lines_refused": f"{uploaded.refused:,}" if uploaded.refused else "",
            "reasons": "; ".join(uploaded.reasons[:_REASONS]),
        }
        fit = {name: shortened(self.hub.settings, text) for name, text in told.items() if text}
        # An address of the store is whole, or says nothing.
        return fit | {"model_weights": facts["model_weights"]} if "model_weights" in facts else fit

    def _of_endpoint(self) -> dict[str, str]:
        name = project_endpoint(self.hub, self.project).endpoint.name
        return {"endpoint": name, "version": self.job.version}

    def _of_version(self) -> dict[str, str]:
        """Say what was trained, how good it is, and of what; see docs/labelbox.md for each."""
        hub, project = self.hub, self.project
        record = hub.versions(project).get(self.job.version)
        run = hub.runs(project).get(self._run)
        measured = record.metrics.get("test") or {}
        labeled = self._labeled
        pointers = hub.pointer(project).read()
        return {
            "version": record.version,
            "verdict": run.verdict if run and run.version == record.version else record.verdict,
            "champion": pointers.champion or "",
            "model_weights": self._weights(record),
            "recipe": record.recipe,
            "measured": f"{headline_told(measured)} on {measured['items']} test items" if measured else "",
            **_figures(measured),
            "classes": ", ".join(labeled.manifest.classes),
            **{f"{name}_rows": f"{len(_OfSide(labeled, name)):,}" for name in SIDES},
            "rows_left_out": _left_out(labeled),
        }

    def _weights(self, record: VersionRecord) -> str:
        info = read_bundle_info(self._bundle())
        if isinstance(info, ForeignInfo):
            return info.model
        return f"{self.hub.settings.store_address}/{self.project}/versions/{record.version}/{record.bundle}/"

    def _bundle(self) -> Path:
        return self.hub.versions(self.project).fetch_bundle(self.job.version, self._caches / "bundles")

    @property
    def _caches(self) -> Path:
        return self.hub.settings.directory / "cache"

    @property
    def _run(self) -> str:
        """The run whose labels are taken: that of the version itself where the last attempt has come to none."""
        return self.job.run or self.hub.versions(self.project).get(self.job.version).run

    @cached_property
    def _labeled(self) -> Labeled:
        """Bring the labels of the run onto this machine, with their files."""
        record = self.hub.runs(self.project).get(self._run)
        if record is None:
            raise NotFound(f"run {self._run} of model run {self.project.shown} has no record: press the button again")
        return restore_labels(self.hub, self.project, record.manifest, record.sides, self.reporter)[0]

    def _answer(self) -> None:
        """Let the version answer the items of the validation and test sides, and hand that over."""
        self.reporter.stage("answer")
        labeled, version = self._labeled, self.job.version
        bundle = self._bundle()
        info, kind = read_bundle_info(bundle), find(labeled.manifest.kind)
        foreign = isinstance(info, ForeignInfo)
        trainer = open_trainer(project_settings(self.hub, self.project)) if foreign else None
        by = VersionOpponent(version, bundle, self.hub.versions(self.project).get(version), trainer)
        folder = RunFolder(self._caches / "answers" / str(self.project))
        for name in ("validation", "test"):
            asked, done = _OfSide(labeled, name), 0
            total = len(asked)
            # A trainer is asked about all of them at once: for each time it may start a machine.
            for items in chunks(asked, total or 1 if foreign else _IN_MEMORY):
                told = partial(self._told, name, done, total)
                context = Context(folder, self.hub.settings, told, labeled.manifest.kind)
                answers = zip(items, by.answers(context, items), strict=True)
                for some in chunks(answers, _AT_ONCE):
                    self.site.keep(
                        version, [Answered(item, name, as_shown(kind, info, answer)) for item, answer in some]
                    )
                done += len(items)

    def _told(self, name: Side, before: int, total: int, _: str, done: int, __: int) -> None:
        self.reporter(f"{name} items", before + done, total)


def as_shown(kind: Kind, info: BundleInfo, answer: Answer | Failure) -> Answer | Failure:
    """Leave out regions that annotators would not see: versions are measured with all that they find.

    What a model that lies elsewhere answers is what is shown.
    """
    if not isinstance(kind, Regions) or not isinstance(answer, Findings) or isinstance(info, ForeignInfo):
        return answer
    return replace(answer, regions=tuple(one for one in answer.regions if kind.shown(info, one)))


def _figures(measured: Json) -> dict[str, str]:
    """Give every figure of a version that has an interval, in words.

    Where regions are learned, "accuracy" would be read as a figure of theirs: it is the share of items all right.
    """
    figures = {name: one for name, one in measured.items() if isinstance(one, dict) and _bounded(one)}
    return {
        _named(name, one, measured): f"{one['value']:.4f} (95 % interval {one['low']:.4f} to {one['high']:.4f})"
        for name, one in figures.items()
    }


def _named(name: str, figure: Json, measured: Json) -> str:
    if name == ACCURACY and "main" in measured:
        return "items_all_right"
    return str(figure.get("name", name))


def _bounded(figure: Json) -> bool:
    return all(isinstance(figure.get(end), int | float) for end in ("value", "low", "high"))


def _left_out(labeled: Labeled) -> str:
    """Count the rows that nothing was learned from, by reason."""
    reasons = Counter(_LINK.sub("its file", out.reason) for out in labeled.manifest.left_out)
    if conflicts := sum(1 for _ in labeled.contradicting()):
        reasons["another row shows the same and is labeled differently"] = conflicts
    if not reasons:
        return ""
    named = "; ".join(f"{count:,}: {reason}" for reason, count in reasons.most_common(_REASONS))
    more = f"; and {len(reasons) - _REASONS} other reasons" if len(reasons) > _REASONS else ""
    return f"{reasons.total():,} ({named}{more})"


def sentence_of(hub: Hub, error: Exception) -> str:
    """Say what went wrong to people who see no log: no link, no key, no path of this machine, some hundred letters."""
    if not isinstance(error, LabelLoopError):
        return f"LabelLoop met an error of its own, {type(error).__name__}: the log of its worker says more"
    told = str(error)
    if isinstance(error, OptionsError):
        # It is not an ML backend that has them.
        told = told.replace("extra_params of the ML backend", _CONFIG).replace("extra_params", _CONFIG)
    return shortened(hub.settings, told)


def shortened(settings: Settings, text: str) -> str:
    """Make a text fit for a foreign tool: without secrets, links, and paths of this machine, and not too long."""
    for field in fields(Settings):
        secret = str(getattr(settings, field.name)) if field.metadata.get("secret") else ""
        if len(secret) >= _LEAST_SECRET:
            text = text.replace(secret, "***")
    text = redact(_LINK.sub(_without_path, text))
    if len(text) <= _LONGEST:
        return text
    begin = text[: _LONGEST - 4]
    return (begin.rpartition(" ")[0] or begin) + " ..."


def _without_path(link: re.Match[str]) -> str:
    try:
        return f"a link to {urlsplit(link[0]).hostname}"
    except ValueError:
        return "a link"
