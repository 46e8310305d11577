"""Where a run has an endpoint's features from: asked for once for each input and model, and kept in the store."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from labelloop.data.site import Interface
from labelloop.endpoints.features import FeatureCaller, Featured, Row
from labelloop.errors import EndpointError, FeaturesAway, SettingsError, StoreError
from labelloop.loop.headed_endpoint import HeadedEndpoint
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import project_endpoint
from labelloop.models.deployments import FeatureModel, FeatureModels
from labelloop.models.task_contents import Shown, TaskContents
from labelloop.run.context import Context
from labelloop.trainers.handover import RunInputs
from labelloop.types import Failure, Input, Item, Json, ProjectKey, Target, chunks

_log = logging.getLogger(__name__)

_AT_ONCE = 512
"""Items whose features are looked for together."""

_FIRST = 5
"""Labeled items that are tried to see whose features the endpoint gives."""

_ALIKE, _SAME = 0.98, 0.9999
"""Cosine of two features of one input: below the first they are of two models, from the second on of one."""


class EndpointFeatures:
    """Implements FeatureSource: what a project's endpoint gives, by the model that was seen last.

    Not to be shared between threads.
    """

    def __init__(self, hub: Hub, project: ProjectKey, endpoint: HeadedEndpoint, model: FeatureModel) -> None:
        self.name, self.endpoint, self.version = model.name, model.endpoint, model.version
        self.caller, self._width = endpoint.caller, model.width
        self._kept = hub.features(project)(model.name, model.width)

    def rows(self, contents: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Give those that are kept; see FeatureSource."""
        return self._kept.rows(contents)

    def keep(self, found: Mapping[str, Row]) -> None:
        """Keep features by the content (sha256) of their inputs; raises StoreError."""
        if found:
            self._kept.keep(list(found), np.stack(list(found.values())))

    def trouble(self, one: Featured) -> str:
        """Say why features are not of the model that is known; empty where they are."""
        if (one.model_version, len(one.row)) == (self.version, self._width):
            return ""
        return (
            f"the endpoint gave {len(one.row)} features by {one.model_version}, and {self._width} by {self.version} "
            "before: its model was replaced"
        )

    def take(self, context: Context, items: Iterable[Item], total: int) -> Mapping[str, str]:
        """Ask for the features of items that are not kept yet, each input once; see FeatureSource.

        Raises FeaturesAway where the endpoint fails as a whole, or its model was replaced: what it gave is kept.
        """
        refused: dict[str, str] = {}
        remaining, done = iter(items), 0
        while part := list(islice(remaining, _AT_ONCE)):
            unique = {item.content: item for item in part if item.content not in refused}
            _, there = self.rows(list(unique))
            due = [item for item, at_hand in zip(unique.values(), there, strict=True) if not at_hand]
            for few in chunks(due, max(1, self.caller.batch * self.caller.concurrency)):
                refused |= self._take(context, few)
                context.progress("features", done + len(few), total)
            done += len(part)
            context.progress("features", done, total)
        return refused

    def _take(self, context: Context, items: Sequence[Item]) -> dict[str, str]:
        """Ask for features and keep them; maps inputs that have none to the reason."""
        found = _asked(self.caller, list(RunInputs(context, items)))
        named = dict(zip((item.content for item in items), found, strict=True))
        good = {content: one for content, one in named.items() if isinstance(one, Featured)}
        self.keep({content: one.row for content, one in good.items() if not self.trouble(one)})
        refused = {content: one for content, one in named.items() if isinstance(one, Failure)}
        others = [told for one in good.values() if (told := self.trouble(one))]
        if why := [*others, *(one.reason for one in refused.values() if one.endpoint)]:
            raise FeaturesAway(f"the endpoint's features cannot be had now: {why[0]}")
        return {content: one.reason for content, one in refused.items()}


def features_of(hub: Hub, project: ProjectKey) -> EndpointFeatures | None:
    """Give the features of a project's endpoint as they are known; None where it gives none, or was never asked.

    Raises StoreError, and SettingsError as ``project_endpoint``.
    """
    endpoint = project_endpoint(hub, project)
    if endpoint.serves != "features" or not isinstance(endpoint.endpoint, HeadedEndpoint):
        return None
    model = FeatureModels(hub.store, project).read(endpoint.options.endpoint.fingerprint)
    return EndpointFeatures(hub, project, endpoint.endpoint, model) if model.name else None


@contextmanager
def features_kept(hub: Hub, project: ProjectKey, interface: Interface) -> Iterator[Callable[[Json, str], None]]:
    """Keep what a project's endpoint gives while tasks are predicted in bulk, and ask for nothing that is kept.

    Gives what notes which content (sha256) a task shows: no later head needs to read its file again.
    """
    features, found = features_of(hub, project), project_endpoint(hub, project)
    if features is None or not isinstance(found.endpoint, HeadedEndpoint):
        yield lambda _task, _content: None
        return
    shown = _Showing(hub.task_contents(project), interface)
    with found.endpoint.keeping(features):
        yield shown.add
    shown.write()


class _Showing:
    """Notes what tasks show, some hundred at a time."""

    def __init__(self, contents: TaskContents, interface: Interface) -> None:
        self._contents, self._interface = contents, interface
        self._new: list[tuple[Shown, str]] = []

    def add(self, task: Json, content: str) -> None:
        """Take one in; a task whose text is its input shows no file."""
        if address := self._interface.shows(task):
            self._new.append(((int(task["id"]), address), content))
        if len(self._new) >= _AT_ONCE:
            self.write()

    def write(self) -> None:
        """Note those that are not known; where the store is away, their files are read again."""
        try:
            known = self._contents.find([shown for shown, _ in self._new])
            new = [one for one, before in zip(self._new, known, strict=True) if one[1] != before]
            if new:
                self._contents.note([shown for shown, _ in new], [content for _, content in new])
        except StoreError as error:
            _log.warning("what %d tasks show is not kept, and is read again: %s", len(self._new), error)
        self._new = []


def look_at_features(hub: Hub, project: ProjectKey, context: Context, items: Iterable[Item]) -> None:
    """See by one labeled item whose features the endpoint gives now, and note it; nothing where it gives none.

    So a model that was replaced behind it is noticed, under the same version, too. Raises FeaturesAway, StoreError, and
    SettingsError where the first few items have no features.
    """
    found = project_endpoint(hub, project)
    if found.serves != "features" or not isinstance(found.endpoint, HeadedEndpoint):
        return
    endpoint, models = found.endpoint, FeatureModels(hub.store, project)
    known, reason = models.read(found.options.endpoint.fingerprint), ""
    for item in islice(items, _FIRST):
        asked = RunInputs(context, [item])[0]
        one = _asked(endpoint.caller, [asked])[0]
        if isinstance(one, Failure):
            reason = one.reason
            continue
        seen = replace(known, version=one.model_version, width=len(one.row))
        if (seen.version, seen.width) != (known.version, known.width):
            seen = replace(seen, change=0)
        elif _was_replaced(EndpointFeatures(hub, project, endpoint, known), item, asked, one.row):
            seen = replace(seen, change=known.change + 1)
        if seen != known:
            _log.info("project %s: its endpoint gives %d features by %s", project, seen.width, seen.version)
            models.write(seen)
        hub.state(project).note("head", "")
        return
    raise SettingsError(
        f"endpoint {endpoint.name} gave no features of the first labeled items: {reason}. `labelloop probe` shows "
        "where they are in its answer, and what to set"
    )


def _asked(caller: FeatureCaller, inputs: Sequence[Input]) -> list[Featured | Failure]:
    try:
        return caller.invoke(inputs, Target(features=True))
    except EndpointError as error:
        raise FeaturesAway(f"the endpoint's features cannot be had now: {error}") from error


def _was_replaced(features: EndpointFeatures, item: Item, asked: Input, row: Row) -> bool:
    """Whether an input has other features than those that are kept, and has them again when it is asked once more."""
    (kept,), (there,) = features.rows([item.content])
    if not there or _cosine(kept, row) >= _ALIKE:
        return False
    again = _asked(features.caller, [asked])[0]
    if isinstance(again, Featured) and _cosine(again.row, row) >= _SAME:
        return True
    _log.warning("an endpoint gives one input other features each time: no head learns from such")
    return False


def _cosine(one: Row, other: Row) -> float:
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length else float(np.array_equal(one, other))
