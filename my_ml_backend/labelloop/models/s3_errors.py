"""What boto3 raises, as errors of the store: what happened, to which object, and what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from labelloop.errors import NotFound, StoreAway, StoreError


class S3Errors:
    """Translates for one bucket and prefix; ``where`` is how messages name it."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self.where = f"s3://{bucket}/{prefix}"

    @contextmanager
    def translated(self, path: str, verb: str) -> Iterator[None]:
        """Turn boto3's errors inside the block into NotFound and StoreAway."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise self._of_answer(error, path, verb) from error
        except BotoCoreError as error:
            # Their texts hold whole URLs, so only the kind is told.
            raise StoreAway(f"{self._failed(path, verb)}: {type(error).__name__}. {_remedy_of(error)}") from error

    def refused_condition(self, error: Any) -> int:
        """Say with which status (404, 409, 412) S3 refused a condition; 0 when it refused something else."""
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        return int(status) if status in (409, 412) or code == "NoSuchKey" else 0

    def _of_answer(self, error: Any, path: str, verb: str) -> StoreError:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code == "NoSuchBucket":
            return StoreAway(f"bucket {self._bucket} does not exist: create it, or correct LABELLOOP_STORE")
        if code == "NoSuchKey":
            return NotFound(f"{path} is not in {self.where}")
        if status in (401, 403):
            return StoreAway(
                f"{self._failed(path, verb)}: access denied ({code}). Allow s3:GetObject, s3:PutObject and "
                f"s3:ListBucket on bucket {self._bucket}, or correct the AWS credentials."
            )
        return StoreAway(f"{self._failed(path, verb)}: S3 answered {status} ({code}); try again later")

    def _failed(self, path: str, verb: str) -> str:
        return f"{path or 'the store'} cannot be {verb} in {self.where}"


def _remedy_of(error: Exception) -> str:
    if "Credential" in type(error).__name__:
        return "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run under a role."
    return "Check LABELLOOP_STORE, the network, AWS_REGION and AWS_ENDPOINT_URL_S3."
