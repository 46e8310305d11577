"""Pictures in S3: read with one's own identity, and through Label Studio where that does not suffice."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from boto3.session import Session

from labelloop.errors import MediaError
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.studio.client import Studio
from labelloop.studio.task_files import TaskFiles
from labelloop.types import TaskKey
from support.misbehaving import answer, misbehaving, stall
from support.moto_server import moto_server

PICTURE = b"a picture" * 1000


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture(autouse=True)
def account(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")


@pytest.fixture
def bucket() -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    client: Any = Session().client("s3")
    client.create_bucket(Bucket=name)
    for key in ("a.png", "folder/b c#?&%20ü.png"):
        client.put_object(Bucket=name, Key=key, Body=PICTURE)
    client.close()
    return name


Reader = Callable[..., Media]


@pytest.fixture
def reader() -> Iterator[Reader]:
    with ExitStack() as closing:

        def make(studio_url: str | None = None, **settings: Any) -> Media:
            studio = Studio(studio_url, "legacy") if studio_url else None
            made = Settings(**settings)
            media = Media(made, TaskFiles.of(studio, made) if studio else None)
            closing.callback(media.close)
            if studio:
                closing.callback(studio.close)
            return media

        yield make


@pytest.mark.parametrize("key", ["a.png", "folder/b c#?&%20ü.png"])
def test_an_object_is_read_with_ones_own_identity(reader: Reader, bucket: str, key: str) -> None:
    assert reader().read(f"s3://{bucket}/{key}", TaskKey(1, 7)) == PICTURE


def test_too_large_an_object_is_refused(reader: Reader, bucket: str) -> None:
    assert reader(media_max_bytes=len(PICTURE)).read(f"s3://{bucket}/a.png") == PICTURE
    with pytest.raises(MediaError, match="LABELLOOP_MEDIA_MAX_BYTES"):
        reader(media_max_bytes=len(PICTURE) - 1).read(f"s3://{bucket}/a.png")


@pytest.mark.parametrize("uri", ["s3://", "s3://bucket", "s3://bucket/", "s3:///key"])
def test_addresses_without_bucket_or_key_are_refused(reader: Reader, uri: str) -> None:
    with pytest.raises(MediaError, match="s3://bucket/key"):
        reader().read(uri)


def test_a_missing_object_says_what_s3_said_and_what_to_do(reader: Reader, bucket: str) -> None:
    with pytest.raises(MediaError, match=r"missing\.png could not be read: S3 answered NoSuchKey\. Give this machine"):
        reader().read(f"s3://{bucket}/missing.png")


def test_without_credentials_label_studio_is_asked(
    reader: Reader, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with misbehaving(answer(b"resolved")) as studio:
        assert reader(studio.address).read(f"s3://{bucket}/a.png", TaskKey(1, 7)) == b"resolved"
        assert studio.requests[0].line.startswith("GET /tasks/7/resolve/?fileuri=")
        with pytest.raises(MediaError, match="NoCredentialsError"):
            reader(studio.address).read(f"s3://{bucket}/a.png", None)


def test_when_access_is_denied_label_studio_is_asked(
    reader: Reader, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = answer(
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>no</Message></Error>",
        403,
        "Content-Type: application/xml\r\n",
    )
    with misbehaving(denied) as s3, misbehaving(answer(b"resolved"), answer(b"", 404)) as studio:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.address)
        media = reader(studio.address)
        assert media.read(f"s3://{bucket}/a.png", TaskKey(1, 7)) == b"resolved"
        with pytest.raises(MediaError, match=r"S3 answered AccessDenied, and through Label Studio: .* answered 404"):
            media.read(f"s3://{bucket}/a.png", TaskKey(1, 7))


def test_a_silent_s3_does_not_hold_us(reader: Reader, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving(stall) as s3:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.address)
        with pytest.raises(MediaError, match="ReadTimeoutError"):
            reader(media_timeout=0.2).read(f"s3://{bucket}/a.png")
