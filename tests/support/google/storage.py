"""Cloud Storage's JSON API, version 1, as a WSGI app: uploads of all three kinds, ranges, pages, conditions.

cloud.google.com/storage/docs/json_api/v1. Conditions by generation are honoured everywhere, as Google does and other
stand-ins do not.
"""

import json
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from werkzeug import Request, Response

from labelloop.types import Json
from support.google.buckets import Buckets, Object, Refusal

_PATH = re.compile(
    r"/(?:(?P<kind>(?:resumable/)?upload|download)/)?storage/v1/b(?:/(?P<bucket>[^/]+))?(?P<objects>/o(?:/(?P<name>.+))?)?"
)
_GRAIN = 262_144
"""Parts of a resumable upload have a multiple of this, but for the last."""


@dataclass
class _Session:
    """A resumable upload: what it makes, on which condition, and what has come."""

    made: Object
    condition: str | None
    content: bytearray = field(default_factory=bytearray)
    done: Object | None = None


@dataclass
class Storage:
    """The service. ``page`` is the most that a page of a listing holds."""

    buckets: Buckets = field(default_factory=Buckets)
    page: int = 1000
    _sessions: dict[str, _Session] = field(default_factory=dict)

    def put(self, bucket: str, name: str, content: bytes) -> None:
        """Write an object, whatever stands against it."""
        self.buckets.put(_new(bucket, name, content), ours=True)

    def read(self, bucket: str, name: str) -> bytes:
        """Read an object."""
        return self.buckets.get(bucket, name).content

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """Name the objects below a prefix, sorted."""
        return sorted(name for name in self.buckets.bucket(bucket).objects if name.startswith(prefix))

    def forget_uploads(self) -> None:
        """Forget the uploads in parts that have begun, as Google does after a week."""
        self._sessions.clear()

    def reset(self) -> None:
        """Forget everything."""
        self.buckets.clear()
        self.page = 1000
        self._sessions.clear()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self.answer(Request(environ))(environ, start_response)

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        found = _PATH.fullmatch(str(request.environ.get("RAW_URI", request.path)).partition("?")[0])
        if found is None:  # Google's front has no JSON for what is nobody's
            return Response("Not Found", 404, content_type="text/plain")
        content = request.get_data()
        kind, bucket, name = found["kind"], unquote(found["bucket"] or ""), unquote(found["name"] or "")
        try:
            if kind and kind.endswith("upload"):
                return self._upload(request, bucket, content)
            if name:
                return self._object(request, bucket, name, media=kind == "download")
            return self._listing(request, bucket) if found["objects"] else self._bucket(request, bucket, content)
        except Refusal as refusal:
            return refused(refusal, plain=request.args.get("alt") == "media")

    # Buckets.

    def _bucket(self, request: Request, bucket: str, content: bytes) -> Response:
        match request.method, bool(bucket):
            case "POST", False:
                self.buckets.allow("storage.buckets.create")
                asked = json.loads(content)
                retention = int(asked.get("retentionPolicy", {}).get("retentionPeriod", 0))
                return told(self.buckets.make(asked["name"], asked.get("location", "US"), retention).resource)
            case "GET", False:
                self.buckets.allow("storage.buckets.list")
                return told({"kind": "storage#buckets", "items": [one.resource for one in self.buckets.all()]})
            case "GET", True:
                self.buckets.allow("storage.buckets.get")
                return told(self.buckets.bucket(bucket).resource)
            case "DELETE", True:
                self.buckets.allow("storage.buckets.delete")
                self.buckets.remove(bucket)
                return Response(status=204)
        raise _no_method(request)

    # Objects.

    def _object(self, request: Request, bucket: str, name: str, *, media: bool) -> Response:
        condition = request.args.get("ifGenerationMatch")
        if request.method == "DELETE":
            self.buckets.delete(bucket, name, condition)
            return Response(status=204)
        if request.method != "GET":
            raise _no_method(request)
        self.buckets.bucket(bucket)
        self.buckets.allow("storage.objects.get")
        found = self.buckets.get(bucket, name)
        self.buckets.require(condition, found)
        if media or request.args.get("alt") == "media":
            return _media(request, found)
        return told(_linked(found, request), request)

    def _listing(self, request: Request, bucket: str) -> Response:
        """List in pages: ``prefixes`` are what is left of names up to the next delimiter, each once."""
        if request.method != "GET":
            raise _no_method(request)
        self.buckets.bucket(bucket)
        self.buckets.allow("storage.objects.list")
        prefix, delimiter = request.args.get("prefix", ""), request.args.get("delimiter", "")
        entries: dict[str, Json | None] = {}
        with self.buckets.lock:
            for name in self.names(bucket, prefix):
                inside, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
                if cut:
                    entries[prefix + inside + cut] = None
                else:
                    entries[name] = _linked(self.buckets.get(bucket, name), request)
        after = bytes.fromhex(request.args.get("pageToken", "")).decode()
        left = [one for one in sorted(entries) if one > after]
        most = min(int(request.args.get("maxResults", 1000)), self.page)
        page = left[:most]
        found: Json = {"kind": "storage#objects"}
        if items := [entry for one in page if (entry := entries[one]) is not None]:
            found["items"] = items
        if prefixes := [one for one in page if entries[one] is None]:
            found["prefixes"] = prefixes
        if len(left) > most:
            found["nextPageToken"] = page[-1].encode().hex()
        return told(found, request)

    # Uploads.

    def _upload(self, request: Request, bucket: str, content: bytes) -> Response:
        kind = request.args.get("uploadType")
        if kind == "resumable" and request.method in ("PUT", "DELETE"):
            return self._part(request, content)
        if request.method != "POST":
            raise _no_method(request)
        self.buckets.bucket(bucket)
        if "predefinedAcl" in request.args:
            raise Refusal(
                400, "invalid", "Cannot insert legacy ACL for an object when uniform bucket-level access is enabled."
            )
        named, condition = request.args.get("name", ""), request.args.get("ifGenerationMatch")
        match kind:
            case "media":
                made = _new(bucket, named, content, {"contentType": request.mimetype})
            case "multipart":
                made = _of_parts(request, bucket, named, content)
            case "resumable":
                made = _new(bucket, named, b"", json.loads(content or b"{}"))
                self.buckets.require(condition, self.buckets.bucket(bucket).objects.get(made.name))
                return self._session(request, _Session(made, condition))
            case _:
                raise Refusal(400, "invalid", f"Invalid upload type: {kind}")
        return told(_linked(self.buckets.put(made, condition), request), request)

    def _session(self, request: Request, session: _Session) -> Response:
        self.buckets.allow("storage.objects.create")
        key = uuid.uuid4().hex
        self._sessions[key] = session
        return Response(headers={"Location": f"{request.base_url}?uploadType=resumable&upload_id={key}"})

    def _part(self, request: Request, content: bytes) -> Response:
        """Take a part of a resumable upload, or say how much has come (``bytes */TOTAL``)."""
        key = request.args.get("upload_id", "")
        session = self._sessions.get(key)
        if session is None:
            raise Refusal(404, "notFound", "Not Found")
        if request.method == "DELETE":
            del self._sessions[key]
            return Response(status=499)
        said = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers.get("Content-Range", ""))
        if said is None:
            raise Refusal(400, "invalid", "Failed to parse Content-Range header.")
        with self.buckets.lock:
            if session.done is None:
                _take(session, said, content)
                if said[3] != "*" and len(session.content) == int(said[3]):
                    made = _new(session.made.bucket, session.made.name, bytes(session.content), session.made.resource)
                    session.done = self.buckets.put(made, session.condition)
        if session.done is not None:
            return told(_linked(session.done, request), request)
        there = len(session.content)
        return Response(status=308, headers={"Range": f"bytes=0-{there - 1}"} if there else {})


def _take(session: _Session, said: re.Match[str], content: bytes) -> None:
    if said[1] is None:
        return
    begin, end, there = int(said[1]), int(said[2]), len(session.content)
    if len(content) != end - begin + 1 or begin > there:
        raise Refusal(400, "invalid", f"Invalid request. There are {there} bytes, and these are {said[0]}.")
    last = said[3] != "*" and end + 1 == int(said[3])
    if not last and len(content) % _GRAIN:
        raise Refusal(400, "invalid", f"Invalid request. A part has a multiple of {_GRAIN} bytes.")
    session.content += content[there - begin :]


def _linked(found: Object, request: Request) -> Json:
    """Say of an object where its content is, too."""
    name = quote(found.name, safe="")
    link = f"{request.host_url}download/storage/v1/b/{found.bucket}/o/{name}?generation={found.generation}&alt=media"
    return {**found.resource, "mediaLink": link}


def _new(bucket: str, name: str, content: bytes, said: Json | None = None) -> Object:
    said = said or {}
    name = said.get("name") or name
    if not name or len(name.encode()) > 1024 or "\n" in name or "\r" in name:
        raise Refusal(400, "invalid", f"Invalid object name: {name[:80]!r}")
    if "acl" in said:
        raise Refusal(400, "invalid", "Cannot insert ACL for an object when uniform bucket-level access is enabled.")
    media_type = said.get("contentType") or "application/octet-stream"
    return Object(bucket, name, content, 0, datetime.now(UTC), media_type, said.get("metadata") or {})


def _of_parts(request: Request, bucket: str, named: str, content: bytes) -> Object:
    """Read ``multipart/related``: what is said of an object, in JSON, and its content."""
    mark = re.search(r"""boundary=(["']?)(.+?)\1(?:;|$)""", request.content_type or "")
    parts = content.split(b"--" + mark[2].encode()) if mark else []
    if request.mimetype != "multipart/related" or len(parts) != 4 or not parts[3].startswith(b"--"):
        raise Refusal(400, "badRequest", "Malformed multipart body.")
    # Google takes a mark in single quotes, and lines that end as those of Unix: gcloud sends both.
    blank = re.compile(rb"\r?\n\r?\n")
    said, (head, media) = json.loads(blank.split(parts[1], 1)[1]), blank.split(parts[2].lstrip(), 1)
    media_type = re.search(rb"(?i)content-type: *([\w./+-]+)", head)
    of_part = {"contentType": media_type[1].decode()} if media_type else {}
    return _new(bucket, named, media.removesuffix(b"\n").removesuffix(b"\r"), {**of_part, **said})


def _media(request: Request, found: Object) -> Response:
    headers = {"X-Goog-Generation": str(found.generation), "X-Goog-Stored-Content-Length": str(len(found.content))}
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if asked is None:
        return Response(found.content, 200, headers, content_type=found.media_type)
    begin, size = int(asked[1]), len(found.content)
    if begin >= size:
        return Response("", 416, {"Content-Range": f"bytes */{size}"}, content_type="text/plain")
    part = found.content[begin : int(asked[2]) + 1 if asked[2] else size]
    headers["Content-Range"] = f"bytes {begin}-{begin + len(part) - 1}/{size}"
    return Response(part, 206, headers, content_type=found.media_type)


def told(found: Json, request: Request | None = None) -> Response:
    """Answer with what was asked for of a resource (``fields=items(name),nextPageToken``)."""
    fields = request.args.get("fields", "") if request else ""
    return Response(json.dumps(_only(found, fields)), content_type="application/json; charset=UTF-8")


def _only(found: Json, fields: str) -> Json:
    if not fields or fields == "*":
        return found
    kept: Json = {}
    for name, inner in re.findall(r"(\w+)(?:\(([^()]*)\))?", fields):
        if name in found:
            value = found[name]
            kept[name] = [_only(one, inner) for one in value] if inner and isinstance(value, list) else value
    return kept


def refused(refusal: Refusal, *, plain: bool = False) -> Response:
    """Say no as Cloud Storage does: in JSON, but where an object's content was asked for."""
    if plain:
        return Response(refusal.message, refusal.status, content_type="text/html; charset=UTF-8")
    one = {"message": refusal.message, "domain": "global", "reason": refusal.reason}
    error = {"code": refusal.status, "message": refusal.message, "errors": [one]}
    return Response(json.dumps({"error": error}), refusal.status, content_type="application/json; charset=UTF-8")


def _no_method(request: Request) -> Refusal:
    return Refusal(405, "methodNotAllowed", f"{request.method} is not allowed here.")
