"""The evaluate, gate and publish stages: champion and challenger on the same test items, and the verdict stored."""

from dataclasses import asdict, replace

from labelloop.loop.run import Run, save
from labelloop.models.records import now
from labelloop.models.runs import RunRecord
from labelloop.models.versions import VersionRecord, Versions
from labelloop.run.context import Context, read_json, write_json
from labelloop.run.judging import find_champion, judge_run
from labelloop.run.stages.evaluate import measure_bundle
from labelloop.studio.mapping import label_finder


def judge_and_publish(run: Run, record: RunRecord, context: Context) -> tuple[VersionRecord, RunRecord]:
    """Judge a trained bundle and publish it with its verdict, passed or rejected."""
    name = record.version or ""
    run.reporter.stage("evaluate")
    tested = measure_bundle(context, name)
    held = find_champion(context, run.hub.store)
    champion = held[0].version if held else None
    # Labels may have been renamed since the champion was trained.
    verdict = judge_run(context, tested, name, held, label_finder(run.control.labels))
    write_json(context.folder.verdict, asdict(verdict) | {"version": name, "champion": champion})
    metrics = record.metrics | {"test": read_json(context.folder.metrics, "evaluate"), "gate": verdict.numbers}
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
        trained_with=asdict(context.training),
    )
    version = Versions(run.hub.store, run.project).publish(name, context.folder.bundle, version)
    return version, save(run, replace(record, stage="publish", verdict=verdict.sentence, metrics=metrics))
