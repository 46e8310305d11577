"""What a batch job is asked of waiting tasks, and its answers in the place of an endpoint's.

A request is named by its content: so a task finds its answer again without being known to the job, and one whose file
has changed since finds none.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Generator, Sequence

from labelloop.cloud.base import Answers
from labelloop.data.site import Site
from labelloop.endpoints.answers.format import Asked
from labelloop.endpoints.answers.read import read_answer
from labelloop.endpoints.base import Endpoint
from labelloop.endpoints.requests.format import RequestFormat
from labelloop.endpoints.requests.instances import Instances, ReferenceInstances
from labelloop.endpoints.spec import EndpointSpec, request_parameters
from labelloop.errors import CloudError, EndpointError, Outage
from labelloop.loop.predict import resolve_all
from labelloop.loop.serving import PredictionPlan
from labelloop.types import Answer, Failure, Input, Progress, Target, chunks

_log = logging.getLogger(__name__)

_TOGETHER = 64
"""Tasks whose files are held in memory while they are sent."""


Writer = Callable[[Input], tuple[str, bytes] | None]


def writer(spec: EndpointSpec) -> Writer:
    """Give what writes an input as a request and names it by that; None of what cannot be written."""
    form: RequestFormat = ReferenceInstances() if spec.request == "reference" else Instances()
    parameters = request_parameters(spec, form)

    def write(one: Input) -> tuple[str, bytes] | None:
        if form.refusal(one):
            return None
        body = form.write([one], parameters).content
        return hashlib.sha256(body).hexdigest(), body

    return write


def requests_of(
    plan: PredictionPlan, site: Site, most: int, total: int, report: Progress
) -> Generator[tuple[str, bytes], None, None]:
    """Read the ``total`` tasks that wait, and write them, at most so many bytes each.

    What cannot be read, or is too large, is left to the endpoint.
    """
    write, done = writer(plan.options.endpoint), 0
    for tasks in chunks(site.waiting(plan.version), _TOGETHER):
        for item in resolve_all(plan, tasks, None):
            request = write(item) if isinstance(item, Input) else None
            if request is not None and len(request[1]) <= most:
                yield request
        done += len(tasks)
        report("tasks sent to a batch job", done, max(done, total))


class Answered:
    """An endpoint, before which stands what a job has answered; see Endpoint.

    It counts what the job has ``answered``, and what is ``left`` to the endpoint.
    """

    def __init__(self, plan: PredictionPlan, find: Answers) -> None:
        self._endpoint: Endpoint = plan.endpoint
        self._write, self._find, self._version = writer(plan.options.endpoint), find, plan.version
        self.name, self.follows = plan.endpoint.name, plan.endpoint.follows
        self.batch, self.concurrency = plan.endpoint.batch, plan.endpoint.concurrency
        self.answered = self.left = 0
        self._counting = threading.Lock()

    def invoke(self, inputs: Sequence[Input], target: Target, deadline: float | None = None) -> list[Answer | Failure]:
        """Give the job's answers, and ask for the others."""
        found = [self._answer(one) for one in inputs]
        missing = [one for one, answer in zip(inputs, found, strict=True) if answer is None]
        with self._counting:
            self.answered += len(inputs) - len(missing)
            self.left += len(missing)
        rest = iter(self._endpoint.invoke(missing, target, deadline) if missing else [])
        return [answer if answer is not None else next(rest) for answer in found]

    def check(self) -> str:
        """Look whether the endpoint is there."""
        return self._endpoint.check()

    def _answer(self, one: Input) -> Answer | Failure | None:
        try:
            request = self._write(one)
            content = self._find(request[0]) if request else None
            return read_answer(content, Asked([one], self._version), response="labelloop")[0] if content else None
        except Outage as error:
            raise EndpointError(str(error)) from error
        except (CloudError, EndpointError) as error:
            _log.warning("an answer of the batch job cannot be used: %s", error)
            return None
