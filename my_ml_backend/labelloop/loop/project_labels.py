"""What a project's annotators have labeled, with its pictures, as a run learns from it."""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from labelloop.data.labeling import Drawn, Labeling
from labelloop.data.listing import OF_TEXTS, Record
from labelloop.data.manifest import Manifest, check_manifest
from labelloop.data.named_sides import NamedSides
from labelloop.data.picture_cache import PictureCache
from labelloop.data.site import Interface
from labelloop.errors import Damaged, LabelConfigError, Unreadable
from labelloop.files import cannot_keep, remove_stale
from labelloop.kinds.base import find
from labelloop.loop.hub import Hub
from labelloop.loop.order import control_tasks
from labelloop.loop.project_endpoint import project_endpoint, subject_of
from labelloop.loop.project_registry import site_of
from labelloop.models.runs import manifest_path, sides_path
from labelloop.run.context import Labeled, Missing, Render, picture_cache, sides_of
from labelloop.run.fetch import InputFetcher
from labelloop.run.scoring import Rename
from labelloop.types import Answer, Input, Item, LeftOut, Output, Progress, ProjectKey, Rendering, Shown, Side

Look = Callable[[Record | LeftOut, Item | LeftOut], object]
"""Sees a record, and what came of it."""


def labeling_of(hub: Hub, project: ProjectKey) -> Labeling:
    """Read what is asked in a project, as far as its trainer may learn it.

    Raises LabelConfigError where that is nothing, SettingsError for impossible settings or ``extra_params``.
    """
    found = site_of(hub, project.id).labeling(subject_of(hub, project))
    return replace(found, withheld=control_tasks(hub.store, project))


def renderer(hub: Hub, project: ProjectKey, how: Rendering | None = None) -> Render:
    """Make what says how an answer is shown to a project's annotators; the label config is read when it is asked.

    Of a classification the best class counts, whatever its score, as with versions of ours. ``how`` is that of another
    endpoint than the project's own.
    """

    @cache
    def read() -> tuple[Interface, Rendering, Drawn]:
        rendering = how or project_endpoint(hub, project).options.rendering
        return site_of(hub, project.id).interface(), rendering, _drawn(hub, project)

    def render(answer: Answer, item: Item) -> Shown:
        interface, rendering, drawn = read()
        if isinstance(answer, Output):
            rendering = replace(rendering, threshold=None)
        found = interface.render(answer, rendering, Input(text=item.text or None))
        results = tuple(found["result"])
        return Shown(results, interface.tags_for(answer, rendering), drawn(results))

    return render


def _drawn(hub: Hub, project: ProjectKey) -> Drawn:
    """Give what reads regions of results; where the label config asks for nothing that is learned, there are none."""
    try:
        return labeling_of(hub, project).drawn
    except LabelConfigError:
        return lambda _: ()


def read_labels(
    hub: Hub, project: ProjectKey, labeling: Labeling, progress: Progress, tasks: Sequence[int] | None = None
) -> Labeled:
    """Read all labeled tasks and their pictures; what cannot be used is listed in the manifest with its reason.

    With ``tasks`` only the labeled ones of these.

    Raises StudioError, and MediaError when so many pictures could not be fetched that the place they come from must be
    out of order.
    """
    records = labeling.records(find(labeling.kind).truth, tasks)
    return gather_labels(hub, project, labeling, records, progress, total=None if tasks is None else len(tasks))


def gather_labels(
    hub: Hub,
    project: ProjectKey,
    labeling: Labeling,
    records: Iterable[Record | LeftOut],
    progress: Progress,
    look: Look = lambda _record, _found: None,
    total: int | None = None,
) -> Labeled:
    """Fetch the pictures of records, which come in order of task, and make a manifest of them; raises as above.

    ``look`` sees each with what came of it. By default about as many are expected as there are annotations.
    """
    missing, named = Missing(), NamedSides()
    counters = labeling.counters
    expected = (counters.labeled or counters.annotations) if total is None else total
    fetched = fetcher_of(hub, project, labeling).fetch(records, expected, progress, missing)
    manifest = Manifest.gathered(
        project,
        labeling.choice,
        labeling.classes,
        _items(fetched, named, look),
        hub.settings.directory / "cache" / "labels",
        labeling.kind,
    )
    return Labeled(manifest, *named.settled(manifest.items), missing=missing)


def fetcher_of(hub: Hub, project: ProjectKey, labeling: Labeling) -> InputFetcher:
    """Make what fetches the files of a project's records."""
    kind = find(labeling.kind)

    def check(content: bytes) -> None:
        if other := labeling.instead(content):
            raise Unreadable(f"it is {other}, which is nothing that annotators are shown")
        kind.check(content)

    read, texts = site_of(hub, project.id).read, kind.name in OF_TEXTS
    return InputFetcher(read, cached_pictures(hub), project, check, texts=texts, item=kind.item)


def cached_pictures(hub: Hub) -> PictureCache:
    """Give the pictures on this machine."""
    return picture_cache(hub.settings)


def _items(
    fetched: Iterable[tuple[Record | LeftOut, Item | LeftOut]], named: NamedSides, look: Look
) -> Iterator[Item | LeftOut]:
    """Give what was fetched, and gather the sides that its records name."""
    for record, found in fetched:
        look(record, found)
        if isinstance(record, Record) and record.side and isinstance(found, Item):
            named.add(found.task, found.content, record.side)
        yield found


def restore_labels(
    hub: Hub, project: ProjectKey, manifest: str, sides: str, progress: Progress
) -> tuple[Labeled, Rename]:
    """Read manifest and sides (hashes) that a run was begun with, and bring its files onto this machine.

    A file that the project's tasks show no more stays away: nobody can answer to it. Gives with it what a class of an
    older model is called today; where the label config asks for nothing of that any more, classes keep their names.
    Raises StoreError and StudioError.
    """
    with manifest_file(hub, project, manifest) as file:
        found = Labeled(Manifest.from_file(file), *_kept_sides(hub, project, sides))
    cache = cached_pictures(hub)
    try:
        labeling = labeling_of(hub, project)
    except LabelConfigError:
        return found, str
    if cache.is_whole(project, manifest) or all(item.text or cache.has(item.content) for item in found.manifest.items):
        return found, labeling.rename
    return replace(found, missing=read_labels(hub, project, labeling, progress).missing), labeling.rename


def keep_manifest(hub: Hub, project: ProjectKey, manifest: Manifest) -> None:
    """Write a manifest into the store; raises StoreError."""
    with _beside(hub) as file:
        manifest.write(file)
        hub.store.upload(manifest_path(project, manifest.hash), file)


def keep_manifest_here(hub: Hub, project: ProjectKey, manifest: Manifest) -> None:
    """Keep a manifest on this machine alone, for a day: no run is made of it; raises StoreError."""
    with _beside(hub) as file:
        manifest.write(file)
        file.replace(kept_at(hub.settings.directory, project, manifest.hash))


def kept_manifests(hub: Hub, project: ProjectKey) -> Iterator[tuple[str, Manifest]]:
    """Give the manifests of a project that are on this machine, with their hashes; the store may lack some of them.

    Raises Damaged.
    """
    for path in sorted((hub.settings.directory / "cache" / "labels").glob("*.jsonl")):
        try:
            with path.open("rb") as file:
                of = _project_of(file.readline())
            found = Manifest.from_file(path) if of == str(project) else None
        except FileNotFoundError:  # after a day it goes
            continue
        if found is not None:
            yield found.hash, found


def _project_of(header: bytes) -> object:
    """Say whose manifest begins with this line; a damaged one may be anybody's, and is made anew."""
    try:
        return json.loads(header)["project"]
    except (ValueError, KeyError, TypeError):
        return None


def drop_kept_manifest(hub: Hub, project: ProjectKey, name: str) -> None:
    """Remove a manifest from this machine: the store has it still."""
    kept_at(hub.settings.directory, project, name).unlink(missing_ok=True)


def new_manifest(hub: Hub, project: ProjectKey, write: Callable[[Path], Manifest]) -> Manifest:
    """Give the manifest that is written into a file of this machine, where it stays for a day as ``kept_manifest``."""
    with _beside(hub) as file:
        manifest = write(file)
        file.replace(kept_at(hub.settings.directory, project, manifest.hash))
    return manifest


def keep_sides(hub: Hub, project: ProjectKey, labeled: Labeled) -> None:
    """Write the sides that the tool named into the store, where it named any; raises StoreError."""
    if name := labeled.sides_hash:
        hub.store.write(sides_path(project, name), labeled.sides_text().encode())


def _kept_sides(hub: Hub, project: ProjectKey, name: str) -> tuple[Mapping[str, Side], tuple[LeftOut, ...]]:
    """Read what ``keep_sides`` wrote (hash), nothing for an empty name; raises NotFound, and Damaged."""
    if not name:
        return {}, ()
    path = sides_path(project, name)
    try:
        return sides_of(json.loads(hub.store.read(path).content))
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} is damaged ({error!r}): restore it from a backup of the store") from error


@contextmanager
def manifest_file(hub: Hub, project: ProjectKey, name: str) -> Iterator[Path]:
    """Bring the manifest of that hash from the store into a file of this machine, which is removed afterwards.

    Raises NotFound and StoreError. Who has the file open may read on.
    """
    with _beside(hub) as file:
        hub.store.download(manifest_path(project, name), file)
        yield file


def kept_manifest(hub: Hub, project: ProjectKey, name: str) -> Path:
    """Bring the manifest of that hash onto this machine, where it stays for a day.

    It is read through once, when it comes. Raises NotFound, Damaged, StoreError.
    """
    kept = kept_at(hub.settings.directory, project, name)
    if not kept.is_file():
        with manifest_file(hub, project, name) as file:
            check_manifest(file)
            try:
                file.replace(kept)
            except OSError as error:
                raise cannot_keep("the manifest", kept.parent, error) from error
    return kept


def kept_at(directory: Path, project: ProjectKey, name: str) -> Path:
    """Say where a machine keeps a project's manifest of that hash, which an equal one of another project has, too."""
    return directory / "cache" / "labels" / f"{project.instance}-{project.id}-{name}.jsonl"


@contextmanager
def _beside(hub: Hub) -> Iterator[Path]:
    """Give a file of this machine for a manifest on its way from or to the store; it is removed afterwards."""
    beside = hub.settings.directory / "cache" / "labels"
    try:
        beside.mkdir(parents=True, exist_ok=True)
        remove_stale(beside)
        with tempfile.TemporaryDirectory(dir=beside) as folder:
            yield Path(folder) / "manifest.jsonl"
    except OSError as error:
        raise cannot_keep("the manifest", beside, error) from error


def unread(labeled: Labeled) -> str:
    """Say which files of labeled tasks could not be fetched, and why; empty when all were."""
    count, first = labeled.missing.count, labeled.missing.first
    if not count:
        return ""
    named = "; ".join(f"task {one.task}: {one.reason.rstrip('.')}" for one in first)
    more = f"; and {count - len(first)} more" if count > len(first) else ""
    item = find(labeled.manifest.kind).item
    which = f"1 {item} of a labeled task" if count == 1 else f"{count} {item}s of labeled tasks"
    return f"{which} could not be read: {named}{more}. Mend their addresses, or delete these tasks"
