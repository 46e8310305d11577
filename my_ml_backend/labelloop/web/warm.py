"""What the first prediction would wait for, done when the web process starts."""

import logging
import threading

from labelloop.errors import LabelLoopError
from labelloop.loop.hub import Hub
from labelloop.studio.label_config import parse_label_config
from labelloop.studio.rendering import Rendering, render
from labelloop.types import Output

_log = logging.getLogger(__name__)

_CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image"><Choice value="cat"/></Choices>'
    "</View>"
)


def warm_up(hub: Hub) -> threading.Thread:
    """Open the endpoint and render one prediction, in the background: botocore and the SDK take seconds to load."""
    thread = threading.Thread(target=_warm, args=(hub,), name="warm-up", daemon=True)
    thread.start()
    return thread


def _warm(hub: Hub) -> None:
    try:
        hub.endpoint  # noqa: B018 - opened, not asked
        render(parse_label_config(_CONFIG), Output("cat", 1.0, {"cat": 1.0}, "warm"), Rendering())
    except LabelLoopError as error:
        _log.warning("%s", error)
