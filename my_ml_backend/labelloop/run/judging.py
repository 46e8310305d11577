"""Champion and challenger on the same test pictures, and the verdict."""

from pathlib import Path

from labelloop.models.champion import ChampionPointer
from labelloop.models.store import Store
from labelloop.models.versions import VersionRecord, Versions
from labelloop.run.context import Context
from labelloop.run.gate import GateRule, Predictions, Verdict, judge, judge_first
from labelloop.run.scored import Scored, truth_of
from labelloop.run.scoring import NEEDED, Rename, scores_of
from labelloop.run.sides import sides_of

Champion = tuple[VersionRecord, Path]
"""A version's record and its bundle."""


def find_champion(context: Context, store: Store) -> Champion | None:
    """Give the project's champion, its bundle fetched as far as scoring needs it; None where there is none."""
    project = context.manifest.project
    champion = ChampionPointer(store, project).read().champion
    if champion is None:
        return None
    versions, cache = Versions(store, project), context.settings.directory / "cache" / "bundles"
    return versions.get(champion), versions.fetch_bundle(champion, cache, NEEDED)


def judge_run(context: Context, tested: Scored, name: str, champion: Champion | None, rename: Rename = str) -> Verdict:
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
