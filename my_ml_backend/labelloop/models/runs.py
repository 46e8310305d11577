"""The runs of one project: what became of each, and why; and what a search found best for the next ones."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from labelloop.errors import Fenced
from labelloop.models.records import (
    now,
    read_record,
    readable,
    readable_record,
    to_bytes,
    update,
)
from labelloop.models.store import Store
from labelloop.types import IMAGES, Json, ProjectKey

ASKED = ("Start Training", "labelloop retrain")
"""Triggers of runs that persons ask for."""

DUE, WRITTEN = "due", "written"
"""How it stands with the report of a run's version, where that will be there, or is."""

RunState = Literal["running", "promoted", "waiting", "rejected", "failed"]


def run_key(manifest_hash: str, settings_fingerprint: str, seed: int) -> str:
    """Name a run by all that decides its result: 16 hex digits."""
    return hashlib.sha256(f"{manifest_hash}\n{settings_fingerprint}\n{seed}".encode()).hexdigest()[:16]


def manifest_path(project: ProjectKey, name: str) -> str:
    """Say where the store has the manifest of that hash."""
    return f"{project}/manifests/{name}.jsonl"


def sides_path(project: ProjectKey, name: str) -> str:
    """Say where the store has the sides of that hash, which a tool named."""
    return f"{project}/manifests/{name}.sides.json"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """``runs/<key>.json``: one run, from its first stage on.

    ``manifest`` is the manifest's hash, ``sides`` that of the sides that a tool named (empty: the content says which
    side an input is on), ``settings`` the fingerprint of the settings. ``trigger`` says why it ran,
    ``reason`` why it stopped last, ``verdict`` what the gate said; ``waiting`` is a run whose version passed, and waits
    for a person's approval. ``seconds`` maps stage to duration. ``fence`` is the
    one of the attempt that saved it. ``methods`` are the versions of the recipes and the gate that it is made with;
    empty in a record of 0.1, for which all were the first. ``kind`` is what was learned. ``created`` and ``updated``
    (UTC, ISO 8601) are set by ``Runs.save``. ``trace`` is the id of what led to it (labelloop/tracing.py).

    ``attempts`` counts beginnings, ``failures`` the run's own errors (None in a record of 0.1, which counted every
    attempt); ``final`` says that another attempt would end the same. ``interruptions`` are attempts in a row that were
    cut off at the same ``mark``, which is how far the run had come; ``deaths`` those of them whose process alone ended.
    ``pruned`` says when its version's files were removed: what is left is this record, by which it is not made again.
    ``erased`` is the hash of the manifest that it learned from, where ``manifest`` has lost some of its tasks since.
    ``challenger`` is one that was trained in the background, of recipes that other runs leave to it (docs/training.md).
    ``report`` says how it stands with its version's report: it is ``due``, ``written``, or else why there is none;
    empty in records of releases that did not say. ``machine`` is the one that has the run's folder, by the id that its
    MODEL_DIR has (loop/background.py).
    """

    key: str
    project: str
    manifest: str
    settings: str
    seed: int
    trigger: str = ""
    forced: bool = False
    state: RunState = "running"
    stage: str = ""
    attempts: int = 0
    failures: int | None = None
    final: bool = False
    interruptions: int = 0
    deaths: int = 0
    mark: str = ""
    reason: str = ""
    version: str | None = None
    verdict: str = ""
    recipe: str = ""
    created: str = ""
    updated: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    metrics: Json = field(default_factory=dict)
    fence: int = 0
    methods: Mapping[str, int] = field(default_factory=dict)
    kind: str = IMAGES
    sides: str = ""
    pruned: str = ""
    erased: str = ""
    trace: str = ""
    challenger: bool = False
    report: str = ""
    machine: str = ""

    @property
    def judged(self) -> bool:
        """Whether it has come to its verdict."""
        return self.state in ("promoted", "waiting", "rejected")

    @property
    def is_left_over(self) -> bool:
        """Whether it is a challenger that was cut off after its verdict: what is left is not done yet."""
        return self.challenger and self.judged and self.stage != "done"

    @property
    def asked_for(self) -> bool:
        """Whether a person has asked for it: what begins by itself says how many labels changed, or what improved."""
        return self.trigger in ASKED

    @property
    def own_failures(self) -> int:
        """How often it failed by an error of its own: what ``LABELLOOP_RUN_ATTEMPTS`` limits."""
        if self.failures is not None:
            return self.failures
        return self.attempts if self.state == "failed" else 0

    def given_up(self, attempts: int) -> bool:
        """Whether it has failed for good, where ``attempts`` own failures are too many."""
        return self.state == "failed" and (self.final or self.own_failures >= attempts)

    @property
    def order(self) -> tuple[int, str]:
        """Order records by: fence, then the moment of saving. An attempt left behind is never the newest."""
        return self.fence, self.updated


@dataclass(frozen=True, slots=True)
class _Latest:
    """``latest-run.json``, ``latest-challenger.json``: the run that was saved last, and under which fence."""

    key: str
    fence: int


class Runs:
    """The records of one project's runs. Safe to share between threads and processes.

    A damaged record counts as none wherever it is not asked for by its key, and its run, made again, writes it anew.
    """

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store = store
        self._folder = f"{project}/runs/"
        self._latest = {False: f"{project}/latest-run.json", True: f"{project}/latest-challenger.json"}
        """Where it is noted of challengers, and of other runs."""

    def get(self, key: str) -> RunRecord | None:
        """Read one record; None when that run never began. Raises Damaged."""
        return read_record(self._store, self._path(key), RunRecord)

    def find(self, key: str) -> RunRecord | None:
        """Read one record; None when that run never began, or its record is damaged, which is logged."""
        return readable_record(self._store, self._path(key), RunRecord)

    def save(self, record: RunRecord, change: Callable[[RunRecord], RunRecord] | None = None) -> RunRecord:
        """Write a record and give it as written; raises Fenced when an attempt with a newer fence has saved already.

        With ``change`` it is made of the record as it stands, which who writes a report may have amended meanwhile.
        """
        path = self._path(record.key)
        saved = record

        def written(content: bytes | None) -> bytes:
            nonlocal saved
            stored = None if content is None else readable(RunRecord, content, path)
            if stored is not None and stored.fence > record.fence:
                raise Fenced(
                    f"run {record.key} of {record.project} was taken over under fence {stored.fence}, this attempt "
                    f"holds {record.fence}: it stops here and the newer one goes on"
                )
            created = stored.created if stored is not None else record.created or now()
            changed = change(stored) if change is not None and stored is not None else record
            saved = replace(changed, created=created, updated=now())
            return to_bytes(saved)

        update(self._store, path, written)
        self._note(saved)
        return saved

    def amend(self, key: str, change: Callable[[RunRecord], RunRecord]) -> None:
        """Change the record of a run that has ended; which run is the latest stays as it is. A damaged one stays so."""
        path = self._path(key)

        def amended(content: bytes | None) -> bytes | None:
            stored = None if content is None else readable(RunRecord, content, path)
            changed = stored and change(stored)
            return to_bytes(changed) if changed and changed != stored else None

        update(self._store, path, amended)

    def names(self) -> list[str]:
        """Name the keys of all records."""
        return [name.removesuffix(".json") for name in self._store.names(self._folder) if name.endswith(".json")]

    def all(self) -> list[RunRecord]:
        """Read all records, in the order they were last saved in, the newest last."""
        records = (self.find(key) for key in self.names())
        return sorted((record for record in records if record is not None), key=lambda record: record.order)

    def latest(self) -> RunRecord | None:
        """Read the record that was saved last under the newest fence, of no challenger; None before the first run."""
        # The note is only the short way: without it, or with a note of a record that is gone, all are looked at.
        return self._noted(challenger=False) or max(
            (record for record in self.all() if not record.challenger), key=lambda record: record.order, default=None
        )

    def latest_challenger(self) -> RunRecord | None:
        """Read the record of the last challenger; None where there was none, or nobody knows which one was it."""
        return self._noted(challenger=True)

    def _noted(self, *, challenger: bool) -> RunRecord | None:
        latest = readable_record(self._store, self._latest[challenger], _Latest)
        return self.find(latest.key) if latest else None

    def next_key(self, key: str) -> str:
        """Name a forced run: the first of ``key``, ``key.2``, ``key.3``, ... that never began or was cut short."""
        number = 1
        while (found := self.find(named := key if number == 1 else f"{key}.{number}")) and found.state != "running":
            number += 1
        return named

    def _note(self, saved: RunRecord) -> None:
        """Note which record is the latest, so that nobody has to read all of them to know."""

        def change(content: bytes | None) -> bytes | None:
            mine = _Latest(saved.key, saved.fence)
            noted = None if content is None else readable(_Latest, content, path)
            return to_bytes(mine) if noted is None or (noted.fence <= mine.fence and noted != mine) else None

        path = self._latest[saved.challenger]
        update(self._store, path, change)

    def _path(self, key: str) -> str:
        return f"{self._folder}{key}.json"


@dataclass(frozen=True, slots=True)
class Defaults:
    """``defaults.json``: searched parameters, spelled as on the command line, and where they come from.

    ``manifest`` is the hash of the labels that were searched on, ``accuracy`` and ``log_loss`` what the best of
    ``trials`` trials had on the ``pictures`` of their validation side.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    manifest: str = ""
    accuracy: float | None = None
    log_loss: float | None = None
    pictures: int = 0
    trials: int = 0
    created: str = ""


class ProjectDefaults:
    """Reads and writes one project's ``defaults.json``. The last search to write wins."""

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store = store
        self._path = f"{project}/defaults.json"

    def read(self) -> Defaults:
        """Read the defaults, empty where none were searched for; raises StoreError."""
        return read_record(self._store, self._path, Defaults) or Defaults()

    def write(self, defaults: Defaults) -> None:
        """Keep the defaults; raises StoreError."""
        self._store.write(self._path, to_bytes(defaults))

    def clear(self) -> None:
        """Go back to the settings; raises StoreError."""
        self.write(Defaults())
