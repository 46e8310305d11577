"""The stand-in of AWS as a test holds it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.core.models import DEFAULT_ACCOUNT_ID

from labelloop.types import Json
from support.aws.containers import Containers
from support.aws.corrections import Corrections
from support.aws.endpoints import Endpoints
from support.aws.events import Events
from support.aws.executions import Executions
from support.aws.front import OUR_OWN, Front, hang_up, refusing, serving
from support.aws.functions import URLS, Functions
from support.aws.jobs import Jobs
from support.aws.models import Models
from support.aws.packages import Packages
from support.aws.runtime import Runtime
from support.aws.steps import Steps
from support.aws.transforms import Transforms
from support.aws.wire import Call
from support.aws_wire import ACCOUNT_VARIABLES, KEY, REGION, SECRET, aws_account

ACCOUNT = DEFAULT_ACCOUNT_ID


class StandIn:
    """AWS on this machine: an address, the variables by which programs find it, and what a test does to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self._front = Front()
        self._making = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self.events = Events({"sagemaker": self._start_pipeline, "lambda": self._invoke_function})
        self.packages = Packages(self.events.package_changed)
        self.endpoints = Endpoints(self.events.endpoint_changed)
        self.containers = Containers(self.client, lambda: self.environment)
        self.jobs = Jobs(folder / "jobs", self.containers)
        self.executions = Executions(Steps(self.jobs, self.client), self.events)
        self.functions = Functions(
            folder / "functions", lambda: self.environment, lambda: self.url, self._front.pass_on
        )
        self.models = Models(self.client, folder / "models")
        self.runtime = Runtime(self.endpoints, self.models, self.client)
        self.transforms = Transforms(self.models, self.client)
        self.rooms = (
            self.executions,
            self.jobs,
            self.packages,
            self.endpoints,
            self.functions,
            self.runtime,
            self.transforms,
            Corrections(self._front.pass_on),
        )
        self.paths = self._front.paths
        """What is answered at paths that begin so, whoever asks."""
        self.paths[URLS] = self.functions.answer_url
        self.operations = self._front.operations
        """What is answered here and not by moto, by the names in ``calls``; a test may add its own."""
        self._answer()
        self.pass_on = self._front.pass_on
        """Lets moto answer a call, for an operation of a test that changes its answer."""
        self.calls = self._front.plans.calls
        """What was asked, as IAM writes actions: ``sagemaker:CreateEndpoint``. S3's are named like its API's."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which boto3 in a child process finds this stand-in, and nobody's own account."""
        return {**ACCOUNT_VARIABLES, "AWS_ENDPOINT_URL": self.url}

    @property
    def busy_seconds(self) -> float:
        """Seconds in which it was answering something."""
        return self._front.busy_seconds

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process find the stand-in."""
        aws_account(monkeypatch)
        monkeypatch.setenv("AWS_ENDPOINT_URL", self.url)

    def client(self, service: str, region: str = REGION) -> Any:
        """Give boto3's client of a service. What it asks is neither counted in ``calls`` nor refused."""
        with self._making:  # a session makes one client at a time
            if (service, region) not in self._clients:
                self._clients[service, region] = boto3.client(
                    service,
                    region_name=region,
                    endpoint_url=self.url,
                    aws_access_key_id=KEY,
                    aws_secret_access_key=SECRET,
                    config=Config(user_agent_extra=OUR_OWN, retries={"total_max_attempts": 1}),
                )
            return self._clients[service, region]

    def role(self, name: str, service: str = "lambda") -> str:
        """Make a role that a service may assume, as moto wants one for functions; gives its ARN."""
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": f"{service}.amazonaws.com"}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        made = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy)
        return str(made["Role"]["Arn"])

    def fail(
        self,
        operation: str,
        code: str,
        status: int = 400,
        message: str = "",
        times: int | None = 1,
        *,
        after: bool = False,
    ) -> None:
        """Let the next calls of an operation be refused, as AWS writes that; None: all of them.

        With ``after``, what was asked is done all the same, and only its answer is an error.
        """
        self._front.plans.plan(operation, refusing(code, status, message), times, after=after)

    def deny(self, operation: str, resource: str = "*", times: int | None = 1) -> None:
        """Let the next calls be refused as those of a role that lacks the action, such as ``sagemaker:CreateModel``."""
        who = f"arn:aws:sts::{ACCOUNT}:assumed-role/labelloop/worker"
        said = f"User: {who} is not authorized to perform: {operation} on resource: {resource}"
        self.fail(operation, "AccessDeniedException", 400, said, times)

    def before(self, operation: str, function: Callable[[Call], None], times: int | None = 1) -> None:
        """Call a function before the next calls are answered. It runs beside the test, in a thread of the server.

        It may raise Refused, which is answered, or HungUp, which ends the connection without an answer.
        """
        self._front.plans.plan(operation, function, times)

    def after(self, operation: str, function: Callable[[Call], None], times: int | None = 1) -> None:
        """Call a function when the next calls are done, and not yet answered; else as ``before``."""
        self._front.plans.plan(operation, function, times, after=True)

    def hang_up(self, operation: str, times: int | None = 1, *, after: bool = False) -> None:
        """Give the next calls no answer; with ``after``, what was asked is done all the same."""
        self._front.plans.plan(operation, hang_up, times, after=after)

    def mend(self) -> None:
        """Let nothing fail any more of what a test has asked to."""
        self._front.plans.forget()

    def reset(self) -> None:
        """Forget everything: an account on its first day."""
        for room in (*self.rooms, self.models):
            room.forget()
        self._front.plans.forget()
        self._answer()
        BackendDict.reset()
        reset_model_data()

    def _answer(self) -> None:
        """Answer what the rooms do, and nothing that a test has put there."""
        self.operations.clear()
        for room in self.rooms:
            self.operations.update(room.operations())

    # Where events of EventBridge go.
    def _start_pipeline(self, target: Json, _event: Json) -> None:
        parameters = (target.get("SageMakerPipelineParameters") or {}).get("PipelineParameterList") or []
        client = self.client("sagemaker", target["Arn"].split(":")[3])
        client.start_pipeline_execution(PipelineName=target["Arn"].rpartition("/")[2], PipelineParameters=parameters)

    def _invoke_function(self, target: Json, event: Json) -> None:
        self.functions.invoke("", target["Arn"], "", json.dumps(event).encode())


@contextmanager
def aws_stand_in(folder: Path, port: int = 0) -> Iterator[StandIn]:
    """Run the stand-in; jobs and models lie below ``folder``. Moto is one in a process: so is this."""
    aws = StandIn(folder)
    aws.reset()
    with ExitStack() as stack:
        stack.enter_context(aws.events.delivering())
        stack.enter_context(aws.functions.running())
        aws.url = stack.enter_context(serving(aws._front, port))
        try:
            yield aws
        finally:
            aws.reset()
