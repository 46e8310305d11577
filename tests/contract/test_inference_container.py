"""The inference container as SageMaker, Vertex AI and the HTTP endpoint see it: the real process, real requests."""

import io
import json
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from boto3.session import Session
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import labelloop
from labelloop.bundle_info import ForeignInfo
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import BundleError, EndpointError, SettingsError, StoreError
from labelloop.models.archive import write_archive
from labelloop.models.bundle import write_foreign
from labelloop.models.champion import ChampionPointer
from labelloop.models.file_store import FileStore
from labelloop.models.versions import VersionRecord, Versions
from labelloop.serve.answering import Admission
from labelloop.serve.engines.base import Engine, open_engine
from labelloop.serve.options import ServeOptions, ServePlan
from labelloop.serve.pinned import PinnedCatalog, version_of
from labelloop.serve.references import References
from labelloop.serve.refusal import BadRequest
from labelloop.serve.server import THREADS, inference_app, prepare, serve
from labelloop.serve.stored import StoreCatalog
from labelloop.serve.wire import read_body
from labelloop.settings import Settings
from labelloop.types import Failure, Input, Output, ProjectKey, Target
from support.bundles import COLOURS, make_bundle, picture, publish_bundle
from support.clients import dripping, silent, talk
from support.google import google_stand_in
from support.inference import SECONDS, Inference, inference
from support.moto_server import moto_server
from support.waiting import wait_until

pytestmark = pytest.mark.process

PROJECT = ProjectKey("ls", 7)
OTHER = ProjectKey("ls", 8)
LIMIT = 20_000
"""Bytes; LABELLOOP_BODY_MAX_BYTES of the servers here."""

RED = picture("red")


def instances(*contents: bytes) -> bytes:
    return json.dumps({"instances": [{"b64": b64encode(content).decode()} for content in contents]}).encode()


def predictions(answer: requests.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["predictions"]
    return found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle")
    make_bundle(directory)
    return directory


@pytest.fixture(scope="module", params=["onnx", pytest.param("torchscript", marks=pytest.mark.train)])
def pinned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inference]:
    """One bundle, served by either engine."""
    directory = tmp_path_factory.mktemp("pinned")
    make_bundle(directory / "bundle", torchscript=request.param == "torchscript")
    with inference(
        directory,
        bundle=directory / "bundle",
        version="v3",
        ENGINE=request.param,
        LABELLOOP_BODY_MAX_BYTES=str(LIMIT),
        AIP_HEALTH_ROUTE="/v1/health",
        AIP_PREDICT_ROUTE="/v1/endpoints/1/deployedModels/2:predict",
    ) as server:
        yield server


# One bundle


def test_a_raw_picture_is_predicted(pinned: Inference) -> None:
    (one,) = predictions(pinned.post(RED, content_type="image/png"))
    assert set(one) == {"label", "score", "scores", "model_version", "kind"}
    assert (one["label"], one["model_version"], one["kind"]) == ("red", "v3", "single")
    assert list(one["scores"]) == list(COLOURS)
    assert one["score"] == one["scores"]["red"] == max(one["scores"].values())


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-image", "image/jpeg", ""])
def test_a_raw_picture_may_go_under_any_name(pinned: Inference, content_type: str) -> None:
    assert predictions(pinned.post(RED, content_type=content_type))[0]["label"] == "red"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", ""])
def test_instances_are_predicted_in_order(pinned: Inference, content_type: str) -> None:
    body = instances(*[picture(colour) for colour in ("blue", "red", "green", "red")])
    labels = [item["label"] for item in predictions(pinned.post(body, content_type=content_type))]
    assert labels == ["blue", "red", "green", "red"]


def test_an_instance_that_is_wrong_fails_alone(pinned: Inference) -> None:
    good = {"b64": b64encode(RED).decode()}
    wrong: list[object] = [{"b64": "!"}, {"b64": 7}, {}, None, "x", {"b64": ""}, {"b64": b64encode(b"x" * 50).decode()}]
    wrong += [{"text": text} for text in ("hello", "", "\ud800", 7)]
    body = json.dumps({"instances": [good, *wrong, good], "parameters": {}}).encode()
    first, *middle, last = predictions(pinned.post(body, content_type="application/json"))
    assert first["label"] == last["label"] == "red"
    assert [set(item) for item in middle] == [{"error"}] * len(wrong)
    assert all(item["error"] for item in middle)
    spoiled = json.dumps({"instances": [{"b64": "!" + good["b64"]}]}).encode()
    assert predictions(pinned.post(spoiled, content_type="application/json")) == [{"error": '"b64" is not base64'}]


def test_no_instances_no_predictions(pinned: Inference) -> None:
    assert predictions(pinned.post(b'{"instances": []}', content_type="application/json")) == []


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"", "image/png", "the body is empty"),
        (b"no picture", "image/png", "not a readable picture"),
        (RED[:-20], "image/png", "not a readable picture"),
        (b"", "application/json", "not valid JSON"),
        (b"{", "application/json", "not valid JSON"),
        (b"\xff", "application/json", "not valid JSON"),
        (b"[" * 9000, "application/json", "not valid JSON"),
        (b"[]", "application/json", 'the body must be {"instances"'),
        (b'{"instances": {}}', "application/json", 'the body must be {"instances"'),
        (b'{"inputs": []}', "application/json", 'the body must be {"instances"'),
        (b'{"instances": [' + b"0," * 9990 + b"0]}", "application/json", ""),
    ],
)
def test_wrong_bodies_are_refused_with_a_reason(pinned: Inference, body: bytes, content_type: str, reason: str) -> None:
    answer = pinned.post(body, content_type=content_type)
    assert answer.status_code == (400 if reason else 200)
    assert reason in answer.json().get("error", "")
    assert "0x" not in answer.text


@pytest.mark.parametrize("extra", [1, 100_000, 20_000_000])
def test_bodies_over_the_limit_are_refused(pinned: Inference, extra: int) -> None:
    answer = pinned.post(bytes(LIMIT + extra), content_type="image/png")
    assert answer.status_code == 413
    assert answer.json() == {"error": f"the body is larger than {LIMIT} bytes (LABELLOOP_BODY_MAX_BYTES)"}


@pytest.mark.parametrize("piece", [b"[]," * 1_000_000, b"0," * 5_000_001, b'"":0,' * 1_000_001])
def test_json_that_would_take_many_times_its_size_is_refused(piece: bytes) -> None:
    with pytest.raises(BadRequest, match="the body holds more than"):
        read_body(b'{"instances": [' + piece + b"0]}")


def test_a_body_sent_in_chunks_is_limited_too(pinned: Inference) -> None:
    def send(count: int) -> requests.Response:
        chunks = iter([RED, *[bytes(1000)] * count])
        headers = {"Content-Type": "image/png"}
        return requests.post(pinned.address + "/invocations", data=chunks, headers=headers, timeout=SECONDS)

    assert predictions(send(0))[0]["label"] == "red"
    assert send(30).status_code == 413


def test_a_pinned_server_has_one_version_and_any_project(pinned: Inference) -> None:
    (one,) = predictions(pinned.post(RED, x_labelloop_version="v3", x_labelloop_project="anywhere/1"))
    assert one["label"] == "red"
    answer = pinned.post(RED, x_labelloop_version="v4")
    assert answer.status_code == 404
    assert "pinned to version v3" in answer.json()["error"]


@pytest.mark.parametrize("header", ["x_labelloop_project", "x_labelloop_version"])
@pytest.mark.parametrize("value", ["", "../7", "a b", "ls/7/v1", "é".encode().decode("latin-1")])
def test_headers_that_make_no_sense_are_refused(pinned: Inference, header: str, value: str) -> None:
    assert pinned.post(RED, **{header: value}).status_code == 400


def test_both_clouds_routes_are_served(pinned: Inference) -> None:
    body = instances(RED)
    vertex = pinned.post(body, "/v1/endpoints/1/deployedModels/2:predict", content_type="application/json")
    assert predictions(vertex) == predictions(pinned.post(body, content_type="application/json"))
    for route in ("/ping", "/v1/health"):
        answer = requests.get(pinned.address + route, timeout=SECONDS)
        assert (answer.status_code, answer.json()) == (200, {"mode": "pinned", "version": "v3"})
    parameters = requests.get(pinned.address + "/execution-parameters", timeout=SECONDS).json()
    assert parameters["BatchStrategy"] == "SINGLE_RECORD"
    assert parameters["MaxConcurrentTransforms"] >= 1
    assert parameters["MaxPayloadInMB"] >= 1


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("GET", "/invocations", 405)])
def test_other_routes_are_refused_as_json(pinned: Inference, method: str, path: str, status: int) -> None:
    answer = requests.request(method, pinned.address + path, timeout=SECONDS)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_the_http_endpoint_and_the_container_understand_each_other(pinned: Inference) -> None:
    endpoint = open_endpoint(EndpointSpec(pinned.address, batch=8))
    colours = [COLOURS[number % 3] for number in range(40)]
    inputs = [Input(picture(colour)) for colour in colours]
    inputs[5] = Input(b"no picture")
    answers = endpoint.invoke(inputs, Target(PROJECT, "v3"))
    assert isinstance(answers.pop(5), Failure)
    assert [answer.label for answer in answers if isinstance(answer, Output)] == colours[:5] + colours[6:]
    assert endpoint.invoke([Input(b"no picture")], Target()) == [
        Failure("not a readable picture (10 bytes): it is of no known format")
    ]
    with pytest.raises(EndpointError, match=r"answered 404: this server is pinned to version v3"):
        endpoint.invoke(inputs, Target(PROJECT, "v4"))
    assert "answered in" in endpoint.check()


def test_a_batch_too_large_for_the_container_is_halved_by_the_endpoint(pinned: Inference) -> None:
    large = picture("blue", size=(60, 60), form="BMP")
    answers = open_endpoint(EndpointSpec(pinned.address)).invoke(
        [Input(large)] * 5 + [Input(bytes(LIMIT + 1))], Target()
    )
    assert [answer.label for answer in answers if isinstance(answer, Output)] == ["blue"] * 5
    assert answers[5] == Failure(f"the body is larger than {LIMIT} bytes (LABELLOOP_BODY_MAX_BYTES)")


def test_https_is_not_spoken_and_the_endpoint_says_so(pinned: Inference) -> None:
    address = pinned.address.replace("http:", "https:")
    with pytest.raises(EndpointError, match=f"endpoint {address} cannot be reached: "):
        open_endpoint(EndpointSpec(address)).invoke([Input(RED)], Target())


# Many projects


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def store(workdir: Path) -> FileStore:
    return FileStore(workdir / "store")


@pytest.fixture(scope="module")
def many(workdir: Path, store: FileStore) -> Iterator[Inference]:
    address = (workdir / "store").as_uri()
    with inference(workdir, LABELLOOP_STORE=address, LABELLOOP_LOADED_MODELS="2") as server:
        yield server


def test_a_store_is_served_by_project_and_version(many: Inference, store: FileStore, workdir: Path) -> None:
    assert many.post(RED, x_labelloop_project=str(PROJECT)).status_code == 404
    publish_bundle(store, PROJECT, workdir / "7", run="one")
    publish_bundle(store, PROJECT, workdir / "7", run="two", champion=False, gain=2.0)
    publish_bundle(store, OTHER, workdir / "8", run="one", classes=("r", "g", "b"))
    endpoint = open_endpoint(EndpointSpec(many.address))
    for _ in range(2):  # more models than stay loaded, in turn
        for project, version, expected in [
            (PROJECT, None, ("red", "v1")),
            (PROJECT, "v2", ("red", "v2")),
            (OTHER, None, ("r", "v1")),
        ]:
            (output,) = endpoint.invoke([Input(RED)], Target(project, version))
            assert isinstance(output, Output)
            assert (output.label, output.model_version) == expected
    state = requests.get(many.address + "/ping", timeout=SECONDS).json()
    assert state == {"mode": "store", "loaded": ["ls/7/v2", "ls/8/v1"]}


@pytest.mark.parametrize(
    ("project", "version", "status", "reason"),
    [
        ("ls/7", "v99", 404, "v99 of ls/7 is not published"),
        ("ls/7", "latest", 404, "ls/7 has no version latest"),
        ("ls/99", None, 404, "ls/99 has no champion yet"),
        ("ls/99", "v1", 404, "v1 of ls/99 is not published"),
        (None, None, 400, "name a project by the header X-LabelLoop-Project"),
        (None, "v1", 400, "name a project"),
        ("7", None, 400, "expected instance/id"),
    ],
)
def test_what_the_store_does_not_have(
    many: Inference, project: str | None, version: str | None, status: int, reason: str
) -> None:
    named = {"x_labelloop_project": project, "x_labelloop_version": version}
    answer = many.post(RED, **{name: value for name, value in named.items() if value})
    assert answer.status_code == status
    assert reason in answer.json()["error"]


@pytest.mark.parametrize("damage", ["cut short", "another content", "gone", "no JSON"])
def test_a_damaged_bundle_is_told_without_a_folder_of_the_server(
    many: Inference, store: FileStore, workdir: Path, damage: str
) -> None:
    project = ProjectKey("ls", 100 + len(damage))
    publish_bundle(store, project, workdir / damage, run="one")
    files = list((workdir / "store" / str(project)).rglob("model.json" if damage == "no JSON" else "model.onnx"))
    assert files
    for file in files:
        match damage:
            case "cut short":
                file.write_bytes(file.read_bytes()[:100])
            case "another content":
                file.write_bytes(b"\x09" + file.read_bytes()[1:])
            case "no JSON":
                file.write_bytes(b"{")
            case _:
                file.unlink()
    answer = many.post(RED, x_labelloop_project=str(project))

    assert answer.status_code >= 400
    assert "error" in answer.json()
    for place in (str(workdir), str(workdir.parent), "/tmp/", "file://"):
        assert place not in answer.text
        assert place not in str(answer.reason)


def test_a_new_champion_is_swapped_in_without_dropping_a_request(
    many: Inference, store: FileStore, workdir: Path
) -> None:
    project = ProjectKey("ls", 9)
    publish_bundle(store, project, workdir / "9", run="one")
    statuses: list[int] = []
    versions: list[str] = []
    done = threading.Event()

    def keep_asking() -> None:
        with requests.Session() as session:
            session.headers["X-LabelLoop-Project"] = str(project)
            while not done.is_set():
                answer = session.post(many.address + "/invocations", data=RED, timeout=SECONDS)
                statuses.append(answer.status_code)
                versions.append(predictions(answer)[0]["model_version"])

    def answers(version: str) -> bool:
        return version in versions[-50:]

    threads = [threading.Thread(target=keep_asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: "v1" in versions, "v1 answers", SECONDS)
        for run in (2, 3):
            version = publish_bundle(store, project, workdir / "9", run=f"run {run}", gain=float(run))
            wait_until(partial(answers, version), f"{version} answers", SECONDS)
    finally:
        done.set()
        for thread in threads:
            thread.join(SECONDS)
    assert set(statuses) == {200}
    assert list(dict.fromkeys(versions)) == ["v1", "v2", "v3"]


def test_a_damaged_bundle_is_named_and_not_served(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    publish_bundle(store, PROJECT, tmp_path, run="one")
    next((tmp_path / "store").glob("ls/7/versions/v1/*/model.onnx")).write_bytes(b"")
    app = inference_app(
        StoreCatalog(store, tmp_path / "cache", 2), Admission(1, 1), References(Settings()), body_max_bytes=LIMIT
    )
    answer = app.test_client().post("/invocations", data=RED, headers={"X-LabelLoop-Project": "ls/7"})
    assert answer.status_code == 500
    assert "damaged" in answer.get_json()["error"]
    assert "Traceback" not in answer.text


def test_a_version_whose_model_lies_elsewhere_is_refused_with_that_reason(
    many: Inference, store: FileStore, workdir: Path
) -> None:
    project = ProjectKey("ls", 200)
    write_foreign(workdir / "200", ForeignInfo(("a", "b"), "single", "command", model="model-7"), {})
    versions, pointer = Versions(store, project), ChampionPointer(store, project)
    versions.publish(versions.claim("run"), workdir / "200", VersionRecord("v1", "run", "command", None, "", True, ""))
    pointer.promote("v1", pointer.take_fence())

    answer = many.post(RED, x_labelloop_project=str(project))

    assert answer.status_code == 500
    assert "its model lies elsewhere, as 'model-7', and cannot be served here" in answer.json()["error"]


def test_a_store_that_cannot_be_read_is_no_unknown_project(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    store.write("ls/7/champion.json", b"{")
    app = inference_app(
        StoreCatalog(store, tmp_path / "cache", 2), Admission(1, 1), References(Settings()), body_max_bytes=LIMIT
    )
    answer = app.test_client().post("/invocations", data=RED, headers={"X-LabelLoop-Project": "ls/7"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


# The process


def test_requests_in_flight_are_finished_after_sigterm(bundle: Path, tmp_path: Path) -> None:
    body = instances(RED)
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with inference(tmp_path, bundle=bundle) as server:
        with socket.create_connection(("127.0.0.1", server.port), SECONDS) as connection:
            connection.sendall(f"{head}Connection: close\r\nExpect: 100-continue\r\n\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            server.process.terminate()
            connection.sendall(body)
            answer = connection.makefile("rb").read()
        assert b" 200 OK" in answer
        assert b'"label":"red"' in answer
        assert server.process.wait(SECONDS) == 0
    assert "SIGABRT" not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def canvas(mode: str, form: str) -> bytes:
    """A picture of 98 million pixels in a few hundred kB."""
    content = io.BytesIO()
    Image.new(mode, (9_900, 9_900), "red").save(content, form)
    return content.getvalue()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_large_pictures_wait_for_each_other(tmp_path: Path) -> None:
    make_bundle(bundle := tmp_path / "bundle")
    bodies = [canvas("RGBA", "PNG"), canvas("RGB", "PNG"), canvas("RGB", "JPEG")]
    with inference(tmp_path, bundle=bundle, LABELLOOP_BODY_MAX_BYTES="5000000") as server:
        assert server.post(RED).status_code == 200
        before, url = peak(server), f"{server.address}/invocations"
        with ThreadPoolExecutor(6) as clients:
            # The last one waits for all others: ten seconds, where nothing else runs.
            answers = list(clients.map(lambda body: requests.post(url, data=body, timeout=10 * SECONDS), bodies * 2))
        assert [predictions(answer)[0]["label"] for answer in answers] == ["red"] * 6
        # One at a time, in its own mode and as RGB, four bytes a pixel each: six at once would be four gigabytes.
        assert peak(server) - before < 1_000_000_000


def peak(server: Inference) -> int:
    """The most memory that any process of the server has had, in bytes."""
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    lines = [Path(f"/proc/{one.pid}/status").read_text() for one in family]
    return max(int(text.partition("VmHWM:")[2].split()[0]) * 1024 for text in lines)


def test_a_picture_that_is_too_large_is_refused_with_its_size(tmp_path: Path) -> None:
    make_bundle(bundle := tmp_path / "bundle")
    content = io.BytesIO()
    Image.new("1", (10_001, 10_000)).save(content, "PNG")
    with inference(tmp_path, bundle=bundle) as server:
        answer = server.post(content.getvalue())
    assert answer.status_code == 400
    assert "10001 x 10000 pixels; at most 100000000" in answer.json()["error"]


def test_silent_and_dripping_clients_take_no_place(pinned: Inference) -> None:
    started = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
    unfinished = [
        b"",
        started,
        started + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        started + b"Content-Length: 9000\r\n\r\nhalf",
        started + b"Transfer-Encoding: chunked\r\n\r\n5\r\n",
    ]
    with dripping(pinned.port, unfinished, b"0", THREADS + 8):
        for beginning in unfinished:
            with silent(pinned.port, beginning, THREADS + 8):
                began = time.monotonic()
                assert requests.get(pinned.address + "/ping", timeout=SECONDS).status_code == 200
                assert time.monotonic() - began < 1
                assert predictions(pinned.post(RED))[0]["label"] == "red"


@pytest.mark.parametrize(
    "content",
    [
        b"GET /ping HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /x\r\n\r\n",
        b"GET /ping HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00" + b"\r\n" * 3,
    ],
)
def test_an_odd_request_is_answered_as_json(pinned: Inference, content: bytes) -> None:
    answer = talk(pinned.port, content.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")), answer
    assert isinstance(json.loads(body), dict)


def test_each_shape_of_url_says_in_its_own_way_that_a_body_is_too_large(pinned: Inference) -> None:
    large = bytes(LIMIT + 1)
    sagemaker = pinned.post(large, "/endpoints/any/invocations")
    assert (sagemaker.status_code, sagemaker.json()["OriginalStatusCode"]) == (424, 413)
    vertex = pinned.post(large, "/v1/projects/p/locations/l/endpoints/1:predict")
    assert (vertex.status_code, vertex.json()["error"]["status"]) == (413, "INVALID_ARGUMENT")


def test_sagemaker_starts_the_command_itself(bundle: Path, tmp_path: Path) -> None:
    with inference(tmp_path, bundle=bundle, command=[sys.executable, "-m", "labelloop", "serve"]) as server:
        (one,) = predictions(server.post(RED))
        assert one["model_version"].startswith("bundle-")
        assert server.stop() == 0


AS_SAGEMAKER = """
import os, sys
from pathlib import Path
from labelloop.serve.options import ServeOptions, ServePlan
from labelloop.serve.server import prepare, _Server
from labelloop.settings import Settings
port, model, _ = sys.argv[1:]
plan = ServePlan.of(ServeOptions(), os.environ | {"SAGEMAKER_BIND_TO_PORT": port}, Path(model))
settings = Settings.from_environment()
_Server(plan, settings, prepare(plan, settings)).run()
"""


def test_an_archive_unpacked_as_sagemaker_does_is_served(bundle: Path, tmp_path: Path) -> None:
    write_archive(bundle, tmp_path / "model.tar.gz")
    model = tmp_path / "model"
    model.mkdir()
    subprocess.run(["tar", "xzf", tmp_path / "model.tar.gz", "-C", model], check=True)
    with inference(tmp_path, bundle=model, script=AS_SAGEMAKER) as server:
        assert predictions(server.post(RED))[0]["model_version"] == version_of(bundle)


def test_an_archive_is_served_as_it_is(bundle: Path, tmp_path: Path) -> None:
    write_archive(bundle, tmp_path / "model.tar.gz")
    settings = Settings(model_dir=str(tmp_path / "models"))
    catalog = prepare(ServePlan.of(ServeOptions(bundle=tmp_path / "model.tar.gz"), {}), settings)()
    assert isinstance(catalog, PinnedCatalog)
    assert catalog.settled.wait(SECONDS)
    assert catalog.state() == {"mode": "pinned", "version": version_of(bundle)}


@pytest.mark.parametrize(
    "beginning",
    [b"POST /invocations HTTP/1.1\r\nHo", b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"],
)
def test_a_client_that_falls_silent_is_hung_up_on(bundle: Path, tmp_path: Path, beginning: bytes) -> None:
    command = [sys.executable, "-m", "labelloop", "serve"]
    with inference(tmp_path, bundle=bundle, command=command, LABELLOOP_CLIENT_SECONDS="0.5") as server:
        answer = talk(server.port, beginning)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"LABELLOOP_CLIENT_SECONDS" in answer


LOADED = """
import os, sys
from pathlib import Path
from labelloop.serve.options import ServeOptions, ServePlan
from labelloop.serve.server import prepare, _Server
from labelloop.settings import Settings
plan = ServePlan.of(ServeOptions(bundle=Path(sys.argv[1])), {})
settings = Settings()
catalog = prepare(plan, settings)()
assert catalog.settled.wait(30)
app = _Server(plan, settings, lambda: catalog).load()
answer = app.test_client().post("/invocations", data=Path(sys.argv[2]).read_bytes())
print(answer.status_code, sorted({"torch", "torchvision", "timm", "sklearn", "label_studio_ml"} & set(sys.modules)))
"""


def test_neither_torch_nor_anything_of_training_is_loaded(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(RED)
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, str(bundle), str(tmp_path / "red.png")],
        cwd=Path(labelloop.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.strip() == "200 []", ran.stderr


def test_a_full_house_turns_requests_away_and_still_answers_ping(bundle: Path) -> None:
    catalog = PinnedCatalog("v1", lambda: open_engine(bundle, "onnx"))
    catalog.start()
    assert catalog.settled.wait(SECONDS)
    admission = Admission(working=1, present=1)
    client = inference_app(catalog, admission, References(Settings()), body_max_bytes=LIMIT).test_client()
    with admission.present():
        answer = client.post("/invocations", data=RED)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert client.get("/ping").status_code == 200
    assert client.post("/invocations", data=RED).status_code == 200


def test_what_is_predicted_and_loaded_is_told_to_prometheus(bundle: Path) -> None:
    catalog = PinnedCatalog("v1", lambda: open_engine(bundle, "onnx"))
    client = inference_app(catalog, Admission(1, 4), References(Settings()), body_max_bytes=LIMIT).test_client()
    assert "labelloop_inference_loaded_info{" not in client.get("/metrics").text
    catalog.start()
    assert catalog.settled.wait(SECONDS)
    two = {"instances": [{"b64": b64encode(one).decode()} for one in (RED, b"no picture")]}
    assert client.post("/invocations", json=two).status_code == 200
    assert client.post("/invocations", data=b"").status_code == 400
    told = set(client.get("/metrics").text.splitlines())
    assert told >= {
        'labelloop_inference_loaded_info{project="",version="v1"} 1.0',
        'labelloop_inference_items_total{outcome="predicted"} 1.0',
        'labelloop_inference_items_total{outcome="failed"} 1.0',
        "labelloop_inference_batch_items_sum 2.0",
        'labelloop_requests_total{route="/invocations",status="200"} 1.0',
        'labelloop_requests_total{route="/invocations",status="400"} 1.0',
    }


class Telling(io.BytesIO):
    """A body that tells when it is read: its request is in the house then."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.begun = threading.Event()

    def readinto(self, buffer: Any) -> int:
        self.begun.set()
        return super().readinto(buffer)


def test_no_more_predict_than_may_be_at_work(bundle: Path) -> None:
    catalog = PinnedCatalog("v1", lambda: open_engine(bundle, "onnx"))
    catalog.start()
    assert catalog.settled.wait(SECONDS)
    admission = Admission(working=1, present=1)
    app = inference_app(catalog, admission, References(Settings()), body_max_bytes=LIMIT)
    statuses: list[int] = []
    body = Telling(RED)

    def ask() -> None:
        statuses.append(app.test_client().post("/invocations", input_stream=body).status_code)

    waiting = threading.Thread(target=ask)
    with admission.at_work():
        waiting.start()
        assert body.begun.wait(SECONDS)
        assert app.test_client().post("/invocations", data=b"").status_code == 503
        waiting.join(0.2)
        assert waiting.is_alive(), "it did not wait for a place to work"
    waiting.join(SECONDS)
    assert statuses == [200]


def test_until_the_bundle_is_loaded_the_answer_is_503(bundle: Path) -> None:
    gate = threading.Event()

    def load() -> Engine:
        assert gate.wait(SECONDS)
        return open_engine(bundle, "onnx")

    catalog = PinnedCatalog("v1", load)
    client = inference_app(catalog, Admission(1, 1), References(Settings()), body_max_bytes=LIMIT).test_client()
    catalog.start()
    assert client.get("/ping").status_code == 503
    assert client.post("/invocations", data=RED).get_json() == {"error": "version v1 is being loaded"}
    gate.set()
    assert catalog.settled.wait(SECONDS)
    assert client.get("/ping").status_code == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["instances", "b64", "text", "x"]), inner),
    max_leaves=8,
)


@given(
    body=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()),
    media_type=st.sampled_from(["application/json", "image/png", "text/plain; charset=x", ";", ""]),
    project=st.none() | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20),
    version=st.none() | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=20),
)
def test_no_request_makes_the_server_fail(
    client: Any, body: bytes, media_type: str, project: str | None, version: str | None
) -> None:
    named = {"X-LabelLoop-Project": project, "X-LabelLoop-Version": version, "Content-Type": media_type}
    headers = {name: value for name, value in named.items() if value is not None}
    answer = client.post("/invocations", data=body, headers=headers)
    assert answer.status_code in (200, 400, 404)
    assert isinstance(answer.get_json(), dict)


@pytest.fixture(scope="module")
def client(bundle: Path) -> Any:
    catalog = PinnedCatalog("v1", lambda: open_engine(bundle, "onnx"))
    catalog.start()
    assert catalog.settled.wait(SECONDS)
    return inference_app(catalog, Admission(1, 1), References(Settings()), body_max_bytes=LIMIT).test_client()


# What is served, and where


def test_the_command_line_goes_before_sagemaker_and_that_before_vertex(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    both = {"SAGEMAKER_BIND_TO_PORT": "8081", "AIP_HTTP_PORT": "8082"}
    assert ServePlan.of(ServeOptions(port=1), both, nothing).port == 1
    assert ServePlan.of(ServeOptions(), both, nothing).port == 8081
    vertex = ServePlan.of(ServeOptions(), {"AIP_HTTP_PORT": "8082", "AIP_STORAGE_URI": "s3://b/p"}, nothing)
    assert (vertex.host, vertex.port, vertex.storage, vertex.bundle) == ("0.0.0.0", 8082, "s3://b/p", None)
    local = ServePlan.of(ServeOptions(), {}, nothing)
    assert (local.host, local.port, local.storage, local.bundle) == ("127.0.0.1", 9091, "", None)
    assert (local.health_route, local.predict_route) == ("/ping", "/invocations")


@pytest.mark.process
def test_the_command_is_reached_from_outside_in_a_clouds_container_and_only_there(tmp_path: Path, bundle: Path) -> None:
    command = [sys.executable, "-m", "labelloop", "serve"]
    with inference(tmp_path / "cloud", bundle=bundle, command=command, SAGEMAKER_BIND_TO_PORT="8081") as server:
        # An address of this machine that is not the one a server on 127.0.0.1 listens on.
        assert requests.get(f"http://127.0.0.2:{server.port}/ping", timeout=SECONDS).status_code == 200
    here = inference(tmp_path / "here", bundle=bundle, command=command)
    with here as server, pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.2:{server.port}/ping", timeout=SECONDS)


def test_a_model_where_sagemaker_puts_it_is_what_is_served(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    assert ServePlan.of(ServeOptions(), {}, model).bundle is None
    (model / "model.json").touch()
    plan = ServePlan.of(ServeOptions(), {}, model)
    assert (plan.bundle, plan.host, plan.port) == (model, "0.0.0.0", 8080)
    assert ServePlan.of(ServeOptions(bundle=tmp_path), {"AIP_STORAGE_URI": "s3://b/p"}, model).bundle == tmp_path


@pytest.mark.parametrize(
    "environment",
    [
        {"AIP_HTTP_PORT": "http"},
        {"SAGEMAKER_BIND_TO_PORT": "65536"},
        {"AIP_PREDICT_ROUTE": "predict"},
        {"AIP_HEALTH_ROUTE": "/<x>"},
    ],
)
def test_impossible_variables_are_named(environment: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(environment))):
        ServePlan.of(ServeOptions(), environment)


def test_nothing_listens_for_a_bundle_that_cannot_be_served(tmp_path: Path) -> None:
    settings = Settings(model_dir=str(tmp_path / "models"))
    with pytest.raises(BundleError, match=r"model\.json cannot be read"):
        serve(ServeOptions(bundle=tmp_path), settings, {})
    make_bundle(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.onnx is damaged"):
        serve(ServeOptions(bundle=tmp_path), settings, {})
    with pytest.raises(SettingsError, match=r"AIP_STORAGE_URI: https:// cannot be read, gs:// and s3:// can"):
        serve(ServeOptions(), settings, {"AIP_STORAGE_URI": "https://bucket/model"})
    write_foreign(tmp_path, ForeignInfo(("a", "b"), "single", "command", model="model-7"), {})
    with pytest.raises(BundleError, match=r"its model lies elsewhere, as 'model-7', and cannot be served here"):
        serve(ServeOptions(bundle=tmp_path), settings, {})


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with moto_server() as address:
        for name, value in {
            "AWS_ENDPOINT_URL_S3": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "hush",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield Session().client("s3")


def test_vertex_downloads_its_bundle_by_itself(s3: Any, bundle: Path, tmp_path: Path) -> None:
    s3.create_bucket(Bucket="models")
    for file in bundle.iterdir():
        s3.upload_file(str(file), "models", f"seven/{file.name}")
    s3.put_object(Bucket="models", Key="seven/version.json", Body=b'{"version": "v7"}')
    with inference(tmp_path, AIP_STORAGE_URI="s3://models/seven") as server:
        assert predictions(server.post(RED))[0]["model_version"] == "v7"
    with pytest.raises(SettingsError, match=r"no model\.json at s3://models/eight"):
        serve(ServeOptions(), Settings(model_dir=str(tmp_path)), {"AIP_STORAGE_URI": "s3://models/eight"})


def test_vertex_downloads_its_bundle_from_cloud_storage(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with google_stand_in(tmp_path / "google") as google:
        google.use(monkeypatch)
        google.bucket("models")
        for file in bundle.iterdir():
            google.storage.put("models", f"seven/{file.name}", file.read_bytes())
        google.storage.put("models", "seven/version.json", b'{"version": "v7"}')
        google.fail("storage:GET b/*/o/*")  # one of Google's short failures
        # As Vertex AI spells it, with a slash behind.
        with inference(tmp_path, AIP_STORAGE_URI="gs://models/seven/") as server:
            assert predictions(server.post(RED))[0]["model_version"] == "v7"
        settings = Settings(model_dir=str(tmp_path))
        with pytest.raises(SettingsError, match=r"no model\.json at gs://models/eight"):
            serve(ServeOptions(), settings, {"AIP_STORAGE_URI": "gs://models/eight"})
        google.deny("storage.objects.list")
        with pytest.raises(StoreError, match=r"gs://models/seven/.* a role with storage\.objects\.list"):
            serve(ServeOptions(), settings, {"AIP_STORAGE_URI": "gs://models/seven"})
