"""What serves a project: its ML backend in Label Studio, its options, its endpoint, their version, and how it is asked.

Options are the ``extra_params`` of the ML backend: ``/setup`` brings them, and every process reads them in Redis, under
the key that Label Studio's own 2.x server gives them. When Redis is gone, what this process heard last stands; when it
was wiped, Label Studio has them.

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
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from labelloop.data.site import Interface
from labelloop.deployers.opening import check_deployer
from labelloop.endpoints.base import Endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import OptionsError, SettingsError, StoreError
from labelloop.kinds.base import Kind
from labelloop.loop import registry
from labelloop.loop.hub import Hub
from labelloop.loop.options import Options, options_of
from labelloop.loop.state import Shared
from labelloop.models.champion import ChampionPointer
from labelloop.models.deployments import Deployment, Deployments, ServedVersion
from labelloop.types import NO_VERSION, Input, ProjectKey, Prompted, Target

_log = logging.getLogger(__name__)

Serves = Literal["store", "deployed", "alone"]
"""What an endpoint serves: the store's versions, each request says which; those that a Deployer brings to it; or, with
``alone``, a model of its own, and nothing is trained for it."""


_NOTHING = Deployment()
"""Nothing is brought anywhere."""


def _serves(options: Options, endpoint: Endpoint) -> Serves:
    """Say what an endpoint serves; nothing is ever written to one that no deployer is set for."""
    if options.deployer:
        return "deployed"
    return "store" if endpoint.follows and not options.alone else "alone"


class ProjectEndpoint(NamedTuple):
    """A project's options, and the endpoint they name, open."""

    options: Options
    endpoint: Endpoint

    @property
    def serves(self) -> Serves:
        """What it serves."""
        return _serves(self.options, self.endpoint)


class Serving(NamedTuple):
    """What predicts for a project; ``version`` is NO_VERSION before the loop's first.

    ``deployment`` is what was last seen of an endpoint that versions are brought to.
    """

    options: Options
    endpoint: Endpoint
    version: str
    deployment: Deployment = _NOTHING

    @property
    def serves(self) -> Serves:
        """What it serves."""
        return _serves(self.options, self.endpoint)

    @property
    def trained(self) -> bool:
        """Whether its answers are of what the loop trains for alone; a foreign container's may be of anything."""
        return self.serves == "store"


def serving(hub: Hub, project: ProjectKey, version: str | None = None) -> Serving:
    """Say what predicts for a project, in one round trip to Redis; works without it, and asks no endpoint.

    ``version`` is for who knows it, as for a champion before it is announced. Raises StoreError, and SettingsError for
    impossible settings or ``extra_params``.
    """
    shared = hub.state(project).shared()
    found = open_for(hub, _read(_noted(hub, project, shared)))
    deployment = _deployment(hub, project, shared, found) if found.serves == "deployed" else _NOTHING
    if version is not None:
        return Serving(*found, version, deployment)
    versioned = found.serves == "store" or bool(deployment.brought)
    if versioned and (announced := _announced(hub, project, shared)) != NO_VERSION:
        return Serving(*found, announced, deployment)
    if other := bootstrap_of(hub, found):
        found, deployment = other, _NOTHING
    # What no version was brought to yet may hold a model of its own all the same.
    reported = NO_VERSION if found.serves == "store" else _served(hub, project, shared, *found)
    return Serving(*found, reported, deployment)


def fallback(hub: Hub, project: ProjectKey, by: ProjectEndpoint) -> Serving | None:
    """Say what predicts where a project's endpoint has failed as a whole; None where nothing does. Raises StoreError.

    It is asked for when that has happened, for it costs another round trip to Redis.
    """
    found = bootstrap_of(hub, by)
    return found and Serving(*found, _served(hub, project, hub.state(project).shared(), *found))


def bootstrap(hub: Hub, project: ProjectKey) -> Serving | None:
    """Say what predicts until a project has a version that beats it; None where nothing does. Raises StoreError."""
    return fallback(hub, project, project_endpoint(hub, project))


def bootstrap_of(hub: Hub, found: ProjectEndpoint) -> ProjectEndpoint | None:
    """Give the endpoint that predicts before the first version of a project, and where its own is down.

    None where none is named, and where none is needed: one that serves alone predicts from the beginning.
    """
    options = found.options.bootstrap
    if options is None or found.serves == "alone":
        return None
    return ProjectEndpoint(options, hub.endpoint_of(options.endpoint))


def needless_bootstrap(found: ProjectEndpoint) -> str:
    """Say why a bootstrap endpoint that is named is never asked; empty where it is, or none is named."""
    if found.options.bootstrap is None or found.serves != "alone":
        return ""
    return f"it is not needed: endpoint {found.endpoint.name} has a model of its own, which predicts from the beginning"


def announced_version(hub: Hub, project: ProjectKey) -> str:
    """Say which version ``/setup`` answers, NO_VERSION before the first; raises what ``serving`` raises."""
    return serving(hub, project).version


def project_endpoint(hub: Hub, project: ProjectKey) -> ProjectEndpoint:
    """Find the endpoint; nothing is asked of it. Raises SettingsError for impossible settings or ``extra_params``."""
    return open_for(hub, extra_params(hub, project))


def open_for(hub: Hub, given: object) -> ProjectEndpoint:
    """Open the endpoints of a project whose ``extra_params`` these are, and give the one that serves its versions.

    Raises OptionsError when they are impossible.
    """
    options, usual = options_of(hub.settings, given), options_of(hub.settings)
    if options.bootstrap is not None:
        _open(hub, options.bootstrap, usual.bootstrap, "LABELLOOP_BOOTSTRAP_ENDPOINT")
    if options.deployer:
        _check_deployer(options.deployer, usual.deployer)
    return ProjectEndpoint(options, _open(hub, options, usual, "LABELLOOP_ENDPOINT"))


def _check_deployer(address: str, usual: str) -> None:
    try:
        check_deployer(address)
    except SettingsError as error:
        if address == usual:
            raise SettingsError(f"LABELLOOP_DEPLOYER: {error}") from None
        raise OptionsError(f"extra_params of the ML backend: {error}") from None


def _open(hub: Hub, options: Options, usual: Options | None, setting: str) -> Endpoint:
    try:
        return hub.endpoint_of(options.endpoint)
    except SettingsError as error:
        told = str(error).replace("LABELLOOP_ENDPOINT", setting)
        if usual is not None and options.endpoint == usual.endpoint:
            raise SettingsError(told) from None
        raise OptionsError(f"extra_params of the ML backend: {told}") from None


def learns(hub: Hub, project: ProjectKey) -> bool:
    """Say whether the project's endpoint serves what is trained here; one with a model of its own would not."""
    return project_endpoint(hub, project).serves != "alone"


def require_learning(hub: Hub, project: ProjectKey) -> None:
    """Raise SettingsError where the project's endpoint has a model of its own: it would serve nothing trained here."""
    if not learns(hub, project):
        raise SettingsError(
            f"project {project.id} is predicted by an endpoint with a model of its own, which would not serve what is "
            "trained here: let LABELLOOP_ENDPOINT (or extra_params) name an inference container, as http://host:port, "
            "or LABELLOOP_DEPLOYER what brings versions to it (docs/deployers.md)"
        )


def require_served(hub: Hub, project: ProjectKey, kind: Kind) -> None:
    """Raise SettingsError where an inference container would have to serve a kind whose models always lie elsewhere."""
    if not kind.weights and project_endpoint(hub, project).serves == "store":
        raise SettingsError(
            f"what project {project.id} asks for is learned as {kind.name}, whose models lie elsewhere: an inference "
            "container cannot serve them. Let LABELLOOP_ENDPOINT (or extra_params) name the endpoint that does, and "
            "LABELLOOP_DEPLOYER what brings versions to it"
        )


def hear(hub: Hub, project: ProjectKey, extra_params: object) -> None:
    """Note the ``extra_params`` that ``/setup`` brought, for this process."""
    hub.extra_params[project] = json.dumps(extra_params)


def share(hub: Hub, project: ProjectKey) -> None:
    """Note what this process heard, for all others."""
    hub.state(project).share(hub.extra_params[project])


def extra_params(hub: Hub, project: ProjectKey) -> object:
    """Read what was noted last; None when nothing was, or Redis is gone and this process heard nothing."""
    return _read(_noted(hub, project, hub.state(project).shared()))


def learn(hub: Hub, project: ProjectKey) -> None:
    """Ask Label Studio for them: it has them, and calls ``/setup`` while it is asked. Raises StudioError."""
    connection = registry.site_of(hub, project.id).connection()
    if connection is not None:
        hear(hub, project, connection.extra_params)
        share(hub, project)


def learn_unknown(hub: Hub, project: ProjectKey) -> None:
    """Ask Label Studio unless something is noted: they decide whether anything is trained. Raises StudioError.

    A project that is not connected has none.
    """
    state = hub.state(project)
    if _noted(hub, project, state.shared()) is None:
        learn(hub, project)
    if _noted(hub, project, state.shared()) is None:
        hear(hub, project, None)
        share(hub, project)


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
        if registry.is_kept(hub, project):
            ServedVersion(hub.store, project).write(mark, version)
    except StoreError as error:
        _log.warning("version %s of project %s is not kept: %s", version, project, error)
    hub.state(project).serve(mark, version)
    return version


def keep_served(hub: Hub, project: ProjectKey) -> None:
    """Keep in the store what Redis knows of the version of an endpoint's own model; raises StoreError."""
    shared = hub.state(project).shared()
    found = open_for(hub, _read(_noted(hub, project, shared)))
    found = bootstrap_of(hub, found) or found
    if found.serves == "store" or shared is None:
        return
    options, endpoint = found
    mark, first = options.endpoint.fingerprint, options.endpoint.version or endpoint.name
    cached, stored = shared.served.get(mark), ServedVersion(hub.store, project)
    if cached is not None and cached not in (first, stored.read(mark)):
        stored.write(mark, cached)


def _noted(hub: Hub, project: ProjectKey, shared: Shared | None) -> str | None:
    heard = hub.extra_params.get(project)
    return heard if shared is None or shared.extra_params is None else shared.extra_params


def _read(text: str | None) -> object:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text


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
    version = ChampionPointer(hub.store, project).read().announced or NO_VERSION
    if shared is not None:
        # A newer one that was announced since it was read is not overwritten.
        hub.state(project).announce(version, fresh=False)
    return version


def _served(hub: Hub, project: ProjectKey, shared: Shared | None, options: Options, endpoint: Endpoint) -> str:
    """Say which version an endpoint serves: the one it answered with last, else the one it was given, else its name.

    A version that it names itself goes before one that it was given, in its answers too.
    """
    mark = options.endpoint.fingerprint
    if shared is not None and mark in shared.served:
        return shared.served[mark]
    version = ServedVersion(hub.store, project).read(mark) or options.endpoint.version or endpoint.name
    if shared is not None:
        hub.state(project).serve(mark, version)
    return version


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one request needs, put together once.

    ``version`` is what ``/setup`` reports: an endpoint that serves the store is asked for it, another one is not.

    ``deployment`` is what was last seen of an endpoint that versions are brought to.
    ``prompt`` is what the annotator drew, where one waits; ``mark`` is the same for plans that predict the
    same, given one version.
    """

    hub: Hub
    project: ProjectKey
    interface: Interface
    options: Options
    endpoint: Endpoint
    version: str
    deployment: Deployment
    prompt: tuple[Prompted, ...]
    mark: bytes

    @property
    def serves(self) -> Serves:
        """What the endpoint serves."""
        return _serves(self.options, self.endpoint)

    @property
    def target(self) -> Target:
        """What the endpoint is asked for."""
        if self.serves == "store":
            return Target(self.project, self.version)
        return Target(self.project, None, self.deployment.answers, bool(self.deployment.between))

    @property
    def expected(self) -> str:
        """The version that answers are most likely of; none in particular while two of them answer."""
        return "" if self.deployment.between else self.deployment.version or self.version

    def key(self, content: Input) -> bytes:
        """Name what is asked, for the cache: by what is sent, and all but a version that decides what comes of it."""
        sent = hashlib.sha256(self.mark)
        for part in (content.media_type, content.text or "", content.uri or ""):
            sent.update(hashlib.sha256(part.encode(errors="surrogatepass")).digest())
        sent.update(hashlib.sha256(content.content).digest())
        return sent.digest()


def plan_of(hub: Hub, project: ProjectKey, by: Serving, interface: Interface, context: object = None) -> Plan:
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
        (rendering.threshold, sorted(rendering.label_map.items()), rendering.uncertainty),
        repr(prompt),
    )
    mark = hashlib.sha256(json.dumps(decides).encode()).digest()
    return Plan(hub, project, interface, options, by.endpoint, by.version, by.deployment, prompt, mark)
