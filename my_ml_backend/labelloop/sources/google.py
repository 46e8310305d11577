"""Pictures and lists in Google Cloud Storage, read and listed with this machine's own identity."""

import time
from collections.abc import Mapping

from labelloop.errors import MediaError, SettingsError, TooLarge, Transient
from labelloop.sources.cloud_storage import PUBLIC, CloudStorage, bucket_and_name
from labelloop.sources.google_api import GoogleApi, GoogleFailure, base_of
from labelloop.sources.transport import TooLong

_REMEDIES: Mapping[int, str] = {
    401: "Its token is not accepted: check GOOGLE_APPLICATION_CREDENTIALS.",
    403: "Give this machine's identity the role Storage Object Viewer on the bucket.",
    404: "There is no such object, or no such bucket.",
}


class GoogleObjects:
    """Pictures and lists at ``gs://bucket/name``, of at most ``max_bytes``, each asked for once until a deadline.

    ``emulator`` is what STORAGE_EMULATOR_HOST names, or empty. Safe to share between threads. All methods raise
    Transient, else MediaError.
    """

    def __init__(self, emulator: str, max_bytes: int, connections: int) -> None:
        self._max_bytes = max_bytes
        try:
            self._storage = CloudStorage(GoogleApi(base_of(emulator, PUBLIC), connections=connections, tries=1))
        except SettingsError as error:
            raise MediaError(f"{error} (STORAGE_EMULATOR_HOST, HTTPS_PROXY)") from None

    def read(self, uri: str, deadline: float) -> bytes:
        """Read one object until ``deadline`` (``time.monotonic()``)."""
        bucket, name = bucket_and_name(uri)
        if not bucket or not name:
            raise MediaError("its address is not of the form gs://bucket/name")
        try:
            return self._storage.read(bucket, name, seconds=_left(deadline), most=self._max_bytes).content
        except TooLong:
            raise TooLarge(self._max_bytes) from None
        except GoogleFailure as failure:
            raise _media_error(failure) from None

    def names(self, bucket: str, prefix: str, page: str, deadline: float) -> tuple[list[str], str | None]:
        """List one page of a bucket's objects below ``prefix``: their names, and which page is next, None for none.

        ``page`` is empty for the first.
        """
        try:
            found = self._storage.page(bucket, prefix, page, seconds=_left(deadline))
        except GoogleFailure as failure:
            raise _media_error(failure) from None
        return found.names, found.following or None

    def close(self) -> None:
        """Close the connections."""
        self._storage.close()


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())


def _media_error(failure: GoogleFailure) -> MediaError:
    kind = Transient if failure.passing else MediaError
    if failure.unsent or failure.status < 400:
        return kind(f"Google Cloud Storage: {failure}")
    return kind(f"Google Cloud Storage answered {failure.status}. {_REMEDIES.get(failure.status, '')}".rstrip())
