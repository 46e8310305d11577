"""When things break: from the button's request to the sentence that Labelbox gets, over the wire on both sides.

An endpoint predicts where it does not matter that something is trained. A worker's jobs run in this process, one after
another, as RQ would run them. Bodies of a gigabyte are refused in tests/contract/web/test_clients.py.
"""

import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from labelloop.environment import environment_of
from labelloop.errors import LabelboxAway, LabelboxDenied
from labelloop.labelbox import export, exported, imports
from labelloop.labelbox.client import CALL_SECONDS, Labelbox, Pace
from labelloop.labelbox.signing import SHA1, signature
from labelloop.loop import jobs
from labelloop.loop.hub import Hub
from labelloop.loop.process import process_hub
from labelloop.loop.redis_client import key_of
from labelloop.loop.redis_server import RedisServer
from labelloop.models.model_runs import ModelRunJob, ModelRunJobs
from labelloop.settings import Settings
from labelloop.trainers import opening
from labelloop.types import Json, ProjectKey
from labelloop.web.app import create_app
from support.clients import SECONDS
from support.cloud_trainer import CloudTrainer
from support.crash_store import Killed
from support.labelbox import KEY, LabelboxStandIn, Row, data_row_id, ontology, radio, single
from support.labelbox.front import Fetch
from support.labelbox.materials import model_run_of
from support.labelbox.wire import Call
from support.misbehaving import Misbehaving, answer, misbehaving
from support.serving import serving

SECRET = "a secret of the button"
ONTOLOGY = ontology(radio("scene", ("sea", "forest")))
SEEN = ((single("scene", "sea"),),)
ROWS = [
    *(Row(data_row_id(str(number)), text=f"text {number}", labels=SEEN) for number in range(4)),
    *(
        Row(data_row_id(str(number)), file=f"{number}.txt", content=b"text %d" % number, labels=SEEN)
        for number in (4, 5)
    ),
]
BEGIN, LOOK = "createMEAPredictionImportByFilePyApi", "getModelErrorAnalysisPredictionImportPyApi"
EXPORT = "exportDataRowsInModelRunPyApi"
TELL = "setPipelineStatusPyApi"
TEXTS = "text_single_classification"


def slow(*given: str) -> list[Any]:
    """Mark those that are tried where there is time."""
    return [pytest.param(one, marks=pytest.mark.slow) for one in given]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("model") / "redis")
    server.start()
    yield server
    server.stop()


@dataclass
class Service:
    """LabelLoop as Labelbox sees it: an address, and what its worker does of what was asked there."""

    labelbox: LabelboxStandIn
    hub: Hub
    url: str
    run: str
    endpoint: Misbehaving

    def press(self, body: Json | None = None) -> requests.Response:
        """Press the button; its request is signed as Labelbox signs it."""
        asked = {"modelType": self.entry(), "modelRunId": self.run, "modelId": "m" * 12, "organizationId": "o" * 12}
        content = json.dumps({**asked, **(body or {})}).encode()
        headers = {SHA1: signature(SECRET, content)}
        return requests.post(f"{self.url}/labelbox/model_run", data=content, headers=headers, timeout=SECONDS)

    def entry(self) -> str:
        """Choose the entry of the endpoint."""
        menu = requests.get(f"{self.url}/labelbox/models", headers={SHA1: signature(SECRET, b"")}, timeout=SECONDS)
        return next(str(key) for key in menu.json() if key.startswith("inference"))

    @property
    def project(self) -> ProjectKey:
        (found,) = ModelRunJobs(self.hub.store).known()
        return found

    def outage(self) -> str:
        """Do it, and meet something that is away; gives what was said of that."""
        with pytest.raises(LabelboxAway) as caught:
            self.work()
        return str(caught.value)

    def work(self) -> str:
        """Do what a worker does of it, once."""
        return jobs.retrain(str(self.project), "test", False)

    @property
    def job(self) -> ModelRunJob:
        found = ModelRunJobs(self.hub.store).read(self.project)
        assert found is not None
        return found


def paced(monkeypatch: pytest.MonkeyPatch, still: float = 1800.0) -> None:
    """Let nobody wait for an export or an import longer than it takes to ask; ``still`` bounds that."""
    pace = Pace(still=still, wait=lambda _: None)
    for one in (export.export, export.refresh):
        monkeypatch.setattr(one, "__defaults__", (lambda *_: None, pace))
    monkeypatch.setattr(imports.upload, "__defaults__", (pace,))


@pytest.fixture
def service(
    labelbox: LabelboxStandIn,
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Service]:
    """LabelLoop before a model run; whatever happens to it, no secret is logged, told or kept in the store."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(Labelbox.__init__, "__defaults__", (CALL_SECONDS, lambda _: None))
    paced(monkeypatch)
    with misbehaving(answer([{"label": "sea", "score": 0.75}, {"label": "forest", "score": 0.25}])) as endpoint:
        yield from _service(labelbox, redis_server, tmp_path, monkeypatch, endpoint)
    told = [caplog.text, *(str(run.statuses) for run in labelbox.model_runs.runs.values())]
    kept = [path.read_text(errors="replace") for path in (tmp_path / "model" / "store").rglob("*") if path.is_file()]
    assert kept
    for secret in (KEY, SECRET, "signature="):
        assert not [text for text in (*told, *kept) if secret in text]


def _service(
    labelbox: LabelboxStandIn,
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    endpoint: Misbehaving,
) -> Iterator[Service]:
    from model import LabelLoop  # not before it is needed: label-studio-ml 2.x makes a file as it is imported

    settings = Settings(
        redis_url=redis_server.url,
        model_dir=str(tmp_path / "model"),
        endpoint=f"{endpoint.address}/scenes",
        labelbox_endpoint=labelbox.endpoint,
        labelbox_api_key=labelbox.environment["LABELBOX_API_KEY"],
        labelbox_secret=SECRET,
        allow_private_addresses=True,
        retry_seconds=0.01,
    )
    for name, value in environment_of(settings).items():
        monkeypatch.setenv(name, value)
    process_hub.cache_clear()
    hub = process_hub()
    hub.redis.flushall()
    run = labelbox.add_model_run(labelbox.add_model(ONTOLOGY), ROWS)
    with serving(create_app(settings, hub, LabelLoop)) as url:
        yield Service(labelbox, hub, url, run, endpoint)
    hub.redis.close()
    hub.tool.close()
    hub.media.close()
    process_hub.cache_clear()


STAGES = ["EXPORTING_DATA", "PREPARING_DATA", "COMPLETE"]


def completed(service: Service, attempts: int = 1) -> dict[str, str]:
    """See that all rows are there, each once, and that Labelbox was told so; gives what it was told."""
    job, labelbox = service.job, service.labelbox
    assert (job.state, job.reason, job.attempts) == ("complete", "", attempts)
    lines = labelbox.predictions(service.run)
    assert sorted(line["dataRow"]["id"] for line in lines) == sorted(row.id for row in ROWS)
    last = labelbox.statuses(service.run)[-1]
    assert last["status"] == "COMPLETE"
    return dict(last["metadata"])


def failed(service: Service) -> str:
    """See that it is over, and that Labelbox was told why; gives the sentence."""
    job, last = service.job, service.labelbox.statuses(service.run)[-1]
    assert (job.state, last["status"], last["errorMessage"]) == ("failed", "FAILED", job.reason.rstrip("."))
    return job.reason


def test_nothing_breaks(service: Service) -> None:
    assert service.press().json()["state"] == "open"
    assert service.work().startswith("COMPLETE")
    assert service.labelbox.stages(service.run) == STAGES
    assert completed(service)["rows_with_predictions"] == "6"


@pytest.mark.parametrize("operation", [TELL, EXPORT, BEGIN, *slow("GetModelRunPyApi", "GetOntologyPyApi", LOOK)])
def test_a_503_that_lasts_is_waited_for_and_loses_nothing(service: Service, operation: str) -> None:
    service.press()
    service.labelbox.fail(operation, times=None)
    for _ in range(2):
        assert "it answered 503" in service.outage()
        assert service.job.state == "open"
        assert service.job.reason.startswith("waits for Labelbox: ")
    assert "FAILED" not in service.labelbox.stages(service.run)
    service.labelbox.mend()
    assert service.work().startswith("COMPLETE")
    completed(service)
    assert len(service.labelbox.imports(service.run)) == 1
    assert len(service.endpoint.requests) == len(ROWS)


def test_a_503_that_lasts_too_long_is_a_failure_that_is_told_when_it_can_be(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.press()
    service.labelbox.fail("graphql", times=None)
    service.outage()
    since = service.job.since
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: since + service.hub.settings.labelbox_seconds + 1)
        service.outage()
        assert (service.job.state, service.job.stage) == ("open", "fail")
        service.labelbox.mend()
        assert service.work().startswith("FAILED: Labelbox at a link to 127.0.0.1 could not be asked to ")
    assert "it answered 503" in failed(service)
    assert service.press().json()["attempt"] == 2
    assert service.work().startswith("COMPLETE")
    completed(service, attempts=2)


@pytest.mark.parametrize("how", ["rate limit", *slow("html", "bad gateway", "hung up")])
def test_what_passes_is_asked_again(service: Service, how: str) -> None:
    service.press()
    for operation in ("GetModelRunPyApi", EXPORT, "GetExportFileFromOffsetPyApi", TELL, LOOK, BEGIN):
        service.labelbox.fail(operation, how, times=2)
    assert service.work().startswith("COMPLETE")
    completed(service)
    assert len(service.labelbox.imports(service.run)) == 1


def test_a_rate_limit_that_lasts_is_waited_for(service: Service) -> None:
    service.press()
    service.labelbox.fail(BEGIN, "rate limit", times=None)
    assert "it limits how often it is asked" in service.outage()
    service.labelbox.mend()
    assert service.work().startswith("COMPLETE")
    completed(service)


def test_an_export_that_fails_is_told_and_made_anew_by_the_button(service: Service) -> None:
    service.press()
    service.labelbox.spoil_export(fails=True)
    assert service.work().startswith("FAILED: ")
    assert f"export of model run {service.run} ended as FAILED" in failed(service)
    service.press()
    assert service.work().startswith("COMPLETE")
    completed(service, attempts=2)


def test_an_export_that_hangs_is_an_outage_and_another_one_is_begun(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.press()
    service.labelbox.spoil_export(hangs=True)
    paced(monkeypatch, still=0.0)
    assert "is still exporting" in service.outage()
    assert service.work().startswith("COMPLETE")
    completed(service)
    assert service.labelbox.calls.count(EXPORT) == 2


def test_an_import_that_never_ends_is_waited_for_and_not_sent_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.press()
    service.labelbox.spoil_import(hangs=True)
    paced(monkeypatch, still=0.0)
    for _ in range(2):
        assert "is still importing" in service.outage()
        assert service.job.reason.startswith("waits for Labelbox: ")
    service.labelbox.release_imports(service.run)
    assert service.work().startswith("COMPLETE")
    completed(service)
    assert service.labelbox.calls.count(BEGIN) == 1


def test_a_worker_that_is_killed_while_it_uploads_sends_nothing_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: float) -> None:
        raise Killed

    service.press()
    service.labelbox.spoil_import(hangs=True)
    with monkeypatch.context() as patch:
        patch.setattr(imports.upload, "__defaults__", (Pace(wait=killed),))
        with pytest.raises(Killed):
            service.work()
    assert service.job.state == "open"
    # Its lease runs out.
    service.hub.redis.delete(key_of(service.project, "lease"))
    service.labelbox.release_imports(service.run)
    assert service.work().startswith("COMPLETE")
    completed(service)
    assert service.labelbox.calls.count(BEGIN) == service.labelbox.calls.count(EXPORT) == 1
    assert len(service.endpoint.requests) == len(ROWS)


def test_an_import_that_fails_as_a_whole_is_told_and_made_anew_by_the_button(service: Service) -> None:
    service.press()
    service.labelbox.spoil_import(fails=True)
    assert service.work().startswith("FAILED: ")
    assert f"failed to import 6 predictions into model run {service.run}" in failed(service)
    service.press()
    assert service.work().startswith("COMPLETE")
    completed(service, attempts=2)


def test_a_link_to_an_export_that_expires_in_the_middle_is_asked_for_anew(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_LEAST_AGE", 0.0)
    service.press()
    service.labelbox.before("GET export", lambda _: service.labelbox.expire_links())
    assert service.work().startswith("COMPLETE")
    completed(service)
    parts = service.labelbox.calls[: service.labelbox.calls.index("GET rows")]
    assert (parts.count(EXPORT), service.labelbox.calls.count(EXPORT)) == (1, 2)


def test_one_bad_line_takes_nothing_from_the_others_and_is_told(service: Service) -> None:
    service.press()
    service.labelbox.spoil_import(refused=[3])
    assert service.work().startswith("COMPLETE")
    told = service.labelbox.statuses(service.run)[-1]["metadata"]
    assert told["lines_refused"] == "1"
    (refused,) = next(iter(service.labelbox.imports(service.run).values())).refused
    assert told["reasons"] == f"data row {refused['dataRow']['id']}: the stand-in was told to refuse this line"
    assert len(service.labelbox.predictions(service.run)) == len(ROWS) - 1
    assert service.job.uploaded["refused"] == 1


def test_a_project_for_pre_labels_that_is_gone_is_a_failure_that_names_the_setting(service: Service) -> None:
    project = service.labelbox.add_project(ONTOLOGY, ROWS[:4])
    gone = replace(service.hub.settings, labelbox_prelabel_project="cm0000000000000000000gone")
    service.hub.settings = gone
    service.press()
    assert service.work().startswith("FAILED: Labelbox has no project cm0000000000000000000gone")
    assert "LABELLOOP_LABELBOX_PRELABEL_PROJECT" in failed(service)
    service.hub.settings = replace(gone, labelbox_prelabel_project=project)
    service.press()
    assert service.work().startswith("COMPLETE")
    told = completed(service, attempts=2)
    assert (told["lines_refused"], len(service.labelbox.predictions(project))) == ("2", 4)


@pytest.mark.parametrize("operation", [TELL, BEGIN, *slow("GetOntologyPyApi", EXPORT, "GET export", LOOK)])
def test_a_model_run_that_is_deleted_ends_its_job_and_nothing_is_told(service: Service, operation: str) -> None:
    service.press()
    told = service.labelbox.statuses(service.run)
    service.labelbox.before(operation, lambda _: service.labelbox.delete_model_run(service.run))
    assert service.work().startswith(f"FAILED: Labelbox has no model run {service.run}")
    assert service.job.state == "failed"
    asked = len(service.labelbox.calls)
    assert service.work() == "nothing is asked for, or it is over"
    assert len(service.labelbox.calls) == asked
    assert not {"FAILED", "COMPLETE"} & {one["status"] for one in told}


@pytest.mark.parametrize("operation", [EXPORT, *slow("GetOntologyPyApi", BEGIN)])
def test_a_key_without_rights_is_a_sentence_that_says_what_it_may_not(service: Service, operation: str) -> None:
    service.press()
    service.labelbox.deny(operation)
    assert service.work().startswith("FAILED: The user of LABELBOX_API_KEY may not have Labelbox ")
    assert "give that user a role that may" in failed(service)
    assert service.labelbox.calls.count(operation) == 1
    service.labelbox.mend()
    service.press()
    assert service.work().startswith("COMPLETE")
    completed(service, attempts=2)


def test_a_key_that_may_tell_nothing_fails_in_the_record_alone(service: Service) -> None:
    service.press()
    service.labelbox.deny(TELL)
    assert service.work().startswith("FAILED: The user of LABELBOX_API_KEY may not have Labelbox take ")
    assert service.job.state == "failed"
    assert service.labelbox.statuses(service.run) == []


def test_a_key_that_is_nobodys_is_said_to_be(service: Service) -> None:
    service.press()
    service.labelbox.revoke()
    assert "does not accept LABELBOX_API_KEY" in service.work()
    assert service.job.state == "failed"


def test_a_request_that_is_sent_again_while_it_is_worked_at_is_the_same_job(service: Service) -> None:
    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda _: service.press(), range(24)))
    assert {(one.status_code, one.text) for one in told} == {(200, told[0].text)}
    service.labelbox.before(EXPORT, lambda _: told.append(service.press()))
    assert service.work().startswith("COMPLETE")
    assert told[-1].text == told[0].text
    completed(service)


def test_a_request_that_is_replayed_when_all_is_over_shows_nothing_twice(service: Service) -> None:
    service.press()
    service.work()
    before = service.labelbox.predictions(service.run)
    assert [service.press().json()["attempt"] for _ in range(2)] == [2, 2]
    assert service.work().startswith("COMPLETE")
    completed(service, attempts=2)
    assert service.labelbox.predictions(service.run) == before
    assert service.labelbox.calls.count(EXPORT) == 2


def test_links_to_files_that_expire_in_the_middle_are_asked_for_anew(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "_LEAST_AGE", 0.0)
    service.press()
    service.labelbox.before("GET rows", lambda _: service.labelbox.expire_links())
    assert service.work().startswith("COMPLETE")
    completed(service)
    assert service.labelbox.calls.count(EXPORT) == 2
    assert len(service.endpoint.requests) == len(ROWS)


@pytest.mark.train
def test_too_few_labels_are_a_sentence_about_data_rows_and_the_log_has_it(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.press({"modelType": TEXTS})
    service.work()

    told = failed(service)
    assert told.startswith(f"model run {service.run} cannot be trained yet: 34 more labels")
    assert "Label more of its data rows in Labelbox, and press the button again" in told
    assert f"FAILED: {told}" in caplog.text


@pytest.mark.train
def test_a_model_run_that_is_deleted_before_it_is_trained_is_not_trained(service: Service) -> None:
    service.run = model_run_of(service.labelbox, TEXTS).run
    told = service.labelbox.statuses(service.run)

    def training(call: Call | Fetch) -> None:
        assert isinstance(call, Call)
        if call["data"]["status"] == "TRAINING_MODEL":
            service.labelbox.delete_model_run(service.run)

    service.labelbox.before(TELL, training, times=None)
    service.press({"modelType": TEXTS})
    assert service.work().startswith(f"FAILED: Labelbox has no model run {service.run}")
    assert service.job.state == "failed"
    assert {one["status"] for one in told} == {"EXPORTING_DATA", "PREPARING_DATA"}
    assert service.hub.versions(service.project).all() == []
    assert jobs.consider(str(service.project)) == "nothing is asked for, or it is over"


@pytest.mark.train
def test_a_key_that_loses_its_rights_while_a_model_trains_elsewhere_loses_no_training(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = CloudTrainer(tmp_path / "cloud")
    monkeypatch.setitem(opening.TRAINERS, "cloud", lambda _: cloud)
    service.hub.settings = replace(service.hub.settings, trainer="cloud:")
    service.run = model_run_of(service.labelbox, TEXTS).run
    service.press({"modelType": TEXTS})
    service.work()
    service.labelbox.deny(TELL)
    with pytest.raises(LabelboxDenied):
        jobs.consider(str(service.project))
    assert len(cloud.running()) == 1
    service.labelbox.mend()
    assert "is being trained by cloud" in jobs.consider(str(service.project))


@pytest.mark.train
def test_a_training_elsewhere_of_a_model_run_that_is_deleted_is_cancelled(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = CloudTrainer(tmp_path / "cloud")
    monkeypatch.setitem(opening.TRAINERS, "cloud", lambda _: cloud)
    service.hub.settings = replace(service.hub.settings, trainer="cloud:")
    service.run = model_run_of(service.labelbox, TEXTS).run
    service.press({"modelType": TEXTS})
    assert service.work().endswith("is being trained elsewhere")
    assert len(cloud.running()) == 1
    assert "is being trained by cloud" in jobs.consider(str(service.project))
    service.labelbox.delete_model_run(service.run)
    assert jobs.consider(str(service.project)).startswith(f"FAILED: Labelbox has no model run {service.run}")
    assert [one.state for one in cloud.jobs()] == ["cancelled"]
    assert service.job.state == "failed"
    assert jobs.consider(str(service.project)) == "nothing is asked for, or it is over"
