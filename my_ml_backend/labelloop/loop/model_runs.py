"""Model runs of Labelbox: opened by its button, carried out by a worker as one run, and concluded.

A model run is the one run of a project (loop/retrain.py), and what follows it is the conclusion: its version answers
the items of the validation and test sides, which is uploaded, and Labelbox is told COMPLETE. An entry that names an
endpoint is predicted for as waiting tasks are (loop/prelabel.py). Whatever is killed goes on where it was; what is only
away is waited for, and anything else ends it as FAILED.
"""

import logging

from labelloop.data.site import ModelRunSite
from labelloop.errors import NoSuchProject
from labelloop.loop.hub import Hub
from labelloop.loop.redis_client import may_be_lost
from labelloop.models.model_runs import Entry, ModelRunJob, ModelRunJobs
from labelloop.types import ProjectKey

_log = logging.getLogger(__name__)


def request(hub: Hub, model_run: str, entry: Entry, model: str = "", organization: str = "") -> ModelRunJob:
    """Take what somebody asked for by Labelbox's button, and give its job: one that is open already stays as it is.

    The web process calls it: the store is asked, and Redis; nothing else. A job that Redis does not hear of is found by
    the next sweep. Raises ValueError for what is no id of a model run, and StoreError.
    """
    project = ProjectKey.of_model_run(model_run, entry.number)
    job = ModelRunJobs(hub.store).ask(project, entry, model, organization)
    with may_be_lost(f"what is asked for model run {project.shown}, which the next sweep finds,"):
        hub.queue(project).retrain("Labelbox's button")
    return job


def model_run_site(hub: Hub, project: ProjectKey) -> ModelRunSite:
    """Give the model run that a project is; raises NoSuchProject where it is none."""
    site = hub.tool.model_run(project.id, hub.media)
    if site is None:
        raise NoSuchProject(f"project {project.shown} is no model run")
    return site
