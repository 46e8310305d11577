"""The evaluate, gate and publish stages: champion and challenger on the same test items, and the verdict stored."""

from dataclasses import replace
from pathlib import Path

from labelloop.data.split import splits
from labelloop.loop.evaluate import predicted_labels
from labelloop.loop.gate import Labels, Verdict, judge, judge_first
from labelloop.loop.run import Run, save
from labelloop.models.champion import ChampionPointer
from labelloop.models.records import now
from labelloop.models.runs import RunRecord
from labelloop.models.versions import VersionRecord, Versions
from labelloop.train import metrics as measures


def judge_and_publish(run: Run, record: RunRecord, bundle: Path) -> tuple[VersionRecord, RunRecord]:
    """Judge a trained bundle and publish it with its verdict, passed or rejected."""
    name = record.version or ""
    run.reporter.stage("evaluate")
    items = splits(run.manifest)["test"]
    truth: list[Labels] = [item.labels for item in items]
    pictures = run.pictures(items)
    found = predicted_labels(bundle, name, run.control, pictures, run.reporter)
    champion = ChampionPointer(run.hub.store, run.project).read().champion
    verdict = _judge(run, name, champion, truth, found, pictures)
    metrics = record.metrics | {
        "test": measures.report(truth, found, run.manifest.classes, run.manifest.kind),
        "gate": verdict.numbers,
    }
    run.reporter.stage("publish")
    version = VersionRecord(
        version=name,
        run=record.key,
        recipe=record.recipe,
        parent=champion,
        created=now(),
        promoted=verdict.passed,
        verdict=verdict.sentence,
        metrics=metrics,
    )
    version = Versions(run.hub.store, run.project).publish(name, bundle, version)
    return version, save(run, replace(record, stage="publish", verdict=verdict.sentence, metrics=metrics))


def _judge(
    run: Run, name: str, champion: str | None, truth: list[Labels], found: list[Labels], pictures: list[Path]
) -> Verdict:
    if champion is None:
        learned_from = [item.labels for item in splits(run.manifest)["train"]]
        return judge_first(truth, found, learned_from, name)
    folder = run.hub.settings.directory / "cache" / "bundles"
    bundle = Versions(run.hub.store, run.project).fetch_bundle(champion, folder)
    held = predicted_labels(bundle, champion, run.control, pictures, run.reporter)
    return judge(truth, held, found, (champion, name), run.hub.settings.gate_margin)
