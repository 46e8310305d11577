"""Credentials of clouds: looked up by one thread for all, and who we are on Google Cloud."""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from labelloop.errors import CredentialsError
from labelloop.types import T

if TYPE_CHECKING:
    from google.auth.exceptions import GoogleAuthError

REST = 5.0
"""Seconds for which a failure is repeated instead of the look-up, which may take as long where it finds nothing."""


class Lookup(Generic[T]):
    """What ``find`` gives, found when first asked for and again when it is no longer ``good``. Safe between threads.

    A CredentialsError that ``find`` raises is raised for all who ask within ``REST`` seconds. ``clock`` gives seconds.
    """

    def __init__(
        self,
        find: Callable[[], T],
        *,
        good: Callable[[T], bool] = lambda _: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._good = good
        self._clock = clock
        self._lock = threading.Lock()
        self._found: T | None = None
        self._failure: CredentialsError | None = None
        self._failed_until = 0.0

    def get(self) -> T:
        """Give what was found. Raises what ``find`` raises."""
        with self._lock:
            if self._found is None or not self._good(self._found):
                self._found = self._look()
            return self._found

    def forget(self) -> None:
        """Find it anew when it is asked for next."""
        with self._lock:
            self._found = None

    def _look(self) -> T:
        if self._failure is not None and self._clock() < self._failed_until:
            raise CredentialsError(str(self._failure), passing=self._failure.passing)
        try:
            return self._find()
        except CredentialsError as failure:
            self._failure = failure.with_traceback(None)
            self._failed_until = self._clock() + REST
            raise


_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TIMEOUT = 10.0
"""Seconds a token may take; google-auth would wait for two minutes."""


class GoogleToken:
    """Headers that prove who we are. Safe to share between threads, not between processes."""

    def __init__(self) -> None:
        # Imported when asked for: it takes half a second, and AWS has no use for it.
        from google.auth.transport.requests import Request

        # With proxies and certificates as every program of Google's has them: HTTPS_PROXY, REQUESTS_CA_BUNDLE.
        request: Any = Request()
        self._request: Any = partial(request, timeout=_TIMEOUT)
        # A token is no longer valid some minutes before it runs out.
        self._credentials: Lookup[Any] = Lookup(self._with_token, good=lambda credentials: bool(credentials.valid))

    def headers(self) -> dict[str, str]:
        """Give the token, and the project that is billed if the credentials name one. Raises CredentialsError."""
        headers: dict[str, str] = {}
        self._credentials.get().apply(headers)
        return headers

    def forget(self) -> None:
        """Get another token next time, from credentials that may have changed: this one is not accepted."""
        self._credentials.forget()

    def _with_token(self) -> Any:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

        try:
            found: Any = google.auth.default(scopes=[_SCOPE], request=self._request)
            credentials = found[0]
            credentials.refresh(self._request)
        except (DefaultCredentialsError, OSError, ValueError):
            raise CredentialsError(
                "no Google credentials were found: run `gcloud auth application-default login`, set "
                "GOOGLE_APPLICATION_CREDENTIALS to a key file, or give this machine a service account"
            ) from None
        except GoogleAuthError as error:
            raise _no_token(error) from None
        return credentials


def _no_token(error: "GoogleAuthError") -> CredentialsError:
    message = f"Google gave no access token ({type(error).__name__})"
    if error.retryable:
        return CredentialsError(message, passing=True)
    return CredentialsError(
        f"{message}: log in again with `gcloud auth application-default login`, or renew the service account's key"
    )
