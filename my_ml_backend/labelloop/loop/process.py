"""The one Hub of a process that was given none: of the web process, or of a job, which has a process of its own."""

from functools import cache

from labelloop.loop.hub import Hub
from labelloop.settings import Settings


@cache
def process_hub() -> Hub:
    """Make this process's Hub from the environment when first asked, and hand out the same one ever after."""
    return Hub(Settings.from_environment())
