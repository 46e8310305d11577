"""A registry in memory, and persons who say things in it. It can be cut off at any call, with the store beside it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from labelloop.cloud.base import Approval, Package, Publication
from labelloop.errors import CloudMissing
from labelloop.models.records import now
from labelloop.types import ProjectKey

Step = Callable[[str], AbstractContextManager[None]]


@dataclass
class MemoryRegistry:
    """What it holds is in ``held``, by name; ``calls`` are those that were made; ``step`` may end any of them.

    Its clock is ``ahead`` of this machine's.
    """

    held: dict[str, Package] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    step: Step = lambda _: nullcontext()
    made: int = 0
    ahead: timedelta = timedelta()
    name: str = "memory://registry"
    crowned: str = ""

    def check(self) -> str:
        return self.name

    def packages(self, project: ProjectKey) -> list[Package]:  # noqa: ARG002 - of one project alone
        with self._called("packages"):
            return [
                Package(one.name, self._status(one), crowned=one.name == self.crowned) for one in self.held.values()
            ]

    def describe(self, name: str) -> Package:
        with self._called("describe"):
            found = self._find(name)
            return replace(found, status=self._status(found), crowned=name == self.crowned)

    def add(self, publication: Publication) -> Package:
        with self._called("add"):
            record = publication.record
            return self.put(record.version, record.run, "pending", told="pending")

    def approve(self, package: Package, status: Approval, reason: str) -> None:
        with self._called("approve"):
            found = self._find(package.name)
            self.held[package.name] = replace(found, status=status, told=status, changed=self._now())
            self.reasons[package.name] = reason

    def crown(self, package: Package) -> None:
        with self._called("crown"):
            self.crowned = self._find(package.name).name

    def move_crown(self, name: str) -> None:
        """Give the crown to a package, as a person does."""
        self.crowned = name
        self.held[name] = replace(self.held[name], changed=self._now())

    def put(self, version: str, run: str, status: Approval, told: Approval | None = None) -> Package:
        """Make a package, as a pipeline does."""
        self.made += 1
        package = Package(f"p{self.made}", status, version, run, told or "", self._now())
        self.held[package.name] = package
        return package

    def say(self, name: str, status: Approval, *, comment: bool = False) -> None:
        """Say something of a package, as a person does; a ``comment`` takes the place of what we have told."""
        held = self.held[name]
        self.held[name] = replace(held, status=status, changed=self._now(), told="" if comment else held.told)

    def of(self, version: str) -> list[Package]:
        """Give the packages that are known as a version's, the oldest first."""
        return [one for one in self.held.values() if one.version == version]

    def _status(self, package: Package) -> Approval | Literal[""]:
        """Who wears the crown is approved by that, unless a person has said something else since."""
        unsaid = package.told in ("", package.status)
        return "approved" if package.name == self.crowned and unsaid else package.status

    def _now(self) -> str:
        return (datetime.fromisoformat(now()) + self.ahead).isoformat(timespec="microseconds")

    def _find(self, name: str) -> Package:
        if name not in self.held:
            raise CloudMissing(f"package {name} is not there")
        return self.held[name]

    @contextmanager
    def _called(self, what: str) -> Iterator[None]:
        with self.step(what):
            self.calls.append(what)
            yield
