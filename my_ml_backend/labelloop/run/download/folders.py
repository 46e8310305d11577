"""The names of all objects below a folder of S3 or of Google Cloud Storage, page by page."""

import os
import time
from collections.abc import Iterator

from labelloop.errors import MediaError
from labelloop.sources.urls import shown

_SECONDS = 60.0
"""For one page of names."""


def names_below(folder: str) -> Iterator[str]:
    """Give the names of objects below ``s3://bucket/folder/`` or ``gs://...``, relative to it. Raises MediaError."""
    bucket, _, prefix = folder.partition("://")[2].partition("/")
    if not bucket:
        raise MediaError(f"{shown(folder)} is not of the form s3://bucket/folder/")
    keys = _in_s3(folder, bucket, prefix) if folder.startswith("s3://") else _in_google(bucket, prefix)
    # The folder's own marker has no name.
    yield from (key.removeprefix(prefix) for key in keys if key != prefix)


def _in_s3(folder: str, bucket: str, prefix: str) -> Iterator[str]:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    client = None
    try:
        client = boto3.session.Session().client("s3")
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from (str(entry["Key"]) for entry in page.get("Contents", ()))
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise MediaError(
            f"{shown(folder)} could not be listed: S3 answered {code}. Give this machine access to the bucket."
        ) from error
    except (BotoCoreError, ValueError) as error:
        raise MediaError(f"{shown(folder)} could not be listed ({type(error).__name__}: {error})") from error
    finally:
        if client is not None:
            client.close()


def _in_google(bucket: str, prefix: str) -> Iterator[str]:
    from labelloop.run.download.google import GoogleObjects

    google = GoogleObjects.at(os.environ.get("STORAGE_EMULATOR_HOST", ""), 64_000_000, 1)
    try:
        page: str | None = ""
        while page is not None:
            names, page = google.names(bucket, prefix, page, time.monotonic() + _SECONDS)
            yield from names
    finally:
        google.close()
