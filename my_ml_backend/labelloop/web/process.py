"""The one Hub of a web process that was given none."""

from functools import cache

from labelloop.loop.hub import Hub
from labelloop.settings import Settings


@cache
def process_hub() -> Hub:
    """Make this process's Hub from the environment when first asked, and hand out the same one ever after."""
    return Hub(Settings.from_environment())
