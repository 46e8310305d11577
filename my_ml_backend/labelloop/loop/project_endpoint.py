"""The endpoint that predicts for a project: which it is, and how it is asked."""

import hashlib
import json
from dataclasses import dataclass
from typing import NamedTuple

from labelloop.endpoints.base import Endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import OptionsError, SettingsError
from labelloop.loop.extra_params import extra_params
from labelloop.loop.hub import Hub
from labelloop.loop.options import Options, options_of
from labelloop.studio.label_config import LabelConfig, parse_label_config, parse_trained
from labelloop.studio.prompts import prompts_of
from labelloop.types import Input, ProjectKey, Prompted, Target


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


@dataclass(frozen=True, slots=True)
class Plan:
    """``version`` is what ``/setup`` reports: an endpoint that follows the loop is asked for it, another one is not.

    ``prompt`` is what the annotator drew, where one waits; ``mark`` is the same for plans that predict the
    same, given one version.
    """

    hub: Hub
    project: ProjectKey
    config: LabelConfig
    options: Options
    endpoint: Endpoint
    version: str
    prompt: tuple[Prompted, ...]
    mark: bytes

    @property
    def target(self) -> Target:
        """What the endpoint is asked for."""
        return Target(self.project, self.version if self.endpoint.follows else None)

    def key(self, content: Input) -> bytes:
        """Name what is asked, for the cache: by what is sent, and all but a version that decides what comes of it."""
        sent = hashlib.sha256(self.mark)
        for part in (content.media_type, content.text or "", content.uri or ""):
            sent.update(hashlib.sha256(part.encode(errors="surrogatepass")).digest())
        sent.update(hashlib.sha256(content.content).digest())
        return sent.digest()


def plan_of(hub: Hub, project: ProjectKey, label_config: object, version: str, context: object = None) -> Plan:
    """Make the plan; ``context`` is what an interactive request carries. Raises LabelConfigError or SettingsError."""
    options, endpoint = project_endpoint(hub, project)
    # A version that the loop trained knows the labels of the Choices it was trained for.
    config = parse_trained(label_config) if endpoint.follows else parse_label_config(label_config)
    prompt = prompts_of(config, context) if context else ()
    rendering = options.rendering
    decides = (
        str(project),
        config.text,
        options.endpoint.fingerprint(),
        (rendering.threshold, sorted(rendering.label_map.items()), rendering.uncertainty),
        repr(prompt),
    )
    mark = hashlib.sha256(json.dumps(decides).encode()).digest()
    return Plan(hub, project, config, options, endpoint, version, prompt, mark)
