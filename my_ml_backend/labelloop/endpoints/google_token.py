"""Who we are on Google Cloud: application default credentials, their token renewed before it runs out."""

import threading
from functools import partial
from typing import Any

import google.auth
import urllib3
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.auth.transport.urllib3 import Request

from labelloop.endpoints.failures import Denied, Unwell

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TIMEOUT = 10.0
"""Seconds a token may take; google-auth would wait for two minutes."""


class GoogleToken:
    """Headers that prove who we are. Safe to share between threads, not between processes."""

    def __init__(self) -> None:
        self._renewing = threading.Lock()
        self._credentials: Any = None
        request: Any = Request(urllib3.PoolManager(retries=False))  # type: ignore[no-untyped-call]
        self._request: Any = partial(request, timeout=_TIMEOUT)

    def headers(self) -> dict[str, str]:
        """Give the token, and the project that is billed if the credentials name one. Raises Denied or Unwell."""
        with self._renewing:
            try:
                if self._credentials is None:
                    self._credentials, _ = google.auth.default(scopes=[_SCOPE], request=self._request)
                if not self._credentials.valid:  # false some minutes before the token runs out
                    self._credentials.refresh(self._request)
            except DefaultCredentialsError:
                raise Denied(
                    "no Google credentials were found: run `gcloud auth application-default login`, set "
                    "GOOGLE_APPLICATION_CREDENTIALS to a key file, or give this machine a service account"
                ) from None
            except GoogleAuthError as error:
                raise _no_token(error) from None
            headers: dict[str, str] = {}
            self._credentials.apply(headers)
            return headers


def _no_token(error: GoogleAuthError) -> Unwell:
    message = f"Google gave no access token ({type(error).__name__})"
    if error.retryable:
        return Unwell(message)
    return Denied(
        f"{message}: log in again with `gcloud auth application-default login`, or renew the service account's key"
    )
