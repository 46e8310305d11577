"""Pictures in S3: read with one's own identity, and through Label Studio where that does not suffice."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from boto3.session import Session

from labelloop.errors import MediaError, Transient
from labelloop.settings import Settings
from labelloop.sources import buckets
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
            made = Settings(**{"buckets": ("*",), **settings})
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


STORAGES = (answer(b'[{"id": 1, "bucket": "pictures"}]'), answer(b"[]"))
"""What Label Studio says of a project's source storages: those of S3, then those of Google."""


def test_the_buckets_of_the_projects_storages_are_read_and_known_for_a_while(reader: Reader, bucket: str) -> None:
    own = answer(f'[{{"id": 1, "bucket": "{bucket}", "prefix": "elsewhere"}}]'.encode())
    with misbehaving(own, answer(b"[]")) as studio:
        media = reader(studio.address, buckets=())
        for _ in range(2):
            assert media.read(f"s3://{bucket}/a.png", TaskKey(7, 5)) == PICTURE
        assert [one.line.split()[1] for one in studio.requests] == [
            "/api/storages/s3/?project=7",
            "/api/storages/gcs/?project=7",
        ]


def test_any_other_bucket_is_left_to_label_studio(reader: Reader, bucket: str) -> None:
    with misbehaving(*STORAGES, answer(b"resolved"), answer(b"", 404)) as studio:
        media = reader(studio.address, buckets=())
        assert media.read(f"s3://{bucket}/a.png", TaskKey(7, 5)) == b"resolved"
        with pytest.raises(MediaError, match=rf"s3://{bucket} is neither .* LABELLOOP_BUCKETS: .* answered 404"):
            media.read(f"s3://{bucket}/a.png", TaskKey(7, 5))


@pytest.mark.parametrize("listed", ["*", "s3://BUCKET", "s3://BUCKET/", "s3://BUCKET/folder"])
def test_what_the_operator_lists_is_read_for_any_project(reader: Reader, bucket: str, listed: str) -> None:
    media = reader(buckets=(listed.replace("BUCKET", bucket),))
    assert media.read(f"s3://{bucket}/folder/b c#?&%20ü.png", TaskKey(7, None)) == PICTURE


@pytest.mark.parametrize("listed", ["s3://BUCKET/fold", "s3://BUCKET2", "gs://BUCKET", "s3://BUCKET/folder/b"])
def test_what_only_begins_like_it_is_not_listed(reader: Reader, bucket: str, listed: str) -> None:
    media = reader(buckets=(listed.replace("BUCKET", bucket),))
    with pytest.raises(MediaError, match="LABELLOOP_BUCKETS"):
        media.read(f"s3://{bucket}/folder/b c#?&%20ü.png", TaskKey(7, 5))
    assert media.read(f"s3://{bucket}/a.png") == PICTURE, "a list of one's own may name any"


def test_while_label_studio_is_away_what_was_known_stands(
    reader: Reader, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "_KNOWN_SECONDS", 0.0)
    own = answer(f'[{{"id": 1, "bucket": "{bucket}"}}]'.encode())
    with misbehaving(own, answer(b"[]")) as studio:
        media = reader(studio.address, buckets=())
        assert media.read(f"s3://{bucket}/a.png", TaskKey(7, 5)) == PICTURE
    assert media.read(f"s3://{bucket}/a.png", TaskKey(7, 5)) == PICTURE
    with pytest.raises(Transient, match="not known"):
        media.read(f"s3://{bucket}/a.png", TaskKey(8, 5))
