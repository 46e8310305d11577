"""Label Studio as a site: its projects, by its API."""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import ClassVar

from labelloop.data.labeling import FIRST, Labeling, Subject, Touched
from labelloop.data.listing import Record
from labelloop.data.site import Judged, Overview, SiteConnection, Storage, TaskMoments
from labelloop.errors import LabelConfigError, SettingsError, StudioError
from labelloop.kinds.base import kind_of
from labelloop.models.projects import spellings
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.sources.urls import Home, shown
from labelloop.studio.backends import MLBackend, is_ours, own_backend, own_webhooks, secret_of, wanted_webhook
from labelloop.studio.change_feed import LabelStudioFeed
from labelloop.studio.client import ProjectInfo, Studio
from labelloop.studio.data_manager import put_tab, read_these
from labelloop.studio.interface import LabelStudioInterface, shown_instead
from labelloop.studio.label_config import LabelConfig, parse_label_config, parse_trained
from labelloop.studio.mapping import label_finder
from labelloop.studio.results.drawn import drawn_with
from labelloop.studio.storages import label_at, read_storages, sync
from labelloop.studio.task_files import TaskFiles
from labelloop.studio.votes import READERS, Reader, begun_with, result_reader
from labelloop.types import ANNOTATIONS, Json, TaskKey
from labelloop.webhook_secrets import WebhookSecrets

_log = logging.getLogger(__name__)

_FEW, _COUNTED, _OF_PREDICTED = 50, 500, 9
"""Predictions that may be stored one by one. An import makes Label Studio count anew what each task of the project has:
500 tasks take it as long as one call does, and one with predictions as long as 9 more tasks (docs/performance.md).
"""

_SAVED_SECONDS = 1.0
"""A new annotation is noted by Label Studio as made, and up to a millisecond later as changed."""


class LabelStudioTool:
    """The Label Studio of the settings. Safe to share between threads, not between processes; asked when needed."""

    needed: ClassVar[tuple[str, ...]] = (
        "label_studio_sdk.base_client",
        "label_studio_sdk.tokens.client",
        "label_studio_sdk.label_interface.interface",
    )

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._making = threading.Lock()
        self._made: Studio | None = None

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """Its names by the address of the settings; raises SettingsError where that is none."""
        try:
            return spellings(self._settings.label_studio_url)
        except ValueError:
            raise SettingsError("LABEL_STUDIO_URL is not of the form http://host:port") from None

    @property
    def studio(self) -> Studio:
        """Its client; raises SettingsError without an API key."""
        with self._making:
            if self._made is None:
                self._made = Studio.of(self._settings)
            return self._made

    @property
    def home(self) -> Home | None:
        """The files of its tasks; None without an API key."""
        return TaskFiles.of(self.studio, self._settings) if self._settings.label_studio_api_key else None

    def site(self, project: int, media: Media, called_at: Callable[[], str | None]) -> "LabelStudioSite":
        """Give one of its projects; ``called_at`` tells which of its ML backends is this one."""
        return LabelStudioSite(self.studio, media, project, called_at, WebhookSecrets(self._settings))

    def model_run(self, project: int, media: Media) -> None:
        """Give none: it has projects alone."""

    def close(self) -> None:
        """Close the connections."""
        if self._made is not None:
            self._made.close()


@dataclass(eq=False)
class LabelStudioSite:
    """One project of Label Studio; ``called_at`` is the address by which the ML backend that is this one is known."""

    studio: Studio
    media: Media
    project: int
    called_at: Callable[[], str | None]
    secrets: WebhookSecrets = WebhookSecrets(Settings())  # noqa: RUF009 - immutable
    _predicts_for: str | None = field(default=None, init=False)
    """The label config that ``interface`` read last, if any: predictions are made for that."""

    def overview(self) -> Overview:
        """Read the project's identity and counters, but for the number of labeled tasks."""
        info, at = self.studio.counted(self.project)
        return Overview(info.identity, info.counters, info.model_version, info.title, info.label_config, at, info.order)

    def connection(self) -> SiteConnection | None:
        """Find our ML backend among the project's; Label Studio calls its ``/setup`` while it is asked."""
        backend = self._backend()
        return None if backend is None else SiteConnection(backend.extra_params)

    def interface(self, subject: Subject | None = None) -> LabelStudioInterface:
        """Read the project's label config."""
        config = self.studio.counted(self.project)[0].label_config
        self._predicts_for = config
        return LabelStudioInterface.of(config, self.media, self.project, subject)

    def labeling(self, subject: Subject = FIRST) -> Labeling:
        """Read the project's label config and counters."""
        info, at = self.studio.counted(self.project)
        try:
            config = parse_trained(info.label_config, subject)
        except LabelConfigError:
            if subject.tag or not subject.foreign:
                raise
            return self._of_annotations(info, at)
        tag = config.tags[0]
        kind, find = kind_of(tag.tag, tag.target.tag), label_finder(tag.labels, labels_first=True)
        feed = LabelStudioFeed(
            self.studio, self.project, config.target, READERS[kind.says](config), info.label_config, at
        )
        return Labeling(
            kind=kind.name,
            choice=tag.choice if kind.says == "labels" else "multiple",
            classes=tuple(label.name for label in tag.labels),
            counters=info.counters,
            rename=label_finder(tag.labels),
            examples=feed.examples,
            drawn=lambda results: drawn_with(tag, find, results).regions if kind.says == "regions" else (),
            asked=tag.shown,
            others=tuple(dict.fromkeys(other.shown for other in config.others)),
            named=feed.examples,
            feed=feed,
        )

    def _of_annotations(self, info: ProjectInfo, at: str) -> Labeling:
        """Read a label config of which no kind of ours learns anything: all of it counts."""
        config = parse_label_config(info.label_config)
        labels = tuple(label for tag in config.tags for label in tag.labels)
        feed = LabelStudioFeed(self.studio, self.project, config.target, result_reader(config), info.label_config, at)
        return Labeling(
            kind=ANNOTATIONS,
            choice="multiple",
            classes=tuple(dict.fromkeys(label.name for label in labels)),
            counters=info.counters,
            rename=label_finder(labels),
            examples=feed.examples,
            instead=lambda content: shown_instead(config.target.tag, content),
            asked=", ".join(tag.shown for tag in config.tags),
            feed=feed,
        )

    def judged(self, since: str, subject: Subject = FIRST) -> Iterator[Judged]:
        """Read the annotated tasks that changed since a moment, with their predictions."""
        _, read = _reader(self.studio.counted(self.project)[0].label_config, subject)
        for task in self.studio.judged_tasks(self.project, since):
            annotations = task["annotations"]
            begun = begun_with(annotations, task["predictions"], read)
            # They may all have been deleted while they were asked for.
            yield Judged(int(task["id"]), max((one["updated_at"] for one in annotations), default=since), begun)

    def history(self) -> Iterator[TaskMoments]:
        """Read when annotations were made and changed last; what was deleted, and earlier edits, nobody knows."""
        for task in self.studio.task_moments(self.project):
            said = [one for one in task["annotations"] if not one["was_cancelled"]]
            moments = tuple(moment for one in said for moment in _moments(one))
            if moments:
                yield TaskMoments(int(task["id"]), moments)

    def changed(self, since: str, subject: Subject = FIRST, *, annotated: bool = True) -> Iterator[Touched]:
        """Read the tasks that changed since a moment; where there are none, the label config is not asked for."""
        feed: LabelStudioFeed | None = None
        found = (
            self.studio.annotated_tasks(self.project, since)
            if annotated
            else self.studio.emptied_tasks(self.project, since, since)
        )
        for task in found:
            feed = feed or self._feed(subject)
            yield feed.touched(task)

    def read(self, record: Record) -> bytes:
        """Read the picture of a task."""
        return self.media.read(record.uri, TaskKey(self.project, record.task))

    def waiting(self, version: str) -> Iterator[Json]:
        """Yield the unlabeled tasks (``id``, ``data``) without a prediction of exactly this version."""
        return self.studio.unpredicted_tasks(self.project, version)

    def some_waiting(self, version: str, places: int, each: int) -> Iterator[Json]:
        """Yield some of them, from so many places."""
        return self.studio.some_unpredicted(self.project, version, places, each)

    def count_waiting(self, version: str) -> int:
        """Count them, but for those whose versions merely contain this one."""
        return self.studio.count_unpredicted(self.project, version)

    def all_tasks(self, after: int = 0) -> Iterator[Json]:
        """Yield all tasks (``id``, ``data``) after that one."""
        return self.studio.tasks(self.project, after=after)

    def tasks(self, tasks: Sequence[int]) -> Iterator[Json]:
        """Yield these tasks (``id``, ``data``)."""
        return read_these(self.studio.api, self.project, tasks)

    def put_predictions(self, predictions: Sequence[Json]) -> None:
        """Import predictions in one call; few of a large project one by one, which takes Label Studio less."""
        if len(predictions) <= _FEW and self._counts_longer(len(predictions) * _COUNTED):
            self.studio.add_predictions(self.project, predictions)
        else:
            self.studio.import_predictions(self.project, predictions)

    def _counts_longer(self, tasks: int) -> bool:
        """Whether an import makes Label Studio count, while it waits, what is as much as so many tasks without any."""
        info = self.studio.counted(self.project)[0]
        there = info.counters.tasks
        if self._predicts_for not in (None, info.label_config):
            # Only an import compares predictions with the label config.
            return False
        # The other two are asked only where they may decide.
        if tasks > (1 + _OF_PREDICTED) * there or self.studio.is_enterprise():
            return False
        predictions = sum(self.studio.model_versions(self.project).values())
        return tasks <= there + _OF_PREDICTED * min(there, predictions)

    def outdated(self, versions: Collection[str]) -> Iterator[int]:
        """Yield the ids of these versions' predictions for unlabeled tasks."""
        return self.studio.predictions_by(self.project, frozenset(versions))

    def remove_prediction(self, prediction: int) -> None:
        """Remove a prediction."""
        self.studio.remove_prediction(prediction)

    def announce(self, version: str) -> None:
        """Name our ML backend after the version, so that Label Studio orders tasks by its scores."""
        backend = self._backend()
        if backend is None:
            raise StudioError(
                f"none of the ML backends of project {self.project} is known as this one, so tasks are not ordered by "
                f"the scores of {version}: run `labelloop connect --project {self.project} --url ADDRESS`"
            )
        if backend.title != version or self.studio.counted(self.project)[0].model_version != version:
            self.studio.set_title(backend, version)
            _log.info("project %d: title of ML backend %d is now %s", self.project, backend.id, version)

    def show(self, title: str, tasks: Sequence[int]) -> str:
        """Make a tab of these tasks in the Data Manager."""
        return put_tab(self.studio.api, self.project, title, tasks)

    def storages(self) -> list[Storage]:
        """List the buckets of its target and source storages."""
        return read_storages(self.studio.api, self.project)

    def label_at(self, address: str) -> str:
        """Name the annotation or task that an object of a target storage is called by."""
        return label_at(address)

    def take_in(self, storage: Storage) -> bool:
        """Have Label Studio sync a source storage."""
        return sync(self.studio.api, storage)

    def mend_webhook(self, agreed: Callable[[], bool]) -> str:
        """Send our login again where Label Studio's is refused, and our secret where the webhook has another one."""
        backend = self._backend()
        if backend is None:
            return ""
        if backend.state != "Connected" and "401" in backend.error and self.studio.auth.user:
            self.studio.update_ml_backend(backend, backend.url, backend.title)
            _log.info("project %d: ML backend %d has this login again", self.project, backend.id)
        return self._renew_secret(backend, agreed)

    def _renew_secret(self, backend: MLBackend, agreed: Callable[[], bool]) -> str:
        hooks, wanted = own_webhooks(self.studio.webhooks(self.project), backend.url), self.secrets.of(self.project)
        remedy = (
            "so corrections are noticed by the sweep alone: run "
            f"`labelloop connect --project {self.project} --url {shown(backend.url)}`"
        )
        if not hooks:
            return f"Label Studio has no webhook to {shown(backend.url)}, {remedy}"
        ours = [hook for hook in hooks if is_ours(hook)]
        if not ours:
            return f"webhook {hooks[0].id} of Label Studio carries no secret, {remedy}"
        if secret_of(ours[0].spec) != wanted and agreed():
            headers = wanted_webhook(backend.url, wanted, ours[0].spec).headers
            self.studio.update_webhook(ours[0], replace(ours[0].spec, headers=headers))
            _log.info("project %d: webhook %d has the secret of today", self.project, ours[0].id)
        return ""

    def _backend(self) -> MLBackend | None:
        # Asked first: Label Studio calls each backend meanwhile, which is how the address gets known.
        backends = self.studio.ml_backends(self.project)
        return own_backend(backends, self.called_at())

    def _feed(self, subject: Subject) -> LabelStudioFeed:
        info, at = self.studio.counted(self.project)
        config, read = _reader(info.label_config, subject)
        return LabelStudioFeed(self.studio, self.project, config.target, read, info.label_config, at)


def _moments(annotation: Json) -> tuple[float, ...]:
    """Give when an annotation was made and, where somebody has edited it, when it changed last (Unix seconds)."""
    told = [annotation.get(name) for name in ("created_at", "updated_at")]
    moments = [datetime.fromisoformat(moment).timestamp() for moment in told if moment]
    return tuple(moments[:1] + [at for at in moments[1:] if at > moments[0] + _SAVED_SECONDS])


def _reader(label_config: str, subject: Subject) -> tuple[LabelConfig, Reader]:
    """Make what reads annotations: all that they say, or what a kind of ours would learn of them."""
    try:
        config = parse_trained(label_config, subject)
    except LabelConfigError:
        config = parse_label_config(label_config)
        return config, result_reader(config)
    tag = config.tags[0]
    return config, READERS[kind_of(tag.tag, tag.target.tag).says](config)
