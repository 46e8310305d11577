"""What the commands share on a terminal: options, lines or JSON, progress that can be watched."""

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from labelloop.errors import QueueError
from labelloop.loop import queue
from labelloop.loop.hub import Hub
from labelloop.loop.training import open_elsewhere
from labelloop.models.runs import RunRecord
from labelloop.types import Finding, ProjectKey

STDOUT = Path("-")
"""The file name that stands for standard output."""

_LOOK_SECONDS = 0.2

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def show(as_json: bool, value: Any, lines: list[str]) -> None:
    """Print a value as JSON, or the lines that say the same."""
    click.echo(json.dumps(value, indent=2) if as_json else "\n".join(lines))


def show_findings(findings: Iterable[Finding], *, as_json: bool) -> None:
    """Print what a doctor finds, as it is found, and exit with 1 where something is wrong."""
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            mark = "BAD " if not finding.ok else "warn" if finding.remedy else "ok  "
            click.echo(f"{mark} {finding.name}: {finding.detail}")
            if finding.remedy:
                click.echo(f"     -> {finding.remedy}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    if not all(finding.ok for finding in found):
        sys.exit(1)


def write_output(target: Path, content: bytes) -> None:
    """Write a file that a command was asked for; ``-`` is standard output. Raises OSError."""
    if target == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        target.write_bytes(content)


class Bar:
    """A progress bar on standard error, drawn only on a terminal; its length may be unknown and may change.

    It shows the rate in ``unit`` and the time that remains.
    """

    def __init__(self, shown: bool, unit: str = "step") -> None:
        self._bar = tqdm(disable=None if shown else True, unit=unit, leave=False)
        self._what = ""

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def clear(self) -> None:
        """Take the bar off the screen, for a line to be printed."""
        self._bar.clear()

    def stage(self, name: str) -> None:
        """Say that a stage begins."""
        self(name, 0, 0)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Move the bar; it is drawn anew ten times a second at most, and when ``what`` is done changes."""
        self._bar.total = total or None
        self._bar.update(done - self._bar.n)
        if what and what != self._what:
            self._what = what
            self._bar.set_description_str(what, refresh=True)


def follow(hub: Hub, project: ProjectKey, job: str, *, quiet: bool) -> str:
    """Show a job's progress until it ends; returns RQ's word for how it ended. Raises QueueError without a worker."""
    require_worker(hub, f"job {job}")
    with Bar(not quiet) as bar:
        while True:
            ended = queue.job_status(hub.redis, job)
            if ended not in ("queued", "started", "scheduled"):
                return ended or "gone"
            if not _show_step(bar, hub, project) and ended == "queued":
                bar("waiting for a worker to be free", 0, 0)
            time.sleep(_LOOK_SECONDS)


def follow_elsewhere(hub: Hub, project: ProjectKey, *, quiet: bool) -> RunRecord | None:
    """Show how the run comes along that is trained elsewhere, until it has ended, and give its record as it is then.

    None where no such run is open. Raises QueueError when there is no worker to go on with it.
    """
    opened = open_elsewhere(hub, project)
    if opened is None:
        return None
    with Bar(not quiet) as bar:
        while (stands := open_elsewhere(hub, project)) is not None and stands.key == opened.key:
            require_worker(hub, f"run {opened.key}")
            _show_step(bar, hub, project)
            time.sleep(_LOOK_SECONDS)
    return hub.runs(project).get(opened.key)


def require_worker(hub: Hub, what: str) -> None:
    """Raise QueueError where no worker runs that would go on with something."""
    if not queue.count_workers(hub.redis):
        raise QueueError(f"{what} waits, but there is no worker: start one with `labelloop worker`")


def _show_step(bar: Bar, hub: Hub, project: ProjectKey) -> bool:
    step = hub.state(project).progress().step()
    if step is not None:
        bar(f"{step.stage}: {step.what}", step.done, step.total)
    return step is not None
