"""Champion and challenger on the same test pictures, and the verdict."""

from pathlib import Path

from labelloop.models.versions import VersionRecord
from labelloop.pipeline.context import Context
from labelloop.pipeline.gate import GateRule, Predictions, Verdict, judge, judge_first
from labelloop.pipeline.scored import Scored, truth_of
from labelloop.pipeline.scoring import Rename, scores_of
from labelloop.pipeline.sides import sides_of


def judge_run(
    context: Context, tested: Scored, name: str, champion: tuple[VersionRecord, Path] | None, rename: Rename = str
) -> Verdict:
    """Judge the run's bundle, called ``name``, against the champion (record and bundle), or alone where there is none.

    ``rename`` gives the champion's classes the names that they have today.
    """
    manifest = context.manifest
    challenger = Predictions(name, tested.scores)
    if champion is None:
        items = sides_of(manifest, context.named_sides)["train"]
        return judge_first(tested.truth, challenger, truth_of(items, manifest.classes), manifest.kind)
    record, bundle = champion
    pictures = [context.pictures.path(picture) for picture in tested.pictures]
    scores = scores_of(bundle, pictures, manifest.classes, record.version, context.progress, rename)
    return judge(
        tested.truth,
        Predictions(record.version, scores),
        challenger,
        manifest.classes,
        manifest.kind,
        GateRule(margin=context.settings.gate_margin),
        context.settings.seed,
        float(record.metrics.get("gate", {}).get("conceded", 0.0)),
    )
