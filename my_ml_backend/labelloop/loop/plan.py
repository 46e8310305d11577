"""How the tasks of one project are predicted: everything one request needs, put together once."""

import hashlib
import json
from dataclasses import dataclass

from labelloop.endpoints.base import Endpoint
from labelloop.loop.hub import Hub
from labelloop.loop.options import Options
from labelloop.loop.serving import Serving
from labelloop.studio.label_config import LabelConfig, parse_label_config, parse_trained
from labelloop.studio.prompts import prompts_of
from labelloop.types import Input, ProjectKey, Prompted, Target


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


def plan_of(hub: Hub, project: ProjectKey, serving: Serving, label_config: object, context: object = None) -> Plan:
    """Make the plan; ``context`` is what an interactive request carries. Raises LabelConfigError."""
    options, endpoint, version = serving
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
