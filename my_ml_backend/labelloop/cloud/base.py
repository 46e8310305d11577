"""What the loop asks of a cloud beside training and endpoints: a registry, events, batch jobs, a place for figures."""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, Self

from labelloop.errors import CloudError
from labelloop.models.versions import VersionRecord
from labelloop.types import Answer, Failure, ProjectKey

_log = logging.getLogger(__name__)

Approval = Literal["approved", "rejected", "pending"]


class Folder(Protocol):
    """All objects below an address (``uri``) in a cloud's storage: in it this machine and the cloud hand over files.

    Every method raises CloudError or one of its kinds, CloudMissing for an object that is not there.
    """

    uri: str

    def below(self, name: str) -> Self:
        """Give a folder in it."""

    def check(self) -> None:
        """Write and read an object in it."""

    def put(self, name: str, content: bytes, media_type: str = ...) -> str:
        """Write an object, and give its address."""

    def put_file(self, name: str, path: Path) -> str:
        """Write a file's content, and give its address."""

    def read(self, name: str) -> bytes:
        """Read an object."""

    def has(self, name: str) -> bool:
        """Whether there is such an object."""

    def names(self) -> Iterator[str]:
        """Name all objects, as they are called in this folder."""

    def fetch(self, folder: Path, wanted: Iterable[str] | None = None) -> list[str]:
        """Copy objects into a folder on this machine, all of them or those ``wanted``; names them."""

    def remove(self) -> None:
        """Remove all objects in it."""


def require_any(answers: Sequence[Answer | Failure], model: str, remedy: str) -> None:
    """Refuse answers none of which can be read: then how they are asked for is wrong, and not the model."""
    failures = [one for one in answers if isinstance(one, Failure)]
    if len(failures) == len(answers):
        raise CloudError(
            f"none of {len(answers)} answers of {model} can be used, the first: {failures[0].reason}. {remedy}"
        )


@dataclass(frozen=True, slots=True)
class Package:
    """A version as a registry holds it: its ``name`` there, and what is said of its approval.

    A listing tells no more. Described, it has the ``version`` and the key of the ``run`` that it was registered for,
    either of them empty where that is not told; when its approval was ``changed`` last (UTC, ISO 8601); and what
    LabelLoop has ``told`` of it last: where ``status`` is another, somebody else has spoken. ``status`` and ``told``
    are empty where nothing is said. ``crowned``: the registry marks it as the champion's.
    """

    name: str
    status: Approval | Literal[""]
    version: str = ""
    run: str = ""
    told: Approval | Literal[""] = ""
    changed: str = ""
    crowned: bool = False


@dataclass(frozen=True, slots=True)
class Publication:
    """A version as it is handed to a registry: its record, the hash of its labels, its bundle's folder, its report."""

    project: ProjectKey
    record: VersionRecord
    bundle: Path
    manifest: str = ""
    report: bytes = b""


class Registry(Protocol):
    """Mirrors the versions of projects in a cloud. Its methods raise CloudError, or an Outage where waiting may help.

    The store decides, and the registry shows it: nothing here makes a version champion.
    """

    name: str

    def check(self) -> str:
        """Say in words what is there; raises CloudError where nothing could be mirrored."""

    def packages(self, project: ProjectKey) -> list[Package]:
        """List the project's packages, oldest first; empty where it has none yet."""

    def describe(self, name: str) -> Package:
        """Say all that is known of a package; raises CloudMissing where it is not there any more."""

    def add(self, publication: Publication) -> Package:
        """Make the package of a version, pending; whoever calls has looked that there is none."""

    def approve(self, package: Package, status: Approval, reason: str) -> None:
        """Say of a package whether it is approved, and why. May be repeated; raises CloudMissing."""

    def crown(self, package: Package) -> None:
        """Mark a package, and no other, as the champion's; a registry may have no such mark. Raises CloudMissing."""


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Something that happened in a cloud, at a moment by its clock (Unix seconds, 0: not told).

    ``object``: one was written, or is ``gone``; ``place`` is its address, such as ``s3://bucket/key``. ``approval``: a
    package's approval changed; ``place`` is its name. ``other``: nothing that the loop does anything about.
    ``unreadable``: nobody knows. Several may share a ``receipt``: they came, and come again, together.
    """

    kind: Literal["object", "approval", "other", "unreadable"]
    place: str
    receipt: str
    at: float = 0.0
    gone: bool = False


def moment(told: object) -> float:
    """Read when something happened (ISO 8601) as Unix seconds; 0 where that is not told."""
    try:
        return datetime.fromisoformat(str(told)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


class Inbox(Protocol):
    """A queue of a cloud's events. What is not ``done`` comes again; order and number are nobody's promise.

    Its methods raise CloudError, or an Outage where waiting may help.
    """

    name: str

    def check(self) -> str:
        """Say in words what is there; raises CloudError where nothing could be read."""

    def take(self, most: int) -> Sequence[CloudEvent]:
        """Take about so many events; empty where there are none just now."""

    def done(self, events: Iterable[CloudEvent]) -> None:
        """Let these not come again; one that cannot be taken away comes again."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a project's version at a moment (Unix seconds), such as ``MacroF1``."""

    name: str
    value: float
    project: str
    version: str
    at: float


@dataclass(frozen=True, slots=True)
class BatchStands:
    """How a batch job stands: why it failed, and how many seconds its machine has worked (0: not told)."""

    state: Literal["running", "done", "failed"]
    reason: str = ""
    seconds: float = 0.0


Answers = Callable[[str], bytes | None]
"""Gives what was answered to the request of a name, ``{"predictions": [...]}``; None where nothing was.

Safe to share between threads. Raises CloudError.
"""


class Batch(Protocol):
    """Has many requests answered by a job that ends by itself. Its methods raise CloudError, or an Outage.

    ``name`` is what it is in words, ``machine`` what it runs on; ``most_bytes`` is the most of one request.
    """

    name: str
    machine: str
    most_bytes: int

    def start(self, key: str, version: str, requests: Iterable[tuple[str, bytes]]) -> str:
        """Begin the job of a key, by which it is found again, and give its handle; it is begun once.

        ``requests`` are names and bodies, ``{"instances": [...]}`` with one instance; where the job is there already,
        none of them is read. They are answered with the model that serves a ``version``.
        """

    def poll(self, handle: str) -> BatchStands:
        """Say how a job stands; one that is gone has failed."""

    def answers(self, handle: str) -> AbstractContextManager[Answers]:
        """Open the answers of a job that is over, also of one that failed: some may be there."""

    def end(self, key: str) -> None:
        """End the job of a key where it goes on, and remove what it was sent and has answered. May be repeated."""


def sendable(figures: Iterable[Figure], oldest: float, newest: float) -> list[Figure]:
    """Leave out, and log, what a place for figures would refuse: no number, too many seconds old or ahead."""
    now, found = time.time(), list[Figure]()
    for one in figures:
        if math.isfinite(one.value) and now - oldest < one.at < now + newest:
            found.append(one)
        else:
            _log.warning("%s of project %s is not sent: %r at %r", one.name, one.project, one.value, one.at)
    return found


class Meter(Protocol):
    """Where figures go that people look at and alarms watch. Raises CloudError, or an Outage."""

    name: str

    def put(self, figures: Sequence[Figure]) -> None:
        """Keep these."""
