"""How Labelbox signs its requests: an HMAC with a secret over the raw bytes of the body, empty for a GET.

``X-Hub-Signature: sha1=<hex>`` is what the specification of its model-training service names; its newest page on
webhooks has ``X-Hub-Signature-256: sha256=<hex>`` (Labelbox, "Webhooks"). No time is signed: a request that is sent
again stays right, and only what it asks for can keep it from doing anything twice.
"""

import hmac
from typing import Protocol

SHA1, SHA256 = "X-Hub-Signature", "X-Hub-Signature-256"
"""Names of the two headers."""

_DIGESTS = {SHA256: "sha256", SHA1: "sha1"}

VECTOR_SECRET = "labelloop-secret"  # noqa: S105 - it signs the vectors and nothing else
VECTOR_BODY = (
    b'{"modelType":"bounding_box","modelRunId":"9e3f331a-551b-0e24-6ab5-f69855df64ea",'
    b'"modelId":"9e3f51f8-5e62-0cab-360e-c0443dcc3008","organizationId":"cjhfn5y6s0pk507024nz1ocys"}'
)
VECTORS = (
    (b"", SHA1, "sha1=7c51a7a870e72e47c2f18704ce40733b048e4add"),
    (VECTOR_BODY, SHA1, "sha1=6e70b62d862b4db436d3f13256f0b6ece4adc064"),
    (VECTOR_BODY, SHA256, "sha256=fe5fd05555de12c7acdcf57bed2274b4ce509724768458bef944e0d809a65b10"),
)
"""Body, header and what it must hold with ``VECTOR_SECRET``: any right implementation gives these."""


class Headers(Protocol):
    """The headers of a request, found in any case, as werkzeug's are."""

    def get(self, key: str, /) -> str | None:
        """Give one header's value."""
        ...


def signature(secret: str, body: bytes, header: str = SHA1) -> str:
    """Give what one of the headers holds for a body: ``sha1=<hex>`` or ``sha256=<hex>``."""
    digest = _DIGESTS[header]
    return f"{digest}={hmac.new(secret.encode(), body, digest).hexdigest()}"


def refusal(headers: Headers, body: bytes, *secrets: str) -> str:
    """Say why a request is not Labelbox's, and what to do; empty where it is.

    Every signature that it carries must be right by the same one of the ``secrets``, and one must be there: a wrong one
    beside a right one is refused.
    """
    carried = {name: given for name in _DIGESTS if (given := headers.get(name))}
    if not carried:
        return f"the request carries no {SHA1} header: enter the secret of LABELLOOP_LABELBOX_SECRET in Labelbox, too"
    # All are compared, to the end: the time tells neither which one is wrong nor where.
    wrongs = [
        [
            name
            for name, given in carried.items()
            if not hmac.compare_digest(given.encode(), signature(secret, body, name).encode())
        ]
        for secret in secrets
    ]
    if not all(wrongs):
        return ""
    wrong = wrongs[0]
    return (
        f"the {wrong[-1]} header is not the signature of this body: Labelbox and LABELLOOP_LABELBOX_SECRET must have "
        "the same secret, and nothing between them may change the body"
    )
