"""An entry of Labelbox's menu that names an endpoint: its rows are predicted for in bulk, and what it says is uploaded.

It goes the way of waiting tasks (loop/prelabel.py), with their cache, breaker and patience.
"""

from collections.abc import Sequence
from dataclasses import replace

from labelloop.data.site import ModelRunSite, Uploaded
from labelloop.errors import LabelLoopError, NoSuchProject, SettingsError
from labelloop.loop.hub import Hub
from labelloop.loop.lease import ProgressReporter
from labelloop.loop.prelabel import prelabel
from labelloop.loop.project_endpoint import learn
from labelloop.loop.project_registry import site_of
from labelloop.loop.serving import serving
from labelloop.models.model_runs import ModelRunJob
from labelloop.types import Json, ProjectKey


class NothingPredicted(LabelLoopError):
    """An endpoint has said nothing of any data row that could be uploaded."""


def infer(hub: Hub, project: ProjectKey, job: ModelRunJob, reporter: ProgressReporter) -> Json:
    """Predict for all data rows of a model run, upload that, and give the metadata of COMPLETE, all of it text.

    The hub's settings name the entry's endpoint (loop/menu.py, ``asking``).

    Killed and called again for the same attempt of the job, on the same machine, it goes on where it was. Raises
    NothingPredicted, LabelConfigError where the answers fit nothing of the ontology, SettingsError for an impossible
    training config, the errors of Labelbox, and EndpointError while the endpoint is away.
    """
    run = _model_run(hub, project)
    run.begin(job.attempts)
    learn(hub, project)
    by = serving(hub, project)
    if by.serves != "alone":
        raise SettingsError(
            f"endpoint {by.endpoint.name} serves versions of the store and has no model of its own: let "
            "LABELLOOP_ALLOWED_ENDPOINTS name one that has, such as http://host:port/path"
        )
    reporter.stage("fetch")
    waiting = site_of(hub, project.id).count_waiting(by.version)
    reporter.stage("answer")
    done = prelabel(hub, project, None, reporter)
    reporter.stage("upload")
    version = serving(hub, project).version
    uploaded = run.finish(version, reporter)
    reasons = tuple(dict.fromkeys((*done.reasons, *uploaded.reasons)))
    if not uploaded.rows:
        raise NothingPredicted(_nothing(by.endpoint.name, waiting, reasons))
    return _metadata(by.endpoint.name, version, replace(uploaded, reasons=reasons), done.left_out)


def _model_run(hub: Hub, project: ProjectKey) -> ModelRunSite:
    found = hub.tool.model_run(project.id, hub.media)
    if found is None:
        raise NoSuchProject(f"project {project.shown} is no model run")
    return found


def _nothing(endpoint: str, rows: int, reasons: Sequence[str]) -> str:
    if not rows:
        return "the model run has no data rows: add some to it in Labelbox"
    return f"endpoint {endpoint} gave no prediction for any of {rows:,} data rows: {'; '.join(reasons)}"


def _metadata(endpoint: str, version: str, uploaded: Uploaded, unpredicted: int) -> Json:
    told = {
        "endpoint": endpoint,
        "version": version,
        "predicted": f"{uploaded.rows} data rows",
        "lines": f"{uploaded.lines} uploaded, {uploaded.refused} of them refused",
        "left_out": f"{uploaded.left_out + unpredicted} data rows",
    }
    return {**told, "reasons": "; ".join(uploaded.reasons)} if uploaded.reasons else told
