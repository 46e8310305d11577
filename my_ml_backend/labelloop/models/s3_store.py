"""The store in an S3 bucket, or in anything that speaks S3 and honours conditional writes."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from labelloop.errors import Conflict, NotFound, StoreAway, StoreError
from labelloop.models.store import Sized, Versioned, checked, checked_prefix, is_confined
from labelloop.retries import retries
from labelloop.sources.s3 import S3Failure, s3_client, s3_exceptions, s3_failure

_CONNECTIONS = 32
"""Requests at a time; more threads than this wait for each other."""

_PART_BYTES = 1 << 20
"""Of an object that is copied into a file, this much is in memory."""

_BUSY_TRIES = 6
"""How often a create is repeated that met another write of the same object in flight (409)."""


class S3Store:
    """Objects below ``prefix`` of one bucket; the tag is the ETag. Safe to share between threads.

    Region, credentials and endpoint (``AWS_ENDPOINT_URL_S3``) are found as boto3 finds them. ``create`` and ``swap``
    are conditional writes (S3 User Guide, "Prevent object overwrites with conditional writes"). ``client`` is one
    to share; making one takes a tenth of a second.
    """

    def __init__(self, bucket: str, prefix: str = "", client: Any = None) -> None:
        self._bucket = bucket
        self._prefix = checked_prefix(prefix)
        self._errors = _S3Errors(bucket, self._prefix)
        with self._errors.translated("", "opened"):
            self._client = client or _client()

    def read(self, path: str) -> Versioned:
        """Read one object; raises NotFound."""
        key = self._key(path)
        with self._errors.translated(path, "read"):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            return Versioned(answer["Body"].read(), answer["ETag"])

    def write(self, path: str, content: bytes) -> None:
        """Write one object whole, or not at all."""
        self._put(path, content, {})

    def download(self, path: str, target: Path) -> None:
        """Copy one object into a file, a part at a time; raises NotFound, and OSError of the file."""
        key = self._key(path)
        with target.open("wb") as file, self._errors.translated(path, "read"):
            for part in self._client.get_object(Bucket=self._bucket, Key=key)["Body"].iter_chunks(_PART_BYTES):
                file.write(part)

    def upload(self, path: str, source: Path) -> None:
        """Write one object whole, or not at all, from a file, a part at a time."""
        with source.open("rb") as file:
            self._put(path, file, {})

    def file(self, path: str) -> Path | None:
        """Say that no object lies on this machine."""

    def create(self, path: str, content: bytes) -> None:
        """Write one object that must not exist yet; raises Conflict when it does."""
        for _ in retries(_BUSY_TRIES, 0.02):
            status = self._put(path, content, {"IfNoneMatch": "*"})
            if status == 200:
                return
            if status == 412:
                raise Conflict(f"{path} exists already in {self._errors.where}")
        raise StoreAway(f"{path} in {self._errors.where} is being written by others all the time; try again")

    def swap(self, path: str, content: bytes, tag: str) -> None:
        """Replace one object if it still has ``tag``; raises Conflict when it has not, or is gone."""
        if self._put(path, content, {"IfMatch": tag}) != 200:
            raise Conflict(f"{path} was changed by another process in {self._errors.where}")

    def remove(self, path: str) -> None:
        """Remove one object; a bucket that keeps versions has it still, as one of these."""
        key = self._key(path)
        with self._errors.translated(path, "removed"):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def walk(self, prefix: str) -> Iterator[str]:
        """Name the objects below ``prefix``, sorted as strings; one page of 1,000 is held in memory."""
        return (one.path for one in self.sizes(prefix))

    def sizes(self, prefix: str) -> Iterator[Sized]:
        """Name the objects below ``prefix`` with their sizes; one page of 1,000 is held in memory."""
        for page in self._pages(prefix):
            for entry in page.get("Contents", []):
                path = str(entry["Key"]).removeprefix(self._prefix)
                if is_confined(path):
                    yield Sized(path, int(entry["Size"]))

    def names(self, prefix: str) -> list[str]:
        """Name what lies directly below ``prefix``, sorted."""
        start = len(self._prefix + prefix)
        found: list[str] = []
        for page in self._pages(prefix, Delimiter="/"):
            found += [entry["Key"][start:] for entry in page.get("Contents", [])]
            found += [entry["Prefix"][start:-1] for entry in page.get("CommonPrefixes", [])]
        return sorted(name for name in found if is_confined(name))

    def _key(self, path: str) -> str:
        return self._prefix + checked(path)

    def _pages(self, prefix: str, **options: str) -> Iterator[Mapping[str, Any]]:
        below = self._prefix + checked_prefix(prefix)
        with self._errors.translated(prefix, "listed"):
            lister = self._client.get_paginator("list_objects_v2")
            yield from lister.paginate(Bucket=self._bucket, Prefix=below, **options)

    def _put(self, path: str, content: bytes | BinaryIO, condition: Mapping[str, str]) -> int:
        """Write, and give the HTTP status: 200; or 404, 409, 412 when the condition did not hold."""
        key, writer = self._key(path), uuid.uuid4().hex
        with self._errors.translated(path, "written"):
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=key, Body=content, Metadata={"labelloop-writer": writer}, **condition
                )
            except s3_exceptions() as error:
                failure = s3_failure(error)
                if not condition or (failure.status not in (409, 412) and failure.code != "NoSuchKey"):
                    raise
                # The client repeats a write whose answer was lost; the repetition then meets the object of the first.
                return 200 if failure.status == 412 and self._is_written_by(key, writer) else failure.status
        return 200

    def _is_written_by(self, key: str, writer: str) -> bool:
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=key)
        except s3_exceptions() as error:
            if s3_failure(error).status == 404:
                return False
            raise
        return bool(answer["Metadata"].get("labelloop-writer") == writer)


def _client() -> Any:
    try:
        return s3_client(_CONNECTIONS, connect_seconds=5, read_seconds=60, tries=3)
    except ValueError as error:
        raise StoreError(
            "the S3 client cannot be made: AWS_ENDPOINT_URL_S3 or AWS_DEFAULT_REGION is not valid"
        ) from error


class _S3Errors:
    """Translates for one bucket and prefix; ``where`` is how messages name it."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self.where = f"s3://{bucket}/{prefix}"

    @contextmanager
    def translated(self, path: str, verb: str) -> Iterator[None]:
        """Turn S3's failures inside the block into NotFound and StoreAway."""
        try:
            yield
        except s3_exceptions() as error:
            raise self._told(s3_failure(error), path, verb) from error

    def _told(self, failure: S3Failure, path: str, verb: str) -> StoreError:
        if failure.code == "NoSuchBucket":
            return StoreAway(f"bucket {self._bucket} does not exist: create it, or correct LABELLOOP_STORE")
        if failure.code == "NoSuchKey":
            return NotFound(f"{path} is not in {self.where}")
        failed = f"{path or 'the store'} cannot be {verb} in {self.where}"
        if failure.status in (401, 403):
            return StoreAway(
                f"{failed}: access denied ({failure.code}). Allow s3:GetObject, s3:PutObject, s3:DeleteObject and "
                f"s3:ListBucket on bucket {self._bucket}, or correct the AWS credentials."
            )
        if failure.status:
            return StoreAway(f"{failed}: S3 answered {failure.status} ({failure.code}); try again later")
        return StoreAway(f"{failed}: {failure.code}. {_remedy_of(failure)}")


def _remedy_of(failure: S3Failure) -> str:
    if "Credential" in failure.code:
        return "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run under a role."
    return "Check LABELLOOP_STORE, the network, AWS_DEFAULT_REGION and AWS_ENDPOINT_URL_S3."
