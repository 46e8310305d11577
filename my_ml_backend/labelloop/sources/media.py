"""Reads the files of tasks, wherever they are (contract, "Task data"), and tells by their bytes what they are."""

import base64
import codecs
import json
import math
import mimetypes
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote_to_bytes

import httpcore

from labelloop.errors import AddressRefused, MediaDenied, MediaError, StudioError, TooLarge, Transient
from labelloop.settings import Settings
from labelloop.sources.buckets import CLOUDS, Buckets, refusal
from labelloop.sources.egress import trusted
from labelloop.sources.guard import PublicOnly
from labelloop.sources.s3 import S3, S3Error
from labelloop.sources.transport import TRANSIENT, Connect, Connections, TooLong, open_socket, whole_body
from labelloop.sources.urls import Home, cleaned, data_of, parse, shown
from labelloop.types import TaskKey

_CONNECTIONS = 32
_REDIRECTS = 5

_CLOUDS = ("gs://", "azure-blob://")
"""Clouds that are read through Label Studio alone."""

_REMEDIES = {
    401: "If it is Label Studio's, let its address begin with LABEL_STUDIO_URL and set LABEL_STUDIO_API_KEY.",
    403: "Its link has expired, or whoever asks may not read it.",
    404: "It is not there, or Label Studio has no storage connected for it.",
    500: "Label Studio answers so for a file that is gone.",
}

_DENIED = (400, 401, 403)
"""What servers say of a signed link whose time is over, 400 Google Cloud Storage."""

_TOO_SLOW = "it took too long (LABELLOOP_MEDIA_TIMEOUT)"


class Broken(Transient):
    """The connection could not be made or broke."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. ``location`` is where a redirect leads, else empty; ``content`` is empty unless the status is 200."""

    status: int
    location: str
    content: bytes


class Fetcher:
    """GETs with kept-alive connections, following no redirect. Safe to share between threads.

    ``max_bytes`` bounds the content, ``connections`` how many are open at once; ``connect`` may guard where they lead.
    """

    def __init__(self, max_bytes: int, connections: int, connect: Connect = open_socket) -> None:
        self._max_bytes = max_bytes
        self._places = threading.BoundedSemaphore(connections)
        self._connections = Connections(connections, trusted(), connect=connect)

    def get(self, url: str, headers: Mapping[str, str], deadline: float) -> Reply:
        """GET one address until ``deadline`` (``time.monotonic()``).

        Raises Transient when that is over, Broken, AddressRefused, or MediaError for an impossible address or too large
        a content.
        """
        with self.open(url, headers, deadline) as response:
            said = {name.lower(): value for name, value in response.headers}
            content = self._read(response, said) if response.status == 200 else b""
            location = said.get(b"location", b"") if 300 <= response.status < 400 else b""
            return Reply(response.status, location.decode("latin-1"), content)

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str], deadline: float) -> Iterator[httpcore.Response]:
        """GET one address as ``get`` does, and give the answer, whose body is still to be read, however long it is."""
        target = parse(url)
        raw = httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path)
        sent: dict[bytes | str, bytes | str] = {
            "Host": target.netloc.decode("ascii"),
            "Accept": "image/*,*/*",
            "Accept-Encoding": "identity",
            "User-Agent": "labelloop",
        }
        if target.userinfo:
            sent["Authorization"] = b"Basic " + base64.b64encode(unquote_to_bytes(target.userinfo))
        sent.update(headers)
        request = httpcore.Request("GET", raw, headers=sent)
        with self._place(deadline), _translated(), self._connections.exchange(request, deadline) as response:
            yield response

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    @contextmanager
    def _place(self, deadline: float) -> Iterator[None]:
        if not self._places.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Transient(_TOO_SLOW)
        try:
            yield
        finally:
            self._places.release()

    def _read(self, response: httpcore.Response, said: Mapping[bytes, bytes]) -> bytes:
        length = said.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_bytes:
            raise TooLarge(self._max_bytes, int(length))
        try:
            return whole_body(response, self._max_bytes)
        except TooLong as error:
            raise TooLarge(self._max_bytes) from error


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what httpcore raises into errors of this project."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise Transient(_TOO_SLOW) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise Broken(f"its server could not be reached or broke off ({error or type(error).__name__})") from error


class Media:
    """Reads pictures by the addresses in tasks. Safe to share between threads, not between processes.

    The files of a task at ``home`` are asked for with its token, which goes nowhere else, redirects included. Without
    ``home`` they, and what only Label Studio can resolve, cannot be read.
    """

    def __init__(self, settings: Settings, home: Home | None) -> None:
        self._max_bytes, self._seconds = settings.media_max_bytes, settings.media_timeout
        self._home = home
        self._buckets = Buckets(settings, home.buckets if home else None)
        connect = open_socket if settings.allow_private_addresses else PublicOnly(home.origin if home else None)
        self._fetcher = Fetcher(settings.media_max_bytes, _CONNECTIONS, connect)
        # Nobody waits for a place there: what is beyond is opened, thrown away again, and warned of each time.
        self._s3 = S3(settings.media_max_bytes, settings.media_timeout, 4 * _CONNECTIONS)

    def read(self, url: str, task: TaskKey | None = None, deadline: float | None = None) -> bytes:
        """Read one file whole; ``task`` is the one that shows it: None for an address out of a list of one's own.

        ``deadline`` is a ``time.monotonic()`` moment, for whoever has less patience than ``LABELLOOP_MEDIA_TIMEOUT``.
        Raises AddressRefused for private addresses, Transient where another try may help, MediaDenied where the link
        may have expired, MediaError for all else.
        """
        url = cleaned(url)
        deadline = min(time.monotonic() + self._seconds, math.inf if deadline is None else deadline)
        named = shown(url)
        with saying(f"{named} could not be read", refused=f"{named} was not read"):
            return self._read(url, task, deadline)

    def is_home(self, url: str) -> bool:
        """Whether an address is Label Studio's own: only with its token can it be read."""
        if self._home is None or not url.lower().startswith(("http://", "https://")):
            return False
        return self._home.origin.contains(url)

    def asks_home(self, url: str, task: TaskKey) -> bool:
        """Whether Label Studio is asked for a file, or where it lies, as for what it stores itself.

        Raises Transient where that is not known yet.
        """
        url = cleaned(url)
        if url.startswith("s3://"):
            return not self._buckets.opens(url, task.project)
        return url.startswith(_CLOUDS) or (url.startswith("/") and not url.startswith("//")) or self.is_home(url)

    def opens(self, url: str, task: TaskKey) -> bool:
        """Whether an address in a task may be read with an identity of a cloud; so may each that is of none.

        Raises Transient where that is not known yet.
        """
        return not url.startswith(CLOUDS) or self._buckets.opens(url, task.project)

    def close(self) -> None:
        """Close the connections."""
        self._fetcher.close()
        self._s3.close()

    def _read(self, url: str, task: TaskKey | None, deadline: float) -> bytes:
        if url.startswith("data:"):
            return data_of(url, self._max_bytes)
        if url.startswith("s3://"):
            return self._from_s3(url, task, deadline)
        if url.startswith(_CLOUDS):
            return self._get(self._resolving(url, task), task, deadline)
        if url.startswith("/") and not url.startswith("//"):
            if self._home is None:
                raise MediaError("it is a file of Label Studio, and LABEL_STUDIO_API_KEY is not set")
            return self._get(self._home.origin.address_of(url), task, deadline)
        if url.lower().startswith(("http://", "https://")):
            return self._get(url, task, deadline)
        raise MediaError(
            "pictures are read from http(s)://, s3://, gs://, data:, and Label Studio's own /data/... addresses"
        )

    def _from_s3(self, url: str, task: TaskKey | None, deadline: float) -> bytes:
        if task is not None and not self._buckets.opens(url, task.project):
            return self._left_to_label_studio(url, task, deadline)
        try:
            return self._s3.read(url, deadline)
        except S3Error as denied:
            if self._home is None or task is None or task.id is None:
                raise
            try:
                return self._get(self._resolving(url, task), task, deadline)
            except (MediaError, StudioError) as error:
                kind = AddressRefused if isinstance(error, AddressRefused) else MediaError
                raise kind(f"{denied}, and through Label Studio: {error}") from error

    def _left_to_label_studio(self, url: str, task: TaskKey, deadline: float) -> bytes:
        """Read what is not ours to read: Label Studio's storages may have an identity that may."""
        try:
            return self._get(self._resolving(url, task), task, deadline)
        except Transient:
            raise
        except (MediaError, StudioError) as error:
            kind = AddressRefused if isinstance(error, AddressRefused) else MediaError
            raise kind(f"{refusal(url)}. Through Label Studio: {error}") from error

    def _resolving(self, uri: str, task: TaskKey | None) -> str:
        if self._home is None or task is None or task.id is None:
            raise MediaError("only Label Studio can resolve it, by a task's id and with LABEL_STUDIO_API_KEY set")
        return self._home.resolving(uri, task.id)

    def _get(self, url: str, task: TaskKey | None, deadline: float) -> bytes:
        """GET, twice if the connection broke, the server stumbled, or the link it redirected to had expired."""
        for last in (False, True):
            try:
                reply, redirected = self._follow(url, task, deadline)
            except Broken:
                if last:
                    raise
                continue
            if reply.status == 200:
                return reply.content
            again = reply.status in TRANSIENT or (reply.status == 403 and redirected)
            if last or not again:
                break
        kind = Transient if reply.status in TRANSIENT else MediaDenied if reply.status in _DENIED else MediaError
        more = self._home.remedies if self._home else {}
        remedies = (one[reply.status] for one in (_REMEDIES, more) if reply.status in one)
        raise kind(" ".join((f"its server answered {reply.status}.", *remedies)))

    def _follow(self, url: str, task: TaskKey | None, deadline: float) -> tuple[Reply, bool]:
        """Follow redirects; the token goes along to files of the task, and never again once they have left these."""
        trusted = True
        for hop in range(_REDIRECTS + 1):
            is_file = False
            if self._home is not None and self._home.origin.shares_host(url):
                url, is_file = self._home.plain(url, task)
            trusted = trusted and is_file
            headers = self._home.headers() if trusted and self._home else {}
            reply = self._fetcher.get(url, headers, deadline)
            if not reply.location:
                return reply, hop > 0
            url = str(parse(url).join(reply.location))
        raise MediaError(f"it is redirected more than {_REDIRECTS} times")


@contextmanager
def saying(what: str, refused: str = "") -> Iterator[None]:
    """Say what an error inside the block was about, and whether another try may help."""
    try:
        yield
    except AddressRefused as error:
        raise AddressRefused(f"{refused or what}: {error}") from error
    except (Transient, MediaDenied) as error:
        raise type(error)(f"{what}: {error}") from error
    except S3Error as denied:
        if denied.passing:
            raise Transient(f"{what}: {denied}") from denied
        raise MediaError(f"{what}: {denied}. Give this machine access to the bucket (AWS_... of boto3).") from denied
    except (MediaError, StudioError) as error:
        raise MediaError(f"{what}: {error}") from error
    except UnicodeError as error:
        raise MediaError(f"{what}: its address is not valid text") from error


ANY_TYPE = "application/octet-stream"

_SIGNATURES: tuple[tuple[str, str, bytes], ...] = (
    ("image/jpeg", ".jpg .jpeg .jpe .jfif", rb"\xff\xd8\xff[\xc0-\xfe]"),
    ("image/png", ".png .apng", rb"\x89PNG\r\n\x1a\n"),
    ("image/webp", ".webp", rb"RIFF....WEBP"),
    ("image/gif", ".gif", rb"GIF8[79]a"),
    ("image/bmp", ".bmp .dib", rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"),
    ("image/tiff", ".tif .tiff", rb"II[*+]\0|MM\0[*+]"),
    ("image/avif", ".avif", rb"....ftyp(?:avif|avis|(?:mif1|msf1).{4}.{0,40}?avif)"),
    ("image/heic", ".heic", rb"....ftyp(?:he[iv][cxms]|(?:mif1|msf1).{4}.{0,40}?he[iv][cxms])"),
    ("image/heif", ".heif", rb"....ftyp(?:mif1|msf1)"),
    ("image/jp2", ".jp2 .j2k", rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    ("image/jxl", ".jxl", rb"\0\0\0\x0cJXL \r\n\x87\n"),
    ("image/x-portable-bitmap", ".pbm", rb"P[14]\s+(?:#|\d)"),
    ("image/x-portable-graymap", ".pgm", rb"P[25]\s+(?:#|\d)"),
    ("image/x-portable-pixmap", ".ppm", rb"P[36]\s+(?:#|\d)"),
    ("image/x-icon", ".ico", rb"\0\0\x01\0[\x01-\x40]\0"),
    ("image/vnd.adobe.photoshop", ".psd", rb"8BPS\0[\x01\x02]"),
    ("application/dicom", ".dcm", rb".{128}DICM"),
    ("application/pdf", ".pdf", rb"%PDF-"),
    ("audio/wav", ".wav", rb"(?:RIFF|RF64)....WAVE"),
    ("audio/flac", ".flac", rb"fLaC"),
    ("audio/mpeg", ".mp3 .mp2", rb"ID3[\x02-\x04]|\xff[\xe2\xe3\xf2-\xf5\xfa-\xfd][^\0\xf0-\xff]"),
    ("audio/aac", ".aac", rb"\xff[\xf0\xf1\xf8\xf9][\x40-\x7f]|ADIF"),
    ("audio/aiff", ".aif .aiff", rb"FORM....AIF[FC]"),
    ("audio/amr", ".amr", rb"#!AMR"),
    ("audio/basic", ".au .snd", rb"\.snd\0\0"),
    ("audio/mp4", ".m4a .m4b", rb"....ftypM4[ABP] "),
    ("video/quicktime", ".mov .qt", rb"....ftypqt  |....(?:moov|mdat|wide)"),
    ("video/3gpp", ".3gp", rb"....ftyp3g"),
    ("video/mp4", ".mp4 .m4v", rb"....ftyp"),
    ("video/ogg", ".ogv", rb"OggS.{24,56}\x80theora"),
    ("audio/ogg", ".ogg .oga .opus", rb"OggS\0"),
    ("video/webm", ".webm", rb"\x1a\x45\xdf\xa3.{0,48}?webm"),
    ("video/x-matroska", ".mkv", rb"\x1a\x45\xdf\xa3"),
    ("video/x-msvideo", ".avi", rb"RIFF....AVI "),
    ("video/x-ms-asf", ".asf .wmv", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("video/x-flv", ".flv", rb"FLV\x01"),
    ("video/mpeg", ".mpg .mpeg", rb"\0\0\x01[\xba\xb3]"),
    ("video/mp2t", ".ts .mts", rb"(?:G.{187}){2}G"),
)
"""Media types, the endings of their files, and how they begin; the first that fits is it, the more frequent first."""

_BEGINS = re.compile(b"|".join(b"(" + begins + b")" for _, _, begins in _SIGNATURES), re.DOTALL)
"""One expression, with a group for each row."""

_SVG_TYPE = "image/svg+xml"
_DATA_TYPE = re.compile(r"data:(\w[\w.+-]{0,60}/\w[\w.+-]{0,60})[;,]", re.ASCII)
_SOUND = {
    "video/mp4": ("audio/mp4", ".m4a .m4b"),
    "video/webm": ("audio/webm", ".weba"),
    "video/x-matroska": ("audio/x-matroska", ".mka"),
    "video/x-ms-asf": ("audio/x-ms-wma", ".wma"),
}
"""What containers of films hold, if their names say that it is sound alone."""

_BY_ENDING = {
    ending: media_type
    for media_type, endings in [*(row[:2] for row in _SIGNATURES), (_SVG_TYPE, ".svg"), *_SOUND.values()]
    for ending in endings.split()
}


def media_type_of(content: bytes, name: str = "") -> str:
    """Name a file's media type by its bytes; where these do not tell, by its name or address.

    ``ANY_TYPE`` for what is of no known type, though its name may say that it is of one that its bytes would show.
    """
    begins = _BEGINS.match(content)
    found = _SIGNATURES[(begins.lastindex or 1) - 1][0] if begins else ""
    if not found and _first(content) in _MARKUP and _SVG.match(_beginning(content)):
        found = _SVG_TYPE
    if found and found not in _SOUND:
        return found
    named = named_type(name)
    if found:
        return named if named == _SOUND[found][0] else found
    return ANY_TYPE if named in _BY_ENDING.values() else named


def named_type(name: str) -> str:
    """Guess a media type by a name or address alone, for what is not read; ``ANY_TYPE`` where it does not tell."""
    if name.startswith("data:"):
        said = _DATA_TYPE.match(name)
        return said[1].lower() if said else ANY_TYPE
    suffix = PurePosixPath(name.partition("?")[0].partition("#")[0]).suffix.lower()
    return _BY_ENDING.get(suffix) or mimetypes.types_map.get(suffix, ANY_TYPE)


def ending_of(media_type: str) -> str:
    """Give the usual ending of the files of a media type, with its dot; ``.bin`` where none is known."""
    return next((ending for ending, one in _BY_ENDING.items() if one == media_type), ".bin")


_BLANK = b" \t\r\n\f\v\0"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MARKUP = frozenset((b"<", *_UTF16))
_DOCUMENTS = frozenset(bytes([byte]) for byte in b'<{["tfnv-0123456789') | _MARKUP
"""What pages, JSON and pointers begin with, behind blanks."""

_LOOKED_AT = 65536
"""Bytes: a comment or a preamble may stand before what tells an SVG picture from a page."""

_PROLOG = r"(?:(?><!--.*?-->)|(?><\?.*?\?>)|(?><!doctype[^>\[]*(?:\[.*?\])?[^>]*>)|\s)*+"
_SVG = re.compile(_PROLOG + r"<(\w+:)?svg[\s>]")
_XML = re.compile(r"<\?xml\b(?!.*<html\b)|" + _PROLOG + r"<(?:error|rss|feed|\w+:\w)")


def document_in(content: bytes) -> str:
    """Say what stands here for a picture or a recording that could not be had, with its article; empty for none.

    A login page, an error document, an API's answer or a pointer is not to be sent to an endpoint. Formats are not
    asked for: an endpoint may take what this machine cannot decode.
    """
    # A picture is told by its first byte: nothing more of it is looked at.
    if (first := _first(content)) and first not in _DOCUMENTS:
        return ""
    text = _beginning(content)
    if text == "":
        return "empty"
    if text.startswith("<"):
        return (
            "" if _SVG.match(text) else "an XML document" if _XML.match(text) else "an HTML page, perhaps a login page"
        )
    if text.startswith("version https://git-lfs.github.com/spec/"):
        return "a pointer of Git LFS, whose file was not fetched"
    return "JSON" if (text[0] in "{[" and text.isprintable()) or _is_json(text) else ""


def _first(content: bytes) -> bytes:
    """Give the first byte behind blanks, or the mark of UTF-16; empty where there is none."""
    if content.startswith(_UTF16):
        return content[:2]
    return content[:_LOOKED_AT].removeprefix(codecs.BOM_UTF8).lstrip(_BLANK)[:1]


def _beginning(content: bytes) -> str:
    """Read what a file begins with as text, whatever it is, without what only looks like nothing.

    An error page may be in any encoding; what tells it stands in ASCII.
    """
    head = content[:_LOOKED_AT]
    if head.startswith(_UTF16):
        text = head.decode("utf-16", errors="replace")
    else:
        text = head.removeprefix(codecs.BOM_UTF8).decode("latin-1")
    return re.sub(r"\s+", " ", text).strip(" \0").lower()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
