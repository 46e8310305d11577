"""Objects of S3, read and listed with this machine's own identity."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from labelloop.errors import MediaError
from labelloop.sources.fetcher import TRANSIENT


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
        bucket, _, key = uri.removeprefix("s3://").partition("/")
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
            raise MediaError(f"it has {length} bytes; at most {self._max_bytes} are read (LABELLOOP_MEDIA_MAX_BYTES)")
        content = bytearray()
        for chunk in body.iter_chunks(65536):
            content += chunk
            if time.monotonic() > deadline:
                raise MediaError("it took too long (LABELLOOP_MEDIA_TIMEOUT)")
        return bytes(content)

    def _connect(self) -> Any:
        with self._making:
            if self._client is None:
                import boto3
                from botocore.config import Config

                config = Config(
                    connect_timeout=self._seconds,
                    read_timeout=self._seconds,
                    retries={"total_max_attempts": 2, "mode": "standard"},
                    max_pool_connections=self._connections,
                )
                # A session of its own: boto3's default session is not safe to share between threads.
                self._client = boto3.session.Session().client("s3", config=config)
            return self._client


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what botocore raises into S3Error."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        raise S3Error(f"S3 answered {code}", passing=status in TRANSIENT) from error
    except (BotoCoreError, ValueError) as error:
        message = f"S3 could not be asked ({type(error).__name__}: {error})"
        raise S3Error(message, passing=isinstance(error, HTTPClientError)) from error
