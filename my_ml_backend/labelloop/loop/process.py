"""Where a Hub is put together; the only place in the loop that knows which tools there are to annotate in."""

from functools import cache

from labelloop.loop.hub import Hub
from labelloop.settings import Settings
from labelloop.studio.tool import LabelStudioTool


def open_hub(settings: Settings) -> Hub:
    """Make a Hub for the tool that the settings name."""
    return Hub(settings, LabelStudioTool(settings))


@cache
def process_hub() -> Hub:
    """Make the Hub of a process that was given none from the environment, and hand out the same one ever after.

    It is the web process's, or that of a job, which has a process of its own.
    """
    return open_hub(Settings.from_environment())
