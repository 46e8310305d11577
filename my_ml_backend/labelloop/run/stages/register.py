"""register: judge the new model against the project's champion, publish it with the verdict, promote what passed."""

from dataclasses import asdict

from labelloop.models.bundle import check_bundle
from labelloop.models.champion import ChampionPointer
from labelloop.models.records import now
from labelloop.models.store import Store, open_store
from labelloop.models.versions import VersionRecord, Versions
from labelloop.run.context import Context, read_json, write_json
from labelloop.run.forcing import force_version
from labelloop.run.gate import Verdict
from labelloop.run.judging import find_champion, judge_run
from labelloop.run.report.html import write_report
from labelloop.run.scored import Scored


def register(context: Context, key: str, *, force: bool = False) -> str:
    """Publish the run's bundle as the project's next version, and give the verdict.

    ``key`` names the run, which keeps its version for ever. ``force`` promotes it whatever the gate says, and the
    record says so. Raises StoreError, BundleError, or Fenced when
    another registration of this project began later.
    """
    store, project = open_store(context.settings.store_address), context.manifest.project
    versions, pointer = Versions(store, project), ChampionPointer(store, project)
    name = versions.claim(key)
    fence = pointer.take_fence()
    record = versions.find(name) or _publish(context, store, name, key)
    if force:
        record = force_version(versions, name)
    told = _promote(pointer, fence, record, force=force)
    stands = {"passed": record.promoted, "sentence": told, "forced": record.forced}
    known = {"numbers": record.metrics["gate"], "version": name, "champion": record.parent}
    write_json(context.folder.verdict, known | stands)
    versions.write_report(name, write_report(context.folder).read_bytes())
    return told


def _promote(pointer: ChampionPointer, fence: int, record: VersionRecord, *, force: bool) -> str:
    """Make a version that passed champion, unless it has been one; gives the verdict, and why nothing follows of it."""
    stands = pointer.read()
    if not record.promoted or (not force and record.version in {reign.version for reign in stands.history}):
        return record.verdict
    if not force and stands.champion != record.parent:
        # It passed against another champion, and this call was cut off before it could take that one's place.
        return (
            f"{record.verdict}; it is not promoted, for now {stands.champion} is champion: "
            "`labelloop rollback` makes it champion, or a new run compares it"
        )
    pointer.promote(record.version, fence)
    return record.verdict


def _publish(context: Context, store: Store, name: str, key: str) -> VersionRecord:
    champion = find_champion(context, store)
    verdict = judge_run(context, Scored.read(context.folder.predictions), name, champion)
    record = _record(context, key, name, champion[0].version if champion else None, verdict)
    return Versions(store, context.manifest.project).publish(name, context.folder.bundle, record)


def _record(context: Context, key: str, name: str, champion: str | None, verdict: Verdict) -> VersionRecord:
    folder = context.folder
    return VersionRecord(
        version=name,
        run=key,
        recipe=check_bundle(folder.bundle).recipe,
        parent=champion,
        created=now(),
        promoted=verdict.passed,
        verdict=verdict.sentence,
        metrics={"test": read_json(folder.metrics, "evaluate"), "gate": verdict.numbers},
        trained_with=asdict(context.training),
    )
