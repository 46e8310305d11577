"""Calls of a SageMaker endpoint: InvokeEndpoint, as in the service's model in botocore (API version 2017-05-13)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from labelloop.endpoints.aws import Aws
from labelloop.endpoints.headers import merged
from labelloop.endpoints.post import Poster
from labelloop.endpoints.sagemaker_errors import judge
from labelloop.endpoints.service import Call, Told

PAYLOAD_BYTES = 6_291_456
"""6 MiB, the most that InvokeEndpoint takes as Body."""


@dataclass(frozen=True, slots=True)
class SageMakerAddress:
    """``sagemaker://NAME?region=&variant=&target_model=&inference_component=&mode=async&input=s3://bucket/prefix``."""

    name: str
    region: str = ""
    variant: str = ""
    target_model: str = ""
    inference_component: str = ""
    mode: str = ""
    input: str = ""

    @property
    def shown(self) -> str:
        """Name it in errors."""
        return f"sagemaker://{self.name}"

    @property
    def headers(self) -> dict[str, str]:
        """Which part of the endpoint is meant."""
        named = {
            "X-Amzn-SageMaker-Target-Variant": self.variant,
            "X-Amzn-SageMaker-Target-Model": self.target_model,
            "X-Amzn-SageMaker-Inference-Component": self.inference_component,
        }
        return {name: value for name, value in named.items() if value}


class SageMaker:
    """Signs each call and posts it; ``headers`` go along and are never shown."""

    def __init__(self, address: SageMakerAddress, aws: Aws, headers: Mapping[str, str], connections: int) -> None:
        self._address = address
        self._aws = aws
        self._headers = merged(headers, address.headers)
        self._url = f"{aws.runtime_url}/endpoints/{quote(address.name, safe='')}/invocations"
        self._path = urlsplit(self._url).path
        self._poster = Poster(aws.runtime_url, address.shown, connections, aws.bundle)

    def call(self, call: Call) -> Told:
        """Invoke once; see Service."""
        headers = self._aws.sign(
            "POST", self._url, call.body.content, merged({"Content-Type": call.body.media_type}, self._headers)
        )
        reply = self._poster.send("POST", self._path, call.body.content, headers, call.until)
        judge(reply, self._address.shown, self._aws.region)
        variant = reply.headers.get("x-Amzn-Invoked-Production-Variant", "")
        version = f"{self._address.name}/{variant}" if variant else ""
        return Told(reply.content, reply.headers.get("Content-Type", ""), version)

    def check(self, until: float) -> str:
        """Look for credentials and the service; there is no call that asks for an endpoint without predicting."""
        return reached(self._poster, self._aws, self._address.shown, until)


def reached(poster: Poster, aws: Aws, shown: str, until: float) -> str:
    """Find credentials, and send the service one unsigned request, to which any answer will do."""
    method = aws.identity()
    start = time.monotonic()
    poster.send("GET", "/", None, {}, until)
    return (
        f"endpoint {shown}: credentials found ({method}), SageMaker's runtime in {aws.region} answered in "
        f"{1000 * (time.monotonic() - start):.0f} ms; whether the endpoint predicts, `labelloop probe` shows"
    )
