"""An endpoint that is there for the time of some questions alone, whatever becomes of who asks them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from labelloop.cloud.aws.account import asking
from labelloop.cloud.aws.answers import PREFIX, Asking
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import CloudError, CloudMissing, EndpointError
from labelloop.types import Answer, Failure, Input, Progress, Target

_MANY = 32
"""Inputs that are in memory together."""

_VARIANT = "primary"
_MAKING_SECONDS = 1800.0
"""Whoever removes an endpoint waits for so long until it is made."""

_GOING = ("Creating", "Updating", "SystemUpdating", "RollingBack")


class PassingEndpoint(Asking):
    """By an endpoint that is there for the time of the questions alone."""

    @property
    def way(self) -> str:
        """How it is asked."""
        return "an endpoint for the time being"

    def _answers(
        self, package: str, inputs: Sequence[Input], name: str, spec: EndpointSpec, progress: Progress
    ) -> list[Answer | Failure]:
        self._remove_forgotten()
        self.make_model(package, name)
        self._make_endpoint(name)
        client = self.account.client("sagemaker")
        seen = self.until(
            lambda: client.describe_endpoint(EndpointName=name),
            "EndpointStatus",
            _GOING,
            f"endpoint {name}",
            lambda: progress("endpoint to ask the test items", 0, 0),
        )
        if seen["EndpointStatus"] != "InService":
            why = seen.get("FailureReason") or "no reason"
            raise CloudError(f"endpoint {name} ended as {seen['EndpointStatus']}: {why}")
        endpoint = open_endpoint(replace(spec, address=f"sagemaker://{name}?region={self.account.region}"))
        answers: list[Answer | Failure] = []
        try:
            for start in range(0, len(inputs), _MANY):
                answers += endpoint.invoke(inputs[start : start + _MANY], Target())
                progress("answers of an endpoint", len(answers), len(inputs))
        except EndpointError as error:
            # It is paid for: it does not stay until it is better.
            raise CloudError(f"{package} does not answer: {error}") from error
        return answers

    def _make_endpoint(self, name: str) -> None:
        client = self.account.client("sagemaker")
        variant = {
            "VariantName": _VARIANT,
            "ModelName": name,
            "InstanceType": self.instance,
            "InitialInstanceCount": 1,
        }
        steps: tuple[tuple[Callable[[], object], Callable[[], object]], ...] = (
            (
                lambda: client.describe_endpoint_config(EndpointConfigName=name),
                lambda: client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant]),
            ),
            (
                lambda: client.describe_endpoint(EndpointName=name),
                lambda: client.create_endpoint(EndpointName=name, EndpointConfigName=name),
            ),
        )
        for look, make in steps:
            try:
                with asking(f"endpoint {name}"):
                    look()
            except CloudMissing:
                with asking(f"endpoint {name} to be made"):
                    make()

    def _remove_forgotten(self) -> None:
        """Remove endpoints whose asker was killed and never came back."""
        before = datetime.now(UTC) - timedelta(seconds=max(self.seconds, 3600.0))
        with asking("endpoints that were left"):
            found = self.account.client("sagemaker").list_endpoints(NameContains=PREFIX, CreationTimeBefore=before)
        for one in found["Endpoints"]:
            self.remove(str(one["EndpointName"]))

    def _things(self, name: str) -> Iterator[tuple[str, Callable[[], object]]]:
        client = self.account.client("sagemaker")
        yield f"endpoint {name}", lambda: self._end(name)
        yield f"endpoint config {name}", lambda: client.delete_endpoint_config(EndpointConfigName=name)

    def _end(self, name: str) -> None:
        """Remove the endpoint: AWS refuses that while it is being made."""
        client = self.account.client("sagemaker")
        replace(self, seconds=min(self.seconds, _MAKING_SECONDS)).until(
            lambda: client.describe_endpoint(EndpointName=name),
            "EndpointStatus",
            _GOING,
            f"endpoint {name}",
            lambda: None,
        )
        client.delete_endpoint(EndpointName=name)
