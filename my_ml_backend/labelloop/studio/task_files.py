"""Which of Label Studio's addresses are files of a task: to these, and to nothing else, its token goes.

A task's data is written by whoever may import or edit tasks. Any path of Label Studio answers to the token: its API
gives away tokens, secrets of webhooks and all annotations (contract, "Task data"). So an address is brought into its
plain form, that form is checked, and that form is what is sent.
"""

import base64
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self
from urllib.parse import parse_qsl, quote, unquote

from labelloop.errors import MediaError
from labelloop.settings import Settings
from labelloop.sources.buckets import ProjectBuckets
from labelloop.sources.urls import Origin, parse
from labelloop.studio.client import Studio
from labelloop.studio.storages import source_buckets
from labelloop.types import TaskKey

_UPLOAD = re.compile(r"upload/(\d{1,18})/[^/].*", re.ASCII | re.DOTALL)
_RESOLVE = re.compile(r"tasks/(\d{1,18})/resolve", re.ASCII)


@dataclass(frozen=True, slots=True)
class TaskFiles:
    """The files of tasks in the Label Studio at ``origin``, as ``sources.media`` is handed them.

    ``others`` lets a task show uploads of other projects; ``headers`` give the token, ``buckets`` where a
    project's data lie.
    """

    origin: Origin
    others: bool = False
    headers: Callable[[], Mapping[str, str]] = dict
    buckets: ProjectBuckets = lambda _: frozenset()

    remedies: ClassVar[Mapping[int, str]] = {
        401: "The token goes to files of the task's own project alone: /data/upload/<project>/, /data/local-files/, "
        "/storage-data/uploaded/ and /tasks/<task>/resolve/ (LABELLOOP_OTHER_UPLOADS for those of other projects)."
    }

    @classmethod
    def of(cls, studio: Studio, settings: Settings) -> Self:
        """Read the files of a Label Studio with its client's token."""
        return cls(
            Origin.of(studio.api.url),
            settings.other_uploads,
            studio.api.auth_headers,
            partial(source_buckets, studio.api),
        )

    def resolving(self, uri: str, task: int) -> str:
        """Give the address at which Label Studio resolves a task's cloud address with its storage's identity."""
        name = base64.urlsafe_b64encode(uri.encode()).decode("ascii")
        return self.origin.address_of(f"/tasks/{task}/resolve/?fileuri={name}")

    def plain(self, url: str, task: TaskKey | None) -> tuple[str, bool]:
        """Give an address of Label Studio's host in its plain form, and whether it is a file of ``task``.

        Without a task the address stands in a list that somebody handed to a command: then uploads of any project are
        files, and nothing can be resolved. Raises MediaError for an address with more than one possible meaning.
        """
        target = parse(url)
        path = _plain_path(target.raw_path.partition(b"?")[0].decode("ascii"))
        query = target.query.decode("ascii")
        prefix = f"{self.origin.prefix}/"
        if not f"{path}/".startswith(prefix):
            return self._address(path, query), False
        below = path.removeprefix(self.origin.prefix).strip("/")
        if below == "storage-data/uploaded":
            name = _only_filepath(query)
            return self._address(path, f"filepath={quote(name, errors='surrogateescape')}"), self._is_upload(name, task)
        within, _, name = below.partition("/")
        mine = within == "data" and (name == "local-files" or self._is_upload(name, task))
        return self._address(path, query), mine or _is_own_resolve(below, task)

    def _is_upload(self, name: str, task: TaskKey | None) -> bool:
        found = _UPLOAD.fullmatch(name)
        return found is not None and (task is None or self.others or int(found[1]) == task.project)

    def _address(self, path: str, query: str) -> str:
        return (
            self.origin.root
            + quote(path, safe="/:@!$&'()*+,;=~", errors="surrogateescape")
            + (f"?{query}" if query else "")
        )


def _is_own_resolve(below: str, task: TaskKey | None) -> bool:
    found = _RESOLVE.fullmatch(below)
    return found is not None and task is not None and task.id is not None and int(found[1]) == task.id


def _only_filepath(query: str) -> str:
    """Give the one ``filepath`` of a query, plain; of two, Label Studio may take either."""
    named = [
        value
        for name, value in parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
        if name == "filepath"
    ]
    if len(named) != 1:
        raise MediaError("its address must name one filepath")
    return _plain_path(f"/{quote(named[0].lstrip('/'), errors='surrogateescape')}").lstrip("/")


def _plain_path(raw: str) -> str:
    """Decode a path once and take out ``.``, ``..`` and doubled slashes; a slash at its end stays.

    Raises MediaError where decoding it once more, as some proxies do, would lead elsewhere.
    """
    path = unquote(raw, errors="surrogateescape")
    again = unquote(path, errors="surrogateescape")
    if "\\" in again or any(ord(character) < 32 for character in again) or _steps(again) != _steps(path):
        raise MediaError("its path is written in a way that can be read as another one")
    plain = posixpath.normpath("/" + path.lstrip("/"))
    return f"{plain}/" if path.endswith(("/", "/.", "/..")) and plain != "/" else plain


def _steps(path: str) -> list[str]:
    """The parts of a path that decide where it leads; names count as names, whatever they are."""
    return [part if part in ("", ".", "..") else "name" for part in path.split("/")]
