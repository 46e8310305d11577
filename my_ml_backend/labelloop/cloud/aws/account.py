"""AWS as this process sees it: one client a service, and what its refusals mean."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from labelloop.errors import CloudAway, CloudDenied, CloudError, CloudMissing, SettingsError

_EXPIRED = (
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
)
_DENIED = (
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "NotAuthorized",
    "KmsAccessDenied",
    "KMS.AccessDeniedException",
)
_PASSING = (
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "InternalFailure",
    "InternalError",
    "InternalServerError",
    "InternalDependencyException",
    "RequestTimeout",
    "SlowDown",
    "KmsThrottled",
)
_MISSING = (
    "ResourceNotFound",
    "ResourceNotFoundException",
    "NoSuchKey",
    "NoSuchBucket",
    "NotFoundException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
)
_MISSING_WORDS = re.compile(r"could not find|does not exist|not found|cannot find", re.IGNORECASE)
_LACKING = re.compile(r"not authorized to perform:?\s+(\S+)(?:\s+on(?: the)? resource:?\s+(\S+))?", re.IGNORECASE)

_ACTIONS = {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "GetObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "DeleteObjects": "s3:DeleteObject",
}
"""What an operation needs where its refusal does not say: S3 answers a HEAD without a word."""

_WHO = (
    "give this process a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
    "`aws sts get-caller-identity` shows who it is"
)


class Account:
    """One region of AWS, as whom boto3 finds us to be: environment, profile, role. Safe to share between threads.

    ``AWS_ENDPOINT_URL_<SERVICE>`` and the configuration file say where a service is. Making one asks nobody. Raises
    SettingsError where no region is known.
    """

    def __init__(self, region: str = "", *, connect_seconds: float = 5, read_seconds: float = 30) -> None:
        # Imported here: a third of a second that only AWS is worth.
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        self._making = threading.Lock()
        self._clients: dict[str, Any] = {}
        self._config = Config(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": 4},
        )
        try:
            self._session: Any = Session()
            self.region: str = region or self._session.get_config_variable("region") or ""
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(
                f"the AWS configuration cannot be used ({type(error).__name__}): check AWS_PROFILE and ~/.aws"
            ) from None
        if not self.region:
            raise SettingsError("AWS needs a region: add ?region=eu-west-1 to the address, or set AWS_DEFAULT_REGION")

    def client(self, service: str) -> Any:
        """Give the client of a service, such as ``sagemaker``; raises SettingsError for a region that is none."""
        from botocore.exceptions import BotoCoreError

        with self._making:  # a session makes one client at a time
            if service not in self._clients:
                try:
                    self._clients[service] = self._session.create_client(
                        service, region_name=self.region, config=self._config
                    )
                except (BotoCoreError, ValueError) as error:
                    raise SettingsError(f"AWS {service} in {self.region} cannot be asked: {error}") from None
            return self._clients[service]

    def number(self) -> str:
        """Say which account this is; raises CloudError."""
        with asking("who this process is on AWS"):
            return str(self.client("sts").get_caller_identity()["Account"])


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Translate what a client raises inside the block; ``what`` says which object was asked for what.

    Raises CloudAway where another try may succeed, CloudDenied naming action and resource, CloudMissing for what is not
    there, CloudError for the rest. Whole URLs and signatures never get into the message.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refusal(what, error) from error
    except BotoCoreError as error:
        raise _failure(what, error) from None


def if_there(what: str, ask: Callable[[], Any]) -> Any:
    """Give what a call answers, None where what it asks about is not there; raises as ``asking``."""
    try:
        with asking(what):
            return ask()
    except CloudMissing:
        return None


def ensure(what: str, look: Callable[[], object], make: Callable[[], object]) -> bool:
    """Make something unless it is there, and say whether it had to be made.

    What is there after a refusal was made by a call whose answer was lost, and which the client has repeated.
    """
    if if_there(what, look) is not None:
        return False
    try:
        with asking(what):
            make()
    except CloudError as refused:
        try:
            with asking(what):
                look()
        except CloudError:
            raise refused from None
    return True


def _refusal(what: str, error: Any) -> CloudError:
    told = error.response.get("Error", {})
    code, message = str(told.get("Code", "unknown")), _clean(str(told.get("Message", "")))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f"{what}: AWS answered {code}" + (f" ({message})" if message else "")
    if code in _EXPIRED:
        return CloudDenied(f"{said}: the credentials have expired or are wrong: {_WHO}")
    if code in _PASSING or status >= 500 or status == 429:
        return CloudAway(said)
    if code in _DENIED or status == 403:
        found = _LACKING.search(message)
        operation = error.operation_name
        action = found[1] if found else _ACTIONS.get(operation, f"what {operation} needs")
        resource = found[2] if found and found[2] else "it"
        return CloudDenied(f"{said}: let the role of this process do {action} on {resource}")
    if code in _MISSING or status == 404 or (code.startswith("Validation") and _MISSING_WORDS.search(message)):
        return CloudMissing(said)
    return CloudError(said)


def _failure(what: str, error: Any) -> CloudError:
    from botocore.exceptions import ConnectionError as NotConnected
    from botocore.exceptions import (
        CredentialRetrievalError,
        HTTPClientError,
        IncompleteReadError,
        LoginError,
        NoCredentialsError,
        PartialCredentialsError,
        SSOError,
        TokenRetrievalError,
    )

    name = type(error).__name__
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return CloudDenied(f"{what}: no AWS credentials were found: {_WHO}")
    if isinstance(error, CredentialRetrievalError | SSOError | LoginError | TokenRetrievalError):
        return CloudDenied(f"{what}: AWS credentials cannot be renewed ({name}): {_WHO}")
    if isinstance(error, NotConnected | HTTPClientError | IncompleteReadError):
        return CloudAway(f"{what}: AWS could not be reached ({name}): check network, region and AWS_ENDPOINT_URL")
    return CloudError(f"{what}: {_clean(str(error))}")


def _clean(message: str) -> str:
    """Take query strings, which may hold signatures, out of a message, and shorten it."""
    return re.sub(r"\?[^\s\"']*", "", " ".join(message.split()))[:500]
