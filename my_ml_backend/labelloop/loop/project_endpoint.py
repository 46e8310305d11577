"""The endpoint that predicts for a project, as the settings and the project's ML backend say."""

from typing import NamedTuple

from labelloop.endpoints.base import Endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import OptionsError, SettingsError
from labelloop.loop.extra_params import extra_params
from labelloop.loop.hub import Hub
from labelloop.loop.options import Options, options_of
from labelloop.types import ProjectKey


class ProjectEndpoint(NamedTuple):
    """A project's options, and the endpoint they name, open."""

    options: Options
    endpoint: Endpoint


def project_endpoint(hub: Hub, project: ProjectKey) -> ProjectEndpoint:
    """Find it; nothing is asked of the endpoint. Raises SettingsError for impossible settings or ``extra_params``."""
    return open_for(hub, extra_params(hub, project))


def open_for(hub: Hub, given: object) -> ProjectEndpoint:
    """Open the endpoint of a project whose ``extra_params`` these are. Raises OptionsError when they are impossible."""
    options = options_of(hub.settings, given)
    try:
        return ProjectEndpoint(options, hub.endpoint_of(options.endpoint))
    except SettingsError as error:
        if options.endpoint == EndpointSpec.of(hub.settings):
            raise
        raise OptionsError(f"extra_params of the ML backend: {error}") from None


def stands_alone(hub: Hub, project: ProjectKey) -> bool:
    """Say whether the project's endpoint has a model of its own, so that no version trained here would be served."""
    return not project_endpoint(hub, project).endpoint.follows


def require_follower(hub: Hub, project: ProjectKey) -> None:
    """Raise SettingsError where the project's endpoint stands alone: it would not serve a version of the loop."""
    if stands_alone(hub, project):
        raise SettingsError(
            f"project {project.id} is predicted by an endpoint with a model of its own, which would not serve what is "
            "trained here: let LABELLOOP_ENDPOINT (or extra_params) name an inference container, as http://host:port"
        )
