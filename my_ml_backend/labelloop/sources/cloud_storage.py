"""Google Cloud Storage, by its JSON API: whole objects, files in parts, listings, writes on a condition.

cloud.google.com/storage/docs/json_api/v1, "Perform resumable uploads", "Request preconditions".
"""

import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

from labelloop.sources.google_api import GoogleApi, GoogleFailure, GoogleReply, base_of
from labelloop.types import Json

PUBLIC = "https://storage.googleapis.com"

PART_BYTES = 8 << 20
"""Of a file that is copied, this much travels at a time and is in memory: a multiple of 256 KiB."""

_SLOWEST = 100_000
"""Bytes a second of a line on which what is sent at a time still arrives in time."""

_BEGINNINGS = 3
"""How often a copy is begun whose object has changed meanwhile, or whose upload Google forgets or takes none of."""

_WRITER = "labelloop-writer"


class Content(NamedTuple):
    """What an object holds, and its generation: a number for each time that it was written."""

    content: bytes
    generation: str


class Page(NamedTuple):
    """A page of a listing: names of objects and their bytes; with a delimiter, what others begin with up to it.

    ``following`` names the next, or is empty.
    """

    names: list[str]
    sizes: list[int]
    prefixes: list[str]
    following: str


class CloudStorage:
    """Objects by bucket and name. Safe to share between threads. Every method raises GoogleFailure."""

    def __init__(self, api: GoogleApi) -> None:
        self._api = api

    @classmethod
    def found(cls, wait: Callable[[float], object] = time.sleep) -> Self:
        """Give what STORAGE_EMULATOR_HOST of the environment names, as Google's own clients do, or Google's."""
        return cls(GoogleApi(base_of(os.environ.get("STORAGE_EMULATOR_HOST", ""), PUBLIC), wait=wait))

    def read(self, bucket: str, name: str, *, seconds: float = 60.0, most: int = 1 << 31) -> Content:
        """Read an object of at most so many bytes; raises TooLong beyond."""
        reply = self._api.send("GET", _object(bucket, name, alt="media"), seconds=seconds, most=most)
        return Content(reply.content, reply.headers.get("x-goog-generation", ""))

    def look(self, bucket: str, name: str) -> Json:
        """Give what Cloud Storage says of an object: ``generation``, ``size``, ``metadata``."""
        return _json(self._api.send("GET", _object(bucket, name)))

    def write(
        self, bucket: str, name: str, content: bytes, media_type: str = "application/octet-stream", generation: str = ""
    ) -> None:
        """Write an object whole, or not at all; where a ``generation`` is named, only in its place: "0" for none.

        A condition that does not hold is a GoogleFailure with status 412.
        """
        writer = uuid.uuid4().hex
        said = json.dumps({"name": name, "contentType": media_type, "metadata": {_WRITER: writer}})
        head = f"--{writer}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{said}\r\n"
        head += f"--{writer}\r\nContent-Type: {media_type}\r\n\r\n"
        body = head.encode() + content + f"\r\n--{writer}--\r\n".encode()
        target = _upload(bucket, uploadType="multipart", fields="generation", ifGenerationMatch=generation)
        headers = {"content-type": f"multipart/related; boundary={writer}"}
        try:
            self._api.send("POST", target, body, headers, seconds=60 + len(body) / _SLOWEST, repeatable=True)
        except GoogleFailure as failure:
            # A write whose answer was lost is repeated, and meets the object of the first.
            if not (failure.status == 412 and self._is_written_by(bucket, name, writer)):
                raise

    def delete(self, bucket: str, name: str) -> None:
        """Delete an object, if it is there."""
        try:
            self._api.send("DELETE", _object(bucket, name))
        except GoogleFailure as failure:
            if failure.status != 404:
                raise

    def page(self, bucket: str, prefix: str, token: str = "", delimiter: str = "", *, seconds: float = 60.0) -> Page:
        """List a page of the objects whose names begin so, in their order; ``token`` is a ``following``."""
        fields = "items(name,size),prefixes,nextPageToken"
        query = _query(prefix=prefix, delimiter=delimiter, pageToken=token, fields=fields)
        found = _json(self._api.send("GET", f"/storage/v1/b/{quote(bucket, safe='')}/o{query}", seconds=seconds))
        try:
            names = [str(entry["name"]) for entry in found.get("items", ())]
            sizes = [int(entry["size"]) for entry in found.get("items", ())]
            prefixes = [str(one) for one in found.get("prefixes", ())]
            return Page(names, sizes, prefixes, str(found.get("nextPageToken") or ""))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise _unknown() from None

    def pages(self, bucket: str, prefix: str, delimiter: str = "") -> Iterator[Page]:
        """List all of them, one page after the other."""
        page = self.page(bucket, prefix, delimiter=delimiter)
        yield page
        while page.following:
            page = self.page(bucket, prefix, page.following, delimiter)
            yield page

    def download(self, bucket: str, name: str, target: Path) -> None:
        """Copy an object into a file, a part at a time: what breaks off goes on where it was. Raises OSError, too."""
        with target.open("wb") as file:
            for left in reversed(range(_BEGINNINGS)):
                file.seek(0)
                file.truncate()
                try:
                    for part in self._parts(bucket, name):
                        file.write(part)
                except GoogleFailure as failure:
                    if failure.status != 412 or not left:  # 412: it was written anew meanwhile
                        raise
                else:
                    return

    def upload(self, bucket: str, name: str, source: Path, media_type: str = "application/octet-stream") -> None:
        """Write an object whole, or not at all, from a file, a part at a time. Raises OSError, too."""
        size = source.stat().st_size
        if size <= PART_BYTES:
            self.write(bucket, name, source.read_bytes(), media_type)
            return
        for left in reversed(range(_BEGINNINGS)):
            session = self._session(bucket, name, media_type)
            try:
                self._send_parts(session, source, size)
            except GoogleFailure as failure:
                if failure.status not in (404, 410) or not left:  # what was begun is forgotten, after a week at most
                    raise
            else:
                return

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def _is_written_by(self, bucket: str, name: str, writer: str) -> bool:
        try:
            return bool((self.look(bucket, name).get("metadata") or {}).get(_WRITER) == writer)
        except GoogleFailure as failure:
            if failure.status == 404:
                return False
            raise

    def _parts(self, bucket: str, name: str) -> Iterator[bytes]:
        """Give an object's bytes, all of one generation."""
        generation, at, size = "", 0, 1
        while at < size:
            target = _object(bucket, name, alt="media", ifGenerationMatch=generation)
            try:
                wanted = {"range": f"bytes={at}-{at + PART_BYTES - 1}"}
                reply = self._api.send("GET", target, headers=wanted, seconds=60 + PART_BYTES / _SLOWEST)
            except GoogleFailure as failure:
                if failure.status == 416 and not at:  # of an empty object there is no part
                    return
                raise
            yield reply.content
            generation = reply.headers.get("x-goog-generation", "")
            told = re.fullmatch(r"bytes \d+-(\d+)/(\d+)", reply.headers.get("content-range", ""))
            if told is None:  # all of it
                return
            at, size = int(told[1]) + 1, int(told[2])

    def _session(self, bucket: str, name: str, media_type: str) -> str:
        """Begin an upload in parts, and give its target."""
        body = json.dumps({"name": name, "contentType": media_type}).encode()
        headers = {"content-type": "application/json; charset=UTF-8"}
        target = _upload(bucket, uploadType="resumable")
        reply = self._api.send("POST", target, body, headers, repeatable=True)
        # The host is ours to choose: a token goes nowhere that an answer says.
        where = urlsplit(reply.headers.get("location", ""))
        if not where.query:
            raise _unknown()
        return f"{where.path}?{where.query}"

    def _send_parts(self, session: str, source: Path, size: int) -> None:
        with source.open("rb") as file:
            there, idle = 0, 0
            while idle < _BEGINNINGS:
                file.seek(there)
                part = file.read(PART_BYTES)
                if not part:
                    raise OSError(f"{source} became shorter while it was copied")
                headers = {"content-range": f"bytes {there}-{there + len(part) - 1}/{size}"}
                reply = self._api.send("PUT", session, part, headers, seconds=60 + len(part) / _SLOWEST)
                if reply.status != 308:
                    return
                told = re.fullmatch(r"bytes=0-(\d+)", reply.headers.get("range", ""))
                has = int(told[1]) + 1 if told else 0
                there, idle = has, 0 if has > there else idle + 1
            raise GoogleFailure(503, "it takes none of what is sent of a file")


def _object(bucket: str, name: str, **query: str) -> str:
    return f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(name, safe='')}{_query(**query)}"


def _upload(bucket: str, **query: str) -> str:
    return f"/upload/storage/v1/b/{quote(bucket, safe='')}/o{_query(**query)}"


def _query(**query: str) -> str:
    """Write the part of an address behind ``?``; what is empty is left out."""
    told = urlencode({name: text for name, text in query.items() if text})
    return f"?{told}" if told else ""


def _json(reply: GoogleReply) -> Json:
    try:
        found = json.loads(reply.content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _unknown()
    return found


def _unknown() -> GoogleFailure:
    return GoogleFailure(200, "what it says is of no known form")


def bucket_and_name(uri: str) -> tuple[str, str]:
    """Take ``gs://bucket/name`` apart; what is not there is empty."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name
