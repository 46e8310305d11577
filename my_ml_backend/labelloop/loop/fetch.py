"""From Label Studio's annotations to labels that a run learns from: the truth, read whole."""

from collections.abc import Iterator
from dataclasses import dataclass

from labelloop.data.cache import PictureCache
from labelloop.data.listing import Record
from labelloop.data.manifest import Manifest
from labelloop.loop.hub import Hub
from labelloop.run.context import Labeled
from labelloop.run.fetch import PictureFetcher
from labelloop.studio.client import ProjectInfo
from labelloop.studio.control import Control, parse_control, picture_url
from labelloop.studio.truth import labels_of
from labelloop.types import Json, LeftOut, Progress, ProjectKey, TaskKey

_NAMED = 3
"""Pictures that could not be read and are named with their reasons."""


@dataclass(frozen=True, slots=True)
class Annotated:
    """A project as it was when its annotations were read; ``info`` is from just before, so that nothing is missed."""

    info: ProjectInfo
    control: Control
    labeled: Labeled

    @property
    def unread(self) -> str:
        """Say which pictures of labeled tasks could not be fetched, and why; empty when all were."""
        missing = self.labeled.missing
        if not missing:
            return ""
        count = len(missing)
        named = "; ".join(f"task {one.task}: {one.reason}" for one in missing[:_NAMED])
        more = f"; and {count - _NAMED} more" if count > _NAMED else ""
        which = "1 picture of a labeled task" if count == 1 else f"{count} pictures of labeled tasks"
        return f"{which} could not be read: {named}{more}. Mend their addresses, or delete these tasks"


def read_annotations(hub: Hub, project: ProjectKey, progress: Progress) -> Annotated:
    """Read all labeled tasks and their pictures; what cannot be used is listed in the manifest with its reason.

    Raises StudioError, LabelConfigError, and MediaError when so many pictures could not be fetched that the place they
    come from must be out of order.
    """
    info = hub.studio.project(project.id)
    control = parse_control(info.label_config)
    fetcher = PictureFetcher(
        lambda record: hub.media.read(record.uri, TaskKey(project.id, record.task)),
        PictureCache(hub.settings.directory / "cache" / "pictures"),
        project,
    )
    fetched = fetcher.fetch(_records(hub, project, control), info.labeled_tasks, progress)
    classes = tuple(label.name for label in control.labels)
    left_out = [*fetched.left_out, *fetched.missing]
    manifest = Manifest.of(project, control.kind, classes, fetched.items, left_out)
    return Annotated(info, control, Labeled(manifest, missing=tuple(fetched.missing)))


def _records(hub: Hub, project: ProjectKey, control: Control) -> Iterator[Record | LeftOut]:
    for task in hub.studio.labeled_tasks(project.id):
        yield _record(control, task)


def _record(control: Control, task: Json) -> Record | LeftOut:
    number = int(task["id"])
    truth = labels_of(control, task.get("annotations") or [])
    if truth.reason:
        return LeftOut(number, truth.reason)
    url = picture_url(control, task)
    return LeftOut(number, f"no {control.data_key!r} in its data") if url is None else Record(url, truth.labels, number)
