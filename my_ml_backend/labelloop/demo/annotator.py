"""Plays an annotator who knows the answers, through Label Studio's API."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import requests

from labelloop.errors import StudioError
from labelloop.studio.client import Studio
from labelloop.types import Json

_SECONDS = 30.0


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

    ``answers`` maps task id to label; ``control`` is the name of the ``Choices`` tag and of the tag it labels.
    """

    def __init__(
        self, studio: Studio, url: str, project: int, answers: dict[int, str], control: tuple[str, str]
    ) -> None:
        self._studio, self._url, self._project = studio, url.rstrip("/"), project
        self._answers, self._control = answers, control
        self._session = requests.Session()

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
                right += _choices(prediction) == [self._answers[task["id"]]]
            self._submit(task["id"], prediction)
            done += 1
        return Round(done, served, right)

    def _next(self) -> Json | None:
        answer = self._ask("GET", f"/api/projects/{self._project}/next")
        if answer.status_code == requests.codes.not_found:
            return None
        task: Json = _checked(answer).json()
        if "predictions" not in task:
            task = _checked(self._ask("GET", f"/api/tasks/{task['id']}")).json()
        return task

    def _submit(self, task: int, prediction: Json | None) -> None:
        from_name, to_name = self._control
        region = {
            "from_name": from_name,
            "to_name": to_name,
            "type": "choices",
            "value": {"choices": [self._answers[task]]},
        }
        body = {"result": [region], "lead_time": 1.0, "parent_prediction": prediction["id"] if prediction else None}
        _checked(self._ask("POST", f"/api/tasks/{task}/annotations", json=body))

    def _ask(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = self._studio.auth_headers()
        return self._session.request(method, self._url + path, headers=headers, timeout=_SECONDS, **kwargs)


def _choices(prediction: Json) -> list[str]:
    return [choice for region in prediction["result"] for choice in region["value"]["choices"]]


def _checked(answer: requests.Response) -> requests.Response:
    if not answer.ok:
        raise StudioError(
            f"{answer.request.method} {answer.request.path_url}: HTTP {answer.status_code} {answer.text[:200]}"
        )
    return answer
