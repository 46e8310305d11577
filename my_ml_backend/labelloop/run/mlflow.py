"""A version as MLflow shows it: its curves, figures and hyperparameters, under the names that TensorBoard has.

``mlflow-skinny`` writes them, an extra of its own: ``pip install labelloop[mlflow]``. It reads how to log in from its
own variables, such as ``MLFLOW_TRACKING_TOKEN``.
"""

import logging
import os
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from labelloop.errors import StoreError
from labelloop.models.versions import VersionRecord
from labelloop.run.context import Context, read_json
from labelloop.setting_values import without_secrets
from labelloop.train.tensorboard import hyperparameters, measured, points
from labelloop.types import Json, chunks

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_log = logging.getLogger(__name__)

_RUN = "labelloop.run"
"""The tag that holds a run's key, by which it is found again."""

_AT_ONCE = 100
"""Points of one call: MLflow takes up to 1,000, and that many parameters."""

_LONGEST = 300
"""Letters of a reason that are logged."""

_MANNERS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""How its client behaves where nobody says.

By itself it waits for a quarter of an hour until it gives a server up, sends home what it is used for, and prints.
"""


def track(context: Context, version: VersionRecord) -> None:
    """Write the run that a version came from; one that is there already stays as it is. Never raises.

    The experiment is ``labelloop/PROJECT``, the run is called as the version. What fails is logged.
    """
    address = context.settings.mlflow
    if find_spec("mlflow") is None:
        _log.warning("%s is not written to MLflow: mlflow-skinny is not installed here", version.version)
        return
    for name, value in _MANNERS.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        client = MlflowClient(tracking_uri=address)
        run = _begun(client, f"labelloop/{context.manifest.project}", version)
        if run is not None:
            _fill(client, run, context, version)
    except (MlflowException, StoreError, OSError) as error:
        shown = without_secrets(address)
        told = str(error).replace(address, shown)[:_LONGEST]
        _log.warning("%s is not written to MLflow at %s: %s", version.version, shown, told)


def _begun(client: "MlflowClient", name: str, version: VersionRecord) -> "Run | None":
    """Find the run where it is half written, or begin it; None where all of it is there."""
    known = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if known is None else known.experiment_id
    found = client.search_runs([experiment], filter_string=f"tags.`{_RUN}` = '{version.run}'", max_results=1)
    if found:
        return found[0] if found[0].info.status == "RUNNING" else None
    tags: dict[str, Any] = {_RUN: version.run, "labelloop.version": version.version}
    return client.create_run(experiment, _moment(version), tags, version.version)


def _fill(client: "MlflowClient", run: "Run", context: Context, version: VersionRecord) -> None:
    from mlflow.entities import Metric, Param, RunTag

    at, folder, key = _moment(version), context.folder, run.info.run_id
    curves: Json = read_json(folder.trained, "train").get("curves") or {}
    figures = read_json(folder.metrics, "evaluate")
    metrics = [Metric(name, value, at, step) for name, step, value in points(curves)]
    metrics += [Metric(name, value, at, 0) for name, value in measured(figures)]
    made_with = hyperparameters(version.trained_with)
    parameters = [Param(name, str(value)) for name, value in made_with.items() if value not in ("", [])]
    outcome = "promoted" if version.promoted else "rejected"
    tags = {"recipe": version.recipe, "gate": outcome, "verdict": version.verdict, "manifest": context.manifest.hash}
    client.log_batch(key, params=parameters, tags=[RunTag(f"labelloop.{name}", value) for name, value in tags.items()])
    for some in chunks(metrics, _AT_ONCE):
        client.log_batch(key, metrics=some)
    client.set_terminated(key, end_time=at)


def _moment(version: VersionRecord) -> int:
    """Give when a version was made, in milliseconds: written twice, its points are the same."""
    return int(datetime.fromisoformat(version.created).timestamp() * 1000)
