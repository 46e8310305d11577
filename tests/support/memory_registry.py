"""A registry in memory, and persons who say things in it. It can be cut off at any call, with the store beside it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

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

    def check(self) -> str:
        return self.name

    def packages(self, project: ProjectKey) -> list[Package]:  # noqa: ARG002 - of one project alone
        with self._called("packages"):
            return [Package(one.name, one.status) for one in self.held.values()]

    def describe(self, name: str) -> Package:
        with self._called("describe"):
            return self._find(name)

    def add(self, publication: Publication) -> Package:
        with self._called("add"):
            record = publication.record
            return self.put(record.version, record.run, "pending", told="pending")

    def approve(self, package: Package, status: Approval, reason: str) -> None:
        with self._called("approve"):
            found = self._find(package.name)
            self.held[package.name] = replace(found, status=status, told=status, changed=self._now())
            self.reasons[package.name] = reason

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
