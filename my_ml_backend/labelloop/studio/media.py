"""Reads the pictures of tasks, wherever they are (contract, section 6)."""

import base64
import math
import time

from labelloop.errors import AddressRefused, MediaError, StudioError, Transient
from labelloop.settings import Settings
from labelloop.sources.guard import GuardedBackend
from labelloop.sources.http import Broken, Fetcher, Reply
from labelloop.sources.s3 import S3, Denied
from labelloop.sources.urls import Origin, parse, shown
from labelloop.studio.client import Studio
from labelloop.studio.task_files import ALLOWED, TaskFiles
from labelloop.types import TaskKey

__all__ = ["TRANSIENT", "Media", "shown"]

_CONNECTIONS = 32
_REDIRECTS = 5
TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""Answers of servers that may be another one a moment later."""

_CLOUDS = ("gs://", "azure-blob://")
"""Clouds that are read through Label Studio alone."""

_REMEDIES = {
    401: "If it is Label Studio's, let its address begin with LABEL_STUDIO_URL and set LABEL_STUDIO_API_KEY. The token "
    f"goes to files of the task's own project alone: {ALLOWED} (LABELLOOP_OTHER_UPLOADS for those of other projects).",
    403: "Its link has expired, or whoever asks may not read it.",
    404: "It is not there, or Label Studio has no storage connected for it.",
    500: "Label Studio answers so for a file that is gone.",
}


class Media:
    """Reads pictures by the addresses in tasks. Safe to share between threads, not between processes.

    Label Studio's files of a task are asked for with its token, which goes nowhere else
    (``labelloop.studio.task_files``). Without ``studio`` they, and what only Label Studio can resolve, cannot be read.
    """

    def __init__(self, settings: Settings, studio: Studio | None) -> None:
        self._seconds = settings.media_timeout
        self._studio = studio
        self._home = None if studio is None else Origin.of(studio.url)
        self._files = None if self._home is None else TaskFiles(self._home, settings.other_uploads)
        guard = None if settings.allow_private_addresses else GuardedBackend(self._home)
        self._fetcher = Fetcher(settings.media_max_bytes, _CONNECTIONS, guard)
        self._s3 = S3(settings.media_max_bytes, settings.media_timeout, _CONNECTIONS)

    def read(self, url: str, task: TaskKey | None = None, deadline: float | None = None) -> bytes:
        """Read one file whole; ``task`` is the one that shows it: None for an address out of a list of one's own.

        ``deadline`` is a ``time.monotonic()`` moment, for whoever has less patience than ``LABELLOOP_MEDIA_TIMEOUT``.
        Raises AddressRefused for private addresses, Transient where another try may help, MediaError for all else.
        """
        deadline = min(time.monotonic() + self._seconds, math.inf if deadline is None else deadline)
        try:
            return self._read(url, task, deadline)
        except AddressRefused as error:
            raise AddressRefused(f"{shown(url)} was not read: {error}") from error
        except Transient as error:
            raise Transient(f"{shown(url)} could not be read: {error}") from error
        except (MediaError, StudioError) as error:
            raise MediaError(f"{shown(url)} could not be read: {error}") from error
        except UnicodeError as error:
            raise MediaError(f"{shown(url)} could not be read: its address is not valid text") from error

    def is_home(self, url: str) -> bool:
        """Whether an address is Label Studio's own: only with its token can it be read."""
        if self._home is None or not url.lower().startswith(("http://", "https://")):
            return False
        return self._home.contains(url)

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
            return self._get(self._home.address_of(url), task, deadline)
        if url.lower().startswith(("http://", "https://")):
            return self._get(url, task, deadline)
        raise MediaError("pictures are read from http(s)://, s3://, gs://, and Label Studio's own /data/... addresses")

    def _from_s3(self, url: str, task: TaskKey | None, deadline: float) -> bytes:
        try:
            return self._s3.read(url, deadline)
        except Denied as denied:
            if self._studio is None or task is None or task.id is None:
                raise MediaError(f"{denied}. Give this machine access to the bucket (AWS_... of boto3).") from denied
            try:
                return self._get(self._resolving(url, task), task, deadline)
            except (MediaError, StudioError) as error:
                kind = AddressRefused if isinstance(error, AddressRefused) else MediaError
                raise kind(f"{denied}, and through Label Studio: {error}") from error

    def _resolving(self, uri: str, task: TaskKey | None) -> str:
        """Give the address under which Label Studio resolves a cloud address with its storage's identity."""
        if self._home is None or task is None or task.id is None:
            raise MediaError("only Label Studio can resolve it, by a task's id and with LABEL_STUDIO_API_KEY set")
        name = base64.urlsafe_b64encode(uri.encode()).decode("ascii")
        return self._home.address_of(f"/tasks/{task.id}/resolve/?fileuri={name}")

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
        raise kind(f"its server answered {reply.status}. {_REMEDIES.get(reply.status, '')}".rstrip())

    def _follow(self, url: str, task: TaskKey | None, deadline: float) -> tuple[Reply, bool]:
        """Follow redirects; the token goes along to files of the task, and never again once they have left these."""
        trusted = True
        for hop in range(_REDIRECTS + 1):
            is_file = False
            if self._files is not None and self._files.home.shares_host(url):
                url, is_file = self._files.plain(url, task)
            trusted = trusted and is_file
            headers = self._studio.auth_headers() if trusted and self._studio else {}
            reply = self._fetcher.get(url, headers, deadline)
            if not reply.location:
                return reply, hop > 0
            url = str(parse(url).join(reply.location))
        raise MediaError(f"it is redirected more than {_REDIRECTS} times")
