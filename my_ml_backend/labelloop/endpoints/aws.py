"""Who we are on AWS and where SageMaker is: credentials, region and signatures by botocore.

boto3's own client takes 1.2 ms of processor time for a call with a picture, botocore's signature over urllib3 0.7 ms.
"""

import threading
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from labelloop.endpoints.failures import Denied
from labelloop.errors import SettingsError

NO_CREDENTIALS = (
    "give this process a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
    "`aws sts get-caller-identity` shows who it is"
)


class Aws:
    """A session of its own, made once. Safe to share between threads.

    ``runtime_url`` is where SageMaker's runtime is: by ``AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME`` or the config file, else
    the region's. Raises SettingsError when no region is known.
    """

    def __init__(self, region: str) -> None:
        try:
            self._session: Any = boto3.session.Session(region_name=region or None)
            if not self._session.region_name:
                raise SettingsError("sagemaker:// needs a region: add ?region=eu-west-1, or set AWS_DEFAULT_REGION")
            client = self._session.client("sagemaker-runtime", config=Config(retries={"total_max_attempts": 1}))
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(
                f"sagemaker://: the AWS configuration cannot be used ({type(error).__name__}): check region, "
                "AWS_PROFILE and the files in ~/.aws"
            ) from None
        self.region: str = self._session.region_name
        self.runtime_url: str = client.meta.endpoint_url.rstrip("/")
        client.close()
        self._looking = threading.Lock()
        self._credentials: Any = None

    def sign(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers with those of Signature Version 4 added; raises Denied when there are no credentials."""
        request = AWSRequest(method, url, data=body, headers=dict(headers))
        SigV4Auth(self._frozen(), "sagemaker", self.region).add_auth(request)
        return dict(request.headers.items())

    def identity(self) -> str:
        """Say where the credentials come from (``env``, ``iam-role``, ...); raises Denied when there are none."""
        self._frozen()
        return str(self._credentials.method)

    def s3(self, connections: int) -> Any:
        """Make a client for S3, for one process."""
        retries = {"mode": "standard", "total_max_attempts": 3}
        config = Config(max_pool_connections=connections, connect_timeout=5, read_timeout=20, retries=retries)
        return self._session.client("s3", config=config)

    def _frozen(self) -> Any:
        """Credentials of this moment; botocore renews them before they run out."""
        try:
            with self._looking:
                if self._credentials is None:
                    self._credentials = self._session.get_credentials()
            frozen = self._credentials and self._credentials.get_frozen_credentials()
        except (BotoCoreError, ValueError, OSError) as error:
            raise Denied(f"no AWS credentials ({type(error).__name__}): {NO_CREDENTIALS}") from None
        if not frozen:
            raise Denied(f"no AWS credentials were found: {NO_CREDENTIALS}")
        return frozen
