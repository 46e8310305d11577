"""What the loop asks of a cloud beside training and endpoints: a registry, a queue of events, a place for figures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from labelloop.models.versions import VersionRecord
from labelloop.types import Json, ProjectKey

Approval = Literal["approved", "rejected", "pending"]


@dataclass(frozen=True, slots=True)
class Package:
    """A version as a registry holds it: its name there, the version, what is said of its approval, and by which reason.

    ``status`` is empty where the registry says nothing of it.
    """

    name: str
    version: str
    status: Approval | Literal[""]
    reason: str = ""


class Registry(Protocol):
    """Mirrors the versions of projects in a cloud. Its methods raise CloudError, or an Outage where waiting may help.

    The store decides, and the registry shows it: nothing here makes a version champion.
    """

    name: str

    def check(self) -> str:
        """Say in words what is there; raises CloudError where nothing could be mirrored."""

    def packages(self, project: ProjectKey) -> list[Package]:
        """List the project's versions there, oldest first; empty where it has none yet."""

    def find(self, project: ProjectKey, version: str) -> Package | None:
        """Give the package of a version; None while it has none."""

    def add(self, project: ProjectKey, record: VersionRecord, status: Approval, reason: str) -> Package:
        """Make the package of a version unless there is one, and give it. May be repeated."""

    def approve(self, package: Package, status: Approval, reason: str) -> Package:
        """Say of a package whether it is approved, and why. May be repeated."""


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Something that happened in a cloud.

    ``labels``: an annotation of a project was written or deleted below a prefix of its ``place``. ``data``: raw data
    were. ``approval``: a package's approval changed; ``place`` is its name. ``receipt`` is what ``Inbox.done`` takes.
    """

    kind: Literal["labels", "data", "approval", "other"]
    place: str
    receipt: str
    detail: Json = field(default_factory=dict)


class Inbox(Protocol):
    """A queue of a cloud's events. What is not ``done`` comes again; order and number are nobody's promise.

    Its methods raise CloudError, or an Outage where waiting may help.
    """

    name: str

    def check(self) -> str:
        """Say in words what is there; raises CloudError where nothing could be read."""

    def take(self, most: int) -> Sequence[CloudEvent]:
        """Take up to so many events; empty where there are none just now."""

    def done(self, events: Iterable[CloudEvent]) -> None:
        """Let these not come again."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a project's version at a moment (Unix seconds), such as ``MacroF1``."""

    name: str
    value: float
    project: str
    version: str
    at: float


class Meter(Protocol):
    """Where figures go that people look at and alarms watch. Raises CloudError, or an Outage."""

    name: str

    def put(self, figures: Sequence[Figure]) -> None:
        """Keep these."""
