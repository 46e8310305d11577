"""What of a project goes from the store when only so many versions are kept, and what never does (docs/operations.md).

A version that goes leaves its record behind, and its run's: both say so, and by them the run is not made again. Before
any file goes, the pointers bar the version from serving (``ChampionPointer.prune``), so whoever goes back to it at that
moment is either refused or heeded. Killed anywhere, the next call finds by the same rules what is left to be removed.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from labelloop.errors import NotFound
from labelloop.loop.order import forget_table
from labelloop.loop.promotion import champion_before
from labelloop.models.backbones import FOLDER, SHARED_FILE
from labelloop.models.champion import ChampionPointer, Pointers
from labelloop.models.deployments import Deployments, FeatureModels
from labelloop.models.features import read_taken
from labelloop.models.model_runs import ModelRunJobs
from labelloop.models.open_batch import OpenBatches
from labelloop.models.open_run import OpenRuns
from labelloop.models.records import now
from labelloop.models.runs import RunRecord, Runs
from labelloop.models.store import Sized, Store
from labelloop.models.versions import VersionRecord, Versions, number_of, state_of
from labelloop.types import Json, ProjectKey

_OF_VERSION = re.compile(r"(?:versions|watch)/(v[1-9]\d{0,8})/(.+)")
_MANIFEST = re.compile(r"manifests/([0-9a-f]{64})\.(?:jsonl|sides\.json)")
_DESCRIPTION = re.compile(r"versions/v[1-9]\d{0,8}/bundle-[^/]+/model\.json")
_FEATURES = re.compile(r"features/([0-9a-f]{64})/.+")
_STAYS = ("claim.json", "version.json")
"""What stays of a version: its name and its run's, and what it was."""
_METRICS = ("gate", "labels", "challengers")
"""What stays of what a run has measured."""


@dataclass(frozen=True)
class PrunePlan:
    """What goes of one project: versions, and objects with their sizes, by paths below its folder."""

    project: ProjectKey
    versions: tuple[str, ...] = ()
    objects: tuple[Sized, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(one.size for one in self.objects)

    @cached_property
    def by_kind(self) -> Mapping[str, int]:
        """Bytes by version, of ``manifests``, ``features``, ``backbones``, and of what was cut off: ``leftovers``."""
        counts: Counter[str] = Counter()
        for path, size in self.objects:
            found = _OF_VERSION.fullmatch(path)
            name = found[1] if found else path.partition("/")[0]
            counts[name if name in (*self.versions, "manifests", "features", FOLDER) else "leftovers"] += size
        return counts


def plan_prune(store: Store, project: ProjectKey, keep: int) -> PrunePlan:
    """Say what would go if the ``keep`` newest versions were kept beside those in use; 0 keeps all. Raises StoreError.

    What an earlier call has left, and what belongs to no version that was published, goes in any case.
    """
    return _wanted(store, project, _Held.read(store, project), keep)


def _wanted(store: Store, project: ProjectKey, held: "_Held", keep: int) -> PrunePlan:
    return _plan(store, project, held, held.records.keys() - held.kept(keep))


def prune(store: Store, project: ProjectKey, keep: int, check: Callable[[], None] = lambda: None) -> PrunePlan:
    """Remove what ``plan_prune`` names, and say what that was. May be killed, and called again.

    The caller holds the project; ``check`` raises where that is over. Raises StoreError.
    """
    found = _Held.read(store, project)
    wanted = _wanted(store, project, found, keep)
    if not wanted.versions and not wanted.objects:
        return wanted
    check()
    barred = ChampionPointer(store, project).prune(wanted.versions)
    # Anew: a version may have become champion in between, and needs its labels.
    held = _Held.read(store, project, found)
    going = {name for name, record in held.records.items() if record.pruned or name in barred}
    plan = _plan(store, project, held, going)
    for name in going:
        record = held.records[name]
        if not record.pruned:
            forget_table(store, project, name)
            Versions(store, project).entomb(name)
        if (run := held.runs.get(record.run)) is not None and not run.pruned:
            Runs(store, project).amend(record.run, _tombstone)
    for path, _ in plan.objects:
        check()
        store.remove(f"{project}/{path}")
    return plan


def _tombstone(record: RunRecord) -> RunRecord:
    """Keep of a run what names it, what came of it, what its version had conceded, and what calls for a challenger."""
    kept = {name: record.metrics[name] for name in _METRICS if name in record.metrics}
    return record if record.pruned else replace(record, pruned=now(), metrics=kept)


@dataclass(frozen=True)
class _Held:
    """What the store says of a project that decides what is kept.

    ``latest`` names the last run and the last challenger, ``under_way`` says whether either may publish a version yet.
    """

    pointers: Pointers
    records: Mapping[str, VersionRecord]
    runs: Mapping[str, RunRecord]
    latest: frozenset[str]
    in_use: frozenset[str]
    manifests: frozenset[str] = field(default_factory=frozenset)
    under_way: bool = False

    @classmethod
    def read(cls, store: Store, project: ProjectKey, before: "_Held | None" = None) -> "_Held":
        """Read it, but for the tombstones that were read ``before``, which stay as they are.

        Raises Damaged where it cannot be told which version is champion.
        """
        versions, runs = Versions(store, project), Runs(store, project)
        pointers = ChampionPointer(store, project).read()
        records = {name: one for name, one in before.records.items() if one.pruned} if before else {}
        made = {key: one for key, one in before.runs.items() if one.pruned} if before else {}
        records |= {one.version: one for one in versions.read(name for name in versions.names() if name not in records)}
        made |= {key: one for key in runs.names() if key not in made and (one := runs.find(key)) is not None}
        both = [OpenRuns(store, project, challenger=challenger).read() for challenger in (False, True)]
        opened = [run for run in both if run is not None]
        latest = [record for record in (runs.latest(), runs.latest_challenger()) if record is not None]
        batch, job = OpenBatches(store, project).read(), ModelRunJobs(store).read(project)
        in_use = {
            *(pointers.champion, pointers.announced, pointers.predecessor, champion_before(versions, pointers)),
            *Deployments(store, project).versions(),
            batch.version if batch.open else "",
            job.version if job else "",
            *(versions.claimed(run.key) for run in opened),
        }
        return cls(
            pointers=pointers,
            records=records,
            runs=made,
            latest=frozenset(record.key for record in latest),
            in_use=frozenset(name for name in in_use if name),
            manifests=frozenset(name for run in opened for name in (run.manifest, run.sides)),
            under_way=bool(opened) or any(record.state == "running" for record in latest),
        )

    def kept(self, keep: int) -> set[str]:
        """Name the versions that keep their files: those in use, those that wait, and the newest."""
        states = {name: state_of(name, record, self.pointers) for name, record in self.records.items()}
        there = sorted((name for name, state in states.items() if state != "pruned"), key=number_of)
        kept = set(there[-keep:]) if keep else set(there)
        under_way = {record.version for record in self.runs.values() if record.state == "running"}
        waiting = {name for name, state in states.items() if state == "waiting"}
        return kept | ({*there} & (self.in_use | waiting | under_way))

    def needed(self, kept: set[str], orders: set[str]) -> set[str]:
        """Name the manifests and sides (hashes) of runs that may go on, and of versions that keep their files."""
        first = self.pointers.history[0].version if self.pointers.history else ""
        # Before there were orders, what it had learned from tells which tasks nobody had chosen (loop/chosen.py).
        # And what a network has learned from is not what a last layer on it learned from.
        networks = {self.records[name].metrics.get("network", "") for name in kept}
        labels_of = kept | ({first} - orders) | networks
        runs = [
            record
            for record in self.runs.values()
            if record.key in self.latest
            or record.state == "running"
            or (record.state == "failed" and not record.final)
            or record.version in labels_of
        ]
        return {*self.manifests, *(name for record in runs for name in (record.manifest, record.sides))}


def _plan(store: Store, project: ProjectKey, held: _Held, going: Iterable[str]) -> PrunePlan:
    """Say which objects go with these versions."""
    gone = set(going)
    objects = [Sized(one.path.removeprefix(f"{project}/"), one.size) for one in store.sizes(f"{project}/")]
    orders = {path.removeprefix("order/").removesuffix(".json") for path, _ in objects if path.startswith("order/")}
    needed = held.needed(held.records.keys() - gone, orders)
    # A manifest that no run names may be that of one which begins just now.
    known = {name for record in held.runs.values() for name in (record.manifest, record.sides)} - needed

    stays = [path for path, _ in objects if not _is_of(path, gone)]
    described = _descriptions(store, project, stays)
    features, backbones = _spared_features(store, project, described), _spared_backbones(held, described)

    def goes(path: str) -> bool:
        if taken := _FEATURES.fullmatch(path):
            return features is not None and taken[1] not in features
        if shared := SHARED_FILE.fullmatch(path):
            return backbones is not None and shared[1] not in backbones
        if manifest := _MANIFEST.fullmatch(path):
            return manifest[1] in known
        if not (of_version := _OF_VERSION.fullmatch(path)):
            return False
        version, rest = of_version[1], of_version[2]
        if version in gone:
            return rest not in _STAYS
        record = held.records.get(version)
        return record is not None and rest.startswith("bundle-") and not rest.startswith(f"{record.bundle}/")

    new = (name for name in gone if not held.records[name].pruned)
    return PrunePlan(project, tuple(sorted(new, key=number_of)), tuple(one for one in objects if goes(one.path)))


def _descriptions(store: Store, project: ProjectKey, stays: Iterable[str]) -> list[Json]:
    """Read the bundles' ``model.json`` among these paths, below the project's folder, where anything hangs on them.

    One that is gone or damaged is empty.
    """
    paths = [*stays]
    if not any(_FEATURES.fullmatch(path) or SHARED_FILE.fullmatch(path) for path in paths):
        return []
    return [_description(store, f"{project}/{path}") for path in paths if _DESCRIPTION.fullmatch(path)]


def _description(store: Store, path: str) -> Json:
    try:
        found = json.loads(store.read(path).content)
    except (NotFound, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _spared_features(store: Store, project: ProjectKey, described: Sequence[Json]) -> set[str] | None:
    """Name the backbones whose features are needed, by today's settings or by a version that stays; None for all.

    By which settings the project is trained today is known where its features are taken early, or an endpoint gives
    them.
    """
    today = {read_taken(store, project).backbone, FeatureModels(store, project).last().name} - {""}
    return {*today, *(str(one.get("features", "")) for one in described)} if today else None


def _spared_backbones(held: _Held, described: Sequence[Json]) -> set[str] | None:
    """Name the shared files (sha256) that a version which stays refers to; None for all.

    A run that has not published yet may be about to refer to any of them, and so may a description that is damaged. One
    that was left behind by another may not: gone on with, it brings anew what is missing.
    """
    named = [one.get("files") for one in described]
    if held.under_way or not all(isinstance(files, dict) for files in named):
        return None
    return {str(known) for files in named if isinstance(files, dict) for known in files.values()}


def _is_of(path: str, versions: Iterable[str]) -> bool:
    """Whether a path is of one of these versions."""
    found = _OF_VERSION.fullmatch(path)
    return found is not None and found[1] in versions
