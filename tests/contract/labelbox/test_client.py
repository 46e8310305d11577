"""Labelbox's API over the wire: what is asked and told, and the error that each failure becomes, in its time."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.errors import LabelboxAway, LabelboxDenied, LabelboxError, ModelRunGone, SettingsError
from labelloop.labelbox.client import DeadLink, ImportPlace, Labelbox
from labelloop.settings import Settings
from support.google_wire import certificate
from support.labelbox import KEY, LabelboxStandIn, Row, data_row_id, ontology, radio
from support.labelbox.wire import Refused
from support.misbehaving import Reply, answer, dribble, misbehaving, reset, stall
from support.servers import free_port
from support.tunnel import tunnel

ONTOLOGY = ontology(radio("topic", ("sea", "land")))
SHOW, TELL = "GetModelRunPyApi", "setPipelineStatusPyApi"
BEGIN = "createMEAPredictionImportByFilePyApi"
UNKNOWN = "9e3f331a-551b-0e24-6ab5-f69855df64ea"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(labelbox: LabelboxStandIn, pauses: list[float]) -> Iterator[Labelbox]:
    client = Labelbox(Settings.from_environment(), wait=pauses.append)
    yield client
    client.close()


@pytest.fixture
def run(labelbox: LabelboxStandIn) -> str:
    row = Row(data_row_id("1"), text="a wave")
    return labelbox.add_model_run(labelbox.add_model(ONTOLOGY), [row], config={"epochs": 3}, name="first")


def at(endpoint: str, seconds: float = 60.0) -> Labelbox:
    """Give a client of another server."""
    settings = Settings(labelbox_api_key=KEY, labelbox_endpoint=endpoint)
    return Labelbox(settings, seconds, wait=lambda _: None)


def read(client: Labelbox, link: str) -> bytes:
    """Read a file of Labelbox's."""
    with client.download(link, 10.0, "a text") as pieces:
        return b"".join(pieces)


def test_a_model_run_and_its_ontology_are_described(labelbox: LabelboxStandIn, client: Labelbox, run: str) -> None:
    found = client.model_run(run)
    assert (found.id, found.name, found.config) == (run, "first", {"epochs": 3})
    assert client.ontology(found.model) == {**ONTOLOGY, "name": client.ontology(found.model)["name"]}


def test_statuses_are_told_in_order_and_in_texts(labelbox: LabelboxStandIn, client: Labelbox, run: str) -> None:
    client.tell(run, "TRAINING_MODEL", {"epoch": 2, "loss": 0.25})
    client.tell(run, "FAILED", error="too few labels")
    assert labelbox.statuses(run) == [
        {"status": "TRAINING_MODEL", "metadata": {"epoch": "2", "loss": "0.25"}},
        {"status": "FAILED", "errorMessage": "too few labels"},
    ]
    assert labelbox.calls == [SHOW, TELL, TELL]


@pytest.mark.parametrize("how", ["unavailable", "bad gateway", "rate limit", "html", "internal", "hung up"])
def test_what_passes_is_asked_again_after_a_pause(
    labelbox: LabelboxStandIn, client: Labelbox, run: str, pauses: list[float], how: str
) -> None:
    labelbox.fail(TELL, how, times=2)
    client.tell(run, "COMPLETE")
    assert labelbox.stages(run) == ["COMPLETE"]
    assert len(pauses) == 2
    assert 0 < pauses[0] < pauses[1] <= 2


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("unavailable", "it answered 503"),
        ("rate limit", "it limits how often it is asked"),
        ("html", "it answered 200 with something other than GraphQL's JSON"),
        ("internal", "it answered 200 with INTERNAL_SERVER_ERROR: something went wrong"),
    ],
)
def test_what_lasts_is_an_outage_within_a_minute(
    labelbox: LabelboxStandIn, client: Labelbox, run: str, pauses: list[float], how: str, said: str
) -> None:
    labelbox.fail(SHOW, how, times=None)
    with pytest.raises(LabelboxAway, match=f"could not be asked to show model run {run} within 60 s: {said}"):
        client.model_run(run)
    assert labelbox.calls == [SHOW] * 8
    assert 30 < sum(pauses) < 60


def test_pauses_leave_time_for_a_last_try(labelbox: LabelboxStandIn, run: str, pauses: list[float]) -> None:
    labelbox.fail(SHOW, times=None)
    client = Labelbox(Settings.from_environment(), 9.0, wait=pauses.append)
    with pytest.raises(LabelboxAway, match="within 9 s: it answered 503"):
        client.model_run(run)
    assert 3 < max(pauses) <= 4
    client.close()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (stall, "did not answer in time"),
        (dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"), "did not answer in time"),
        (reset, "it broke the connection off"),
        (answer(b"", 302, "Location: http://127.0.0.1:1/login\r\n"), "it answered 302 with something other than"),
    ],
    ids=["stall", "dribble", "reset", "redirect"],
)
def test_a_server_that_never_answers_ends_with_the_deadline(reply: Reply, said: str) -> None:
    with misbehaving(reply) as server:
        client = at(f"{server.address}/graphql", seconds=0.1)
        with pytest.raises(LabelboxAway, match=said):
            client.model_run(UNKNOWN)
        client.close()


def test_a_server_that_is_not_there_is_an_outage() -> None:
    client = at(f"http://127.0.0.1:{free_port()}/graphql")
    with pytest.raises(LabelboxAway, match="it could not be reached: Connection refused"):
        client.model_run(UNKNOWN)


def test_https_goes_by_the_proxy_and_certificates_that_are_named_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = dict.fromkeys(("createdAt", "updatedAt", "createdBy", "modelAppId", "trainingMetadata"))
    shown = answer({"data": {"modelRun": {**told, "id": UNKNOWN, "modelId": "m", "name": "by a proxy"}}})
    trusted, tls = certificate(tmp_path)
    with misbehaving(shown, tls=tls) as server, misbehaving(tunnel) as proxy:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
        monkeypatch.setenv("HTTPS_PROXY", proxy.address)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        client = at(f"{server.address}/graphql")
        assert client.model_run(UNKNOWN).name == "by a proxy"
        client.close()
        assert [request.line for request in proxy.requests] == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]
        assert "authorization" not in proxy.requests[0].headers
        assert server.requests[0].line == "POST /graphql HTTP/1.1"
        assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"


def test_a_key_that_is_dead_says_what_to_do(labelbox: LabelboxStandIn, client: Labelbox, run: str) -> None:
    labelbox.revoke()
    with pytest.raises(LabelboxDenied, match="does not accept LABELBOX_API_KEY: create a key in Workspace settings"):
        client.model_run(run)
    assert labelbox.calls == [SHOW]


@pytest.mark.parametrize("operation", [SHOW, "GetModelPyApi", TELL])
def test_a_key_without_a_right_says_which(
    labelbox: LabelboxStandIn, client: Labelbox, run: str, operation: str
) -> None:
    asks: dict[str, Callable[[], object]] = {
        SHOW: lambda: client.model_run(run),
        "GetModelPyApi": lambda: client.ontology(UNKNOWN),
        TELL: lambda: client.tell(run, "COMPLETE"),
    }
    labelbox.deny(operation)
    what = {SHOW: "show model run", "GetModelPyApi": "show the ontology of model", TELL: "take COMPLETE for model run"}
    with pytest.raises(LabelboxDenied, match=f"The user of LABELBOX_API_KEY may not have Labelbox {what[operation]}"):
        asks[operation]()


def test_a_model_run_that_is_not_there_is_gone(client: Labelbox) -> None:
    with pytest.raises(ModelRunGone, match=f"no model run {UNKNOWN}"):
        client.model_run(UNKNOWN)


def test_a_model_run_that_is_deleted_while_it_trains_is_gone(
    labelbox: LabelboxStandIn, client: Labelbox, run: str
) -> None:
    client.tell(run, "TRAINING_MODEL")
    labelbox.delete_model_run(run)
    with pytest.raises(ModelRunGone, match=f"no model run {run}"):
        client.tell(run, "COMPLETE")


def test_no_message_tells_the_key_or_what_signs_a_link(labelbox: LabelboxStandIn, client: Labelbox, run: str) -> None:
    def refuse(_: object) -> None:
        raise Refused("MALFORMED_REQUEST", f"Bearer {KEY} of https://bucket/file.png?X-Goog-Signature=abc is wrong")

    labelbox.before(SHOW, refuse)
    with pytest.raises(LabelboxError, match=r"Bearer \(the key\) of https://bucket/file.png is wrong$"):
        client.model_run(run)


def test_an_answer_of_unknown_form_is_a_sentence(labelbox: LabelboxStandIn, client: Labelbox, run: str) -> None:
    query = "query GetUserPyApi {user{id}}"
    with pytest.raises(LabelboxError, match=r"asked to look and gave an answer of unknown form \(KeyError\)"):
        client.execute(query, {}, "look", pick=lambda data: data["somebody"])


def test_the_sdk_logs_nothing(
    labelbox: LabelboxStandIn, client: Labelbox, run: str, caplog: pytest.LogCaptureFixture
) -> None:
    labelbox.fail(SHOW, "html")
    with caplog.at_level(logging.DEBUG):
        client.model_run(run)
    assert [record for record in caplog.records if record.name.startswith(("lbox", "labelbox"))] == []


def test_an_upload_is_sent_again_only_where_labelbox_has_not_got_it(
    labelbox: LabelboxStandIn, client: Labelbox, run: str, tmp_path: Path
) -> None:
    place, file = ImportPlace.of_model_run(run), tmp_path / "lines.ndjson"
    file.write_text('{"uuid":"1","dataRow":{"id":"x"},"name":"topic","answer":{"name":"sea"}}\n')
    labelbox.fail(BEGIN, "rate limit", times=2)
    assert client.begin_import(place, "one", file).name == "one"
    assert labelbox.calls.count(BEGIN) == 3
    assert [len(made.lines) for made in labelbox.imports(run).values()] == [1]
    labelbox.fail(BEGIN, "unavailable")
    with pytest.raises(LabelboxAway, match=f"import predictions into model run {run} within 600 s: it answered 503"):
        client.begin_import(place, "two", file)
    assert labelbox.calls.count(BEGIN) == 4
    assert client.find_import(place, "two") is None


def test_links_lead_to_no_private_address_but_labelbox_own(labelbox: LabelboxStandIn) -> None:
    client = Labelbox(replace(Settings.from_environment(), allow_private_addresses=False))
    labelbox.links.write("text/1.txt", b"a wave")
    assert read(client, labelbox.links.sign("text/1.txt")) == b"a wave"
    with misbehaving(answer(b"")) as other:
        with pytest.raises(LabelboxError, match="a private address"):
            read(client, f"{other.address}/x?signature=abc")
        assert other.requests == []
    client.close()


def test_a_link_that_has_expired_is_dead(labelbox: LabelboxStandIn, client: Labelbox) -> None:
    labelbox.links.write("text/1.txt", b"a wave")
    link = labelbox.links.sign("text/1.txt")
    labelbox.expire_links()
    with pytest.raises(DeadLink, match=r"a text could not be read from \S+/text/1.txt: its server answered 403$"):
        read(client, link)


def test_without_a_key_nothing_is_asked() -> None:
    with pytest.raises(SettingsError, match="LABELBOX_API_KEY is not set"):
        Labelbox.of(Settings())
