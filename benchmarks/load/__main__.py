"""``python -m benchmarks.load``: what LabelLoop takes in under load, and what it costs an annotator, in two tables.

All on this machine, on loopback: a web process of LabelLoop with a Redis of its own, an endpoint that takes 0.5 s, a
training beside them at the niceness of a worker's runs, and a real Label Studio (SQLite, no Redis). It ends within six
minutes, and with 1 where a webhook was lost.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.load.annotators import Annotators
from benchmarks.load.annotators import table as annotators_table
from benchmarks.load.intake import Intake, Row
from benchmarks.load.intake import table as intake_table
from benchmarks.load.surroundings import ENDPOINT_SECONDS, WebFamily, name_endpoint, program, training
from benchmarks.web_process import free_port, web_process
from labelloop.demo.label_studio import LabelStudio

P99_MS = 20.0
"""The goal for webhooks beside a training and predictions."""

_LABEL_STUDIO = Path(__file__).parents[2] / ".venv-label-studio/bin/label-studio"


@dataclass(frozen=True)
class Measured:
    """What was found: the rows of webhooks, and both tables as text."""

    rows: list[Row]
    text: str


def main() -> None:
    """Measure, and print what stands in docs/reliability.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="webhooks a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which they come beside a training")
    parser.add_argument("--rounds", type=int, default=20, help="annotations in each project")
    parser.add_argument("--at-once", type=int, default=1_500, help="tasks of one large /predict")
    options = parser.parse_args()
    found = measure(options.rate, options.seconds, options.rounds, options.at_once)
    print(found.text)
    sys.exit(any(row.lost for row in found.rows))


def measure(rate: float, seconds: float, rounds: int, at_once: int) -> Measured:
    """Run all of it."""
    began, load = time.monotonic(), os.getloadavg()[0]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = Path(os.environ.get("LABELLOOP_TEST_LABEL_STUDIO") or _LABEL_STUDIO)
        studio = stack.enter_context(LabelStudio(command, folder / "ls", free_port()))
        endpoint = stack.enter_context(program("benchmarks.slow_endpoint", str(ENDPOINT_SECONDS), path="/"))
        constant = stack.enter_context(program("benchmarks.load.constant"))
        given: dict[str, Any] = {
            "label_studio_url": studio.url,
            "label_studio_api_key": studio.token,
            "webhook_secret": "bench",
            "endpoint": "fake://?classes=cat,dog",
            "allowed_endpoints": ("http://127.0.0.1:*/*",),
        }
        web, frozen = (stack.enter_context(web_process(folder / name, **given)) for name in ("web", "frozen"))
        name_endpoint(web, endpoint)
        intake = Intake(web, WebFamily.of(web), rate, seconds, at_once)
        annotators = Annotators(studio, constant, web, frozen, rounds)
        rows = intake.idle()
        annotators.idle()
        with training(folder / "training"):
            busy = intake.busy()
            annotators.busy(intake)
        rows += busy + intake.large()
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        spent = f"load average {load:.1f} before it began, {time.monotonic() - began:.0f} s in all."
        lines = [
            f"{machine}; {spent}",
            "",
            intake_table(rows),
            "",
            _judged(busy[0], rows),
            "",
            annotators_table(annotators),
        ]
    return Measured(rows, "\n".join(lines))


def _judged(busy: Row, rows: Sequence[Row]) -> str:
    p99, lost = busy.told.ms(99), sum(row.lost or 0 for row in rows)
    return (
        f"Goals: webhooks beside a training and predictions, p99 {P99_MS:g} ms: {_kept(p99 <= P99_MS)}; "
        f"lost, 0: {_kept(lost == 0)}."
    )


def _kept(well: bool) -> str:
    return "kept" if well else "MISSED"


if __name__ == "__main__":
    main()
