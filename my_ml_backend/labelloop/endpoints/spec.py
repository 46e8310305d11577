"""What is to be known of an endpoint before it is opened: its address and the language it speaks."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Self

from labelloop.errors import SettingsError
from labelloop.setting_values import headers
from labelloop.settings import Settings


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """One endpoint as the settings, or a project's extra_params, describe it (docs/endpoints.md).

    ``request`` and ``response`` name formats, ``auto`` chooses; ``mapping`` is a JMESPath expression that turns the
    answer into a known format. ``classes`` are the model's, for answers that only hold numbers. ``parameters`` is the
    JSON text that goes along as ``"parameters"``, empty for none. ``concurrency``, ``batch`` and ``payload_bytes`` (of
    one request) are the kind's own where 0. ``timeout`` is in seconds. ``version`` is the version where the model names
    none; empty: what its transport tells, else the endpoint's name. ``base`` is where Vertex AI is, if not at Google.
    What may hold a password, address and headers, is not in its ``repr``.
    """

    address: str = field(repr=False)
    request: str = "auto"
    response: str = "auto"
    mapping: str = ""
    classes: tuple[str, ...] = ()
    parameters: str = ""
    version: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout: float = 30.0
    concurrency: int = 0
    batch: int = 0
    payload_bytes: int = 0
    base: str = ""

    def fingerprint(self) -> str:
        """Hash all that decides what an answer says, and none of the headers; safe to show."""
        said = (self.address, self.request, self.response, self.mapping, self.classes, self.parameters, self.version)
        return hashlib.sha256(json.dumps([*said, self.base]).encode()).hexdigest()[:16]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Describe the endpoint of the settings; raises SettingsError for headers of another form."""
        return cls(
            address=settings.endpoint,
            request=settings.request_format,
            response=settings.response_format,
            mapping=settings.response_mapping,
            classes=settings.classes,
            parameters=settings.parameters,
            version=settings.model_version,
            headers=_headers(settings.endpoint_headers),
            timeout=settings.endpoint_timeout,
            concurrency=settings.endpoint_concurrency,
            batch=settings.endpoint_batch,
            payload_bytes=settings.payload_max_bytes,
            base=settings.vertex_base_url,
        )


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    """Read the headers; what is wrong with them is not shown, for they hold secrets."""
    try:
        return headers(text)
    except ValueError as error:
        raise SettingsError(f"LABELLOOP_ENDPOINT_HEADERS: {error}") from None
