"""Objects of Google Cloud Storage, read and listed by its JSON API with this machine's own identity.

cloud.google.com/storage/docs/json_api/v1/objects: get with ``alt=media``, and list.
"""

import json
from collections.abc import Mapping
from typing import Self
from urllib.parse import quote, urlencode

from labelloop.errors import CredentialsError, MediaError, Transient
from labelloop.sources.credentials import GoogleToken
from labelloop.sources.media import Fetcher, Reply
from labelloop.sources.transport import TRANSIENT

PUBLIC = "https://storage.googleapis.com"

_REMEDIES = {
    401: "Its token is not accepted: check GOOGLE_APPLICATION_CREDENTIALS.",
    403: "Give this machine's identity the role Storage Object Viewer on the bucket.",
    404: "There is no such object, or no such bucket.",
}


class GoogleObjects:
    """Objects of ``gs://bucket/name``. Safe to share between threads.

    ``base`` is Google's address or that of a server that stands in for it; without ``token`` none is sent.
    """

    def __init__(self, max_bytes: int, connections: int, base: str, token: GoogleToken | None) -> None:
        self._base, self._token = base.rstrip("/"), token
        # No guard against private addresses: this one the operator has set.
        self._fetcher = Fetcher(max_bytes, connections)

    @classmethod
    def at(cls, emulator: str, max_bytes: int, connections: int) -> Self:
        """Read from what STORAGE_EMULATOR_HOST names, without a token, or from Google itself where that is empty.

        Tools set that variable to a host and a port, with a scheme or without.
        """
        if not emulator:
            return cls(max_bytes, connections, PUBLIC, GoogleToken())
        return cls(max_bytes, connections, emulator if "://" in emulator else f"http://{emulator}", None)

    def read(self, uri: str, deadline: float) -> bytes:
        """Read one object until ``deadline`` (``time.monotonic()``). Raises Transient, else MediaError."""
        bucket, _, name = uri.removeprefix("gs://").partition("/")
        if not bucket or not name:
            raise MediaError("its address is not of the form gs://bucket/name")
        return self._get(f"b/{quote(bucket, safe='')}/o/{quote(name, safe='')}", {"alt": "media"}, deadline)

    def names(self, bucket: str, prefix: str, page: str, deadline: float) -> tuple[list[str], str | None]:
        """List one page of a bucket's objects below ``prefix``: their names, and which page is next, None for none.

        ``page`` is empty for the first. Raises Transient, else MediaError.
        """
        query = {"prefix": prefix, "fields": "items(name),nextPageToken", **({"pageToken": page} if page else {})}
        content = self._get(f"b/{quote(bucket, safe='')}/o", query, deadline)
        try:
            found = json.loads(content)
            return [str(entry["name"]) for entry in found.get("items", ())], found.get("nextPageToken")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MediaError(f"Google Cloud Storage lists gs://{bucket} in no known form ({error!r})") from error

    def close(self) -> None:
        """Close the connections."""
        self._fetcher.close()

    def _get(self, path: str, query: Mapping[str, str], deadline: float) -> bytes:
        reply = self._ask(f"{self._base}/storage/v1/{path}?{urlencode(query)}", deadline)
        if reply.status == 200:
            return reply.content
        kind = Transient if reply.status in TRANSIENT else MediaError
        raise kind(f"Google Cloud Storage answered {reply.status}. {_REMEDIES.get(reply.status, '')}".rstrip())

    def _ask(self, url: str, deadline: float) -> Reply:
        if self._token is None:
            return self._fetcher.get(url, {}, deadline)
        reply = self._fetcher.get(url, self._headers(self._token), deadline)
        if reply.status == 401:
            self._token.forget()
            reply = self._fetcher.get(url, self._headers(self._token), deadline)
        return reply

    def _headers(self, token: GoogleToken) -> dict[str, str]:
        try:
            return token.headers()
        except CredentialsError as error:
            raise (Transient if error.passing else MediaError)(str(error)) from error
