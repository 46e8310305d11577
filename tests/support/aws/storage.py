"""S3 as jobs see it: folders that are brought before one begins and taken back when it ends."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError


class NothingThere(Exception):
    """No object lies where a job wants one, as SageMaker says it."""

    def __init__(self, uri: str) -> None:
        super().__init__(f"ClientError: No S3 objects found under S3 URL {uri!r} given in input data source.")


def split(uri: str) -> tuple[str, str]:
    """Give bucket and key of ``s3://bucket/key``; raises ValueError."""
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise ValueError(f"ClientError: {uri!r} is no S3 URL")
    return bucket, key


def read(s3: Any, uri: str) -> bytes:
    """Read one object; raises NothingThere."""
    bucket, key = split(uri)
    try:
        content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError:
        raise NothingThere(uri) from None
    return content


def write(s3: Any, uri: str, content: bytes) -> None:
    """Write one object."""
    bucket, key = split(uri)
    s3.put_object(Bucket=bucket, Key=key, Body=content)


def keys(s3: Any, uri: str) -> Iterator[str]:
    """Give the URIs of the objects below a prefix, which ends where a folder does, in order."""
    bucket, prefix = split(uri)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    try:
        for page in pages:
            for one in page.get("Contents", []):
                if one["Key"] == prefix or one["Key"].startswith(prefix.rstrip("/") + "/") or not prefix:
                    yield f"s3://{bucket}/{one['Key']}"
    except ClientError:
        raise NothingThere(uri) from None


def bring(s3: Any, uri: str, folder: Path, kind: str = "S3Prefix") -> list[Path]:
    """Lay out what a source holds: a prefix with its folders, one object by its name, or what a manifest lists.

    Raises NothingThere where that is nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    brought = []
    for source, name in listed(s3, uri, kind):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read(s3, source))
        brought.append(target)
    return brought


def listed(s3: Any, uri: str, kind: str = "S3Prefix") -> list[tuple[str, str]]:
    """List what a source holds: URIs, and their names below it; raises NothingThere where that is nothing."""
    if kind == "ManifestFile":
        first, *names = json.loads(read(s3, uri))
        return [(first["prefix"] + name, name) for name in names]
    found = [one for one in keys(s3, uri) if not one.endswith("/")]
    if not found:
        raise NothingThere(uri)
    return [(one, one.removeprefix(uri).lstrip("/") or one.rpartition("/")[2]) for one in found]


def take(s3: Any, folder: Path, uri: str) -> None:
    """Write every file of a folder below a prefix."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            write(s3, f"{uri.rstrip('/')}/{file.relative_to(folder).as_posix()}", file.read_bytes())


def archive(folder: Path) -> bytes:
    """Give a folder's files as tar.gz, as SageMaker makes model.tar.gz."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    return content.getvalue()


def unpack(content: bytes, folder: Path) -> None:
    """Unpack such an archive."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        tar.extractall(folder, filter="data")
