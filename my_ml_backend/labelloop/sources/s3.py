"""S3 for all who ask it: a client, what its failures mean, and objects read and listed with this machine's identity."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

from labelloop.errors import MediaError, TooLarge
from labelloop.sources.transport import TRANSIENT


class S3Failure(NamedTuple):
    """What S3 refused, by its error ``code`` and HTTP ``status``; the kind of error and 0 where it gave no answer.

    ``passing``: it could not be reached or has stumbled, and another try may succeed.
    """

    code: str
    status: int
    passing: bool


def s3_client(
    connections: int, connect_seconds: float, read_seconds: float, tries: int, session: Any = None, region: str = ""
) -> Any:
    """Make a client for S3, or what AWS_ENDPOINT_URL_S3 names: one is for many threads, and takes a tenth of a second.

    Region, credentials and proxies are found as boto3 finds them: environment, profile, role. ``session`` (botocore's)
    is for who has one; ``region`` goes before what it says. Raises what ``s3_exceptions`` names, and ValueError for an
    address or a region that is none.
    """
    # Imported here: a third of a second that only a bucket is worth.
    from botocore.config import Config
    from botocore.session import Session

    config = Config(
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": tries},
    )
    # A session of its own: one that makes two clients at a time is not safe to share between threads.
    return (session or Session()).create_client("s3", region_name=region or None, config=config)


def s3_exceptions() -> tuple[type[Exception], ...]:
    """Name what a client raises, for an ``except``: ``s3_failure`` reads it."""
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError


def s3_failure(error: Exception) -> S3Failure:
    """Read what a client has raised. The texts of such errors may hold whole URLs."""
    from botocore.exceptions import ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as NotConnected

    if not isinstance(error, ClientError):
        return S3Failure(type(error).__name__, 0, isinstance(error, NotConnected | HTTPClientError))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return S3Failure(str(error.response.get("Error", {}).get("Code", "unknown")), status, status in TRANSIENT)


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Take ``s3://bucket/key`` apart; what is not there is empty."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


class S3Error(MediaError):
    """The identity of this machine is missing, wrong, or does not suffice; ``passing``: S3 itself has stumbled."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


class S3:
    """Objects of S3, or of what AWS_ENDPOINT_URL_S3 names. Safe to share between threads.

    Configured as boto3 is: environment, profile, role. One client for all threads.
    """

    def __init__(self, max_bytes: int, seconds: float, connections: int) -> None:
        self._max_bytes, self._seconds, self._connections = max_bytes, seconds, connections
        self._making = threading.Lock()
        self._client: Any = None

    def read(self, uri: str, deadline: float) -> bytes:
        """Read ``s3://bucket/key``; raises S3Error where another identity may succeed, MediaError otherwise."""
        bucket, key = bucket_and_key(uri)
        if not bucket or not key:
            raise MediaError("its address is not of the form s3://bucket/key")
        with _translated():
            answer = self._connect().get_object(Bucket=bucket, Key=key)
            with closing(answer["Body"]) as body:
                return self._content(body, int(answer["ContentLength"]), deadline)

    def names(self, bucket: str, prefix: str, page: str) -> tuple[list[str], str | None]:
        """List one page of a bucket's objects below ``prefix``: their names, and which page is next, None for none.

        ``page`` is empty for the first. Raises S3Error.
        """
        with _translated():
            more = {"ContinuationToken": page} if page else {}
            found = self._connect().list_objects_v2(Bucket=bucket, Prefix=prefix, **more)
            return [str(entry["Key"]) for entry in found.get("Contents", ())], found.get("NextContinuationToken")

    def close(self) -> None:
        """Close the connections."""
        with self._making:
            if self._client is not None:
                self._client.close()

    def _content(self, body: Any, length: int, deadline: float) -> bytes:
        if length > self._max_bytes:
            raise TooLarge(self._max_bytes, length)
        content = bytearray()
        for chunk in body.iter_chunks(65536):
            content += chunk
            if time.monotonic() > deadline:
                raise MediaError("it took too long (LABELLOOP_MEDIA_TIMEOUT)")
        return bytes(content)

    def _connect(self) -> Any:
        with self._making:
            if self._client is None:
                try:
                    self._client = s3_client(self._connections, self._seconds, self._seconds, tries=2)
                except ValueError as error:
                    raise S3Error(f"S3 could not be asked ({error})", passing=False) from error
            return self._client


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what botocore raises into S3Error."""
    try:
        yield
    except s3_exceptions() as error:
        failure = s3_failure(error)
        told = f"answered {failure.code}" if failure.status else f"could not be asked ({failure.code}: {error})"
        raise S3Error(f"S3 {told}", passing=failure.passing) from error
