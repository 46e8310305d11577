"""What the first prediction would wait for, done before the web process answers at all."""

import logging

from labelloop.errors import LabelLoopError
from labelloop.loop.hub import Hub
from labelloop.loop.serving import open_for
from labelloop.studio.label_config import parse_label_config
from labelloop.studio.rendering import render
from labelloop.types import Output, Rendering

_log = logging.getLogger(__name__)

_CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image"><Choice value="cat"/></Choices>'
    "</View>"
)


def warm_up(hub: Hub) -> None:
    """Open the endpoints and render one prediction: botocore and the SDK take seconds to load. What fails is logged."""
    try:
        open_for(hub, None)
        render(parse_label_config(_CONFIG), Output("cat", 1.0, {"cat": 1.0}, "warm"), Rendering())
    except LabelLoopError as error:
        _log.warning("%s", error)
    except Exception:  # noqa: BLE001 - border: nothing that only makes the first prediction slower may stop the start
        _log.exception("the first prediction will be a slow one")
