"""The token of a request to Label Studio: a legacy token as it is, a personal access token exchanged for access tokens.

The exchange is the SDK's. Its client by itself would renew an access token once it is dead, and not when it is refused.
"""

import base64
import json
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from label_studio_sdk.base_client import LabelStudioBase

_MARGIN = 60.0
"""Access tokens live 300 s (contract, "Tokens") and are renewed this long before, so that none dies on its way."""

_EXPIRED = "API key has expired. Please obtain a new refresh token."
_NO_TOKEN = "what should be a token is not JSON; is LABEL_STUDIO_URL the address of Label Studio?"  # noqa: S105 - words


class TokenRefused(Exception):
    """Label Studio, or what stands in its place, gave no access token: ``answer`` is what it gave."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


class AccessTokens:
    """Gives what authenticates requests to the Label Studio at ``url``, made with ``http``. Safe to share by threads.

    Of threads that need a new access token one gets it, while the others wait.
    """

    def __init__(self, url: str, key: str, http: httpx.Client) -> None:
        self._url, self._key, self._http = url, key, http
        self._renewing = threading.Lock()
        self._access = ""

    @property
    def are_renewed(self) -> bool:
        """Whether the key is a personal access token, which is read off its form."""
        return self._key.count(".") == 2

    def authorization(self, dead: str = "") -> str:
        """Give the value of the header, good for a minute at least; ``dead`` is one that was refused.

        Raises TokenRefused, httpx.HTTPError.
        """
        if not self.are_renewed:
            return f"Token {self._key}"
        with self._renewing:
            if dead == f"Bearer {self._access}" or (_expires(self._access) or 0.0) - time.time() < _MARGIN:
                self._access = self._exchanged()
            return f"Bearer {self._access}"

    def _exchanged(self) -> str:
        expires = _expires(self._key)
        if expires is not None and expires < time.time():
            raise TokenRefused(httpx.Response(401, json={"detail": _EXPIRED}))
        from label_studio_sdk.core import ApiError

        try:
            access: object = self._sdk.tokens.refresh(
                refresh=self._key,
                # The key is in the body: without a header of one's own the SDK would send that of its client.
                request_options={"max_retries": 0, "additional_headers": {"Authorization": ""}},
            ).access
        except ApiError as error:
            if error.status_code is not None and not isinstance(error.body, str):
                raise TokenRefused(httpx.Response(error.status_code, json=error.body)) from error
            access = None
        except (AttributeError, TypeError):  # the SDK makes its object of any JSON
            access = None
        if not isinstance(access, str):
            raise TokenRefused(httpx.Response(502, text=_NO_TOKEN))
        return access

    @cached_property
    def _sdk(self) -> "LabelStudioBase":
        # Not label_studio_sdk.LabelStudio, which brings pandas and JSON schemas along: a second and 80 MB more.
        from label_studio_sdk.base_client import LabelStudioBase

        # Without a key: it would exchange a personal access token by itself, before each request.
        return LabelStudioBase(base_url=self._url, api_key="", httpx_client=self._http)


def _expires(token: str) -> float | None:
    """Read when a token dies, in Unix seconds; None where it does not tell."""
    try:
        payload: Any = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return float(payload["exp"])
    except (ValueError, IndexError, KeyError, TypeError):
        return None
