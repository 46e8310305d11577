"""The stand-in as its own rooms and tests ask it: over its address, and uncounted. Mostly Cloud Storage."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from labelloop.types import Json
from support.google.front import OUR_OWN
from support.google.wire import Refused, invalid


def _session() -> requests.Session:
    session = requests.Session()
    session.headers["User-Agent"] = OUR_OWN
    session.trust_env = False
    return session


@dataclass
class Objects:
    """Objects by their addresses, ``gs://bucket/name``; ``url`` gives where the stand-in is."""

    url: Callable[[], str]
    _session: requests.Session = field(default_factory=_session)

    def ask(self, method: str, path: str, body: Json | None = None, query: Mapping[str, str] | None = None) -> Any:
        """Ask anything in JSON; raises AssertionError for an answer that is an error."""
        told = self._session.request(method, self.url() + path, params=query, json=body)
        assert told.ok, f"{method} {path}: {told.status_code} {told.text}"
        return told.json() if told.content else {}

    def read(self, uri: str) -> bytes | None:
        """Read one; None where there is none."""
        bucket, name = split(uri)
        told = self._session.get(f"{self._at(bucket)}/{quote(name, safe='')}?alt=media")
        return told.content if told.status_code == 200 else None

    def write(self, uri: str, content: bytes) -> None:
        """Write one; raises Refused where the bucket takes none."""
        bucket, name = split(uri)
        address = f"{self.url()}/upload/storage/v1/b/{quote(bucket)}/o"
        query = {"uploadType": "media", "name": name}
        told = self._session.post(address, params=query, data=content)
        if told.status_code != 200:
            raise Refused("FAILED_PRECONDITION", f"{uri} cannot be written: {told.status_code} {told.text[:200]}")

    def delete(self, uri: str) -> None:
        """Delete one, where it is."""
        bucket, name = split(uri)
        self._session.delete(f"{self._at(bucket)}/{quote(name, safe='')}")

    def names(self, uri: str) -> Iterator[str]:
        """Give the addresses of what lies below a prefix, which ends where a folder does, in order."""
        bucket, prefix = split(uri)
        token = ""
        while True:
            more = {"pageToken": token} if token else {}
            told = self._session.get(self._at(bucket), params={"prefix": prefix, **more})
            if told.status_code != 200:
                return
            for one in told.json().get("items", []):
                if not prefix or one["name"] == prefix or one["name"].startswith(prefix.rstrip("/") + "/"):
                    yield f"gs://{bucket}/{one['name']}"
            token = told.json().get("nextPageToken", "")
            if not token:
                return

    def bring(self, uri: str, folder: Path) -> list[Path]:
        """Lay out what lies below a prefix as files of a folder."""
        brought = []
        for one in self.names(uri):
            inside = one.removeprefix(uri.rstrip("/")).lstrip("/") or one.rpartition("/")[2]
            if inside.endswith("/"):
                continue
            target = folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(one) or b"")
            brought.append(target)
        return brought

    def _at(self, bucket: str) -> str:
        return f"{self.url()}/storage/v1/b/{quote(bucket)}/o"


def split(uri: str) -> tuple[str, str]:
    """Give bucket and name of ``gs://bucket/name``; raises Refused."""
    scheme, _, rest = uri.partition("://")
    bucket, _, name = rest.partition("/")
    if scheme != "gs" or not bucket:
        raise invalid(f"{uri!r} is no Cloud Storage URI.")
    return bucket, name
