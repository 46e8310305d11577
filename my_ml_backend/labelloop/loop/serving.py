"""What predicts for a project: its endpoint with a version, and how it is asked.

The version is what ``/setup`` answers, instantly, wherever the store is. It is the one the loop announced. For an
endpoint with a model of its own the loop publishes none, and ``/setup`` may not ask it: there the version follows the
answers. When the model behind such an endpoint is replaced, the first new answer says so, and Label Studio asks anew.
So it is for a bootstrap endpoint, which predicts as long as no version is announced, and where the project's is down.
The store gets no version of a project that the sweep has not found in Label Studio: anybody may ask for predictions.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from labelloop.data.labeling import Subject
from labelloop.data.site import Interface
from labelloop.endpoints.answers.read import NONE
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import StoreError
from labelloop.loop import project_registry
from labelloop.loop.hub import Hub
from labelloop.loop.order import read_order
from labelloop.loop.project_endpoint import (
    ProjectEndpoint,
    bootstrap_of,
    endpoint_by,
    project_endpoint,
)
from labelloop.loop.state import Shared
from labelloop.models.deployments import Deployment, Deployments, ServedVersion
from labelloop.types import (
    FIRST_LABELS,
    NO_VERSION,
    Answer,
    Assignment,
    Failure,
    Input,
    Json,
    ProjectKey,
    Prompted,
    Target,
)

_log = logging.getLogger(__name__)


_NOTHING = Deployment()
"""Nothing is brought anywhere."""


@dataclass(frozen=True, slots=True)
class Serving(ProjectEndpoint):
    """What predicts for a project; ``version`` is NO_VERSION before the loop's first.

    Where tasks have an order by then, it is FIRST_LABELS, and nothing predicts, either. ``deployment`` is what was last
    seen of an endpoint that versions are brought to. ``learned`` says that annotations are learned from, which those of
    an endpoint with a model of its own are not. ``itself`` says that the version is of the endpoint's own model, though
    it gives features for heads of the store.
    """

    version: str
    deployment: Deployment = _NOTHING
    learned: bool = True
    itself: bool = False

    @property
    def by_name(self) -> bool:
        """Whether each request says which version of the store is to answer."""
        return self.serves == "store" or (self.serves == "features" and not self.itself)

    @property
    def subject(self) -> Subject | None:
        """What its answers are of: what the loop trains for alone; a foreign container's (None) may be of anything."""
        return self.options.subject if self.by_name else None

    def target_of(self, project: ProjectKey) -> Target:
        """Say what the endpoint is asked for, of that project."""
        if self.by_name:
            return Target(project, self.version)
        return Target(project, None, self.deployment.answers, bool(self.deployment.between))


def serving(hub: Hub, project: ProjectKey, version: str | None = None) -> Serving:
    """Say what predicts for a project, in one round trip to Redis; works without it, and asks no endpoint.

    ``version`` is for who knows it, as for a champion before it is announced. Raises StoreError, and SettingsError for
    impossible settings or ``extra_params``.
    """
    shared = hub.state(project).shared()
    found = endpoint_by(hub, project, shared)
    learned = found.serves != "alone"
    deployment = _deployment(hub, project, shared, found) if found.serves == "deployed" else _NOTHING
    if version is not None:
        return Serving(found.options, found.endpoint, version, deployment, learned)
    announced = _announced(hub, project, shared) if learned else NO_VERSION
    versioned = found.serves in ("store", "features") or bool(deployment.brought)
    if versioned and announced not in (NO_VERSION, FIRST_LABELS):
        return Serving(found.options, found.endpoint, announced, deployment)
    if other := bootstrap_of(hub, found):
        found, deployment = other, _NOTHING
    elif announced == FIRST_LABELS or not _answers(found):
        return Serving(found.options, found.endpoint, announced, deployment)
    # What no version was brought to yet may hold a model of its own all the same.
    reported = NO_VERSION if found.serves == "store" else _served(hub, project, shared, found)
    return Serving(found.options, found.endpoint, reported, deployment, learned, itself=found.serves == "features")


def _answers(found: ProjectEndpoint) -> bool:
    """Whether an endpoint may have answers of its own: one that gives features may be said to have none."""
    return found.serves != "features" or found.options.endpoint.response != NONE


def fallback(hub: Hub, project: ProjectKey, by: ProjectEndpoint) -> Serving | None:
    """Say what predicts where a project's endpoint has failed as a whole; None where nothing does. Raises StoreError.

    It is asked for when that has happened, for it costs another round trip to Redis.
    """
    found = bootstrap_of(hub, by)
    if found is None:
        return None
    return Serving(found.options, found.endpoint, _served(hub, project, hub.state(project).shared(), found))


def bootstrap(hub: Hub, project: ProjectKey) -> Serving | None:
    """Say what predicts until a project has a version that beats it; None where nothing does. Raises StoreError."""
    found = project_endpoint(hub, project)
    if found.serves != "features" or found.options.bootstrap is not None:
        return fallback(hub, project, found)
    if not _answers(found):
        return None
    version = _served(hub, project, hub.state(project).shared(), found)
    return Serving(found.options, found.endpoint, version, itself=True)


def announced_version(hub: Hub, project: ProjectKey) -> str:
    """Say which version ``/setup`` answers, NO_VERSION before the first; raises what ``serving`` raises."""
    return serving(hub, project).version


def note_served(hub: Hub, project: ProjectKey, spec: EndpointSpec, reported: str, versions: Iterable[str]) -> str:
    """Note the version of most answers when it is not the one ``/setup`` reports; gives what it reports from now on.

    A failure is logged, not raised.
    """
    counted = Counter(versions).most_common(1)
    if not counted or counted[0][0] == reported:
        return reported
    version, mark = counted[0][0], spec.fingerprint
    _log.info("project %s: its endpoint answers with version %s", project, version)
    try:
        if project_registry.is_kept(hub, project):
            ServedVersion(hub.store, project).write(mark, version)
    except StoreError as error:
        _log.warning("version %s of project %s is not kept: %s", version, project, error)
    hub.state(project).serve(mark, version)
    return version


def keep_served(hub: Hub, project: ProjectKey) -> None:
    """Keep in the store what Redis knows of the version of an endpoint's own model; raises StoreError."""
    shared = hub.state(project).shared()
    found = endpoint_by(hub, project, shared)
    found = bootstrap_of(hub, found) or found
    if found.serves == "store" or shared is None:
        return
    mark, first = found.options.endpoint.fingerprint, found.options.endpoint.version or found.endpoint.name
    cached, stored = shared.served.get(mark), ServedVersion(hub.store, project)
    if cached is not None and cached not in (first, stored.read(mark)):
        stored.write(mark, cached)


def note_deployment(hub: Hub, project: ProjectKey, before: Deployment, after: Deployment) -> Deployment:
    """Keep what an endpoint was seen to serve now, in the store and for every process; gives it.

    Raises Fenced where another worker has looked since ``before``.
    """
    if after != before:
        Deployments(hub.store, project).replace(before, after)
    hub.state(project).deployed(after.to_json())
    return after


def _deployment(hub: Hub, project: ProjectKey, shared: Shared | None, found: ProjectEndpoint) -> Deployment:
    """Say what was last seen of an endpoint that versions are brought to: by Redis, else by the store."""
    place = found.options.endpoint.place
    if shared is not None and shared.deployed is not None:
        held = Deployment.parse(shared.deployed)
        if held.place == place:
            return held
    deployment = Deployments(hub.store, project).read(place)
    if shared is not None:
        hub.state(project).deployed(deployment.to_json(), fresh=False)
    return deployment


def _announced(hub: Hub, project: ProjectKey, shared: Shared | None) -> str:
    if shared is not None and shared.announced is not None:
        return shared.announced
    version = hub.pointer(project).read().announced or _unannounced(hub, project)
    if shared is not None:
        # A newer one that was announced since it was read is not overwritten.
        hub.state(project).announce(version, fresh=False)
    return version


def _unannounced(hub: Hub, project: ProjectKey) -> str:
    """Say what is answered before a version is announced: whether tasks have an order by then is in the store."""
    order = read_order(hub.store, project, FIRST_LABELS) if hub.settings.first_labels else None
    return FIRST_LABELS if order is not None and order.scores else NO_VERSION


def _served(hub: Hub, project: ProjectKey, shared: Shared | None, by: ProjectEndpoint) -> str:
    """Say which version an endpoint serves: the one it answered with last, else the one it was given, else its name.

    A version that it names itself goes before one that it was given, in its answers too.
    """
    mark = by.options.endpoint.fingerprint
    if shared is not None and mark in shared.served:
        return shared.served[mark]
    version = ServedVersion(hub.store, project).read(mark) or by.options.endpoint.version or by.endpoint.name
    if shared is not None:
        hub.state(project).serve(mark, version)
    return version


class OwnAnswers(Protocol):
    """A version that this process asks itself, in the place of its endpoint. Safe to share between threads."""

    def calls(self, tasks: Iterable[Json], batch: int) -> Iterator[list[Json]]:
        """Cut tasks into calls: many that it answers, at most ``batch`` of those that are left to the endpoint."""

    def at_hand(self, tasks: Sequence[Json]) -> list[Json]:
        """Name the tasks that it answers without the endpoint, as far as that is known before they are read."""

    def known(self, tasks: Sequence[Json]) -> Sequence[Input | None]:
        """Give what of each task is asked about where nothing needs to be read for that; None for the others."""

    def answers(self, inputs: Sequence[Input]) -> Sequence[Answer | Failure | None]:
        """Give one answer per input, in order; None where the endpoint is to be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionPlan(Serving):
    """All that one request needs, put together once.

    ``version`` is what ``/setup`` reports: an endpoint that serves the store is asked for it, another one is not.
    ``prompt`` is what the annotator drew, where one waits, ``assignment`` what the endpoint is to say of each task;
    ``mark`` is the same for plans that predict the same, given one version. ``ordered`` says that scores are those of
    an order (loop/order.py). ``own`` answers before the endpoint does, in bulk.
    """

    hub: Hub
    project: ProjectKey
    interface: Interface
    prompt: tuple[Prompted, ...]
    assignment: Assignment
    mark: bytes
    ordered: bool
    own: OwnAnswers | None = None

    @property
    def target(self) -> Target:
        """What the endpoint is asked for."""
        return self.target_of(self.project)

    @property
    def expected(self) -> str:
        """The version that answers are most likely of; none in particular while two of them answer."""
        return "" if self.deployment.between else self.deployment.version or self.version

    def key(self, asked: Input, content: bytes) -> bytes:
        """Name what is asked, for the cache: by what is sent, and all but a version that decides what comes of it.

        ``content`` is the sha256 of the bytes that are sent.
        """
        sent = hashlib.sha256(self.mark)
        # Versions of ours read files by what is in them; one that is not read has no type.
        media_type = "" if self.serves == "store" else asked.media_type
        for part in (media_type, asked.text or "", asked.uri or ""):
            sent.update(hashlib.sha256(part.encode(errors="surrogatepass")).digest())
        sent.update(content)
        return sent.digest()


def prediction_plan(
    hub: Hub, project: ProjectKey, by: Serving, interface: Interface, context: object = None
) -> PredictionPlan:
    """Make the plan; ``context`` is what an interactive request carries.

    ``interface`` is of what is trained for alone where the endpoint serves the store: a version knows no other labels.
    """
    options = by.options
    prompt = interface.prompts(context) if context else ()
    rendering = options.rendering
    decides = (
        str(project),
        interface.text,
        options.endpoint.fingerprint,
        (rendering.threshold, sorted(rendering.label_map.items()), rendering.uncertainty, rendering.tag),
        repr(prompt),
    )
    mark = hashlib.sha256(json.dumps(decides).encode()).digest()
    return PredictionPlan(
        options,
        by.endpoint,
        by.version,
        by.deployment,
        by.learned,
        by.itself,
        hub=hub,
        project=project,
        interface=interface,
        prompt=prompt,
        assignment=interface.assignment,
        mark=mark,
        # Who waits with a smart tool in hand has chosen the task, and wants to see what is predicted.
        ordered=by.learned and not context,
    )
