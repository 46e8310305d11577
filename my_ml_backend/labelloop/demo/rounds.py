"""Round after round: an annotator labels, the loop retrains, and what came of it is measured."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import httpx
import numpy as np

from labelloop.demo.examples import Example, Examples
from labelloop.demo.layouts import Layout
from labelloop.errors import LabelLoopError, StudioError
from labelloop.kinds.annotations.correctness import is_right
from labelloop.kinds.base import find
from labelloop.kinds.regions import Regions
from labelloop.loop.hub import Hub
from labelloop.loop.status import ProjectStatus, project_status
from labelloop.run.located import Located
from labelloop.sources.egress import trusted
from labelloop.sources.media import media_type_of
from labelloop.studio.client import Studio
from labelloop.types import Answer, Failure, Findings, Input, Json, Output, ProjectKey, Target, chunks

_ASK_SECONDS = 30.0
_LOOK_SECONDS = 0.1
_GIVE_UP_SECONDS = 1800.0
_AFTERWARDS = ("report", "done")
"""Stages of a run that nobody waits for: its version is announced by then, or rejected."""

_EXAMPLES_PER_CALL = 64
_MORE = 10


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What came of one round.

    ``recipe`` is what the announced version was trained by, ``test`` its figure, called ``measure``, on examples that
    Label Studio never saw;
    ``agreement`` the share of served pre-annotations that were right in all they say (null in round 0).
    ``seconds_to_predictions`` run from the last annotation to the new version's predictions being in Label Studio, or
    to the verdict that rejects it; ``verdict`` is that of the round's run, ``stages`` where its seconds went.
    """

    round: int
    annotations: int
    version: str
    recipe: str
    measure: str
    test: float
    agreement: float | None
    seconds_to_predictions: float
    verdict: str
    stages: dict[str, float]

    def to_json(self) -> Json:
        """Turn into plain values."""
        return asdict(self)


class Rounds:
    """Plays the rounds of one project.

    ``say`` is told, in a line each, what goes on; ``tend`` is called all the while (a supervisor looks after its
    services there).
    """

    def __init__(
        self,
        hub: Hub,
        project: ProjectKey,
        annotator: "Annotator",
        examples: Examples,
        say: Callable[[str], None],
        tend: Callable[[], None],
    ) -> None:
        self._hub, self._project, self._annotator = hub, project, annotator
        self._kind, self._classes, self._held_out = find(examples.kind), examples.classes, examples.held_out
        self._say, self._tend = say, tend
        self._annotations = 0

    def first(self, tasks: Sequence[int], count: int) -> RoundReport:
        """Annotate the first ``count`` tasks and wait for the first version and its predictions.

        Where these are not enough for a version (no test picture among them, say), a few more are annotated.
        """
        before = project_status(self._hub, self._project)
        waiting = list(tasks)
        while True:
            now, waiting = waiting[:count], waiting[count:]
            self._annotations += self._annotator.annotate(now)
            if count == _MORE:
                self._hub.queue(self._project).retrain("more labels for the first version")
            began = time.monotonic()
            after = self._wait(before, self._is_first_settled)
            if after.announced or not waiting:
                return self._report(0, None, after, time.monotonic() - began)
            self._say(f"  {_MORE} more tasks are annotated: {after.missing or (after.run or {}).get('verdict')}")
            before, count = after, _MORE

    def play(self, number: int, count: int) -> RoundReport:
        """Annotate the ``count`` tasks Label Studio serves next and wait for what the loop makes of them."""
        before = project_status(self._hub, self._project)
        met = self._annotator.annotate_next(count, before.announced or "")
        self._annotations += met.annotated
        began = time.monotonic()
        after = self._wait(before, _is_settled)
        return self._report(number, met.agreement, after, time.monotonic() - began)

    def _report(self, number: int, agreement: float | None, after: ProjectStatus, seconds: float) -> RoundReport:
        run = after.run or {}
        version = after.announced or ""
        record = self._hub.versions(self._project).find(version) if version else None
        return RoundReport(
            round=number,
            annotations=self._annotations,
            version=version,
            recipe=record.recipe if record else "",
            measure=self._kind.figure if isinstance(self._kind, Regions) else "accuracy",
            test=round(self.figure(version), 4),
            agreement=None if agreement is None else round(agreement, 4),
            seconds_to_predictions=round(seconds, 2),
            verdict=run.get("verdict", ""),
            stages=dict(run.get("seconds", {})),
        )

    def _wait(self, before: ProjectStatus, settled: Callable[[ProjectStatus, ProjectStatus], bool]) -> ProjectStatus:
        """Wait until the loop has made of the annotations what it can; ``settled`` says so of (before, now)."""
        give_up = time.monotonic() + _GIVE_UP_SECONDS
        told = ""
        while time.monotonic() < give_up:
            now = project_status(self._hub, self._project)
            run = now.run or {}
            if now.step and now.step.stage != told:
                told = now.step.stage
                self._say(f"  {told} ...")
            if now.wait and now.wait.settings:
                raise LabelLoopError(f"nothing can be trained: {now.trouble}")
            if run.get("given_up"):
                raise LabelLoopError(f"the run failed: {run['reason']}")
            if settled(before, now):
                return now
            self._tend()
            time.sleep(_LOOK_SECONDS)
        raise LabelLoopError(f"no version after {_GIVE_UP_SECONDS:g} s. {now.missing} {now.trouble}")

    def _is_first_settled(self, before: ProjectStatus, now: ProjectStatus) -> bool:
        """A version is announced, or was rejected, or could not be tried for want of labels."""
        looked = not now.changed and not _is_at_work(now) and self._annotations >= self._hub.settings.min_labels
        return looked and (_is_settled(before, now) or now.run is None)

    def figure(self, version: str) -> float:
        """Measure a version on the held-out examples, through the endpoint that serves it."""
        answers: list[Answer | Failure] = []
        for some in chunks(self._held_out, _EXAMPLES_PER_CALL):
            answers += self._hub.endpoint.invoke([_input(one) for one in some], Target(self._project, version))
        if not isinstance(self._kind, Regions):
            return sum(map(_is_right, self._held_out, answers)) / len(answers)
        found = [_located(at, *pair) for at, pair in enumerate(zip(self._held_out, answers, strict=True))]
        return float(self._kind.evidence(found, self._classes)(np.ones((1, len(found)))).whole[0])


def _is_right(example: Example, answer: Answer | Failure) -> bool:
    """Whether a classification gives exactly the right classes."""
    if not isinstance(answer, Output):
        return False
    given = [name for name in answer.scores if answer.gives(name)] if answer.choice == "multiple" else [answer.label]
    return set(given) == set(example.labels)


def _located(number: int, example: Example, answer: Answer | Failure) -> Located:
    """Give what is true and what annotators would see."""
    reason = answer.reason if isinstance(answer, Failure) else ""
    given = answer.regions if isinstance(answer, Findings) else ()
    return Located(str(number), number, example.regions, given, (), reason)


def _input(example: Example) -> Input:
    return Input(text=example.text) if example.path is None else Input(example.content, media_type_of(example.content))


def _is_settled(before: ProjectStatus, now: ProjectStatus) -> bool:
    """A run later than ``before`` has ended, nothing is left to learn, and the champion's predictions are in."""
    run = now.run or {}
    ended = run.get("state") in ("promoted", "waiting", "rejected") and run.get("key") != (before.run or {}).get("key")
    return ended and not now.changed and not _is_at_work(now) and now.champion == now.announced


def _is_at_work(now: ProjectStatus) -> bool:
    return now.step is not None and now.step.stage not in _AFTERWARDS


@dataclass(frozen=True, slots=True)
class Round:
    """What an annotator met: how many tasks, how many of them with a pre-annotation, how many of those were right."""

    annotated: int
    served: int
    right: int

    @property
    def agreement(self) -> float | None:
        """The share of served pre-annotations that were right; None when none was served."""
        return self.right / self.served if self.served else None


class Annotator:
    """Takes the tasks Label Studio serves next, and labels them right.

    ``answers`` maps task id to what is true of it, which ``layout`` spells as Label Studio does.
    """

    def __init__(self, studio: Studio, url: str, project: int, answers: Mapping[int, Example], layout: Layout) -> None:
        self._studio, self._url, self._project = studio, url.rstrip("/"), project
        self._answers, self._layout = answers, layout
        self._session = httpx.Client(follow_redirects=True, verify=trusted())

    def close(self) -> None:
        """Close the connection to Label Studio."""
        self._session.close()

    def annotate(self, tasks: Iterable[int]) -> int:
        """Label these tasks; returns how many."""
        count = 0
        for task in tasks:
            self._submit(task, None)
            count += 1
        return count

    def annotate_next(self, count: int, version: str) -> Round:
        """Label the next ``count`` tasks in Label Studio's order; compare with the pre-annotations of ``version``."""
        served = right = done = 0
        for _ in range(count):
            task = self._next()
            if task is None:
                break
            prediction = next((one for one in task["predictions"] if one["model_version"] == version), None)
            if prediction is not None:
                served += 1
                right += is_right(self._layout.result(self._answers[task["id"]]), prediction["result"]) is True
            self._submit(task["id"], prediction)
            done += 1
        return Round(done, served, right)

    def _next(self) -> Json | None:
        answer = self._ask("GET", f"/api/projects/{self._project}/next")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        task: Json = _checked(answer).json()
        if "predictions" not in task:
            task = _checked(self._ask("GET", f"/api/tasks/{task['id']}")).json()
        return task

    def _submit(self, task: int, prediction: Json | None) -> None:
        began_with = prediction["id"] if prediction else None
        result = self._layout.result(self._answers[task])
        body = {"result": result, "lead_time": 1.0, "parent_prediction": began_with}
        _checked(self._ask("POST", f"/api/tasks/{task}/annotations", json=body))

    def _ask(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        headers = self._studio.api.auth_headers()
        return self._session.request(method, self._url + path, headers=headers, timeout=_ASK_SECONDS, **kwargs)


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= 400:
        asked = f"{answer.request.method} {answer.request.url.raw_path.decode()}"
        raise StudioError(f"{asked}: HTTP {answer.status_code} {answer.text[:200]}")
    return answer
