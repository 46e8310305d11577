"""A version as MLflow shows it: its curves, figures and hyperparameters, under the names that TensorBoard has.

``mlflow-skinny`` writes them, an extra of its own: ``pip install labelloop[mlflow]``. It reads how to log in from its
own variables, such as ``MLFLOW_TRACKING_TOKEN``.
"""

import logging
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from labelloop.errors import StoreError
from labelloop.models.versions import VersionRecord
from labelloop.run.context import Context, read_json
from labelloop.setting_values import without_secrets
from labelloop.train.tensorboard import hyperparameters, measured, points
from labelloop.types import Json, ProjectKey, chunks

if TYPE_CHECKING:
    from mlflow.entities import Run, RunTag
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
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""How its client behaves where nobody says.

By itself it waits for a quarter of an hour until it gives a server up, and prints.
"""


def track(context: Context, version: VersionRecord) -> None:
    """Write the run that a version came from; of one that is there already, what became of it. Never raises.

    The experiment is ``labelloop/PROJECT``, the run is called as the version. What fails is logged.
    """

    def write(client: "MlflowClient") -> None:
        run = _begun(client, _experiment(context.manifest.project), version)
        if run.info.status == "RUNNING":
            _fill(client, run, context, version)
        _tag(client, run, version)

    _ask(context.settings.mlflow, version, write)


def retrack(address: str, project: ProjectKey, version: VersionRecord) -> None:
    """Tell what became of a version after its verdict; one that is not there is left out. Never raises."""

    def write(client: "MlflowClient") -> None:
        known = client.get_experiment_by_name(_experiment(project))
        for run in _runs(client, known.experiment_id, version) if known is not None else ():
            _tag(client, run, version)

    _ask(address, version, write)


def _ask(address: str, version: VersionRecord, write: "Callable[[MlflowClient], None]") -> None:
    """Let something be written about a version; what fails is logged."""
    if find_spec("mlflow") is None:
        _log.warning("%s is not written to MLflow: mlflow-skinny is not installed here", version.version)
        return
    for name, value in _MANNERS.items():
        os.environ.setdefault(name, value)
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        write(MlflowClient(tracking_uri=address))
    except (MlflowException, StoreError, OSError) as error:
        shown = without_secrets(address)
        told = str(error).replace(address, shown)[:_LONGEST]
        _log.warning("%s is not written to MLflow at %s: %s", version.version, shown, told)


def _experiment(project: ProjectKey) -> str:
    return f"labelloop/{project}"


def _runs(client: "MlflowClient", experiment: str, version: VersionRecord) -> "Sequence[Run]":
    return client.search_runs([experiment], filter_string=f"tags.`{_RUN}` = '{version.run}'", max_results=1)


def _begun(client: "MlflowClient", name: str, version: VersionRecord) -> "Run":
    """Find the run, or begin it; it is running until all of it is written."""
    known = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if known is None else known.experiment_id
    if found := _runs(client, experiment, version):
        return found[0]
    tags: dict[str, Any] = {_RUN: version.run, "labelloop.version": version.version}
    return client.create_run(experiment, _moment(version), tags, version.version)


def _fill(client: "MlflowClient", run: "Run", context: Context, version: VersionRecord) -> None:
    from mlflow.entities import Metric, Param

    at, folder, key = _moment(version), context.folder, run.info.run_id
    curves: Json = read_json(folder.trained, "train").get("curves") or {}
    figures = read_json(folder.metrics, "evaluate")
    metrics = [Metric(name, value, at, step) for name, step, value in points(curves)]
    metrics += [Metric(name, value, at, 0) for name, value in measured(figures)]
    made_with = hyperparameters(version.trained_with)
    parameters = [Param(name, str(value)) for name, value in made_with.items() if value not in ("", [])]
    client.log_batch(key, params=parameters, tags=_tags(recipe=version.recipe, manifest=context.manifest.hash))
    for some in chunks(metrics, _AT_ONCE):
        client.log_batch(key, metrics=some)
    client.set_terminated(key, end_time=at)


def _tag(client: "MlflowClient", run: "Run", version: VersionRecord) -> None:
    """Say what became of a version: a person may have overruled its verdict since."""
    outcome = "promoted" if version.promoted else "rejected"
    client.log_batch(run.info.run_id, tags=_tags(gate=outcome, verdict=version.verdict))


def _tags(**given: str) -> "list[RunTag]":
    from mlflow.entities import RunTag

    return [RunTag(f"labelloop.{name}", value) for name, value in given.items()]


def _moment(version: VersionRecord) -> int:
    """Give when a version was made, in milliseconds: written twice, its points are the same."""
    return int(datetime.fromisoformat(version.created).timestamp() * 1000)
