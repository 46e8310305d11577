"""Label Studio as a site: one of its projects, by its API."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from labelloop.data.listing import Record
from labelloop.data.site import Counters, Example, Labeling
from labelloop.errors import StudioError
from labelloop.sources.media import Media
from labelloop.studio.backends import MLBackend
from labelloop.studio.client import Studio
from labelloop.studio.control import Control, parse_control, picture_url
from labelloop.studio.mapping import label_finder
from labelloop.studio.votes import label_votes
from labelloop.types import Json, TaskKey

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelStudioSite:
    """One project of Label Studio. ``backend`` finds the ML backend that is this one, None where there is none."""

    studio: Studio
    media: Media
    project: int
    backend: Callable[[], MLBackend | None]

    def labeling(self) -> Labeling:
        """Read the project's label config and counters."""
        info = self.studio.project(self.project)
        control = parse_control(info.label_config)
        return Labeling(
            kind=control.kind,
            choice=control.choice,
            classes=tuple(label.name for label in control.labels),
            counters=Counters(info.tasks, info.labeled_tasks, info.annotations, info.skipped),
            rename=label_finder(control.labels),
            examples=lambda: self._examples(control),
        )

    def read(self, record: Record) -> bytes:
        """Read the picture of a task."""
        return self.media.read(record.uri, TaskKey(self.project, record.task))

    def waiting(self, version: str) -> Iterator[Json]:
        """Yield the unlabeled tasks (``id``, ``data``) without a prediction of exactly this version."""
        return self.studio.unpredicted_tasks(self.project, version)

    def count_waiting(self, version: str) -> int:
        """Count them, but for those whose versions merely contain this one."""
        return self.studio.count_unpredicted(self.project, version)

    def put_predictions(self, predictions: Sequence[Json]) -> None:
        """Import predictions in one call."""
        self.studio.import_predictions(self.project, predictions)

    def announce(self, version: str) -> None:
        """Name our ML backend after the version, so that Label Studio orders tasks by its scores."""
        backend = self.backend()
        if backend is None:
            raise StudioError(
                f"none of the ML backends of project {self.project} is known as this one, so tasks are not ordered by "
                f"the scores of {version}: run `labelloop connect --project {self.project} --url ADDRESS`"
            )
        if backend.title != version or self.studio.project(self.project).model_version != version:
            self.studio.set_title(backend, version)
            _log.info("project %d: title of ML backend %d is now %s", self.project, backend.id, version)

    def _examples(self, control: Control) -> Iterator[Example]:
        for task in self.studio.labeled_tasks(self.project):
            url, votes = picture_url(control, task), label_votes(control, task.get("annotations") or [])
            reason = "" if url else f"no {control.data_key!r} in its data"
            where, text = ("", url or "") if control.config.inline else (url or "", "")
            yield Example(int(task["id"]), where, votes, reason, text)
