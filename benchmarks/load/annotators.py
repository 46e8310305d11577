"""What an annotator waits for in a real Label Studio: submitting an annotation, and the next task.

There is a project for each backend. Every round goes through all of them in a new order, so that whatever else happens
on the machine happens to all alike, and each is compared with the constant backend of the same round.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.load.constant import VERSION
from benchmarks.load.intake import Intake
from benchmarks.load.surroundings import TEXT_CONFIG, WebFamily
from benchmarks.web_process import address
from labelloop.demo.label_studio import LabelStudio
from labelloop.loop.process import open_hub
from labelloop.loop.project_registry import confirmed_project
from labelloop.models.champion import ChampionPointer
from labelloop.settings import Settings
from labelloop.studio.client import UNCERTAINTY, Studio
from labelloop.studio.connect import connect
from labelloop.types import Json

WITHOUT, CONSTANT, IDLE = "without a backend", "a backend that answers constants", "LabelLoop, idle"
BUSY, BESIDE = "LabelLoop, busy", "the constant backend beside that"
FREEZING, FROZEN = "its workers freeze right before the submit", "its workers frozen, the standby alive"
STOPPED = "all of its processes stopped"
GOAL_MS = {IDLE: 15.0, BUSY: 15.0, FREEZING: 1000.0, FROZEN: 1000.0}
"""Most that the submit and the next task may take beyond the constant backend's."""

_VERSION = "v1"
"""What LabelLoop's endpoint, which is in its process and at once, says that it answers with."""

_PEERS = {BUSY: BESIDE}
_STOPPED_EVERY = 5
_CHOICE: Json = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["cat"]}}


@dataclass(frozen=True)
class Waited:
    """Seconds that one submit and the next task took."""

    submit: float
    next: float


class AnnotatorProject:
    """A project whose tasks are annotated one after the other."""

    def __init__(self, studio: LabelStudio, title: str, tasks: int, attach: Callable[[int], object]) -> None:
        self._studio = studio
        self._number = studio.create_project(title, TEXT_CONFIG)
        studio.import_tasks(self._number, [{"text": f"text {number} of {title}"} for number in range(tasks)])
        attach(self._number)
        self._task = self._next()

    def annotate(self) -> Waited:
        """Submit the task that is open, and open the next."""
        began = time.perf_counter()
        self._studio.request("POST", f"/api/tasks/{self._task}/annotations/", json={"result": [_CHOICE]})
        submitted = time.perf_counter()
        self._task = self._next()
        return Waited(submitted - began, time.perf_counter() - submitted)

    def _next(self) -> int:
        """As the label stream asks for it."""
        return int(self._studio.request("POST", f"/api/dm/actions?id=next_task&project={self._number}", json={})["id"])

    def predictions(self) -> int:
        """How many predictions its tasks have."""
        return int(self._studio.request("GET", f"/api/projects/{self._number}")["total_predictions_number"])


class Annotators:
    """Measures in one Label Studio; ``web`` is LabelLoop, and ``frozen`` another one, whose processes are stopped."""

    def __init__(self, studio: LabelStudio, constant: str, web: Settings, frozen: Settings, rounds: int) -> None:
        self._rounds, self._random = rounds, random.Random(0)
        self._family = WebFamily.of(frozen)
        self._waited: dict[str, list[tuple[int, Waited]]] = defaultdict(list)
        client = Studio.of(web)

        def project(title: str, attach: Callable[[int], object]) -> AnnotatorProject:
            return AnnotatorProject(studio, title, 3 * rounds + 10, attach)

        def labelloop(settings: Settings) -> Callable[[int], object]:
            def attach(number: int) -> None:
                key = confirmed_project(open_hub(settings), number)[0]
                pointer = ChampionPointer(open_hub(settings).store, key)
                fence = pointer.take_fence()
                pointer.promote(_VERSION, fence)
                pointer.announce(_VERSION, fence)
                connect(client, number, address(settings), settings, _VERSION)

            return attach

        self._without = project("without", lambda _: None)

        def peer(number: int) -> None:
            client.create_ml_backend(number, constant, VERSION)
            # As `connect` sets it: what Label Studio takes to choose by score is no backend's cost.
            studio.request("PATCH", f"/api/projects/{number}", json={"sampling": UNCERTAINTY})

        self._constant = project("constant", peer)
        self._labelloop = project("labelloop", labelloop(web))
        self._frozen = project("frozen", labelloop(frozen))
        self._stopped = project("stopped", labelloop(frozen))
        client.close()

    def idle(self) -> None:
        """Measure while nothing else is asked of LabelLoop."""
        for number in range(self._rounds):
            steps: list[Callable[[], object]] = [
                partial(self._note, number, WITHOUT, self._without),
                partial(self._note, number, CONSTANT, self._constant),
                partial(self._note, number, IDLE, self._labelloop),
                partial(self._freeze, number),
            ]
            if number % _STOPPED_EVERY == 0:
                steps.append(partial(self._stop, number))
            self._run(steps)
        for name, project in ((CONSTANT, self._constant), (IDLE, self._labelloop)):
            if project.predictions() < self._rounds:
                raise RuntimeError(f"{name}: tasks were not predicted, so nothing was measured")

    def busy(self, intake: Intake) -> None:
        """Measure under load; whoever calls it trains beside."""

        async def loaded() -> None:
            async with intake.load():
                await asyncio.sleep(1.0)
                await asyncio.to_thread(self._busy)

        asyncio.run(loaded())

    def _busy(self) -> None:
        for number in range(self._rounds):
            beside = partial(self._note, number, BESIDE, self._constant)
            self._run([beside, partial(self._note, number, BUSY, self._labelloop)])

    def _run(self, steps: list[Callable[[], object]]) -> None:
        self._random.shuffle(steps)
        for step in steps:
            step()

    def _note(self, number: int, name: str, project: AnnotatorProject) -> None:
        self._waited[name].append((number, project.annotate()))

    def _freeze(self, number: int) -> None:
        with self._family.frozen():
            self._note(number, FREEZING, self._frozen)
            self._note(number, FROZEN, self._frozen)

    def _stop(self, number: int) -> None:
        with self._family.frozen(whole=True):
            self._note(number, STOPPED, self._stopped)

    def rows(self) -> Iterator[str]:
        """The lines of the table, in the order of what they are compared with."""
        order = (WITHOUT, CONSTANT, IDLE, BESIDE, BUSY, FREEZING, FROZEN, STOPPED)
        for name in filter(self._waited.__contains__, order):
            waited = dict(self._waited[name])
            shown = [_times([getattr(one, part) for one in waited.values()]) for part in ("submit", "next")]
            peer = dict(self._waited[_PEERS.get(name, CONSTANT)])
            above = ["", ""]
            if name not in (WITHOUT, CONSTANT, BESIDE):
                above = [_above(waited, peer, part, GOAL_MS.get(name)) for part in ("submit", "next")]
            yield f"| {name} | {len(waited)} | {' | '.join(shown)} | {' | '.join(above)} |"


HEADING = (
    "| | times | submit: median, p95, ms | next task: median, p95, ms | submit, above the constant backend | "
    "next task, above it |\n| --- | --- | --- | --- | --- | --- |"
)


def _times(seconds: Sequence[float]) -> str:
    return f"{1000 * np.median(seconds):,.0f}, {1000 * np.percentile(seconds, 95):,.0f}"


def _above(waited: Mapping[int, Waited], peer: Mapping[int, Waited], part: str, goal: float | None) -> str:
    """The median of the differences round by round, with its 95% interval by bootstrap, in ms."""
    both = [1000 * (getattr(waited[one], part) - getattr(peer[one], part)) for one in waited if one in peer]
    drawn = np.random.default_rng(0).choice(both, (2000, len(both)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    middle = float(np.median(both))
    judged = "" if goal is None else f"; goal {goal:,.0f}: {'kept' if middle <= goal else 'MISSED'}"
    return f"{middle:+,.0f} ({low:+,.0f} to {high:+,.0f}){judged}"


def table(annotators: Annotators) -> str:
    """Write the rows as they stand in docs/reliability.md."""
    return "\n".join([HEADING, *annotators.rows()])
