"""Where a Hub is put together; the only place in the loop that knows which tools there are to annotate in."""

import logging
from dataclasses import replace
from functools import cache
from importlib import import_module

from labelloop.endpoints.spec import EndpointSpec
from labelloop.labelbox.model_types import FIRST_INFERENCE, type_of
from labelloop.labelbox.tool import LabelboxTool
from labelloop.loop.hub import Hub
from labelloop.loop.menu import asking, menu_of
from labelloop.settings import Settings
from labelloop.sources.egress import trusted
from labelloop.studio.tool import LabelStudioTool
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def open_hub(settings: Settings) -> Hub:
    """Make a Hub for the tool that the settings name."""
    return Hub(settings, LabelStudioTool(settings))


@cache
def process_hub() -> Hub:
    """Make the Hub of a process that was given none from the environment, and hand out the same one ever after.

    It is the web process's, or that of a job, which has a process of its own.
    """
    return open_hub(Settings.from_environment())


def load_tools(hub: Hub) -> None:
    """Import what asking the tools takes long to import: Labelbox's SDK too, where there is a key.

    The authorities that TLS trusts are read here, once for all jobs.
    """
    trusted()
    for name in hub.tool.needed:
        import_module(name)
    if hub.settings.labelbox_api_key:
        try:
            for name in LabelboxTool.needed:
                import_module(name)
        except ImportError as error:
            _log.warning("model runs of Labelbox will fail, for its SDK is not there (labelloop[labelbox]): %s", error)


def hub_of(hub: Hub, project: ProjectKey) -> Hub:
    """Give the Hub of the tool that a project is in: the one of the process, or one for a model run of Labelbox.

    Where the model run is trained, its versions lie in the store, and no endpoint is asked for them; else its entry's
    endpoint is the one that predicts. Raises SettingsError, and StoreError where the menu cannot be read.
    """
    if not project.model_run:
        return hub
    entry = menu_of(hub).of_number(project.id) if project.id >= FIRST_INFERENCE else None
    spec = entry.endpoint if entry and entry.endpoint else EndpointSpec.of(Settings())
    settings = replace(asking(hub.settings, spec), deployer="", bootstrap_endpoint="")
    return hub.over(settings, LabelboxTool(settings, project.model_run))


def named_project(project: ProjectKey) -> str:
    """Name a project as ``--project`` takes it."""
    known = type_of(project.id) if project.model_run else None
    return f"{project.model_run}/{known.name}" if known else project.shown
