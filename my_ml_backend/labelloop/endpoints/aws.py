"""Who we are on AWS and where SageMaker is: credentials, region and signatures by botocore.

boto3's own client takes 1.3 ms of processor time for a call with a picture, botocore's signature alone 0.1 ms.
"""

import threading
from collections.abc import Mapping
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from labelloop.endpoints.failures import credentials_checked
from labelloop.errors import CredentialsError, SettingsError
from labelloop.sources.credentials import Lookup
from labelloop.sources.s3 import s3_client

NO_CREDENTIALS = (
    "give this process a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
    "`aws sts get-caller-identity` shows who it is"
)


class Aws:
    """A session of its own, made once. Safe to share between threads.

    ``runtime_url`` is where the ``service`` is that is called, SageMaker's runtime: by
    ``AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME`` or the config file, else the region's. ``signed`` is what signatures call it.
    ``bundle`` is the file of certificates that ``AWS_CA_BUNDLE`` or the config file names, if any. Raises SettingsError
    when no region is known.
    """

    def __init__(self, region: str, service: str = "sagemaker-runtime", signed: str = "sagemaker") -> None:
        self._signed = signed
        self._session: Any = Session()
        self._making = threading.Lock()
        self._credentials: Lookup[Any] = Lookup(self._find)
        try:
            self.region: str = region or self._session.get_config_variable("region") or ""
            if not self.region:
                raise SettingsError(f"{signed}:// needs a region: add ?region=eu-west-1, or set AWS_DEFAULT_REGION")
            self.bundle: str = self._session.get_config_variable("ca_bundle") or ""
            client = self._session.create_client(service, region_name=self.region)
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(
                f"{signed}://: the AWS configuration cannot be used ({type(error).__name__}): check region, "
                "AWS_PROFILE and the files in ~/.aws"
            ) from None
        self.runtime_url: str = client.meta.endpoint_url.rstrip("/")
        client.close()

    def sign(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers with those of Signature Version 4 added; raises Denied when there are no credentials."""
        request = AWSRequest(method, url, data=body, headers=dict(headers))
        with credentials_checked():
            SigV4Auth(self._frozen(), self._signed, self.region).add_auth(request)
        return dict(request.headers.items())

    def identity(self) -> str:
        """Say where the credentials come from (``env``, ``iam-role``, ...); raises Denied when there are none."""
        with credentials_checked():
            return str(self._credentials.get().method)

    def s3(self, connections: int) -> Any:
        """Make a client for S3, for one process. One try of a call, so that whoever polls keeps its deadline."""
        with self._making:  # a session makes one client at a time
            return s3_client(connections, 3, 5, tries=1, session=self._session, region=self.region)

    def _find(self) -> Any:
        try:
            credentials = self._session.get_credentials()
        except (BotoCoreError, ValueError, OSError) as error:
            raise CredentialsError(f"no AWS credentials ({type(error).__name__}): {NO_CREDENTIALS}") from None
        if credentials is None:
            raise CredentialsError(f"no AWS credentials were found: {NO_CREDENTIALS}")
        return credentials

    def _frozen(self) -> Any:
        """Credentials of this moment; botocore renews them before they run out."""
        try:
            return self._credentials.get().get_frozen_credentials()
        except (BotoCoreError, ValueError, OSError) as error:
            raise CredentialsError(
                f"AWS credentials cannot be renewed ({type(error).__name__}): {NO_CREDENTIALS}"
            ) from None
