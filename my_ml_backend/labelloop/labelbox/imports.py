"""Prediction imports: lines become files of this machine, which are uploaded one after another and waited for.

The SDK's own wait never ends where an import does not, and tells nothing meanwhile: imports are looked at here, and one
in which nothing moves is an outage. An import is known by its name alone, which is made of what is in it: who repeats
the work of a killed process finds what that one began, and waits for it instead of uploading again.
"""

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from labelloop.errors import LabelboxAway, LabelboxDenied, LabelboxError, ModelRunGone
from labelloop.files import cannot_keep
from labelloop.labelbox.client import PACE, Import, ImportPlace, Labelbox, Pace
from labelloop.labelbox.refusals import REASONS, read_refusals
from labelloop.retries import retries
from labelloop.types import Json

LINES = 50_000
"""The most lines of one import."""

_BYTES = 16_000_000
"""About the most of one: sending it takes three times that of memory. A line may name thousands of classes."""

_NAMES = 20
"""How many imports of the same content may have failed before no other is begun."""

_TRIES = 3
"""How often a file is sent of which Labelbox does not say that it has it."""

Progress = Callable[[int, int], None]
"""Is told how many lines are uploaded, of how many; told again and again while an import is waited for. May raise."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What became of the lines: how many there were, how many of them were refused, and why the first few were."""

    lines: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = ()

    def __add__(self, other: "Uploaded") -> "Uploaded":
        reasons = (*self.reasons, *other.reasons)[:REASONS]
        return Uploaded(self.lines + other.lines, self.refused + other.refused, reasons)

    @property
    def told(self) -> str:
        """Say it in a sentence."""
        if not self.refused and not self.reasons:
            return f"{self.lines} lines uploaded"
        return f"{self.lines} lines uploaded, {self.refused} of them refused: {'; '.join(self.reasons)}"


def upload(
    client: Labelbox,
    model_run: str,
    lines: Iterable[Json],
    name: str,
    folder: Path,
    progress: Progress,
    pace: Pace = PACE,
) -> Uploaded:
    """Upload predictions and metrics to a model run: lines as Labelbox reads them, one object each.

    ``name`` says whose they are: the key of the run, or the version. ``folder`` is one of this machine for that alone:
    what is in it is removed. A line that is refused takes nothing from the others. The same
    lines again upload nothing that is there. Raises LabelboxError where an import failed as a whole, LabelboxAway where
    it does not end, ModelRunGone, LabelboxDenied; StoreError where the files cannot be written.
    """
    return _upload(client, ImportPlace.of_model_run(model_run), lines, name, folder, progress, pace)


def to_project(
    client: Labelbox,
    project: str,
    lines: Iterable[Json],
    name: str,
    folder: Path,
    progress: Progress,
    pace: Pace = PACE,
) -> Uploaded:
    """Upload predictions to a project, as pre-labels that its annotators begin with; otherwise as ``upload``.

    Labelbox shows no confidence there, and refuses the lines of data rows that are in no batch of the project. Metrics
    are of model runs alone, and left out.
    """
    shown = (line for line in lines if "metricValue" not in line)
    return _upload(client, ImportPlace.of_project(project), shown, name, folder, progress, pace)


@dataclass(frozen=True, slots=True)
class _File:
    """One file of lines; ``name`` is that of its import."""

    path: Path
    lines: int
    name: str


def _upload(
    client: Labelbox,
    place: ImportPlace,
    lines: Iterable[Json],
    name: str,
    folder: Path,
    progress: Progress,
    pace: Pace,
) -> Uploaded:
    with _written(lines, name, folder) as files:
        total = sum(file.lines for file in files)
        found = Uploaded()
        for file in files:
            done = found.lines

            def told(share: float, done: int = done, file: _File = file) -> None:
                progress(done + int(share * file.lines), total)

            told(0.0)
            found += _import(client, place, file, told, pace)
        progress(total, total)
        return found


@contextmanager
def _written(lines: Iterable[Json], name: str, folder: Path) -> Iterator[list[_File]]:
    """Write all lines to files, which are there while the block lasts; what a killed process left there goes first.

    They have a folder of their own: a process that has lost its lease, and does not know it yet, finds its files gone,
    and never those of another one, half written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    own = folder / uuid.uuid4().hex
    try:
        try:
            own.mkdir(parents=True)
            files = list(_files(iter(lines), name, own))
        except OSError as error:
            raise cannot_keep("predictions that are to be uploaded", folder, error) from error
        yield files
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _files(lines: Iterator[Json], name: str, folder: Path) -> Iterator[_File]:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:80]
    for number in count(1):
        first = next(lines, None)
        if first is None:
            return
        path = folder / f"{number}.ndjson"
        digest, written, size = hashlib.sha256(), 0, 0
        with path.open("wb") as file:
            for line in chain((first,), lines):
                content = json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
                file.write(content)
                digest.update(content)
                written, size = written + 1, size + len(content)
                if written == LINES or size >= _BYTES:
                    break
        yield _File(path, written, f"labelloop-{plain}-{digest.hexdigest()[:16]}-{number}")


def _import(client: Labelbox, place: ImportPlace, file: _File, told: Callable[[float], None], pace: Pace) -> Uploaded:
    """Have one file imported, by whoever began that; gives what became of its lines."""
    found = _ended(client, place, _begun(client, place, file, pace), told, pace)
    refusals = read_refusals(client, place, found, pace.wait)
    if found.state == "FAILED":
        why = "; ".join(refusals.reasons) or "it does not say why"
        raise LabelboxError(
            f"Labelbox failed to import {file.lines} predictions into {place} ({found.name}): {why}. Press the button "
            "again: they are uploaded anew."
        )
    return Uploaded(file.lines, refusals.count, tuple(refusals.reasons))


def _begun(client: Labelbox, place: ImportPlace, file: _File, pace: Pace) -> Import:
    """Give the import of a file: the one that is there, unless that has failed before, else a new one."""
    for number in range(_NAMES):
        name = f"{file.name}-{number + 1}" if number else file.name
        found = client.find_import(place, name)
        if found is None:
            return _new(client, place, name, file, pace)
        if found.state != "FAILED":
            return found
    raise LabelboxError(
        f"Labelbox has failed {_NAMES} times to import the same {file.lines} predictions into {place} ({file.name}): "
        "ask its support why."
    )


def _new(client: Labelbox, place: ImportPlace, name: str, file: _File, pace: Pace) -> Import:
    """Begin an import; where no answer comes, or that it is there already, it may have begun."""
    for left in retries(_TRIES, pace.first, wait=pace.wait):
        try:
            return client.begin_import(place, name, file.path)
        except (LabelboxDenied, ModelRunGone):
            raise
        except LabelboxError as error:
            found = client.find_import(place, name)
            if found is not None:
                return found
            if not left or not isinstance(error, LabelboxAway):
                raise
    raise AssertionError("there is no try")  # pragma: no cover


def _ended(client: Labelbox, place: ImportPlace, found: Import, told: Callable[[float], None], pace: Pace) -> Import:
    """Wait until an import has ended, well or not; raises LabelboxAway where nothing moves in it."""
    pause, since = pace.first, pace.clock()
    while found.state == "RUNNING":
        told(found.share)
        pace.wait(pause)
        pause = min(2 * pause, pace.most)
        now = client.find_import(place, found.name)
        if now is None:
            if place.kind == "model run":
                client.model_run(place.id)
            raise LabelboxAway(f"the import {found.name} into {place} is there no more: it is to be uploaded again.")
        if (now.state, now.progress) != (found.state, found.progress):
            since = pace.clock()
        elif pace.clock() - since >= pace.still:
            raise LabelboxAway(
                f"Labelbox is still importing {found.name} into {place}, at {found.progress or '0%'} for "
                f"{pace.still:.0f} seconds. It is looked at again later."
            )
        found = now
    return found
