"""Pictures that a request only names: the container fetches them itself, from buckets and over HTTP, and no further."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.session import Session

from labelloop.serve.references import References
from labelloop.settings import Settings
from labelloop.types import Failure
from support.bundles import make_bundle, picture
from support.inference import SCRIPT, SECONDS, Inference, inference
from support.misbehaving import Exchange, answer, misbehaving
from support.moto_server import moto_server
from support.packages import locked, only
from support.picture_server import picture_server

PACKAGES = Path(__file__).parents[2] / "my_ml_backend/requirements-inference.txt"
RED, BLUE = picture("red"), picture("blue")
SIGNED = "?X-Amz-Signature=hush"


@pytest.fixture(scope="module")
def buckets() -> Iterator[dict[str, str]]:
    """The environment of accounts with a bucket ``photos`` in S3, and one in Cloud Storage, that hold ``red.png``."""
    with moto_server() as address, picture_server({"/photos/red.png": RED}) as google:
        client: Any = Session("key", "hush", region_name="us-east-1").client("s3", endpoint_url=address)
        client.create_bucket(Bucket="photos")
        client.put_object(Bucket="photos", Key="red.png", Body=RED)
        yield {
            "AWS_ENDPOINT_URL_S3": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "hush",
            "AWS_DEFAULT_REGION": "us-east-1",
            "STORAGE_EMULATOR_HOST": google.address,
        }


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle")
    make_bundle(directory)
    return directory


@pytest.fixture(scope="module")
def trusting(bundle: Path, buckets: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inference]:
    """A container that may fetch from private addresses, with the packages of its image and no others."""
    settings: dict[str, Any] = {
        **buckets,
        "LABELLOOP_ALLOW_PRIVATE_ADDRESSES": "true",
        "script": only(PACKAGES) + SCRIPT,
    }
    with inference(tmp_path_factory.mktemp("trusting"), bundle=bundle, version="v3", **settings) as server:
        yield server


_LOADS = """
import importlib, pkgutil
import labelloop.serve
for module in pkgutil.walk_packages(labelloop.serve.__path__, "labelloop.serve."):
    if not module.name.endswith(".torchscript"):
        importlib.import_module(module.name)
for name in ("botocore", "google.auth.transport.requests", "httpx", "onnxruntime"):
    importlib.import_module(name)
import redis
"""


def said_by(script: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.process
def test_the_packages_of_its_image_are_all_that_the_server_imports() -> None:
    done = said_by(only(PACKAGES) + _LOADS)

    assert "label-studio-sdk" not in locked(PACKAGES)
    assert done.stderr.splitlines()[-1:] == ["ModuleNotFoundError: No module named 'redis'"], done.stderr


@pytest.mark.process
@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("serve --help", 0, "Run the inference container"),
        ("status", 1, "Error: this command needs the package redis, which is not installed: pip install "),
    ],
)
def test_a_command_without_its_packages_says_which_is_missing(command: str, status: int, said: str) -> None:
    script = f"{only(PACKAGES)}\nfrom labelloop.cli import main\nmain({command.split()!r})"
    done = said_by(script)

    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stderr


def ask(server: Inference, *items: dict[str, object]) -> list[dict[str, Any]]:
    said = server.post(json.dumps({"instances": items}).encode(), content_type="application/json")
    assert said.status_code == 200, said.text
    found: list[dict[str, Any]] = said.json()["predictions"]
    return found


@pytest.mark.process
def test_pictures_are_fetched_from_buckets_and_over_http(trusting: Inference) -> None:
    with misbehaving(answer(BLUE)) as web:
        found = ask(
            trusting,
            {"uri": f"{web.address}/blue.png{SIGNED}"},
            {"uri": "s3://photos/red.png"},
            {"uri": "gs://photos/red.png"},
        )
    assert [one["label"] for one in found] == ["blue", "red", "red"]
    assert web.requests[0].line == f"GET /blue.png{SIGNED} HTTP/1.1"


@pytest.mark.process
def test_what_cannot_be_fetched_fails_alone_and_tells_no_secret(trusting: Inference) -> None:
    with misbehaving(answer(b"", 403)) as web:
        signed = f"{web.address}/a.png{SIGNED}"
        refused, missing, unknown, odd, red = ask(
            trusting,
            {"uri": signed},
            {"uri": "s3://photos/x"},
            {"uri": "gs://photos/x"},
            {"uri": "file:///etc/passwd"},
            {"uri": "s3://photos/red.png"},
        )
    assert f"{web.address}/a.png could not be read: its server answered 403" in refused["error"]
    assert "hush" not in refused["error"]
    assert "s3://photos/x could not be read: S3 answered NoSuchKey" in missing["error"]
    assert "gs://photos/x could not be read: Google Cloud Storage answered 404. There is no such" in unknown["error"]
    assert odd == {"error": '"uri" must begin with s3://, gs://, https://, http://'}
    assert red["label"] == "red"
    assert "hush" not in trusting.log.read_text()


@pytest.mark.process
def test_one_picture_alone_may_be_named_too(trusting: Inference) -> None:
    def post(uri: str, path: str = "/invocations") -> Any:
        return trusting.post(json.dumps({"uri": uri}).encode(), path, content_type="application/json")

    assert post("s3://photos/red.png").json()["predictions"][0]["label"] == "red"
    assert post("s3://photos/red.png", "/endpoints/any/invocations").json()["predictions"][0]["label"] == "red"
    missing = post("s3://photos/x")
    assert missing.status_code == 400
    assert "S3 answered NoSuchKey" in missing.json()["error"]


@pytest.mark.process
def test_private_addresses_are_refused_by_default(bundle: Path, tmp_path: Path) -> None:
    with misbehaving(answer(BLUE)) as web, inference(tmp_path, bundle=bundle) as server:
        (found,) = ask(server, {"uri": f"{web.address}/a.png"})
    assert "LABELLOOP_ALLOW_PRIVATE_ADDRESSES" in found["error"]
    assert web.requests == []


@pytest.fixture
def references() -> Iterator[References]:
    made = References(Settings(allow_private_addresses=True, body_max_bytes=3 * len(RED)))
    yield made
    made.close()


def test_the_pictures_of_a_request_are_fetched_at_once(references: References) -> None:
    together = threading.Barrier(8, timeout=SECONDS)

    def when_all_have_asked(exchange: Exchange) -> None:
        together.wait()
        answer(b"x")(exchange)

    with misbehaving(when_all_have_asked) as web:
        assert references.read([f"{web.address}/{number}" for number in range(8)]) == [b"x"] * 8


def test_a_request_fetches_no_more_than_a_body_may_hold(references: References) -> None:
    with misbehaving(answer(RED)) as web:
        found = references.read([f"{web.address}/{number}" for number in range(100)])
    assert found.count(RED) == 3
    others = {one.reason for one in found if isinstance(one, Failure)}
    (reason,) = others
    assert "LABELLOOP_BODY_MAX_BYTES" in reason
    assert len(web.requests) < 100


def test_where_buckets_are_listed_no_other_is_read(buckets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in buckets.items():
        monkeypatch.setenv(name, value)
    found = References(
        Settings(buckets=("s3://photos", "gs://others"), storage_emulator=buckets["STORAGE_EMULATOR_HOST"])
    )
    try:
        own, other = found.read(["s3://photos/red.png", "gs://photos/red.png"])
    finally:
        found.close()
    assert own == RED
    assert other == Failure("gs://photos is none of LABELLOOP_BUCKETS: add it there if it may be read")
