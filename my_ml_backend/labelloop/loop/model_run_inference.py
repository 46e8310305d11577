"""An entry of Labelbox's menu that names an endpoint: it predicts for all data rows of a model run, in bulk.

They go the way of waiting tasks (loop/prelabel.py), with its cache, breaker and patience; what comes of it is kept on
this machine until it is uploaded.
"""

from labelloop.errors import LabelLoopError, SettingsError
from labelloop.loop.hub import Hub
from labelloop.loop.lease import ProgressReporter
from labelloop.loop.prelabel import Prelabeled, prelabel
from labelloop.loop.project_registry import site_of
from labelloop.loop.serving import serving
from labelloop.types import ProjectKey


class NothingPredicted(LabelLoopError):
    """An endpoint has said nothing of any data row that could be uploaded."""


def predict_rows(hub: Hub, project: ProjectKey, reporter: ProgressReporter) -> Prelabeled:
    """Predict for the data rows that have no prediction of this attempt; the hub's endpoint is the entry's.

    Killed and called again on the same machine, it goes on where it was. Raises NothingPredicted, LabelConfigError
    where the answers fit nothing of the ontology, SettingsError for an endpoint that serves versions of the store, the
    errors of Labelbox, and EndpointError while the endpoint is away.
    """
    by, site = serving(hub, project), site_of(hub, project.id)
    if by.serves != "alone":
        raise SettingsError(
            f"endpoint {by.endpoint.name} serves versions of the store and has no model of its own: let "
            "LABELLOOP_ALLOWED_ENDPOINTS name one that has, such as http://host:port/path"
        )
    reporter.stage("fetch")
    site.count_waiting(by.version)
    reporter.stage("prelabel")
    done = prelabel(hub, project, None, reporter)
    # It says, too, what may have ended the last rows.
    left, rows = site.count_waiting(by.version), site.overview().counters.tasks
    if not rows:
        raise NothingPredicted("the model run has no data rows: add some to it in Labelbox")
    if not done.predicted and left == rows:
        raise NothingPredicted(
            f"endpoint {by.endpoint.name} gave no prediction for any of {rows:,} data rows: {'; '.join(done.reasons)}"
        )
    return done
