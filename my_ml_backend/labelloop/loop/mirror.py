"""A registry in a cloud mirrors the versions: the store decides, and the registry shows it (docs/aws.md).

What somebody says there is a request: to approve a version makes it champion, as ``labelloop approve --force`` does; to
reject the champion goes back to the one before. Whoever looks later finds what was cut off, and does nothing twice.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

from labelloop.cloud.base import Approval, Package, Publication, Registry
from labelloop.errors import CloudMissing, Conflict, Damaged, Fenced, LabelLoopError, NotFound
from labelloop.loop.backoff import reason_of
from labelloop.loop.hub import Hub
from labelloop.loop.promotion import champion_before, is_rolled_back, promote, reject, standing
from labelloop.models.bundle import read_bundle_info
from labelloop.models.champion import ChampionPointer, Pointers
from labelloop.models.mirrored import Mirrored, Mirrors
from labelloop.models.runs import DUE, Runs
from labelloop.models.store import Store
from labelloop.models.versions import VersionRecord, Versions, number_of
from labelloop.types import Json, ProjectKey

_log = logging.getLogger(__name__)

_APPROVALS: Mapping[str, Approval] = {status: status for status in get_args(Approval)}

GONE = "gone"
"""What stands for the status of a package that was deleted in the registry."""

_REPORT_DUE = timedelta(minutes=10)
"""How long a version's report is waited for; the machine that has to write it may be gone."""

Shown = dict[str, tuple[str, str]]
"""Packages by name, each with its version and status."""


def reconcile(hub: Hub, project: ProjectKey) -> None:
    """Let store and registry agree, where there is a registry; what goes wrong is a note for ``status``.

    A version that becomes champion by that is left to the deploy job.
    """
    state = hub.state(project)
    try:
        if hub.registry is None:
            return
        cache = hub.settings.directory / "cache" / "bundles"
        if promoted := mirror(hub.store, project, hub.registry, cache):
            _log.info("project %s: %s becomes champion, as %s says", project, promoted, hub.registry.name)
            hub.queue(project).deploy()
    except (Conflict, Fenced) as error:
        # Another worker is at it; the next look finds what is left.
        _log.info("project %s: %s", project, error)
        hub.queue(project).consider(time.time())
    except LabelLoopError as error:
        _log.warning("project %s: its versions are not mirrored now: %s", project, error)
        state.note("registry", f"versions are not mirrored now: {error}")
    except Exception as error:  # noqa: BLE001 - border: a registry takes nothing from the loop
        _log.exception("project %s: its versions are not mirrored now", project)
        state.note("registry", f"versions are not mirrored: {reason_of(error)}")
    else:
        state.note("registry", "")


def reject_by_command(store: Store, project: ProjectKey, version: str, why: str) -> None:
    """Reject a version that is not champion, and let the registry show it at the next look; raises NotFound."""
    mirrors = Mirrors(store, project)
    mirrors.forget()  # before, too: whoever is cut off in between has said so already
    reject(store, project, version, why)
    mirrors.forget()


def mirror(store: Store, project: ProjectKey, registry: Registry, cache: Path) -> str:
    """Carry out what somebody asked for in the registry, then let it show how the store stands.

    Gives the version that became champion by that, or empty. Where nothing has changed, one listing is all that is
    asked, and nothing before the first version. May be cut off anywhere, and called again. Bundles are fetched into
    ``cache``. Raises CloudError, StoreError and BundleError; Fenced and Conflict beside another worker.
    """
    mirrors, versions = Mirrors(store, project), Versions(store, project)
    seen, names = mirrors.read(registry.name), versions.names()
    if not names and not seen.packages:
        return ""
    listed, pointers = registry.packages(project), ChampionPointer(store, project).read()
    if seen.mark == _mark(pointers, names) and _is_quiet(versions, seen, listed, pointers):
        return ""
    look = _Look(store, project, registry, mirrors, seen, listed)
    promoted = look.heed()
    look.crown()
    shown = look.show()
    shown |= look.add(shown, cache)
    unpublished = (*(name for name in names if name not in look.records), *look.postponed)
    gone = {name: (version, GONE) for name, (version, _) in seen.packages.items() if name not in shown}
    mark = _mark(look.pointers, names)
    told: Json = {"packages": gone | shown, "mark": mark, "unpublished": unpublished, "crowned": look.seen.crowned[-1:]}
    mirrors.write(replace(look.seen, **told))
    return promoted


def _mark(pointers: Pointers, names: Sequence[str]) -> str:
    """Say how the store stands, as far as that can be read at once."""
    pruned = f" {len(pointers.pruned)} pruned" if pointers.pruned else ""
    return f"{pointers.champion} {pointers.fence} {len(pointers.history)} {names[-1] if names else ''}{pruned}"


def _is_quiet(versions: Versions, seen: Mirrored, listed: Iterable[Package], pointers: Pointers) -> bool:
    """Whether neither side has changed since they agreed, where the mark is the same."""
    there = {name: status for name, (_, status) in seen.packages.items() if status != GONE}
    if {package.name: package.status for package in listed} != there:
        return False
    if any(_record(versions, name) is not None for name in seen.unpublished):
        return False
    if any(package.crowned and seen.packages[package.name][0] != pointers.champion for package in listed):
        return False
    # What waits may have been rejected, which moves no pointer.
    waiting = sorted({version for version, status in seen.packages.values() if version and status == "pending"})
    records = (_record(versions, version) for version in waiting)
    return all(record is not None and standing(record, pointers)[0] == "pending" for record in records)


def _record(versions: Versions, version: str) -> VersionRecord | None:
    """Read a version's record; None where there is none, or it is damaged: that one takes nothing from the others."""
    try:
        return versions.find(version)
    except Damaged:
        return None


@dataclass
class _Look:
    """One look at both sides: ``owners`` says which version each package is of, empty for one that is none of ours.

    ``postponed`` are versions whose report is to come first.
    """

    store: Store
    project: ProjectKey
    registry: Registry
    mirrors: Mirrors
    seen: Mirrored
    listed: Sequence[Package]
    records: dict[str, VersionRecord] = field(default_factory=dict)
    pointers: Pointers = field(default_factory=Pointers)
    owners: dict[str, str] = field(default_factory=dict)
    described: dict[str, Package] = field(default_factory=dict)
    postponed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._read()
        runs = {record.run: version for version, record in self.records.items()}
        self.owners = {package.name: self._owner(package, runs) for package in self.listed}

    def _read(self) -> None:
        self.pointers = ChampionPointer(self.store, self.project).read()
        self.records = {record.version: record for record in Versions(self.store, self.project).all()}

    def _owner(self, package: Package, runs: dict[str, str]) -> str:
        """Say which version a package is of; one that a pipeline has registered for a run is its version's."""
        version, status = self.seen.packages.get(package.name, ("", ""))
        if version in self.records and status == package.status and not self._is_given(package, version):
            return version
        try:
            told = self.registry.describe(package.name)
        except CloudMissing:
            return ""  # deleted this moment
        # Who writes a comment of their own takes away what we said: then the last look tells.
        self.described[package.name] = told = replace(told, told=told.told or _APPROVALS.get(status, ""))
        version = told.version if told.version in self.records else runs.get(told.run, "")
        foreign = version and told.run and self.records[version].run != told.run  # of a store that is gone
        return "" if foreign else version

    def _is_given(self, package: Package, version: str) -> bool:
        """Whether somebody else has marked a package as the champion's."""
        return package.crowned and version != self.pointers.champion and package.name not in self.seen.crowned

    def heed(self) -> str:
        """Carry out what somebody asked for, and give the version that became champion by it; empty for none."""
        asked = {
            self.owners[name]: told
            for name, told in reversed(self.described.items())
            if self.owners[name] and told.status in ("approved", "rejected") and self._is_asked(told, self.owners[name])
        }
        target, told = self._wanted_champion(asked)
        if target:
            fence = ChampionPointer(self.store, self.project).take_fence()
            # Before it is done: whoever finds a reign under this fence knows that it was.
            self.seen = replace(self.seen, request=_id(told), fence=fence, mark="")
            self.mirrors.write(self.seen)
            promote(self.store, self.project, target, fence, force=True)
            self._read()
        for version, told in asked.items():
            settled = version == self.pointers.champion or is_rolled_back(version, self.pointers)
            if told.status == "rejected" and not settled:
                reject(self.store, self.project, version, f"a person rejected it in {self.registry.name}")
        if asked:
            self._read()
        return target

    def _is_asked(self, told: Package, version: str) -> bool:
        """Whether a person has said something of a package that we have not."""
        return told.told not in ("", told.status) or self._is_given(told, version)

    def _wanted_champion(self, asked: dict[str, Package]) -> tuple[str, Package]:
        """Say which version is to be champion by what was asked for last, and by which package; empty for none."""
        pointers, nothing = self.pointers, ("", Package("", ""))
        done = self.seen.request if any(reign.fence == self.seen.fence for reign in pointers.history) else ""
        latest = sorted(asked.items(), key=lambda one: one[1].changed)
        fresh = [(version, told) for version, told in latest if _id(told) != done and not _is_overtaken(told, pointers)]
        approved = [
            (version, told)
            for version, told in fresh
            if told.status == "approved" and version != pointers.champion and not self._is_refused(version, told)
        ]
        if approved:
            return approved[-1]
        rejected = next((told for version, told in fresh if version == pointers.champion), None)
        if rejected is None or rejected.status != "rejected":
            return nothing
        return champion_before(Versions(self.store, self.project), pointers), rejected

    def _is_refused(self, version: str, told: Package) -> bool:
        """Whether a version was rejected after it was shown as waiting: who approved it did not know that.

        One that was pruned is nobody's to approve.
        """
        record = self.records[version]
        return bool(record.pruned) or (told.told == "pending" and not record.promoted)

    def crown(self) -> None:
        """Mark the champion's package, the first where there are several; before it is shown what the others are."""
        of_champion = [one for one in self.listed if self.owners[one.name] == self.pointers.champion]
        if there := [one.name for one in of_champion if one.crowned]:
            self.seen = replace(self.seen, crowned=tuple(there))
        elif of_champion:
            self._crown(of_champion[0])

    def _crown(self, package: Package) -> None:
        # Before it is done: whoever finds either of them marked knows that it was us.
        self.seen = replace(self.seen, crowned=(*self.seen.crowned[-1:], package.name), mark="")
        self.mirrors.write(self.seen)
        with suppress(CloudMissing):  # deleted this moment: the next look finds it so
            self.registry.crown(package)

    def show(self) -> Shown:
        """Let each package say what the store does, and give what they say then."""
        shown: Shown = {}
        first: dict[str, str] = {}
        for package in self.listed:
            version, status = self.owners[package.name], package.status
            if version:
                status, reason = standing(self.records[version], self.pointers)
                if first.setdefault(version, package.name) != package.name:
                    status, reason = "rejected", f"{version} is {first[version]} already"
                told = self.described.get(package.name)
                if told and told.status == "rejected" and version == self.pointers.champion:
                    reason = f"it stays champion, for nothing before it could take its place. {reason}"
                is_new = self.seen.packages.get(package.name, ("", ""))[0] != version
                if is_new or status != package.status or (told is not None and told.told != status):
                    with suppress(CloudMissing):  # deleted this moment: the next look finds it so
                        self.registry.approve(package, status, reason)
            shown[package.name] = version, status
        return shown

    def add(self, shown: Shown, cache: Path) -> Shown:
        """Make the packages that are missing: of the champion, of what waits, of what is younger than the oldest there.

        One that was deleted in the registry is made anew only for the champion and for what waits. A new one comes
        when its report is written.
        """
        there = {version for version, _ in shown.values() if version}
        known = there | {version for version, _ in self.seen.packages.values() if version}
        champion = self.pointers.champion
        oldest = min((number_of(version) for version in known | ({champion} if champion else set())), default=0)
        added: Shown = {}
        for version, record in self.records.items():
            status, reason = standing(record, self.pointers)
            if record.pruned:
                continue
            needed = version == champion or status == "pending"
            if version in there or not (needed or (version not in known and number_of(version) > oldest)):
                continue
            if self._awaits_report(record):
                self.postponed.append(version)
                continue
            publication = self._publication(record, cache)
            if read_bundle_info(publication.bundle).apart:
                continue  # its model, or what gives a head its features, lies elsewhere: nothing whole to hand over
            package = self.registry.add(publication)
            if version == champion:
                self._crown(package)
            self.registry.approve(package, status, reason)
            added[package.name] = version, status
        return added

    def _awaits_report(self, record: VersionRecord) -> bool:
        run = Runs(self.store, self.project).find(record.run)
        if run is None or run.report != DUE:
            return False
        return datetime.now(UTC) - datetime.fromisoformat(run.updated) < _REPORT_DUE

    def _publication(self, record: VersionRecord, cache: Path) -> Publication:
        versions, run = Versions(self.store, self.project), Runs(self.store, self.project).find(record.run)
        bundle, report = versions.fetch_bundle(record.version, cache), b""
        with suppress(NotFound):
            report = versions.read_report(record.version)
        return Publication(self.project, record, bundle, run.manifest if run else "", report)


def _id(told: Package) -> str:
    return f"{told.name} {told.status} {told.changed}"


def _is_overtaken(told: Package, pointers: Pointers) -> bool:
    """Whether the champion has changed since somebody spoke: what was decided last holds."""
    if not pointers.history or not told.changed:
        return False
    said = datetime.fromisoformat(told.changed)
    if not said.microsecond:
        said += timedelta(seconds=1)  # it is told in whole seconds
    return datetime.fromisoformat(pointers.history[-1].at) > said
