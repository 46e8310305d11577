"""The versions of one project: naming, publishing and fetching them (docs/versions.md)."""

import html
import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from labelloop.errors import Conflict, Damaged, NotFound
from labelloop.models.backbones import shared_files, upload_shared
from labelloop.models.bundle import Wanted, bundle_digest, bundle_files, check_bundle, weights_of
from labelloop.models.bundle_cache import fetch
from labelloop.models.champion import Pointers
from labelloop.models.records import from_bytes, now, to_bytes, update
from labelloop.models.store import Store
from labelloop.types import Json, ProjectKey

_log = logging.getLogger(__name__)


REPORT = "report.html"
EVENTS = "tensorboard"
_NAME = re.compile(r"v[1-9]\d{0,8}")

VersionState = Literal["trained", "rejected", "waiting", "published", "champion", "announced", "retired", "pruned"]


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """``version.json``: where a version comes from and what the gate said.

    ``run`` is the run's key, ``parent`` the champion it was compared with (None: there was none), ``promoted`` whether
    it passed, ``verdict`` the sentence that says so; ``forced`` that somebody overruled the gate, ``waits`` that
    it does not become champion before a person has approved it. ``bundle`` names the folder of its files; ``publish``
    sets it. ``pruned`` says when these were removed (UTC, ISO 8601): what is left is this record, which passes no more,
    whatever its verdict was. ``trained_with`` are the fields of its ``TrainSettings``, ``trained_by`` the versions of
    the packages that had a part in it and their ``commit``; both are empty in records of releases that kept none.
    ``trace`` is the run's. ``rolled_back`` says why it was taken back by itself, and to which version
    (docs/rollback.md); else it is empty.
    """

    version: str
    run: str
    recipe: str
    parent: str | None
    created: str
    promoted: bool
    verdict: str
    metrics: Json = field(default_factory=dict)
    bundle: str = ""
    forced: bool = False
    waits: bool = False
    trained_with: Json = field(default_factory=dict)
    trained_by: Json = field(default_factory=dict)
    pruned: str = ""
    trace: str = ""
    rolled_back: str = ""

    @property
    def told(self) -> str:
        """All that is said of it: the verdict, and why it was rolled back."""
        return "; ".join(filter(None, (self.verdict, self.rolled_back)))


def state_of(version: str, record: VersionRecord | None, pointers: Pointers) -> VersionState:
    """Derive a state (docs/versions.md, "States"); ``record`` is None for a version that is claimed only."""
    if record is None:
        return "trained"
    if version == pointers.announced:
        return "announced"
    if version == pointers.champion:
        return "champion"
    if record.pruned or version in pointers.pruned:
        return "pruned"
    retired = any(version == reign.version for reign in pointers.history)
    if retired or not record.promoted:
        return "retired" if retired else "rejected"
    # It passed against its parent alone: where another one is champion now, it is passed over.
    return "waiting" if record.waits and record.parent == pointers.champion else "published"


def number_of(version: str) -> int:
    """Give the number in a version's name: 7 for ``v7``."""
    return int(version[1:])


def _headed(report: bytes, told: str) -> bytes:
    """Put a sentence below the head of a report (HTML)."""
    line = f"</header>\n<p><strong>{html.escape(told)}</strong></p>"
    return report.replace(b"</header>", line.encode("ascii", "xmlcharrefreplace"), 1)


class Versions:
    """The versions of one project. Safe to share between threads and processes."""

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store = store
        self._project = project
        self._folder = f"{project}/versions/"

    def claim(self, run: str) -> str:
        """Name the version of a run, ``v1``, ``v2``, ...: the same run gets the same name again, two runs never one."""
        taken = self.names()
        if claimed := self._claimed(run, taken):
            return claimed
        number = number_of(taken[-1]) + 1 if taken else 1
        while not self._claim(f"v{number}", run):
            number += 1
        return f"v{number}"

    def skip(self, number: int) -> None:
        """Let the next version be called by a higher number: what has one up to it was, or may have been, given out."""
        if not (taken := self.names()) or number_of(taken[-1]) < number:
            self._claim(f"v{number}", "none: its number was given out before the store was restored")

    def claimed(self, run: str) -> str:
        """Give the name that a run has claimed, empty when it has none."""
        return self._claimed(run, self.names())

    def publish(self, version: str, bundle: Path, record: VersionRecord) -> VersionRecord:
        """Upload a bundle, then its record, and give the record as stored; may be repeated.

        Files that versions share are uploaded where the project does not have them yet (models/backbones.py). The first
        complete publication stands: a later one changes nothing and gets that record. Raises BundleError for a damaged
        bundle, Conflict when the name belongs to another run.
        """
        if not self._claim(version, record.run):
            raise Conflict(f"{version} of {self._project} belongs to run {self._claimant(version)}, not {record.run}")
        published = self.find(version)
        if published is not None:
            return published
        info = check_bundle(bundle)
        # Named by content, so that another worker at the same run can only write the same files here, or none.
        stored = replace(record, version=version, bundle=f"bundle-{bundle_digest(bundle)}")
        for name in bundle_files(bundle):
            if name not in shared_files(info):
                self._store.upload(f"{self._folder}{version}/{stored.bundle}/{name}", bundle / name)
        # After what refers to them: whoever prunes meanwhile leaves them.
        upload_shared(self._store, self._project, bundle, info)
        try:
            self._store.create(self._record_path(version), to_bytes(stored))
        except Conflict:
            return self.get(version)
        return stored

    def get(self, version: str) -> VersionRecord:
        """Read a published version's record; raises NotFound while there is none."""
        if not _NAME.fullmatch(version):
            raise NotFound(f"{version!r} is no version of {self._project}: they are called v1, v2, ...")
        path = self._record_path(version)
        try:
            return from_bytes(VersionRecord, self._store.read(path).content, path)
        except NotFound:
            raise NotFound(f"{version} of {self._project} is not published: `labelloop versions` lists them") from None

    def all(self, most: int = 0) -> list[VersionRecord]:
        """Read the records of all published versions, rejected ones too, oldest first; a damaged one is logged.

        Of the ``most`` newest names alone, unless that is 0.
        """
        return self.read(self.names()[-most:])

    def some(self, most: int) -> list[VersionRecord]:
        """Read those of ``most`` versions at most (two or more), spread evenly over all, the first and the last too."""
        names = self.names()
        if len(names) > most:
            names = [names[at * (len(names) - 1) // (most - 1)] for at in range(most)]
        return self.read(names)

    def read(self, names: Iterable[str]) -> list[VersionRecord]:
        """Read the records of those of these versions that are published; a damaged one is logged."""
        found = []
        for version in names:
            try:
                found.append(self.find(version))
            except Damaged as error:
                _log.warning("%s", error)
        return [record for record in found if record is not None]

    def waiting(self, pointers: Pointers) -> list[VersionRecord]:
        """Read the records of the versions that wait for approval, oldest first."""
        # One that met the champion is younger than it, so that older ones need not be read.
        after = number_of(pointers.champion) if pointers.champion else 0
        found = (self.find(name) for name in self.names() if number_of(name) > after)
        return [one for one in found if one is not None and state_of(one.version, one, pointers) == "waiting"]

    def names(self) -> list[str]:
        """Name all versions, claimed ones too, oldest first."""
        names = [name for name in self._store.names(self._folder) if _NAME.fullmatch(name)]
        return sorted(names, key=number_of)

    def fetch_bundle(self, version: str, cache_dir: Path, wanted: Wanted = weights_of) -> Path:
        """Give the folder of a version's bundle on this machine, downloaded the first time; safe for many processes.

        Of the weight files at least those that are ``wanted`` are in it. Raises NotFound when it is not published, or
        was pruned, BundleError when it is damaged in the store.
        """
        record = self.get(version)
        self._require_files(record)
        return fetch(self._store, self._project, version, record.bundle, cache_dir, wanted)

    def amend(self, record: VersionRecord) -> None:
        """Replace the record of a published version; its files stay as they are. Raises NotFound."""
        self.get(record.version)
        self._store.write(self._record_path(record.version), to_bytes(record))

    def entomb(self, version: str) -> VersionRecord | None:
        """Say in a version's record that its files are removed, and give it; None where it was never published."""
        tomb: VersionRecord | None = None
        path = self._record_path(version)

        def change(content: bytes | None) -> bytes | None:
            nonlocal tomb
            if content is None:
                return None
            tomb = from_bytes(VersionRecord, content, path)
            if tomb.pruned:
                return None
            # Releases that know of no tombstones let nothing serve that did not pass.
            tomb = replace(tomb, promoted=False, pruned=now())
            return to_bytes(tomb)

        update(self._store, path, change)
        return tomb

    def write_report(self, version: str, content: bytes) -> None:
        """Keep the report (HTML) of a published version."""
        self._store.write(f"{self._folder}{self.get(version).version}/{REPORT}", content)

    def read_report(self, version: str) -> bytes:
        """Read the report of a published version; raises NotFound where none was written.

        It was written before anybody could know that the version would be rolled back: that is added at its head.
        """
        record = self.get(version)
        try:
            content = self._store.read(f"{self._folder}{record.version}/{REPORT}").content
            return _headed(content, record.rolled_back) if record.rolled_back else content
        except NotFound as error:
            self._require_files(record)
            raise NotFound(
                f"{version} of {self._project} has no report: it was adopted, or its worker was ended before "
                "it wrote one. A worker where the run was made writes it, as long as the run's files are there"
            ) from error

    def write_events(self, version: str, folder: Path) -> None:
        """Keep TensorBoard's event files of a published version, as far as there are any; may be repeated."""
        place = f"{self._folder}{self.get(version).version}/{EVENTS}/"
        counts: Counter[Path] = Counter()
        for path in sorted(folder.rglob("events.out.tfevents.*")):
            # Their own names have the moment and the machine: written twice, every point would be there twice.
            name = path.parent.relative_to(folder) / f"events.out.tfevents.{counts[path.parent]}"
            counts[path.parent] += 1
            self._store.upload(place + name.as_posix(), path)

    def fetch_events(self, version: str, target: Path) -> int:
        """Copy TensorBoard's event files of a version into a folder, and say how many there are."""
        place = f"{self._folder}{self.get(version).version}/{EVENTS}/"
        names = [name.removeprefix(place) for name in self._store.walk(place)]
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            self._store.download(place + name, target / name)
        return len(names)

    def find(self, version: str) -> VersionRecord | None:
        """Read a version's record; None while it is not published."""
        try:
            return self.get(version)
        except NotFound:
            return None

    def _require_files(self, record: VersionRecord) -> None:
        """Raise NotFound for a version that was pruned."""
        if record.pruned:
            raise NotFound(
                f"{record.version} of {self._project} was pruned on {record.pruned[:10]}: its record is left, its "
                "bundle and report are gone. A backup of the store may have them"
            )

    def _claimed(self, run: str, names: Sequence[str]) -> str:
        return next((version for version in reversed(names) if self._claimant(version) == run), "")

    def _claim(self, version: str, run: str) -> bool:
        """Reserve a name, and say whether it belongs to this run now."""
        if not _NAME.fullmatch(version):
            raise ValueError(f"{version!r} is no name of a version: expected v1, v2, ...")
        try:
            self._store.create(self._claim_path(version), json.dumps({"run": run}).encode())
        except Conflict:
            return self._claimant(version) == run
        return True

    def _claimant(self, version: str) -> str | None:
        path = self._claim_path(version)
        try:
            return str(json.loads(self._store.read(path).content)["run"])
        except NotFound:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise Damaged(f"{path} is damaged ({error!r}): restore it from a backup of the store") from error

    def _claim_path(self, version: str) -> str:
        return f"{self._folder}{version}/claim.json"

    def _record_path(self, version: str) -> str:
        return f"{self._folder}{version}/version.json"
