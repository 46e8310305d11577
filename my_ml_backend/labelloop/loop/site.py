"""What a project's annotators have labeled, with its pictures, as a run learns from it."""

from labelloop.data.cache import PictureCache
from labelloop.data.manifest import Manifest
from labelloop.data.site import Labeling
from labelloop.kinds.base import find
from labelloop.loop.hub import Hub
from labelloop.loop.registry import site_of
from labelloop.run.context import Labeled
from labelloop.run.fetch import InputFetcher
from labelloop.types import Progress, ProjectKey

_NAMED = 3
"""Pictures that could not be read and are named with their reasons."""


def read_labels(hub: Hub, project: ProjectKey, labeling: Labeling, progress: Progress) -> Labeled:
    """Read all labeled tasks and their pictures; what cannot be used is listed in the manifest with its reason.

    Raises StudioError, and MediaError when so many pictures could not be fetched that the place they come from must be
    out of order.
    """
    site = site_of(hub, project.id)
    kind, cache = find(labeling.kind), PictureCache(hub.settings.directory / "cache" / "pictures")
    fetcher = InputFetcher(site.read, cache, project, kind.check)
    fetched = fetcher.fetch(labeling.records(kind.truth), labeling.counters.labeled, progress)
    left_out = [*fetched.left_out, *fetched.missing]
    manifest = Manifest.of(project, labeling.choice, labeling.classes, fetched.items, left_out, kind.name)
    return Labeled(manifest, missing=tuple(fetched.missing))


def unread(labeled: Labeled) -> str:
    """Say which pictures of labeled tasks could not be fetched, and why; empty when all were."""
    if not labeled.missing:
        return ""
    count = len(labeled.missing)
    named = "; ".join(f"task {one.task}: {one.reason}" for one in labeled.missing[:_NAMED])
    more = f"; and {count - _NAMED} more" if count > _NAMED else ""
    which = "1 picture of a labeled task" if count == 1 else f"{count} pictures of labeled tasks"
    return f"{which} could not be read: {named}{more}. Mend their addresses, or delete these tasks"
