"""Versions onto a SageMaker endpoint: tested before traffic moves, taken back by an alarm, cut at every call."""

from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import botocore.endpoint
import pytest

from labelloop.deployers.base import Deployable, Deployed, Deployer, EndpointTest
from labelloop.deployers.opening import open_deployer
from labelloop.endpoint_suite.problems import problems
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import CloudAway, DeployError
from labelloop.settings import Settings
from labelloop.types import Input, Output, ProjectKey, Target
from support.aws import StandIn, dying_at
from support.bundles import make_bundle, picture
from support.crash_store import Killed

PROJECT = ProjectKey("1795187630", 7)
ADDRESS = "sagemaker://cats?region=eu-west-1&instance=ml.m5.large&count=2&canary=10&wait=60&alarms=cats-errors"
SETTINGS = Settings(
    aws_role="arn:aws:iam::123456789012:role/labelloop",
    aws_inference_image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/labelloop-inference:1",
    aws_location="s3://labelloop/team",
)


def well(address: str, bundle: Path) -> str:
    return ""


@dataclass
class Place:
    """An account with a bucket, the deployer of one endpoint, and versions to bring there.

    ``test`` judges an endpoint before traffic moves, all of them well if nothing else is said; ``tested`` are those.
    """

    aws: StandIn
    folder: Path
    test: EndpointTest = well
    tested: list[str] = field(default_factory=list)
    _opened: dict[str, Deployer] = field(default_factory=dict)
    _clients: dict[str, Any] = field(default_factory=dict)

    def deployer(self, address: str = ADDRESS, **settings: str) -> Deployer:
        """Open one, once for each address: making clients takes most of a test's time."""
        if settings:
            return open_deployer(address, PROJECT, replace(SETTINGS, **settings), self.judge)  # type: ignore[arg-type]
        if address not in self._opened:
            self._opened[address] = open_deployer(address, PROJECT, SETTINGS, self.judge)
        return self._opened[address]

    def judge(self, address: str, bundle: Path) -> str:
        self.tested.append(address)
        return self.test(address, bundle)

    def version(self, name: str) -> Deployable:
        folder = self.folder / name
        if not folder.exists():
            make_bundle(folder, gain=float(name[1:]) + 3)
        return Deployable(PROJECT, name, folder)

    def bring(self, name: str, address: str = ADDRESS) -> Deployed:
        """Bring a version there, however often that takes a look."""
        deployer, version = self.deployer(address), self.version(name)
        stands = deployer.deploy(version)
        for _ in range(20):
            if not stands.between:
                return stands
            stands = deployer.go_on(version)
        raise AssertionError(f"{name} never comes to an end: {stands}")

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.aws.client(service)
        return self._clients[service]

    def names(self, operation: str, listed: str, key: str) -> list[str]:
        found = getattr(self.client("sagemaker"), operation)()
        return sorted(one[key] for one in found[listed])

    @property
    def endpoints(self) -> list[str]:
        return self.names("list_endpoints", "Endpoints", "EndpointName")

    @property
    def configs(self) -> list[str]:
        return self.names("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName")

    @property
    def models(self) -> list[str]:
        return self.names("list_models", "Models", "ModelName")

    @property
    def archives(self) -> list[str]:
        found = self.client("s3").list_objects_v2(Bucket="labelloop", Prefix="team/deployed/")
        return sorted(one["Key"] for one in found.get("Contents", ()) if one["Key"].endswith("model.tar.gz"))

    def ring(self, state: str = "ALARM") -> None:
        self.client("cloudwatch").set_alarm_state(AlarmName="cats-errors", StateValue=state, StateReason="test")


@pytest.fixture
def place(aws: StandIn, tmp_path: Path) -> Place:
    where = {"LocationConstraint": "eu-west-1"}
    aws.client("s3").create_bucket(Bucket="labelloop", CreateBucketConfiguration=where)
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="cats-errors",
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[{"Name": "EndpointName", "Value": "cats"}, {"Name": "VariantName", "Value": "primary"}],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    return Place(aws, tmp_path)


def ask() -> str:
    """Say which version answers a picture."""
    endpoint = open_endpoint(EndpointSpec("sagemaker://cats?region=eu-west-1"))
    (answer,) = endpoint.invoke([Input(picture("red"), "image/png")], Target())
    assert isinstance(answer, Output)
    return answer.model_version


def test_a_version_is_tested_beside_the_endpoint_and_then_serves(place: Place) -> None:
    deployer, version = place.deployer(), place.version("v1")
    assert deployer.state() == Deployed(absent=True)
    assert "is not there yet" in deployer.check()

    begun = deployer.deploy(version)
    assert begun.between == ("v1",)
    (trial,) = place.endpoints
    assert trial.startswith("cats-check-")
    assert not place.tested

    stands = place.bring("v1")
    assert (stands.version, stands.between, stands.reason) == ("v1", (), "")
    assert stands.since
    assert place.tested == [f"sagemaker://{trial}?region=eu-west-1"], "once, by its own endpoint"
    assert place.endpoints == ["cats"], "the trial endpoint is gone"
    assert ask() == "v1"
    told = deployer.check()
    assert "is InService with v1" in told
    assert "alarm" not in told
    place.client("cloudwatch").delete_alarms(AlarmNames=["cats-errors"])
    assert deployer.check() == f"{told}; CloudWatch in eu-west-1 has no alarm cats-errors: make it, or correct alarms="


def test_a_canary_answers_beside_what_serves_until_its_time_is_over(place: Place) -> None:
    place.bring("v1")
    place.aws.endpoints.looks = None
    deployer, version = place.deployer(), place.version("v2")
    deployer.deploy(version)
    place.aws.endpoints.finish(place.endpoints[1])
    assert deployer.go_on(version).between == ("v1", "v2")
    assert place.endpoints == ["cats"], "the trial endpoint is not paid for during the canary"

    assert {ask() for _ in range(30)} == {"v1", "v2"}
    assert deployer.go_on(version).between == ("v1", "v2")
    assert deployer.state().between == ("v1", "v2"), "whoever looks sees it"
    place.aws.endpoints.finish("cats")
    assert deployer.go_on(version).version == "v2"
    assert {ask() for _ in range(10)} == {"v2"}

    told = place.client("sagemaker").describe_endpoint(EndpointName="cats")["LastDeploymentConfig"]
    routing = told["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing == {
        "Type": "CANARY",
        "WaitIntervalInSeconds": 60,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
    }
    assert told["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "cats-errors"}]}


def test_an_alarm_during_the_canary_takes_it_back(place: Place) -> None:
    place.bring("v1")
    deployer, version = place.deployer(), place.version("v2")
    deployer.deploy(version)
    while place.aws.endpoints.pending("cats") is None:
        assert deployer.go_on(version).between
    place.ring()
    stands = deployer.go_on(version)
    assert (stands.between, "ALARM" in stands.reason) == (("v1", "v2"), False)
    while stands.between:
        stands = deployer.go_on(version)

    assert stands.version == "v1"
    assert "has gone back to what it served" in stands.reason
    assert "cats-errors" in stands.reason
    assert ask() == "v1"
    assert deployer.state() == replace(stands, reason="")

    held = place.bring("v2")
    assert "no traffic has moved" in held.reason
    assert "cats-errors is in ALARM" in held.reason
    place.ring("OK")
    assert place.bring("v2").version == "v2", "nothing is in the way of another try"


def test_what_answers_wrongly_gets_no_traffic(place: Place) -> None:
    place.test = lambda address, bundle: problems(EndpointSpec(address), bundle)
    assert place.bring("v1").version == "v1", "what is right passes all checks of labelloop test-endpoint"
    make_bundle(wrong := place.folder / "wrong", classes=("green", "red", "blue"), gain=5)
    place.aws.models.instead["v2"] = wrong

    stands = place.bring("v2")
    assert stands.version == "v1"
    assert "before any traffic moved" in stands.reason
    assert "golden samples: the scores are right, but under other classes" in stands.reason
    assert (place.endpoints, ask()) == (["cats"], "v1")
    assert not [version for endpoint, version in place.aws.runtime.answered if (endpoint, version) == ("cats", "v2")]


def test_the_way_back_is_short_and_no_alarm_is_in_it(place: Place) -> None:
    place.bring("v1")
    place.bring("v2")
    place.ring()
    before = len(place.aws.calls)
    deployer, version = place.deployer(), place.version("v1")
    assert deployer.rollback(version).between == ("v2", "v1")
    assert len(place.tested) == 2
    made = [name for name in place.aws.calls[before:] if "Create" in name]
    assert not made, "model and config are there still"
    while (stands := deployer.go_on(version)).between:
        pass
    assert (stands.version, ask()) == ("v1", "v1")
    told = place.client("sagemaker").describe_endpoint(EndpointName="cats")["LastDeploymentConfig"]
    assert told["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    assert "AutoRollbackConfiguration" not in told
    assert deployer.rollback(version) == stands, "once more changes nothing"


def test_an_endpoint_that_moves_is_waited_for_before_the_way_back(place: Place) -> None:
    place.bring("v1")
    deployer, version = place.deployer(), place.version("v2")
    deployer.deploy(version)
    while place.aws.endpoints.pending("cats") is None:
        deployer.go_on(version)
    place.aws.endpoints.stick("cats")
    with pytest.raises(CloudAway, match=r"endpoint cats is Updating, .* v1 is brought back when it is over"):
        deployer.rollback(place.version("v1"))
    for _ in range(5):
        assert deployer.go_on(version).between == ("v1", "v2"), "it is the loop that loses patience"
    place.aws.endpoints.finish("cats")
    assert deployer.rollback(place.version("v1")).between == ("v2", "v1")


def test_a_version_that_was_given_up_leaves_no_endpoint_behind(place: Place) -> None:
    place.bring("v1")
    place.aws.endpoints.looks = None
    deployer = place.deployer()
    deployer.deploy(place.version("v2"))
    (trial,) = place.endpoints[1:]

    version = place.version("v1")
    stands = deployer.rollback(version)
    assert (stands.version, stands.between) == ("v1", ("v1",)), "AWS deletes no endpoint that is being made"
    assert deployer.go_on(version) == stands
    place.aws.endpoints.finish(trial)
    assert deployer.go_on(version).between == ()
    assert place.endpoints == ["cats"]


def test_an_endpoint_of_somebody_else_is_left_alone(place: Place) -> None:
    place.bring("v1")
    place.client("sagemaker").create_endpoint(EndpointName="cats-check-other", EndpointConfigName=place.configs[0])
    place.bring("v2")
    assert sorted(place.endpoints) == ["cats", "cats-check-other"]


def test_the_last_versions_stay_and_older_ones_go(place: Place) -> None:
    for number in range(1, 6):
        place.bring(f"v{number}")
    kept = ["v3", "v4", "v5"]
    for names in (place.configs, place.models, [key.split("/")[2] for key in place.archives]):
        assert [name.split("-")[3] for name in names] == kept
    place.deployer().rollback(place.version("v3"))
    assert place.bring("v3").version == "v3"
    place.bring("v6")
    assert [name.split("-")[3] for name in place.configs] == ["v4", "v5", "v6"]


@pytest.mark.parametrize(
    ("after", "step"),
    [
        (True, 5),
        pytest.param(False, 1, marks=pytest.mark.slow),
        pytest.param(True, 1, marks=pytest.mark.slow),
    ],
    ids=["some", "before any", "after any"],
)
def test_killed_between_two_calls_it_makes_nothing_twice(place: Place, after: bool, step: int) -> None:
    place.bring("v1")
    for number in count(1, step):
        name = f"v{number + 1}"
        with dying_at(number - 1, after=after), suppress(Killed):
            place.bring(name)
            break
        stands = place.bring(name)
        assert (stands.version, stands.between) == (name, ())
        assert place.endpoints == ["cats"]
        configs = place.configs
        assert [one.split("-")[3] for one in configs].count(name) == 1
        assert place.models == configs
        assert [key.split("/")[2] for key in place.archives] == configs
    assert number > 15
    assert len(place.configs) == 3


def test_a_trial_endpoint_that_fails_says_why_and_goes(place: Place) -> None:
    place.bring("v1")
    place.aws.endpoints.looks = None
    deployer, version = place.deployer(), place.version("v2")
    deployer.deploy(version)
    place.aws.endpoints.fail(place.endpoints[1], "The primary container for production variant primary did not pass")
    stands = deployer.go_on(version)
    assert (stands.version, stands.between) == ("v1", ())
    assert "cats-check-" in stands.reason
    assert "did not pass" in stands.reason
    assert place.endpoints == ["cats"]
    place.aws.endpoints.looks = 1
    assert place.bring("v2").version == "v2"


def test_an_endpoint_that_failed_is_made_anew(place: Place) -> None:
    place.aws.endpoints.looks = None
    deployer, version = place.deployer(), place.version("v1")
    deployer.deploy(version)
    place.aws.endpoints.finish(place.endpoints[0])
    assert deployer.go_on(version).between == ("v1",)
    place.aws.endpoints.fail("cats", "no capacity for ml.m5.large")
    stands = deployer.go_on(version)
    assert (stands.version, stands.between) == ("", ())
    assert "no capacity" in stands.reason
    assert "no capacity" in deployer.state().reason

    place.aws.endpoints.looks = 1
    assert place.bring("v1").version == "v1"
    assert place.endpoints == ["cats"]


def test_where_the_way_back_failed_too_it_says_what_to_do(place: Place) -> None:
    place.bring("v1")
    deployer, version = place.deployer(), place.version("v2")
    deployer.deploy(version)
    while place.aws.endpoints.pending("cats") is None:
        deployer.go_on(version)
    place.aws.endpoints.fail("cats", "both failed")
    stands = deployer.go_on(version)
    assert stands.for_good
    assert "UpdateRollbackFailed" in stands.reason
    assert "`labelloop aws deploy VERSION`" in stands.reason
    assert place.bring("v2").version == "v2"


def test_a_role_that_lacks_an_action_is_told_which_on_what(place: Place) -> None:
    place.bring("v1")
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/cats"
    place.aws.deny("sagemaker:UpdateEndpoint", arn)
    with pytest.raises(DeployError, match=rf"let the role of this process do sagemaker:UpdateEndpoint on {arn}"):
        place.bring("v2")
    assert ask() == "v1"
    assert place.bring("v2").version == "v2"


def test_what_passes_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.bring("v1")
    monkeypatch.setattr(botocore.endpoint.time, "sleep", lambda _: None)  # the client waits before each further try
    place.aws.fail("sagemaker:UpdateEndpoint", "ThrottlingException", message="Rate exceeded", times=4)
    with pytest.raises(CloudAway, match=r"endpoint cats with config .*-v2-.*: AWS answered ThrottlingException"):
        place.bring("v2")
    assert ask() == "v1"
    assert place.bring("v2").version == "v2"


@pytest.mark.parametrize(
    ("address", "capacity", "asked"),
    [
        ("sagemaker://cats?region=eu-west-1&serverless=4096&concurrency=5", "serverless", ""),
        ("sagemaker://cats?region=eu-west-1&async=s3://labelloop/async", "async", "&mode=async&input="),
    ],
    ids=["serverless", "async"],
)
def test_endpoints_of_other_kinds(place: Place, address: str, capacity: str, asked: str) -> None:
    assert place.bring("v1", address).version == "v1"
    assert place.bring("v2", address).version == "v2"
    client = place.client("sagemaker")
    config = client.describe_endpoint_config(EndpointConfigName=place.configs[0])
    variant = config["ProductionVariants"][0]
    assert variant["VariantName"] == "primary"
    assert asked in place.tested[0]
    told = client.describe_endpoint(EndpointName="cats").get("LastDeploymentConfig")
    if capacity == "serverless":
        assert variant["ServerlessConfig"] == {"MemorySizeInMB": 4096, "MaxConcurrency": 5}
        assert told is None, "it moves at once, and takes no DeploymentConfig"
    else:
        assert config["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"] == "s3://labelloop/async/output"
        assert told["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"


def test_models_run_as_the_role_of_the_address(place: Place) -> None:
    role = "arn:aws:iam::123456789012:role/models"
    place.bring("v1", f"{ADDRESS}&role={role}" if "?" in ADDRESS else f"{ADDRESS}?role={role}")
    [model] = place.names("list_models", "Models", "ModelName")
    assert place.client("sagemaker").describe_model(ModelName=model)["ExecutionRoleArn"] == role


@pytest.mark.slow
def test_an_asynchronous_endpoint_is_tested_by_its_own_calls(place: Place) -> None:
    place.test = lambda address, bundle: problems(EndpointSpec(address), bundle)
    address = "sagemaker://cats?region=eu-west-1&async=s3://labelloop/async"
    assert place.bring("v1", address).version == "v1"
    make_bundle(wrong := place.folder / "wrong", classes=("green", "red", "blue"), gain=5)
    place.aws.models.instead["v2"] = wrong
    assert "under other classes" in place.bring("v2", address).reason


def test_nothing_begins_without_what_it_needs(place: Place) -> None:
    version = place.version("v1")
    with pytest.raises(DeployError, match="needs LABELLOOP_AWS_ROLE"):
        place.deployer(aws_role="").deploy(version)
    with pytest.raises(DeployError, match="LABELLOOP_AWS_LOCATION"):
        place.deployer(aws_location="").deploy(version)
    assert not place.aws.calls
