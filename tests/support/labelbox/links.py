"""Files behind links that are signed and expire, as those of a bucket: asked without any other credential."""

import hashlib
import hmac
import json
import mimetypes
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from werkzeug import Request, Response

from labelloop.types import Json

LIFETIME = 86400
"""Seconds that a link is good for."""

_SECRET = b"the stand-in's own"


class Clock:
    """The time of the stand-in, which a test may move on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Links:
    """Files below ``folder``: ``picture/...``, ``export/...``, ``import/...``; the first part says what a file is."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock, self.url = folder, clock, ""
        self.lifetime = LIFETIME

    def write(self, path: str, content: bytes) -> None:
        """Keep a file, such as ``picture/1.png``."""
        where = self.folder / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content)

    def sign(self, path: str, start: int | None = None, end: int | None = None) -> str:
        """Give a link to a file, or to its bytes from ``start`` to ``end``, that one included."""
        part = "" if start is None else f"&start={start}&end={end}"
        expires = int(self.clock()) + self.lifetime
        told = f"/files/{path}?expires={expires}{part}"
        return f"{self.url}{quote(told, safe='/?&=')}&signature={_signature(told)}"

    def answer(self, request: Request) -> Response:
        """Give a file to whoever has a link that is still good."""
        query = dict(request.args.items())
        signature = query.pop("signature", "")
        told = f"{request.path}?{'&'.join(f'{name}={value}' for name, value in query.items())}"
        if "Authorization" in request.headers:
            return Response("Only one auth mechanism allowed: this link is signed", 400)
        if not hmac.compare_digest(signature, _signature(told)):
            return Response("SignatureDoesNotMatch", 403)
        if float(query["expires"]) < self.clock():
            return Response("ExpiredToken: the link has expired", 403)
        where = self.folder / request.path.removeprefix("/files/")
        if not where.is_file():
            return Response("NoSuchKey", 404)
        kind = mimetypes.guess_type(where.name)[0] or "application/octet-stream"
        return Response(_part(where, query), 200, content_type=kind)


def _part(where: Path, query: dict[str, str]) -> bytes:
    with where.open("rb") as file:
        if "start" not in query:
            return file.read()
        file.seek(int(query["start"]))
        return file.read(int(query["end"]) - int(query["start"]) + 1)


def lines_of(where: Path) -> Iterator[str]:
    """Read a file of lines, one at a time."""
    with where.open(encoding="utf-8") as file:
        yield from file


def loads(lines: Iterable[str]) -> Iterator[Json]:
    """Read lines of JSON; what is none is left out."""
    for line in lines:
        with suppress(ValueError):
            yield json.loads(line)


def ndjson(content: object) -> str:
    """Write one line."""
    return json.dumps(content, ensure_ascii=False) + "\n"


def _signature(told: str) -> str:
    return hmac.digest(_SECRET, told.encode(), hashlib.sha256).hex()
