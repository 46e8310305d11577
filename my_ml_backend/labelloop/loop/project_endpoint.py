"""The endpoint that predicts for a project, as the settings and the project's ML backend say."""

from typing import NamedTuple

from labelloop.endpoints.base import Endpoint
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
    options = options_of(hub.settings, extra_params(hub, project))
    return ProjectEndpoint(options, hub.endpoint_of(options.endpoint))


def stands_alone(hub: Hub, project: ProjectKey) -> bool:
    """Say whether the project's endpoint has a model of its own, so that no version trained here would be served."""
    return not project_endpoint(hub, project).endpoint.follows
