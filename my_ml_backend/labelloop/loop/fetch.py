"""From Label Studio's annotations to a manifest: the truth, read whole, with every picture on this machine."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from labelloop.chunks import chunks
from labelloop.data.cache import PictureCache
from labelloop.data.manifest import Manifest
from labelloop.errors import MediaError, Unreadable
from labelloop.loop.hub import Hub
from labelloop.pictures import decode
from labelloop.run.download.patience import patiently, too_many
from labelloop.studio.client import ProjectInfo
from labelloop.studio.control import Control, parse_control, picture_url
from labelloop.studio.media import shown
from labelloop.studio.truth import labels_of
from labelloop.types import Item, Json, LeftOut, Progress, ProjectKey, TaskKey

_THREADS = 8
_AT_ONCE = 128

_NAMED = 3
"""Pictures that could not be read and are named with their reasons."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A project as it was when its annotations were read; ``info`` is from just before, so that nothing is missed."""

    info: ProjectInfo
    control: Control
    manifest: Manifest
    unfetched: tuple[LeftOut, ...]

    @property
    def unread(self) -> str:
        """Say which pictures of labeled tasks could not be fetched, and why; empty when all were."""
        if not self.unfetched:
            return ""
        count = len(self.unfetched)
        named = "; ".join(f"task {one.task}: {one.reason}" for one in self.unfetched[:_NAMED])
        more = f"; and {count - _NAMED} more" if count > _NAMED else ""
        which = "1 picture of a labeled task" if count == 1 else f"{count} pictures of labeled tasks"
        return f"{which} could not be read: {named}{more}. Mend their addresses, or delete these tasks"


class Unfetched(LeftOut):
    """A task whose picture could not be fetched this time."""


def fetch_manifest(hub: Hub, project: ProjectKey, cache: PictureCache, report: Progress) -> Fetched:
    """Read all labeled tasks and their pictures; what cannot be used is listed in the manifest with its reason.

    Raises StudioError, LabelConfigError, and MediaError when so many pictures could not be fetched that the place they
    come from must be out of order: a manifest without them would pass for the truth.
    """
    info = hub.studio.project(project.id)
    control = parse_control(info.label_config)
    items: list[Item] = []
    left_out: list[LeftOut] = []
    unfetched: list[LeftOut] = []
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch") as pool:
        for tasks in chunks(hub.studio.labeled_tasks(project.id), _AT_ONCE):
            for found in pool.map(lambda task: _read(hub, project, control, cache, task), tasks):
                if isinstance(found, Item):
                    items.append(found)
                else:
                    (unfetched if isinstance(found, Unfetched) else left_out).append(found)
            report("pictures", len(items) + len(left_out) + len(unfetched), info.labeled_tasks)
            # Not each of a million is to be waited for when their server is down.
            _require_most(unfetched, max(info.labeled_tasks, len(items) + len(unfetched)))
    _require_most(unfetched, len(items) + len(unfetched))
    classes = tuple(label.name for label in control.labels)
    manifest = Manifest.of(project, control.kind, classes, items, [*left_out, *unfetched])
    return Fetched(info, control, manifest, tuple(unfetched))


def _require_most(unfetched: list[LeftOut], total: int) -> None:
    if too_many(len(unfetched), total):
        raise MediaError(
            f"{len(unfetched)} of the project's pictures could not be fetched, the first because: {unfetched[0].reason}"
        )


def _read(hub: Hub, project: ProjectKey, control: Control, cache: PictureCache, task: Json) -> Item | LeftOut:
    task_id = int(task["id"])
    truth = labels_of(control, task.get("annotations") or [])
    if truth.reason:
        return LeftOut(task_id, truth.reason)
    url = picture_url(control, task)
    if url is None:
        return LeftOut(task_id, f"no {control.data_key!r} in its data")
    picture = cache.find(project, url)
    try:
        picture = picture or _fetch_picture(hub, project, cache, url, task_id)
    except Unreadable as error:
        return LeftOut(task_id, f"{shown(url)}: {error}")
    except MediaError as error:
        return Unfetched(task_id, str(error))
    return Item(task_id, picture, truth.labels)


def _fetch_picture(hub: Hub, project: ProjectKey, cache: PictureCache, url: str, task_id: int) -> str:
    content = patiently(lambda: hub.media.read(url, TaskKey(project.id, task_id)))
    decode(content)
    picture = cache.add(content)
    cache.remember(project, url, picture)
    return picture
