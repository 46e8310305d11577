"""Who we are on Google Cloud: application default credentials, their token renewed before it runs out."""

from functools import partial
from typing import Any

import google.auth
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.auth.transport.requests import Request

from labelloop.endpoints.failures import Denied, Unwell
from labelloop.endpoints.lookup import Lookup

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TIMEOUT = 10.0
"""Seconds a token may take; google-auth would wait for two minutes."""


class GoogleToken:
    """Headers that prove who we are. Safe to share between threads, not between processes."""

    def __init__(self) -> None:
        # With proxies and certificates as every program of Google's has them: HTTPS_PROXY, REQUESTS_CA_BUNDLE.
        request: Any = Request()
        self._request: Any = partial(request, timeout=_TIMEOUT)
        # A token is no longer valid some minutes before it runs out.
        self._credentials: Lookup[Any] = Lookup(self._with_token, good=lambda credentials: bool(credentials.valid))

    def headers(self) -> dict[str, str]:
        """Give the token, and the project that is billed if the credentials name one. Raises Denied or Unwell."""
        headers: dict[str, str] = {}
        self._credentials.get().apply(headers)
        return headers

    def forget(self) -> None:
        """Get another token next time, from credentials that may have changed: this one is not accepted."""
        self._credentials.forget()

    def _with_token(self) -> Any:
        try:
            found: Any = google.auth.default(scopes=[_SCOPE], request=self._request)
            credentials = found[0]
            credentials.refresh(self._request)
        except (DefaultCredentialsError, OSError, ValueError):
            raise Denied(
                "no Google credentials were found: run `gcloud auth application-default login`, set "
                "GOOGLE_APPLICATION_CREDENTIALS to a key file, or give this machine a service account"
            ) from None
        except GoogleAuthError as error:
            raise _no_token(error) from None
        return credentials


def _no_token(error: GoogleAuthError) -> Unwell:
    message = f"Google gave no access token ({type(error).__name__})"
    if error.retryable:
        return Unwell(message)
    return Denied(
        f"{message}: log in again with `gcloud auth application-default login`, or renew the service account's key"
    )
