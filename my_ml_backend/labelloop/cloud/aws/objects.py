"""A folder in S3 in which this machine and AWS hand each other files (LABELLOOP_AWS_LOCATION)."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from labelloop.cloud.aws.account import Account, asking
from labelloop.cloud.objects import copy_all, location_below
from labelloop.errors import CloudError, CloudMissing
from labelloop.settings import Settings
from labelloop.sources.s3 import bucket_and_key
from labelloop.types import chunks

_REMOVED = 1000
"""Objects that one call removes, the most that S3 takes."""

_CHECK = "labelloop-check.txt"


def location_of(settings: Settings) -> str:
    """Name the folder in S3 of the settings: ``s3://bucket/prefix``; raises SettingsError where there is none."""
    return location_below(settings.store_address, "s3", "LABELLOOP_AWS_LOCATION", settings.aws_location)


class Folder:
    """All objects below ``uri`` (``s3://bucket/prefix``). Every method raises CloudError or one of its kinds."""

    def __init__(self, account: Account, uri: str) -> None:
        self.account, self.uri = account, uri.rstrip("/")
        self._bucket, self._prefix = bucket_and_key(self.uri)

    def below(self, name: str) -> Self:
        """Give a folder in it."""
        return type(self)(self.account, f"{self.uri}/{name}")

    @property
    def _client(self) -> Any:
        return self.account.client("s3")

    def _named(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{name}".strip("/")}

    def check(self) -> None:
        """Write and read an object in it; raises CloudError, also for a bucket of another region."""
        try:
            with asking(f"bucket {self._bucket}"):
                found = self._client.head_bucket(Bucket=self._bucket)
        except CloudMissing as error:
            raise CloudMissing(f"{error}: make the bucket, or correct LABELLOOP_AWS_LOCATION") from error
        region = found.get("BucketRegion") or self.account.region
        if region != self.account.region:
            raise CloudError(
                f"bucket {self._bucket} is in {region}, and SageMaker in {self.account.region} takes buckets of its "
                "own region alone: name one there (LABELLOOP_AWS_LOCATION)"
            )
        self.put(_CHECK, b"labelloop can write here\n")
        self.read(_CHECK)

    def put(self, name: str, content: bytes, media_type: str = "application/octet-stream") -> str:
        """Write an object, and give its address."""
        with asking(f"{self.uri}/{name} to be written"):
            self._client.put_object(**self._named(name), Body=content, ContentType=media_type)
        return f"{self.uri}/{name}"

    def put_file(self, name: str, path: Path) -> str:
        """Write a file's content, at most 5 GB, and give its address."""
        with asking(f"{self.uri}/{name} to be written"), path.open("rb") as file:
            self._client.put_object(**self._named(name), Body=file)
        return f"{self.uri}/{name}"

    def read(self, name: str) -> bytes:
        """Read an object; raises CloudMissing."""
        with asking(f"{self.uri}/{name}"), closing(self._client.get_object(**self._named(name))["Body"]) as body:
            return bytes(body.read())

    def has(self, name: str) -> bool:
        """Whether there is such an object."""
        try:
            with asking(f"{self.uri}/{name}"):
                self._client.head_object(**self._named(name))
        except CloudMissing:
            return False
        return True

    def names(self) -> Iterator[str]:
        """Name all objects, as they are called in this folder."""
        beginning = f"{self._prefix}/".lstrip("/")
        with asking(f"what lies in {self.uri}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=beginning)
            for page in pages:
                yield from (str(one["Key"])[len(beginning) :] for one in page.get("Contents", ()))

    def fetch(self, folder: Path, wanted: Iterable[str] | None = None) -> list[str]:
        """Copy objects into a folder on this machine, all of them or those ``wanted``; names them.

        What would lead out of the folder is refused: raises CloudError.
        """
        return copy_all(self.names() if wanted is None else wanted, self.uri, folder, self._fetch_one)

    def _fetch_one(self, name: str, target: Path) -> None:
        with (
            asking(f"{self.uri}/{name}"),
            closing(self._client.get_object(**self._named(name))["Body"]) as body,
            target.open("wb") as file,
        ):
            for part in body.iter_chunks(1 << 20):
                file.write(part)

    def remove(self) -> None:
        """Remove all objects in it."""
        for names in chunks(list(self.names()), _REMOVED):
            objects = [{"Key": self._named(name)["Key"]} for name in names]
            with asking(f"what lies in {self.uri} to be removed"):
                told = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            for left in told.get("Errors", ()):
                where = f"s3://{self._bucket}/{left.get('Key')}"
                raise CloudError(f"{where} could not be removed: {left.get('Code')} {left.get('Message')}")
