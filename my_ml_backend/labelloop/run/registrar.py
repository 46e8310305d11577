"""Where a run's version goes: one project of a store, written under one fence. Here is the one rule of promotion."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from labelloop.errors import NotFound
from labelloop.kinds.base import SCORED_BY, Hyperparameters
from labelloop.models.bundle import read_bundle_info, served_by
from labelloop.models.champion import ChampionPointer, Reason
from labelloop.models.headline import ACCURACY, headline, headline_told, weight
from labelloop.models.open_run import OpenRuns
from labelloop.models.records import now
from labelloop.models.runs import RunRecord, Runs, RunState, manifest_path
from labelloop.models.store import Store
from labelloop.models.versions import VersionRecord, Versions
from labelloop.run.chosen import tell_chosen, with_chosen
from labelloop.run.context import Context, Labeled, read_json, write_json
from labelloop.run.gate import judge_reported, macro_f1, require_as_good, require_f1, told_contests
from labelloop.run.parameters import methods_of
from labelloop.run.record import RunInfo
from labelloop.run.refits import Origin
from labelloop.run.scoring import Opponent, Rename, VersionOpponent
from labelloop.run.verdict import Verdict, force_version
from labelloop.tracing import DOING, note_doing
from labelloop.train.intervals import TOO_FEW
from labelloop.train.learning_curve import Reached, forecast
from labelloop.trainers.base import Trainer
from labelloop.types import Json, ProjectKey

_MOST_TOLD = 50
"""Versions by which a record says what more labels would bring: it holds what each of them reached."""


@dataclass(frozen=True)
class Registrar:
    """Judges a run's bundle, publishes it as the project's next version, and makes it champion when it passed.

    ``fence`` is this run's right to move the champion pointer. ``rename`` gives a champion's classes the names that
    they have today. ``begins`` is told as a step begins: ``judge``, ``publish``, ``promote``. ``bootstrap`` is whom a
    version meets where there is no champion yet (None: nobody). The ``trainer`` is asked about a champion whose model
    lies elsewhere.
    """

    store: Store
    project: ProjectKey
    fence: int
    rename: Rename = str
    begins: Callable[[str], None] = lambda _: None
    bootstrap: Opponent | None = None
    trainer: Trainer | None = None

    @classmethod
    def with_fence(cls, store: Store, project: ProjectKey, trainer: Trainer | None = None) -> Self:
        """Take a fence: from now on every older one is refused."""
        return cls(store, project, ChampionPointer(store, project).take_fence(), trainer=trainer)

    @property
    def versions(self) -> Versions:
        """The project's versions."""
        return Versions(self.store, self.project)

    def key_of(self, labeled: Labeled, settings: Hyperparameters) -> str:
        """Name the run of these labels; as ``labelloop train`` of 0.1 called it, where that made a version of it."""
        former = labeled.former_key(settings)
        return former if self.versions.claimed(former) else labeled.key(settings)

    def record_of(self, key: str) -> RunRecord:
        """Read the record of a run that is registered; raises NotFound."""
        record = Runs(self.store, self.project).get(key)
        if record is None:
            raise NotFound(f"run {key} of {self.project} has no record: it never began")
        return record

    def register(self, context: Context, key: str, *, force: bool = False, adopted: str = "") -> RunRecord:
        """Judge, publish and promote the run of that ``key``, which keeps its version for ever; gives its record.

        What was done before is not done again. ``force`` promotes it whatever the gate says, and the version's record
        says so. ``adopted`` is the file that the bundle was made of where it was not trained: a person has chosen it,
        so as the first version it is not judged. Raises StoreError, BundleError, or Fenced when another run of this
        project began later.
        """
        name = self.versions.claim(key)
        note_doing(version=name)
        version = self.versions.find(name) or self._judge_and_publish(context, name, key, adopted)
        if force:
            version = force_version(self.versions, name)
        state, told = self._promote(version, key, force=force)
        self._write_verdict(context, version, told)
        runs = Runs(self.store, self.project)
        known = runs.find(key)
        if known is None:
            # No loop has kept its labels: the version that comes after it asks for them.
            self.store.upload(manifest_path(self.project, context.manifest.hash), context.folder.manifest)
        return runs.save(
            replace(
                known or _new_record(context, key),
                state=state,
                stage="promote" if state == "promoted" else "gate",
                version=name,
                recipe=version.recipe,
                verdict=told,
                metrics=version.metrics,
                fence=self.fence,
            )
        )

    def judge(self, context: Context) -> Verdict:
        """Judge a run's bundle as ``register`` would, and write the verdict; nothing in the store is changed.

        ``verdict.json`` has numbers that a cloud's conditions can read: ``promoted`` is 0 or 1, ``macro_f1`` 0 where it
        could not be measured. Raises StoreError or BundleError.
        """
        champion = self._champion(context.settings.directory / "cache" / "bundles")
        verdict = self._judge(context, "this version", champion)
        measured = read_json(context.folder.metrics, "evaluate")
        known = {
            "promoted": int(verdict.passed),
            "macro_f1": macro_f1(measured) or 0.0,
            "champion": champion.name if champion else None,
        }
        told = {"passed": verdict.passed, "sentence": verdict.sentence, "forced": False, "numbers": verdict.numbers}
        write_json(context.folder.verdict, known | told)
        return verdict

    def _judge_and_publish(self, context: Context, name: str, key: str, adopted: str) -> VersionRecord:
        self.begins("judge")
        champion = self._champion(context.settings.directory / "cache" / "bundles")
        verdict = (
            self._judge_adopted(context, name, champion, adopted) if adopted else self._judge(context, name, champion)
        )
        self.begins("publish")
        trained = read_json(context.folder.trained, "train")
        measured = read_json(context.folder.metrics, "evaluate")
        labels = _labels(context)
        record = VersionRecord(
            version=name,
            run=key,
            recipe=trained["recipe"],
            parent=champion.name if champion else None,
            created=now(),
            promoted=verdict.passed,
            verdict=verdict.sentence,
            metrics={
                "validation": trained["validation"],
                "train_seconds": trained["seconds"],
                "unreadable": trained["left_out"],
                "notes": trained["notes"],
                "challengers": trained.get("challengers", {}),
                "network": trained.get("network", ""),
                "calibration": trained["calibration"],
                "suspects": len(trained.get("suspects", ())),
                "test": measured,
                "gate": verdict.numbers,
                "labels": labels,
                "learning": self._learning(labels, measured),
                **({"int8": trained["int8"]} if trained.get("int8") else {}),
            },
            # What a person has chosen needs no other's word.
            waits=verdict.passed and context.settings.approval == "manual" and not adopted,
            trained_with={} if adopted else context.training.to_json(),
            trained_by={} if adopted else _software(context),
            trace=DOING.get().trace,
        )
        return self.versions.publish(name, context.folder.bundle, record)

    def _learning(self, labels: int, measured: Json) -> Json:
        """Say what more labels would bring, by what the versions reached and the one that is being published."""
        before = [
            (record.metrics.get("labels"), record.metrics.get("test") or {})
            for record in self.versions.some(_MOST_TOLD)
        ]
        name, _ = headline(measured)
        # Before the label config asked for something else, another figure may have been the one.
        reached = [_reached_with(*one) for one in (*before, (labels, measured)) if headline(one[1])[0] == name]
        found = forecast([one for one in reached if one is not None])
        return {**found.to_json(), "figure": name} if found else {}

    def _champion(self, cache: Path) -> VersionOpponent | None:
        """Give the champion, its bundle fetched as far as scoring needs it; None where there is none."""
        champion = ChampionPointer(self.store, self.project).read().champion
        if champion is None:
            return None
        bundle = self.versions.fetch_bundle(champion, cache, served_by(SCORED_BY))
        record = self.versions.get(champion)
        return VersionOpponent(champion, bundle, record, self.trainer, Origin(self.store, self.project, record))

    def _judge(self, context: Context, name: str, champion: VersionOpponent | None) -> Verdict:
        """Let the run's bundle, called ``name``, and the champion meet on the same test items.

        A champion of another kind, from before the label config asked something else, cannot be asked about these.
        """
        kind = context.kind
        if reported := read_json(context.folder.trained, "train").get("reported"):
            verdict = _judge_reported(name, reported, champion)
        elif champion is None:
            # What it answers is put into the labels of today already.
            verdict = kind.judge(context, name, self.bootstrap, str)
        else:
            same = read_bundle_info(champion.bundle).kind == kind.name
            verdict = kind.judge(context, name, champion if same else None, self.rename)
            if same and (slow := self._slower(context, champion)):
                verdict = require_as_good(verdict, name, champion.name, slow)
            verdict = told_contests(verdict, sum(one != name for one in self.versions.names()))
        measured = tell_chosen(context)
        return with_chosen(require_f1(verdict, name, measured, context.settings.minimum_f1), measured)

    def _slower(self, context: Context, champion: VersionOpponent) -> str:
        """Name the champion's recipe where the run's own is quick and that one is not; empty otherwise.

        A last layer on a finetune's network is as slow to come by for a head, which is on another one. A champion that
        does not know all of today's classes gives way as any other does.
        """
        kind, own = context.kind, read_json(context.folder.trained, "train")["recipe"]
        theirs, measured = (champion.record.recipe, champion.record.metrics) if champion.record else ("", {})
        known = {self.rename(label) for label in read_bundle_info(champion.bundle).classes}
        slower = own in kind.quick and theirs in kind.recipes and theirs not in kind.quick
        slower |= own == "head" and bool(measured.get("network"))
        return theirs if slower and known.issuperset(context.manifest.classes) else ""

    def _judge_adopted(self, context: Context, name: str, champion: VersionOpponent | None, adopted: str) -> Verdict:
        """Let a model that a person has chosen meet the champion, where there is one, and test items to meet on."""
        measured = read_json(context.folder.metrics, "evaluate")
        told = f"adopted from {adopted}, {_reached(measured)}"
        if champion is None:
            numbers = {"test_items": measured.get("items", 0), "conceded": 0.0}
            return Verdict(True, f"{name} becomes the first champion: {told}", numbers)
        if not measured:
            sentence = f"{name} is kept, not promoted: {told}, so it cannot be compared with {champion.name}"
            return Verdict(False, sentence, {"test_items": 0})
        verdict = self._judge(context, name, champion)
        return replace(verdict, sentence=f"{verdict.sentence}; {told}")

    def _promote(self, version: VersionRecord, key: str, *, force: bool) -> tuple[RunState, str]:
        """Make a version that passed champion, unless it waits for a person; gives the verdict with what came of it.

        ``promoted`` is one that is champion or has been. It passed against its parent alone: where another one is
        champion now, somebody rolled back, or another run was quicker, while this one was cut off.
        """
        if not version.promoted:
            return "rejected", version.verdict
        pointer = ChampionPointer(self.store, self.project)
        stands = pointer.read()
        if not force:
            if version.version in {reign.version for reign in stands.history}:
                return "promoted", version.verdict
            if stands.champion != version.parent:
                return "rejected", _passed_over(version, f"now {stands.champion} is champion")
            if version.waits:
                return "waiting", f"{version.verdict}; {awaits(self.project, version.version)}"
            opened = OpenRuns(self.store, self.project).read()
            if opened is not None and opened.key == key and opened.barred:
                return "rejected", _passed_over(version, opened.barred)
        self.begins("promote")
        pointer.promote(version.version, self.fence, Reason("person" if force else "run"))
        return "promoted", version.verdict

    def _write_verdict(self, context: Context, version: VersionRecord, told: str) -> None:
        stands = {"passed": version.promoted, "sentence": told, "forced": version.forced}
        known = {"numbers": version.metrics["gate"], "version": version.version, "champion": version.parent}
        known["learning"] = version.metrics.get("learning") or {}
        write_json(context.folder.verdict, known | stands)


def awaits(project: ProjectKey, version: str) -> str:
    """Say that a version waits for approval, and how to give it."""
    return (
        f"{version} waits for approval: `labelloop approve --project {project.shown} {version}` makes it champion, "
        "`labelloop reject` rejects it"
    )


def _judge_reported(name: str, reported: Json, champion: VersionOpponent | None) -> Verdict:
    """Judge a version that may not be asked about test items by what is reported of it."""
    if champion is None:
        return judge_reported(name, reported)
    gate = champion.record.metrics.get("gate", {}) if champion.record else {}
    return judge_reported(name, reported, champion.name, gate.get("reported"))


def _passed_over(version: VersionRecord, why: str) -> str:
    return (
        f"{version.verdict}; it is not promoted, for {why}: `labelloop rollback` makes it champion, or a new run "
        "compares it"
    )


def _reached(measured: Json) -> str:
    """Say what a bundle was measured at, and how much that says."""
    if not measured:
        return "measured on nothing, for there are no labeled test items"
    few = f", {TOO_FEW}" if measured["few"] else ""
    return f"measured {headline_told(measured)} on {measured['items']} test items{few}"


def _labels(context: Context) -> int:
    """Count the items that a run has learned from; 0 where its record of them is gone."""
    if not context.folder.data.is_file():
        return 0
    sides = read_json(context.folder.data, "preprocess")["sides"]
    return sum(int(sides[side]["items"]) for side in ("train", "validation") if side in sides)


def _reached_with(labels: int | None, measured: Json) -> Reached | None:
    """Give what a version reached by how many labels; None where that is not known."""
    (name, figure), items = headline(measured), weight(measured)
    if not labels or not items:
        return None
    if name == ACCURACY:
        return Reached(labels, round(figure["value"] * items), round(items))
    return Reached(labels, round(figure["value"] * items, 3), round(items, 3))


def _software(context: Context) -> Json:
    """Say with which packages a run was made, and at which commit; what its record does not know is left out."""
    info = RunInfo.read(context.folder)
    return {**info.packages, **({"commit": info.git} if info.git else {})} if info else {}


def _new_record(context: Context, key: str) -> RunRecord:
    """Begin the record of a run that no loop began."""
    training = context.training
    return RunRecord(
        key=key,
        project=str(context.manifest.project),
        manifest=context.manifest.hash,
        settings=training.fingerprint(),
        seed=training.seed,
        trigger="by hand",
        attempts=1,
        kind=context.kind.name,
        methods=methods_of(training.recipes, context.kind.recipes),
    )
