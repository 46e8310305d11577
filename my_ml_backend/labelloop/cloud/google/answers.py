"""Asking a model that AutoML has trained for answers to pictures, by a batch prediction job that ends by itself.

Google bills a batch prediction by node hours; a model that nobody asks costs nothing.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from labelloop.cloud.base import require_any
from labelloop.cloud.google.automl_terms import ASKED_BYTES, taken
from labelloop.cloud.google.batch import BatchPrediction, Predicted
from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.errors import CloudError, EndpointError, Fenced, LeaseLost, Outage
from labelloop.types import Answer, Failure, Input, Json, Progress

_log = logging.getLogger(__name__)

_MOST_BOXES = 100
"""Predictions for a picture, unless there are more classes: what Google gives by default for one that is asked alone.
"""
_REMEDY = "a model that AutoML has not trained is asked in another way"


@dataclass(frozen=True)
class AskedInBatch:
    """Asks models by ``jobs``; it is looked ``every`` so many seconds how they stand, for at most ``seconds``."""

    jobs: BatchPrediction
    every: float
    seconds: float
    wait: Callable[[float], None] = time.sleep

    def ask(
        self,
        model: str,
        inputs: Sequence[Input],
        contents: Sequence[str],
        purpose: str,
        classes: tuple[str, ...] = (),
        progress: Progress = lambda *_: None,
    ) -> list[Answer | Failure]:
        """Give one answer per picture, in order; ``contents`` are their sha256 (hex). Raises CloudError.

        What this ``purpose`` needed stays until ``remove``, for whoever was killed and asks again; where no other try
        follows, it is removed. ``classes`` are those of the model.
        """
        if not inputs:
            return []
        key = _key(model, purpose)
        try:
            said = self._said(key, model, inputs, contents, len(classes), progress)
            answers = [self._read(said, *one, model, classes) for one in zip(contents, inputs, strict=True)]
            require_any(answers, model, _REMEDY)
        except (Outage, LeaseLost, Fenced):
            raise
        except Exception:
            self.jobs.remove(key)
            raise
        return answers

    def remove(self, model: str, purpose: str) -> None:
        """End and remove what a purpose needed; what is not there is passed over."""
        self.jobs.remove(_key(model, purpose))

    def _said(
        self,
        key: str,
        model: str,
        inputs: Sequence[Input],
        contents: Sequence[str],
        classes: int,
        progress: Progress,
    ) -> Mapping[str, Predicted]:
        """See a job to its end, one that was begun before or a new one; gives what it said by the sha256 of inputs."""
        job = self.jobs.find(key)
        if not job:
            _log.info("%s is asked for %d answers by a batch prediction, which Google bills", model, len(inputs))
            addresses = self.jobs.send(key, self._instances(key, inputs, contents, progress))
            most = max(_MOST_BOXES, classes)
            more = {"modelParameters": {"confidenceThreshold": 0.0, "maxPredictions": most}}
            job = self.jobs.start(model, addresses, key, more)
        output = self._until_done(job, len(inputs), progress)
        said = (one for one in self.jobs.results(output) if isinstance(one.instance, dict))
        return {str(one.instance.get("content", "")).rpartition("/")[2]: one for one in said}

    def _instances(
        self, key: str, inputs: Sequence[Input], contents: Sequence[str], progress: Progress
    ) -> Iterator[Json]:
        """Bring pictures to Cloud Storage, and give the line of each."""
        place = self.jobs.place(key).below("pictures")
        there = set(place.names())
        for at, content in enumerate(contents):
            one = inputs[at]
            if one.text is not None:
                continue
            picture, media_type = taken(one.content, ASKED_BYTES)
            if content not in there:
                place.put(content, picture, media_type)
                progress("pictures to Cloud Storage", at + 1, len(inputs))
            yield {"content": f"{place.uri}/{content}", "mimeType": media_type}

    def _until_done(self, job: str, count: int, progress: Progress) -> str:
        """Look until a job is done, and give the folder of its answers."""
        late = time.monotonic() + self.seconds
        while (stands := self.jobs.poll(job)).state == "running":
            if time.monotonic() > late:
                raise CloudError(f"batch prediction job {job} goes on after {self.seconds:g} s: it was ended")
            what = "machines for the batch prediction" if stands.waits else "answers by batch prediction"
            progress(what, stands.answered, count)
            self.wait(self.every)
        if stands.error is not None:
            raise stands.error
        return stands.output

    def _read(
        self, said: Mapping[str, Predicted], content: str, one: Input, model: str, classes: tuple[str, ...]
    ) -> Answer | Failure:
        found = said.get(content)
        if one.text is not None:
            return Failure("AutoML answers to pictures alone")
        if found is None:
            return Failure("the batch prediction left no answer to it")
        if found.error:
            return Failure(found.error)
        body = json.dumps({"predictions": [found.prediction]}).encode()
        try:
            return read_answer(body, Asked([one], model, classes), response="automl")[0]
        except EndpointError as error:
            return Failure(str(error))


def _key(model: str, purpose: str) -> str:
    return f"{model}\n{purpose}"
