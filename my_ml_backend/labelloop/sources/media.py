"""Reads the pictures of tasks, wherever they are (contract, "Task data")."""

import base64
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_to_bytes

import httpcore

from labelloop.errors import AddressRefused, MediaError, StudioError, Transient
from labelloop.settings import Settings
from labelloop.sources.egress import trusted
from labelloop.sources.guard import PublicOnly
from labelloop.sources.s3 import S3, S3Error
from labelloop.sources.transport import TRANSIENT, Connect, Connections, TooLong, open_socket, whole_body
from labelloop.sources.urls import Origin, parse, shown
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
            said = {name.lower(): value for name, value in response.headers}
            content = self._read(response, said) if response.status == 200 else b""
            location = said.get(b"location", b"") if 300 <= response.status < 400 else b""
            return Reply(response.status, location.decode("latin-1"), content)

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
            raise MediaError(f"it has {int(length)} bytes; {self._limit}")
        try:
            return whole_body(response, self._max_bytes)
        except TooLong as error:
            raise MediaError(f"{error}; {self._limit}") from error

    @property
    def _limit(self) -> str:
        return f"at most {self._max_bytes} are read (LABELLOOP_MEDIA_MAX_BYTES)"


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what httpcore raises into errors of this project."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise Transient(_TOO_SLOW) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise Broken(f"its server could not be reached or broke off ({error or type(error).__name__})") from error


class Home(Protocol):
    """The server whose tasks these are, whose files only its own token opens; without one, it cannot be read.

    ``remedies`` says more of what to do about its refusals, by status. ``task`` is the one that shows a file: None for
    an address out of a list of one's own.
    """

    @property
    def origin(self) -> Origin:
        """Where it is; the guard lets it be a private address."""

    @property
    def remedies(self) -> Mapping[int, str]:
        """What else to say to the user about an answer."""

    def plain(self, url: str, task: TaskKey | None) -> tuple[str, bool]:
        """Give an address of its host in the form that is sent, and whether the token may go there.

        Raises MediaError for an address with more than one possible meaning.
        """

    def resolving(self, uri: str, task: int) -> str:
        """Give the address at which it resolves a task's cloud address with the identity of its storage."""

    def headers(self) -> Mapping[str, str]:
        """Give the headers that carry its token; raises StudioError where it gives none."""


class Media:
    """Reads pictures by the addresses in tasks. Safe to share between threads, not between processes.

    The files of a task at ``home`` are asked for with its token, which goes nowhere else, redirects included. Without
    ``home`` they, and what only Label Studio can resolve, cannot be read.
    """

    def __init__(self, settings: Settings, home: Home | None) -> None:
        self._max_bytes, self._seconds = settings.media_max_bytes, settings.media_timeout
        self._home = home
        connect = open_socket if settings.allow_private_addresses else PublicOnly(home.origin if home else None)
        self._fetcher = Fetcher(settings.media_max_bytes, _CONNECTIONS, connect)
        self._s3 = S3(settings.media_max_bytes, settings.media_timeout, _CONNECTIONS)

    def read(self, url: str, task: TaskKey | None = None, deadline: float | None = None) -> bytes:
        """Read one file whole; ``task`` is the one that shows it: None for an address out of a list of one's own.

        ``deadline`` is a ``time.monotonic()`` moment, for whoever has less patience than ``LABELLOOP_MEDIA_TIMEOUT``.
        Raises AddressRefused for private addresses, Transient where another try may help, MediaError for all else.
        """
        deadline = min(time.monotonic() + self._seconds, math.inf if deadline is None else deadline)
        with saying(f"{shown(url)} could not be read", refused=f"{shown(url)} was not read"):
            return self._read(url, task, deadline)

    def is_home(self, url: str) -> bool:
        """Whether an address is Label Studio's own: only with its token can it be read."""
        if self._home is None or not url.lower().startswith(("http://", "https://")):
            return False
        return self._home.origin.contains(url)

    def close(self) -> None:
        """Close the connections."""
        self._fetcher.close()
        self._s3.close()

    def _read(self, url: str, task: TaskKey | None, deadline: float) -> bytes:
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
        raise MediaError("pictures are read from http(s)://, s3://, gs://, and Label Studio's own /data/... addresses")

    def _from_s3(self, url: str, task: TaskKey | None, deadline: float) -> bytes:
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
        kind = Transient if reply.status in TRANSIENT else MediaError
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
    except Transient as error:
        raise Transient(f"{what}: {error}") from error
    except S3Error as denied:
        if denied.passing:
            raise Transient(f"{what}: {denied}") from denied
        raise MediaError(f"{what}: {denied}. Give this machine access to the bucket (AWS_... of boto3).") from denied
    except (MediaError, StudioError) as error:
        raise MediaError(f"{what}: {error}") from error
    except UnicodeError as error:
        raise MediaError(f"{what}: its address is not valid text") from error
