"""Asking a registered model for answers: what is set up for that alone is removed again.

All that is set up for it has one name, so that whoever is killed in here finds it again, or removes it, by that name.
"""

import hashlib
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from labelloop.cloud.aws.account import Account, asking
from labelloop.cloud.aws.objects import Folder
from labelloop.cloud.base import require_any
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import CloudError, CloudMissing, Fenced, LeaseLost, Outage
from labelloop.types import Answer, Failure, Input, Json, Progress

_log = logging.getLogger(__name__)

PREFIX = "labelloop-judge-"
_CONTAINER = ("Image", "ModelDataUrl", "ModelDataSource", "Environment")
"""What CreateModel takes of a package's container."""
_FORMATS = "LABELLOOP_REQUEST_FORMAT and LABELLOOP_RESPONSE_FORMAT say how it is asked and read"


def name_for(package: str, purpose: str) -> str:
    """Name all that is set up to ask a package (ARN) for a purpose, such as a run's key: at most 63 letters."""
    return PREFIX + hashlib.sha256(f"{package}\n{purpose}".encode()).hexdigest()[:24]


def describe_package(account: Account, package: str) -> Json:
    """Give DescribeModelPackage's answer; raises CloudError."""
    with asking(f"model package {package}"):
        found: Json = account.client("sagemaker").describe_model_package(ModelPackageName=package)
        return found


@dataclass(frozen=True)
class Asking(ABC):
    """Asks packages of an account for answers, with one machine of a type (``instance``), as a ``role``.

    ``spec`` says how inputs are written and answers read; its address counts for nothing. ``folder`` is for inputs and
    outputs. It is looked ``every`` so many seconds how it stands, for at most ``seconds``.
    """

    account: Account
    folder: Folder
    role: str
    instance: str
    spec: EndpointSpec
    every: float
    seconds: float
    wait: Callable[[float], None] = time.sleep

    def ask(
        self,
        package: str,
        inputs: Sequence[Input],
        name: str,
        classes: tuple[str, ...] = (),
        progress: Progress = lambda *_: None,
    ) -> list[Answer | Failure]:
        """Give one answer per input, in order; what was set up under the ``name`` is gone then, whatever happened.

        Only where another try follows, it stays to be found by that. ``classes`` are for answers that only hold
        numbers. Raises CloudError.
        """
        if not inputs:
            return []
        spec = self.spec if self.spec.classes else replace(self.spec, classes=classes)
        _log.info(
            "%s is asked for %d answers by %s: %s is billed until then", package, len(inputs), self.way, self.bill
        )
        try:
            answers = self._answers(package, inputs, name, replace(spec, version=package), progress)
            require_any(answers, package, _FORMATS)
        except (Outage, LeaseLost, Fenced):
            raise
        except Exception:
            self.remove(name)
            raise
        self.remove(name)
        return answers

    @property
    def bill(self) -> str:
        """Say what costs while it is asked."""
        return f"one {self.instance}"

    @property
    @abstractmethod
    def way(self) -> str:
        """How it is asked, in words."""

    @abstractmethod
    def _answers(
        self, package: str, inputs: Sequence[Input], name: str, spec: EndpointSpec, progress: Progress
    ) -> list[Answer | Failure]:
        """Set up what is needed, unless it is there, and ask."""

    @abstractmethod
    def _things(self, name: str) -> Iterator[tuple[str, Callable[[], object]]]:
        """Say what ends the things of a name that cost, and how each is called."""

    def remove(self, name: str) -> None:
        """End and remove all of a name; what is not there is passed over, what cannot be removed is said."""
        client = self.account.client("sagemaker")
        model = (f"model {name}", lambda: client.delete_model(ModelName=name))
        for what, end in (*self._things(name), model):
            try:
                with asking(f"the end of {what}"):
                    end()
            except CloudMissing:
                continue
            except CloudError as error:
                _log.error("%s may still be there, and cost: remove it by hand. %s", what, error)

    def make_model(self, package: str, name: str) -> None:
        """Make a model of a package's containers, whatever its approval, unless it is there."""
        client = self.account.client("sagemaker")
        try:
            with asking(f"model {name}"):
                client.describe_model(ModelName=name)
        except CloudMissing:
            held = describe_package(self.account, package).get("InferenceSpecification", {}).get("Containers", [])
            if not held:
                raise CloudError(f"model package {package} names no container: nothing can be asked of it") from None
            containers = [{key: one[key] for key in _CONTAINER if one.get(key)} for one in held]
            with asking(f"a model of package {package}"):
                client.create_model(ModelName=name, ExecutionRoleArn=self.role, Containers=containers)

    def until(
        self, look: Callable[[], Json], state: str, going: Sequence[str], what: str, tell: Callable[[], None]
    ) -> Json:
        """Look until a thing is not ``going`` on any more, and give what was seen last; raises CloudError when late."""
        late = time.monotonic() + self.seconds
        while True:
            with asking(what):
                seen = look()
            if seen[state] not in going:
                return seen
            if time.monotonic() > late:
                raise CloudError(f"{what} is still {seen[state]} after {self.seconds:g} s: it was ended")
            tell()
            self.wait(self.every)
