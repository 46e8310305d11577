"""Model runs of a stand-in of Labelbox go through the loop's jobs, with Labelbox's own SDK in between."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from labelloop.children import start_child, stop_child
from labelloop.cli.approval import rollback
from labelloop.cli.history import report, versions
from labelloop.cli.loop import status
from labelloop.environment import environment_of
from labelloop.errors import EndpointError
from labelloop.labelbox import imports
from labelloop.labelbox.model_types import find_type
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.menu import menu_of
from labelloop.loop.model_runs import request
from labelloop.loop.process import open_hub
from labelloop.loop.queue import count_workers
from labelloop.loop.redis_client import key_of as redis_key
from labelloop.loop.redis_server import RedisServer
from labelloop.models.model_runs import ModelRunJob, ModelRunJobs
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey
from support.labelbox import KEY, LabelboxStandIn
from support.labelbox.materials import Material, model_run_of
from support.misbehaving import Exchange, answer, misbehaving
from support.waiting import wait_until

TEXTS, PICTURES = "text_single_classification", "image_single_classification"
MakeHub = Callable[..., Hub]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("model") / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def make_hub(
    redis_server: RedisServer, labelbox: LabelboxStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeHub]:
    """Make the hub of a worker's machine, by the name of a folder; the store is the same for all."""
    made: list[Hub] = []

    def make(machine: str = "one", **given: Any) -> Hub:
        settings = Settings(
            redis_url=redis_server.url,
            model_dir=str(tmp_path / machine),
            store=(tmp_path / "store").as_uri(),
            min_labels=4,
            labelbox_endpoint=labelbox.endpoint,
            labelbox_api_key=KEY,
            allow_private_addresses=True,
        )
        made.append(open_hub(replace(settings, **given)))
        monkeypatch.setattr(jobs, "process_hub", lambda: made[-1])
        return made[-1]

    yield make
    made[-1].redis.flushall()
    for hub in made:
        hub.redis.close()
        hub.tool.close()


def key_of(material: Material, entry: str) -> ProjectKey:
    known = find_type(entry)
    assert known
    return ProjectKey.of_model_run(material.run, known.number)


def press(hub: Hub, material: Material, entry: str) -> ModelRunJob:
    found = menu_of(hub).find(entry)
    assert found is not None
    return request(hub, material.run, found.entry, material.model, "an-organization")


def work(key: ProjectKey) -> str:
    return jobs.retrain(str(key), "test", force=False)


def stands(hub: Hub, key: ProjectKey) -> ModelRunJob:
    job = ModelRunJobs(hub.store).read(key)
    assert job is not None
    return job


@pytest.mark.train
def test_a_model_run_is_trained_and_its_predictions_lie_in_labelbox(
    make_hub: MakeHub, labelbox: LabelboxStandIn
) -> None:
    material = model_run_of(labelbox, TEXTS)
    hub, key = make_hub(**material.settings), key_of(material, TEXTS)
    press(hub, material, "Text_Single_Classification")
    assert work(key) == "COMPLETE with v1"
    assert labelbox.stages(material.run) == ["EXPORTING_DATA", "PREPARING_DATA", "TRAINING_MODEL", "COMPLETE"]
    metadata = labelbox.statuses(material.run)[-1]["metadata"]
    assert all(isinstance(text, str) for text in metadata.values())
    assert KEY not in str(labelbox.statuses(material.run))
    assert metadata["version"] == "v1"

    job, record = stands(hub, key), hub.runs(key).all()[0]
    predicted = labelbox.predictions(material.run)
    answers = answered(predicted)
    sides = {material.splits.get(row) for row in answers}
    assert "TRAINING" not in sides
    assert {row for row, side in material.splits.items() if side in ("VALIDATION", "TEST")} - {
        row.id for row in material.unlabeled
    } <= set(answers)
    assert all(0 <= answer["confidence"] <= 1 for answer in answers.values())
    assert {line["metricName"] for line in predicted if "metricName" in line} >= {"loss", "entropy", "margin"}
    assert (job.state, job.run, job.uploaded["refused"]) == ("complete", record.key, 0)
    assert job.uploaded["rows"] == len(answers)
    assert record.sides

    # The same labels again: exported anew, nothing trained, the same lines.
    exports = labelbox.calls.count("exportDataRowsInModelRunPyApi")
    press(hub, material, TEXTS)
    assert work(key) == "COMPLETE with v1"
    assert labelbox.calls.count("exportDataRowsInModelRunPyApi") == exports + 1
    assert len(hub.runs(key).all()) == 1
    assert labelbox.predictions(material.run) == predicted
    assert labelbox.stages(material.run)[4:] == ["EXPORTING_DATA", "PREPARING_DATA", "COMPLETE"]

    # The commands know it by its id and type.
    run = CliRunner()
    named = f"{material.run}/{TEXTS}"
    stood = run.invoke(status, ["--project", named], obj=hub)
    assert stood.output.startswith(f"model run {named} ({TEXTS}): complete, attempt 2, v1")
    assert named in run.invoke(status, [], obj=hub).output
    listed = run.invoke(versions, ["--project", material.run], obj=hub)
    assert (listed.exit_code, "v1" in listed.output) == (0, True)
    assert jobs.report(str(key_of(material, TEXTS))) == "reports are written of v1"
    written = run.invoke(report, ["--project", f"{material.run}/5", "--output", "-"], obj=hub)
    assert written.output.lstrip().startswith("<!DOCTYPE html>")
    refused = run.invoke(rollback, ["--to", "v1", "--project", f"{material.run}/ner_of_old"], obj=hub)
    assert refused.exit_code == 2
    assert f"the store has {named}" in refused.output


@pytest.mark.slow
@pytest.mark.train
def test_another_machine_shows_another_version(make_hub: MakeHub, labelbox: LabelboxStandIn) -> None:
    material = model_run_of(labelbox, TEXTS)
    hub, key = make_hub(**material.settings), key_of(material, TEXTS)
    press(hub, material, TEXTS)
    assert work(key) == "COMPLETE with v1"
    first = labelbox.predictions(material.run)
    # The second one learns with another seed, which its training config says.
    labelbox.config(material.run)["seed"] = 7
    press(hub, material, TEXTS)
    assert work(key) == "COMPLETE with v2"
    assert hub.runs(key).get(stands(hub, key).run).seed == 7  # type: ignore[union-attr]

    other = make_hub("two", **material.settings)
    exports = labelbox.calls.count("exportDataRowsInModelRunPyApi")
    assert jobs.deploy(str(key), "v1") == "COMPLETE with v1"
    assert labelbox.calls.count("exportDataRowsInModelRunPyApi") == exports + 1
    assert labelbox.statuses(material.run)[-1]["metadata"]["version"] == "v1"
    assert answered(labelbox.predictions(material.run)) == answered(first)
    assert other.pointer(key).read().announced == "v1"


def test_an_endpoint_predicts_for_all_rows(make_hub: MakeHub, labelbox: LabelboxStandIn) -> None:
    material = model_run_of(labelbox, TEXTS, labeled=20, unlabeled=10)
    with misbehaving(all_cards) as server:
        hub = make_hub(allowed_endpoints=(f"{server.address}/predict",))
        (entry,) = (one for one in menu_of(hub).entries if one.endpoint)
        key = ProjectKey.of_model_run(material.run, entry.number)
        press(hub, material, entry.key)
        assert work(key) == "COMPLETE with m3"
    assert labelbox.stages(material.run)[-1] == "COMPLETE"
    assert set(answered(labelbox.predictions(material.run))) == {row.id for row in material.rows}
    metadata = labelbox.statuses(material.run)[-1]["metadata"]
    assert metadata["rows_with_predictions"] == "30"
    assert stands(hub, key).endpoint == entry.entry.endpoint

    # What is not allowed any more fails with a sentence.
    press(hub, material, entry.key)
    make_hub()
    assert "no longer allowed here" in work(key)
    assert "no longer allowed here" in labelbox.statuses(material.run)[-1]["errorMessage"]


def test_what_it_waits_for_is_shown(make_hub: MakeHub, labelbox: LabelboxStandIn) -> None:
    material = model_run_of(labelbox, TEXTS, labeled=3, unlabeled=0)
    with misbehaving(answer({}, 503)) as server:
        hub = make_hub(allowed_endpoints=(f"{server.address}/predict",), retry_seconds=0.01)
        (entry,) = (one for one in menu_of(hub).entries if one.endpoint)
        key = ProjectKey.of_model_run(material.run, entry.number)
        press(hub, material, entry.key)
        with pytest.raises(EndpointError):
            work(key)
    told = labelbox.statuses(material.run)[-1]
    assert told["status"] == "PREPARING_DATA"
    assert told["metadata"]["progress"].startswith("waits for the endpoint: ")
    assert stands(hub, key).reason == told["metadata"]["progress"]


class Killed(BaseException):
    """What ends a worker."""


def test_another_machine_predicts_what_it_is_to_upload(
    make_hub: MakeHub, labelbox: LabelboxStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = model_run_of(labelbox, TEXTS, labeled=8, unlabeled=2)
    with misbehaving(all_cards) as server:
        given = {"allowed_endpoints": (f"{server.address}/predict",)}
        hub = make_hub(**given)
        (entry,) = (one for one in menu_of(hub).entries if one.endpoint)
        key = ProjectKey.of_model_run(material.run, entry.number)
        press(hub, material, entry.key)
        with monkeypatch.context() as patched:
            patched.setattr(imports, "upload", killed)
            with pytest.raises(Killed):
                work(key)
            assert (stands(hub, key).stage, labelbox.predictions(material.run)) == ("conclude", [])
            asked = len(server.requests)
            # The same machine asks nobody again, another one does.
            for machine, again in (("one", 0), ("two", asked)):
                make_hub(machine, **given)
                with pytest.raises(Killed):
                    work(key)
                assert len(server.requests) - asked == again
        assert work(key) == "COMPLETE with m3"
    assert set(answered(labelbox.predictions(material.run))) == {row.id for row in material.rows}


def test_an_endpoint_that_answers_something_else_ends_as_failed_with_the_sentence(
    make_hub: MakeHub, labelbox: LabelboxStandIn
) -> None:
    material = model_run_of(labelbox, TEXTS, labeled=3, unlabeled=0)
    cats = {"label": "cat", "score": 0.75, "scores": {"cat": 0.75, "dog": 0.25}, "model_version": "m3"}

    def answer_cats(exchange: Exchange) -> None:
        answer({"predictions": [cats] * len(json.loads(exchange.request.body)["instances"])})(exchange)

    with misbehaving(answer_cats) as server:
        hub = make_hub(allowed_endpoints=(f"{server.address}/predict",))
        (entry,) = (one for one in menu_of(hub).entries if one.endpoint)
        press(hub, material, entry.key)
        assert work(ProjectKey.of_model_run(material.run, entry.number)).startswith("FAILED: ")
    told = labelbox.statuses(material.run)[-1]
    assert told["status"] == "FAILED"
    assert "none of the endpoint's classes is one of the ontology's" in told["errorMessage"]
    assert labelbox.imports(material.run) == {}


def test_an_impossible_training_config_fails_in_its_own_words(make_hub: MakeHub, labelbox: LabelboxStandIn) -> None:
    material = model_run_of(labelbox, TEXTS, labeled=3, unlabeled=0)
    hub, config = make_hub(), labelbox.config(material.run)
    for given, said in (
        ({"epochs": "many"}, "the training config of the model run, 'epochs': 'many' is not a whole number"),
        ({"threshold": 7}, "the training config of the model run, 'threshold' must be a number from 0 to 1"),
        ({"trainer": "command:rm"}, "the training config of the model run names a trainer that is not allowed here"),
    ):
        config.clear()
        config.update(given)
        press(hub, material, TEXTS)
        assert work(key_of(material, TEXTS)).startswith(f"FAILED: {said}")
        assert labelbox.statuses(material.run)[-1]["errorMessage"].startswith(said)
    assert "exportDataRowsInModelRunPyApi" not in labelbox.calls


def killed(*_: object) -> None:
    raise Killed


def test_what_the_ontology_cannot_hold_fails_before_anything_is_exported(
    make_hub: MakeHub, labelbox: LabelboxStandIn
) -> None:
    material = model_run_of(labelbox, TEXTS, labeled=4, unlabeled=0)
    hub = make_hub()
    press(hub, material, "bounding_box")
    assert work(key_of(material, "bounding_box")).startswith("FAILED: ")
    assert [one["status"] for one in labelbox.statuses(material.run)][-1] == "FAILED"
    assert "exportDataRowsInModelRunPyApi" not in labelbox.calls
    labelbox.delete_model_run(material.run)
    press(hub, material, TEXTS)
    assert "FAILED" in work(key_of(material, TEXTS))
    assert ModelRunJobs(hub.store).open() == []


def all_cards(exchange: Exchange) -> None:
    count = len(json.loads(exchange.request.body)["instances"])
    answer({"predictions": [{"label": "card", "score": 0.75, "model_version": "m3"}] * count})(exchange)


def answered(predicted: list[Json]) -> dict[str, Json]:
    return {line["dataRow"]["id"]: line["answer"] for line in predicted if "answer" in line}


@pytest.mark.timeout(600)
@pytest.mark.slow
@pytest.mark.train
@pytest.mark.process
def test_a_worker_that_is_killed_while_it_trains_is_followed_by_another(
    make_hub: MakeHub, labelbox: LabelboxStandIn, tmp_path: Path
) -> None:
    material = model_run_of(labelbox, PICTURES)
    hub = make_hub(**{**material.settings, "epochs": 12}, sweep_seconds=1.0, retry_seconds=0.0)
    key, log = key_of(material, PICTURES), tmp_path / "worker.log"

    def trains() -> bool:
        step = hub.state(key).progress().step()
        return step is not None and step.stage == "train" and step.done > 0

    def start() -> psutil.Process:
        environment = {**os.environ, **environment_of(hub.settings)}
        children.append(start_child([sys.executable, "-m", "labelloop", "worker"], log=log, environment=environment))
        wait_until(lambda: count_workers(hub.redis) > 0, log.read_text, 120)
        return psutil.Process(children[-1].pid)

    children: list[subprocess.Popen[bytes]] = []
    press(hub, material, PICTURES)
    try:
        worker = start()
        wait_until(trains, lambda: f"it trains:\n{log.read_text()[-3000:]}", 120)
        for process in (*worker.children(recursive=True), worker):
            process.kill()
        # Its lease runs out, and RQ forgets it.
        hub.redis.delete(redis_key(key, "lease"), *hub.redis.keys("rq:worker*"))
        start()
        wait_until(lambda: stands(hub, key).state != "open", lambda: log.read_text()[-3000:], 180)
    finally:
        for child in children:
            stop_child(child, 10)
    assert (stands(hub, key).state, stands(hub, key).version, stands(hub, key).attempts) == ("complete", "v1", 1)
    assert labelbox.stages(material.run)[-1] == "COMPLETE"
    assert labelbox.calls.count("exportDataRowsInModelRunPyApi") == 1, "what was exported is still there"
    assert [one.key for one in hub.runs(key).all()] == [stands(hub, key).run]
