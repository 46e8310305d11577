"""A project's endpoint by its options, and the ``extra_params`` of its ML backend in Label Studio, which set those.

``/setup`` brings them, and every process reads them in Redis, under the key that Label Studio's own 2.x server gives
them. When Redis is gone, what this process heard last stands; when it was wiped, Label Studio has them.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from labelloop.data.labeling import Subject
from labelloop.deployers.opening import check_deployer
from labelloop.endpoints.base import Endpoint
from labelloop.errors import OptionsError, ProjectPaused, SettingsError
from labelloop.kinds.base import Kind
from labelloop.loop import project_registry
from labelloop.loop.hub import Hub
from labelloop.loop.project_options import Options, options_of
from labelloop.loop.state import Shared
from labelloop.settings import Settings
from labelloop.types import ProjectKey

_REMEMBERED = 64
"""Projects whose options are kept in mind."""

Serves = Literal["store", "features", "deployed", "alone"]
"""What an endpoint serves: the store's versions, each request says which; ``features``, on which versions of the store
answer here; versions that a Deployer brings to it; or, with ``alone``, a model of its own, and nothing is trained for
it."""


@dataclass(frozen=True, slots=True)
class ProjectEndpoint:
    """A project's options, and the endpoint they name, open."""

    options: Options
    endpoint: Endpoint

    @property
    def serves(self) -> Serves:
        """What it serves; nothing is ever written to one that no deployer is set for."""
        if self.options.endpoint.features and not self.options.alone:
            return "features"
        if self.options.deployer:
            return "deployed"
        return "store" if self.endpoint.follows and not self.options.alone else "alone"


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


def project_endpoint(hub: Hub, project: ProjectKey) -> ProjectEndpoint:
    """Find the endpoint; nothing is asked of it. Raises SettingsError for impossible settings or ``extra_params``."""
    return endpoint_by(hub, project, hub.state(project).shared())


def endpoint_by(hub: Hub, project: ProjectKey, shared: Shared | None) -> ProjectEndpoint:
    """Find the endpoint by what is shared already; raises as ``project_endpoint``."""
    return _opened(hub, *_options(hub.settings, _noted(hub, project, shared)))


def open_for(hub: Hub, given: object) -> ProjectEndpoint:
    """Open the endpoints of a project whose ``extra_params`` these are, and give the one that serves its versions.

    Raises OptionsError when they are impossible.
    """
    return _opened(hub, options_of(hub.settings, given), options_of(hub.settings))


@lru_cache(maxsize=_REMEMBERED)
def _options(settings: Settings, noted: str | None) -> tuple[Options, Options]:
    """Read a project's options by what is noted of it, and the usual ones; they are asked for with each prediction."""
    return options_of(settings, _read(noted)), options_of(settings)


def _opened(hub: Hub, options: Options, usual: Options) -> ProjectEndpoint:
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


def subject_of(hub: Hub, project: ProjectKey) -> Subject:
    """Say what of all that its annotators are asked a project learns; raises as ``project_endpoint``."""
    return project_endpoint(hub, project).options.subject


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


def require_unpaused(hub: Hub, project: ProjectKey) -> None:
    """Raise ProjectPaused where a person has paused the project."""
    if pause := hub.pauses(project).read():
        named = project.model_run or project.shown
        raise ProjectPaused(
            f"project {named} is {pause}. `labelloop resume --project {project.shown}` lets it be trained again"
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


def share_extra_params(hub: Hub, project: ProjectKey) -> None:
    """Note what this process heard, for all others."""
    hub.state(project).share(hub.extra_params[project])


def extra_params(hub: Hub, project: ProjectKey) -> object:
    """Read what was noted last; None when nothing was, or Redis is gone and this process heard nothing."""
    return _read(_noted(hub, project, hub.state(project).shared()))


def learn(hub: Hub, project: ProjectKey) -> None:
    """Ask Label Studio for them: it has them, and calls ``/setup`` while it is asked. Raises StudioError."""
    connection = project_registry.site_of(hub, project.id).connection()
    if connection is not None:
        hear(hub, project, connection.extra_params)
        share_extra_params(hub, project)


def learn_unknown(hub: Hub, project: ProjectKey) -> None:
    """Ask Label Studio unless something is noted: they decide whether anything is trained. Raises StudioError.

    A project that is not connected has none.
    """
    state = hub.state(project)
    if _noted(hub, project, state.shared()) is None:
        learn(hub, project)
    if _noted(hub, project, state.shared()) is None:
        hear(hub, project, None)
        share_extra_params(hub, project)


def _noted(hub: Hub, project: ProjectKey, shared: Shared | None) -> str | None:
    heard = hub.extra_params.get(project)
    return heard if shared is None or shared.extra_params is None else shared.extra_params


def _read(text: str | None) -> object:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text
