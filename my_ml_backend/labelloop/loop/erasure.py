"""Erasing what is kept of some tasks of a project, because a person asks for that (docs/operations.md).

A manifest is named by its content, so one without these tasks has another name: the runs that learned from it name that
one from then on, and the hash of what they really learned from stays in their records. Killed anywhere, another call
finds the rest: what names tasks, and so tells what is to be erased, goes last.
"""

import heapq
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from labelloop.data.manifest import Manifest
from labelloop.errors import Conflict, LeaseLost, NotFound
from labelloop.loop.caches import Cached, Caches, remove, size_below
from labelloop.loop.hub import Hub
from labelloop.loop.lease import Lease
from labelloop.loop.order import Order, packed, unpacked
from labelloop.loop.project_labels import keep_manifest, kept_manifests, manifest_file
from labelloop.loop.project_registry import site_of
from labelloop.loop.reports import ERASED, ERASED_FILES, REPORT_SECONDS, end_report, without_reports
from labelloop.models.features import count_features, feature_folder, remove_features, remove_features_beside
from labelloop.models.open_run import OpenRun
from labelloop.models.records import readable, to_bytes, update
from labelloop.models.runs import DUE, RunRecord, manifest_path, sides_path
from labelloop.run.context import Labeled, sides_of
from labelloop.types import Item, Json, LeftOut, ProjectKey

_FOLDERS = ("reports", "runs", "cache/labelbox")
"""What a machine keeps of one project, and what may show any of its tasks: all of it goes, and is made again."""


@dataclass(frozen=True)
class ErasePlan:
    """What is kept of some ``tasks``: their pictures and texts (``contents``, sha256), and where these stand.

    ``manifests`` maps hashes to how many lines go. ``others`` are tasks that show the same, whose lines go, too;
    ``present`` those that the tool still has, from which the next run learns again. ``versions`` have learned from any
    of them, or were measured on it: what a model has made of it stays in its weights. ``objects`` are paths of reports
    and events of these, ``features`` how many rows of features go, ``cached`` files of this machine.
    """

    project: ProjectKey
    tasks: frozenset[int]
    contents: frozenset[str]
    manifests: Mapping[str, int] = field(default_factory=dict)
    others: tuple[int, ...] = ()
    present: tuple[int, ...] = ()
    versions: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    features: int = 0
    cached: tuple[Cached, ...] = ()

    @property
    def cached_files(self) -> int:
        """How many of these files there were."""
        return sum(one.size > 0 for one in self.cached)

    def to_json(self) -> Json:
        """Turn into plain values."""
        return {
            "project": str(self.project),
            "tasks": sorted(self.tasks),
            "contents": sorted(self.contents),
            "manifests": dict(self.manifests),
            "others": list(self.others),
            "present": list(self.present),
            "versions": list(self.versions),
            "objects": list(self.objects),
            "features": self.features,
            "cached_files": self.cached_files,
            "cached_bytes": sum(one.size for one in self.cached),
        }


def plan_erasure(hub: Hub, project: ProjectKey, tasks: Collection[int], contents: Collection[str] = ()) -> ErasePlan:
    """Find what is kept of tasks, and of ``contents`` (sha256 of pictures or texts); nothing is changed.

    Raises StoreError, Damaged among them, and StudioError: nothing is passed over.
    """
    wanted, known = frozenset(tasks), set(contents) | hub.task_contents(project).shown_by(tasks)
    shows: dict[str, list[tuple[int, str]]] = {}
    # Twice, for a picture may be known by a task of one manifest, and stand in another by another task.
    for _, manifest in _manifests(hub, project):
        known |= {content for task, content in _shown_in(manifest) if task in wanted and content}
    for name, manifest in _manifests(hub, project):
        shows[name] = [one for one in _shown_in(manifest) if one[0] in wanted or one[1] in known]
    concerned = {name: len(lines) for name, lines in shows.items() if lines}
    others = {task for lines in shows.values() for task, _ in lines} - wanted
    runs = [record for record in hub.runs(project).all() if record.manifest in concerned or record.erased]
    versions = sorted({record.version for record in runs if record.version}, key=lambda name: int(name[1:]))
    present = (
        []
        if project.model_run
        else [int(task["id"]) for task in site_of(hub, project.id).tasks(sorted(wanted | others))]
    )
    return ErasePlan(
        project=project,
        tasks=wanted,
        contents=frozenset(known),
        manifests=concerned,
        others=tuple(sorted(others)),
        present=tuple(present),
        versions=tuple(versions),
        objects=tuple(_shown(hub, project, versions)),
        features=count_features(hub.store, project, known, feature_folder(hub.settings)),
        cached=(
            *Caches(hub.settings.directory).of(known),
            *Caches(hub.settings.directory).labels(project, concerned),
            *_of_project(hub.settings.directory, project),
        ),
    )


def erase(hub: Hub, plan: ErasePlan) -> None:
    """Erase it from the store, Redis and this machine. The caller holds the project; may be killed, and called again.

    Raises Conflict while a run is trained elsewhere, a challenger is at work or features are taken as tasks come;
    StoreError, QueueError.
    """
    project = plan.project
    opened = hub.open_runs(project).read()
    if opened is not None and opened.elsewhere:
        raise Conflict(
            f"run {opened.key} is being trained elsewhere, of these labels too: wait for its end, or `labelloop cancel "
            f"--project {project.shown}`"
        )
    with _alone(hub, project):
        _erase(hub, plan, opened)


@contextmanager
def _alone(hub: Hub, project: ProjectKey) -> Iterator[None]:
    """Hold what works on the project beside its runs, for it would write anew what it has in memory.

    A report that is being written is waited for; one that is due is written of nothing that is erased.
    """
    with ExitStack() as held:
        try:
            held.enter_context(Lease(hub, project, challenger=True))
        except LeaseLost as error:
            raise Conflict(
                f"the challenger of project {project.shown} is at work, on these labels too: wait for its end, or "
                f"`labelloop cancel --project {project.shown}`"
            ) from error
        try:
            held.enter_context(Lease(hub, project, features=True))
        except LeaseLost as error:
            raise Conflict(
                f"features of project {project.shown} are being taken, of these tasks too: `labelloop pause --project "
                f"{project.shown}` ends that when the files in hand are done, then give this command again"
            ) from error
        try:
            held.enter_context(without_reports(hub, project, REPORT_SECONDS))
        except LeaseLost as error:
            raise Conflict(str(error)) from error
        yield


def _erase(hub: Hub, plan: ErasePlan, opened: OpenRun | None) -> None:
    project = plan.project
    remove(plan.cached)
    remove_features(hub.store, project, plan.contents, feature_folder(hub.settings))
    remove_features_beside(hub.settings.directory / "cache" / "train", plan.contents)
    _forget(hub, plan)
    for path in plan.objects:
        hub.store.remove(path)
    _clear_orders(hub, plan)
    _clear_watched(hub, plan)
    if opened is not None:
        # It is begun anew of the labels that there are.
        hub.open_runs(project).close(opened.key)
    if (challenger := hub.open_runs(project, challenger=True).read()) is not None:
        hub.open_runs(project, challenger=True).close(challenger.key)
    for record in hub.runs(project).all():
        if record.manifest in plan.manifests or _names(record, plan):
            _clear_run(hub, plan, record)
        if record.report == DUE:
            end_report(hub, project, record.key, ERASED_FILES)
    for name in plan.manifests:
        hub.store.remove(manifest_path(project, name))
    # A sweep holds no project, and may have fetched some of it anew.
    remove(plan.cached)
    remove_features(hub.store, project, plan.contents, feature_folder(hub.settings))
    hub.task_contents(project).forget({*plan.tasks, *plan.others}, plan.contents)


def _manifests(hub: Hub, project: ProjectKey) -> Iterator[tuple[str, Manifest]]:
    """Give a project's manifests with their hashes: the store's, and those of this machine, which no run is made of."""
    names = hub.store.names(f"{project}/manifests/")
    for name in (one.removesuffix(".jsonl") for one in names if one.endswith(".jsonl")):
        with manifest_file(hub, project, name) as file:
            yield name, Manifest.from_file(file)
    yield from kept_manifests(hub, project)


def _shown_in(manifest: Manifest) -> Iterator[tuple[int, str]]:
    """Give a manifest's tasks with what they show (sha256), empty for those that are left out."""
    yield from ((item.task, item.content) for item in manifest.items)
    yield from ((out.task, "") for out in manifest.left_out)


def _shown(hub: Hub, project: ProjectKey, versions: Iterable[str]) -> Iterator[str]:
    """Name the objects that may show what versions learned from: reports, and pictures among TensorBoard's events."""
    for version in versions:
        for path in hub.store.walk(f"{project}/versions/{version}/"):
            if path.endswith("/report.html") or f"/{version}/tensorboard/" in path:
                yield path


def _of_project(directory: Path, project: ProjectKey) -> Iterator[Cached]:
    for name in _FOLDERS:
        folder = directory / name / str(project)
        if folder.is_dir():
            yield Cached(folder, name, size_below(folder))


def _forget(hub: Hub, plan: ErasePlan) -> None:
    """Take the tasks out of what Redis has: the sample of predictions, the counts of agreement, noted changes."""
    state, tasks = hub.state(plan.project), {*plan.tasks, *plan.others}
    state.forget_reading()
    state.window.remove([one for one in state.window.read() if one.task in tasks])
    state.agreement.forget(tasks)


def _clear_orders(hub: Hub, plan: ErasePlan) -> None:
    gone = {*plan.tasks, *plan.others}

    def without(text: str) -> str:
        return packed(task for task in unpacked(text) if task not in gone)

    def change(content: bytes | None, path: str) -> bytes | None:
        order = readable(Order, content, path) if content else None
        if order is None:
            return None
        scores = {task: score for task, score in order.scores.items() if int(task) not in gone}
        cleared = replace(
            order,
            scores=scores,
            served=without(order.served),
            random=without(order.random),
            control=without(order.control),
        )
        return to_bytes(cleared) if cleared != order else None

    for path in list(hub.store.walk(f"{plan.project}/order/")):
        update(hub.store, path, lambda content, path=path: change(content, path))  # type: ignore[misc]


def _clear_watched(hub: Hub, plan: ErasePlan) -> None:
    """Take the tasks out of what drift is judged by, and out of what the last look found."""
    gone = {*plan.tasks, *plan.others}

    def change(content: bytes | None) -> bytes | None:
        try:
            held = json.loads(content or b"")
        except ValueError:
            return None
        cleared = _without(held, gone)
        return json.dumps(cleared, indent=2).encode() if cleared != held else None

    for path in list(hub.store.walk(f"{plan.project}/watch/")):
        update(hub.store, path, change)


def _without(value: Json, gone: Collection[int]) -> Json:
    """Leave out predictions of tasks, what two versions made of them, and tasks of lists of such."""
    if "items" in value:
        return value | {"items": [one for one in value["items"] if one[:1] not in ([task] for task in gone)]}
    if "predictions" in value:
        return value | {"predictions": [one for one in value["predictions"] if one.get("task") not in gone]}
    last = value.get("last") or {}
    return (
        value | {"last": last | {"tasks": [one for one in last.get("tasks", []) if one not in gone]}} if last else value
    )


def _names(record: RunRecord, plan: ErasePlan) -> bool:
    return bool({*record.metrics.get("label_errors", ())} & {*plan.tasks, *plan.others})


def _clear_run(hub: Hub, plan: ErasePlan, record: RunRecord) -> None:
    """Let a run name labels without the tasks, and keep the hash of those that it learned from."""
    project, gone = plan.project, {*plan.tasks, *plan.others}
    manifest, sides = record.manifest, record.sides
    if record.manifest in plan.manifests:
        manifest, sides = _rewritten(hub, plan, record)
    metrics = dict(record.metrics)
    if "label_errors" in metrics:
        metrics["label_errors"] = [task for task in metrics["label_errors"] if task not in gone]
    learned = record.erased or (record.manifest if manifest != record.manifest else "")

    def change(stands: RunRecord) -> RunRecord:
        report = ERASED if learned and stands.report == DUE else stands.report
        return replace(stands, manifest=manifest, sides=sides, metrics=metrics, erased=learned, report=report)

    hub.runs(project).amend(record.key, change)
    if sides != record.sides and all(one.sides != record.sides for one in hub.runs(project).all()):
        hub.store.remove(sides_path(project, record.sides))


def _rewritten(hub: Hub, plan: ErasePlan, record: RunRecord) -> tuple[str, str]:
    """Write manifest and sides of a run without the tasks; gives their hashes."""
    project = plan.project
    with manifest_file(hub, project, record.manifest) as file:
        old = Manifest.from_file(file)
        kept: Iterator[Item | LeftOut] = heapq.merge(
            (item for item in old.items if item.task not in plan.tasks and item.content not in plan.contents),
            (out for out in old.left_out if out.task not in plan.tasks),
            key=lambda one: one.task,
        )
        beside = hub.settings.directory / "cache" / "labels"
        new = Manifest.gathered(old.project, old.choice, old.classes, kept, beside, old.kind)
        keep_manifest(hub, project, new)
    if not record.sides:
        return new.hash, ""
    try:
        named, moved = sides_of(json.loads(hub.store.read(sides_path(project, record.sides)).content))
    except NotFound:
        return new.hash, record.sides
    labeled = Labeled(
        new,
        {content: side for content, side in named.items() if content not in plan.contents},
        tuple(out for out in moved if out.task not in plan.tasks),
    )
    if labeled.sides_hash:
        hub.store.write(sides_path(project, labeled.sides_hash), labeled.sides_text().encode())
    return new.hash, labeled.sides_hash
