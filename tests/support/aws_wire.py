"""What SageMaker's side of the wire knows: signatures, and errors as AWS writes them."""

import json
import os
import re
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.misbehaving import Reply, Request, answer

KEY, SECRET, REGION = "AKIDEXAMPLE", "hush", "eu-west-1"
ACCOUNT_VARIABLES = {
    "AWS_ACCESS_KEY_ID": KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}
"""By these boto3 is somebody, and nobody's own account."""


def aws_account(monkeypatch: pytest.MonkeyPatch, **addresses: str) -> None:
    """Let AWS be known by the environment alone; ``addresses`` name services: ``sagemaker_runtime="http://..."``."""
    for name in list(os.environ):
        if name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION") or name.startswith("AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name)
    for name, value in ACCOUNT_VARIABLES.items():
        monkeypatch.setenv(name, value)
    for service, address in addresses.items():
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service.upper()}", address)


def signature_is_right(request: Request) -> bool:
    """Compute the signature of what arrived, as AWS does, and compare."""
    method, target, _ = request.line.split()
    said = request.headers["authorization"]
    given = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=(.+), SignedHeaders=(.+), Signature=([0-9a-f]{64})", said)
    assert given is not None, said
    signed = [name for name in given[2].split(";") if name != "host"]
    arrived = AWSRequest(
        method,
        f"http://{request.headers['host']}{target}",
        data=request.body,
        headers={name: request.headers[name] for name in signed},
    )
    arrived.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(KEY, SECRET), "sagemaker", REGION)
    text = signer.string_to_sign(arrived, signer.canonical_request(arrived))
    return bool(signer.signature(text, arrived) == given[3])


def aws_error(name: str, status: int, message: str = "no", **more: Any) -> Reply:
    """Answer as SageMaker's runtime does when it fails; the pause before another try is left out."""
    content = json.dumps({"message": message, **more}).encode()
    header = f"x-amzn-ErrorType: {name}:http://internal.amazon.com/coral/\r\nRetry-After: 0\r\n"
    return answer(content, status, header)


def model_error(status: int, message: str = '{"error": "not a picture"}') -> Reply:
    """Answer that the container inside answered ``status``."""
    return aws_error(
        "ModelError",
        424,
        f"Received client error ({status}) from primary and could not load the entire response body.",
        ErrorCode="CLIENT_ERROR_FROM_MODEL",
        OriginalStatusCode=status,
        OriginalMessage=message,
        LogStreamArn="arn:aws:logs:eu-west-1:1:log-group",
    )
