"""What of MLflow's REST API a run is written by, for the real client: experiments and runs in memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.serving import make_server

_API = "/api/2.0/mlflow"


@dataclass
class Tracked:
    """What was written: experiments by name, runs by number, and every path that was asked for."""

    address: str = ""
    experiments: dict[str, str] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refused: str = ""
    """A path that is answered with an error."""


def _run(number: str, run: dict[str, Any]) -> dict[str, Any]:
    info = {"run_id": number, "run_uuid": number, "run_name": run["name"], "status": run["status"]}
    info |= {"experiment_id": run["experiment"], "artifact_uri": "", "lifecycle_stage": "active"}
    tags = [{"key": key, "value": value} for key, value in run["tags"].items()]
    return {"info": info, "data": {"tags": tags}}


def _application(tracked: Tracked) -> Flask:
    app = Flask("mlflow")

    @app.before_request
    def note() -> ResponseReturnValue | None:
        tracked.asked.append(request.path.removeprefix(_API))
        if tracked.refused and request.path.endswith(tracked.refused):
            return jsonify(error_code="PERMISSION_DENIED", message=f"no right to {request.url}"), 403
        return None

    @app.get(f"{_API}/experiments/get-by-name")
    def experiment() -> ResponseReturnValue:
        name = request.args["experiment_name"]
        if name not in tracked.experiments:
            return jsonify(error_code="RESOURCE_DOES_NOT_EXIST", message="no experiment"), 404
        found = {"experiment_id": tracked.experiments[name], "name": name, "lifecycle_stage": "active"}
        return jsonify(experiment=found)

    @app.post(f"{_API}/experiments/create")
    def new_experiment() -> ResponseReturnValue:
        number = tracked.experiments.setdefault(request.get_json()["name"], str(len(tracked.experiments) + 1))
        return jsonify(experiment_id=number)

    _add_runs(app, tracked)
    return app


def _add_runs(app: Flask, tracked: Tracked) -> None:
    @app.post(f"{_API}/runs/search")
    def search() -> ResponseReturnValue:
        wanted = request.get_json()["filter"].partition(" = ")[2].strip("'")
        found = [_run(key, run) for key, run in tracked.runs.items() if wanted in run["tags"].values()]
        return jsonify(runs=found)

    @app.post(f"{_API}/runs/create")
    def new_run() -> ResponseReturnValue:
        asked, number = request.get_json(), f"{len(tracked.runs):032x}"
        tags = {tag["key"]: tag["value"] for tag in asked["tags"]}
        made = {"name": asked["run_name"], "experiment": asked["experiment_id"], "status": "RUNNING", "tags": tags}
        tracked.runs[number] = made | {"metrics": {}, "params": {}}
        return jsonify(run=_run(number, tracked.runs[number]))

    @app.get(f"{_API}/runs/get")
    def one() -> ResponseReturnValue:
        number = request.args["run_id"]
        return jsonify(run=_run(number, tracked.runs[number]))

    @app.post(f"{_API}/runs/log-batch")
    def log() -> ResponseReturnValue:
        asked = request.get_json()
        run = tracked.runs[asked["run_id"]]
        run["metrics"] |= {(one["key"], int(one["step"])): one["value"] for one in asked.get("metrics", [])}
        run["params"] |= {one["key"]: one["value"] for one in asked.get("params", [])}
        run["tags"] |= {one["key"]: one["value"] for one in asked.get("tags", [])}
        return jsonify({})

    @app.post(f"{_API}/runs/update")
    def update() -> ResponseReturnValue:
        asked = request.get_json()
        tracked.runs[asked["run_id"]]["status"] = asked["status"]
        return jsonify(run_info=_run(asked["run_id"], tracked.runs[asked["run_id"]])["info"])


@contextmanager
def mlflow_server() -> Iterator[Tracked]:
    """Serve on a port of its own."""
    tracked = Tracked()
    server = make_server("127.0.0.1", 0, _application(tracked), threaded=True)
    tracked.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield tracked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
