"""Versions into a Lambda function: published, tested, led to by an alias, first for a share of the calls."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from werkzeug import Response

from labelloop.deployers.base import Deployable, Deployed, Deployer, EndpointTest
from labelloop.deployers.opening import open_deployer
from labelloop.endpoint_suite.problems import problems
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.failures import Denied
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import DeployError
from labelloop.settings import Settings
from labelloop.types import Input, Output, ProjectKey, Target
from support.aws import StandIn, dying_at
from support.aws.models import FunctionsInHere
from support.aws.wire import Call
from support.bundles import make_bundle, picture
from support.crash_store import Killed

PROJECT = ProjectKey("1795187630", 7)
ADDRESS = "lambda://cats?region=eu-west-1"
CANARY = f"{ADDRESS}&canary=10&wait=300&alarms=cats-errors"
SETTINGS = Settings(
    aws_role="arn:aws:iam::123456789012:role/labelloop",
    aws_inference_image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/labelloop-inference:1",
    aws_location="s3://labelloop/team",
)


LOOK = "lambda:GetFunctionConfiguration"


def well(address: str, bundle: Path) -> str:
    return ""


def badly(address: str, bundle: Path) -> str:
    return "it is no good"


@dataclass
class Place:
    """An account with a bucket and a repository, the deployer of one function, and versions to bring there.

    ``test`` judges a version before it gets calls, all of them well if nothing else is said; ``tested`` are those.
    """

    aws: StandIn
    functions: FunctionsInHere
    folder: Path
    test: EndpointTest = well
    tested: list[str] = field(default_factory=list)
    _opened: dict[str, Deployer] = field(default_factory=dict)

    def deployer(self, address: str = ADDRESS) -> Deployer:
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
        """Bring a version there, however often that takes a look; not to the end of a canary."""
        return self.deployer(address).deploy(self.version(name))

    @property
    def client(self) -> Any:
        return self.aws.client("lambda")

    @property
    def published(self) -> list[str]:
        """The versions of ours that Lambda has, by their descriptions."""
        found = self.client.list_versions_by_function(FunctionName="cats")["Versions"]
        return [one["Description"].split("-")[3] for one in found if one["Version"] != "$LATEST"]

    @property
    def alias(self) -> Any:
        return self.client.get_alias(FunctionName="cats", Name="live")

    @property
    def bundles(self) -> list[str]:
        found = self.aws.client("s3").list_objects_v2(Bucket="labelloop", Prefix="team/deployed/")
        return sorted({one["Key"].split("/")[2].split("-")[3] for one in found.get("Contents", ())})

    def ring(self, state: str = "ALARM") -> None:
        alarms = self.aws.client("cloudwatch")
        alarms.set_alarm_state(AlarmName="cats-errors", StateValue=state, StateReason="test")

    def hours_pass(self) -> None:
        """Let the canary have begun hours ago."""
        begun = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
        note = self.alias["Description"].rpartition(" ")[0]
        self.client.update_alias(FunctionName="cats", Name="live", Description=f"{note} {begun}")


@pytest.fixture
def place(aws: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    functions = FunctionsInHere(tmp_path / "served")
    monkeypatch.setattr(aws.functions, "run", functions.run)
    where = {"LocationConstraint": "eu-west-1"}
    aws.client("s3").create_bucket(Bucket="labelloop", CreateBucketConfiguration=where)
    trust = '{"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}'
    aws.client("iam").create_role(RoleName="labelloop", AssumeRolePolicyDocument=trust)
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="cats-errors",
        Namespace="AWS/Lambda",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    yield Place(aws, functions, tmp_path)
    aws.operations.pop(LOOK, None)


def ask(alias: str = "live") -> str:
    """Say which version answers a picture."""
    endpoint = open_endpoint(EndpointSpec(f"lambda://cats?region=eu-west-1&alias={alias}"))
    (told,) = endpoint.invoke([Input(picture("red"), "image/png")], Target())
    assert isinstance(told, Output), told
    return told.model_version


def test_a_version_is_published_tested_and_led_to(place: Place) -> None:
    deployer = place.deployer()
    assert deployer.state() == Deployed(absent=True)
    assert "has no alias live yet" in deployer.check()
    with pytest.raises(Denied, match="there is no function cats"):
        open_endpoint(EndpointSpec(ADDRESS)).check()

    stands = place.bring("v1")
    assert (stands.version, stands.between, stands.reason) == ("v1", (), "")
    assert stands.since
    assert place.tested == ["lambda://cats?region=eu-west-1&alias=1"]
    assert ask() == "v1"
    assert deployer.state() == stands
    assert "v1 serves, also at http" in deployer.check()
    assert "CloudWatch in eu-west-1 has no alarm others: " in place.deployer(f"{CANARY},others").check()
    assert "is there, and may be invoked" in open_endpoint(EndpointSpec(ADDRESS)).check()

    found = place.client.get_function_configuration(FunctionName="cats", Qualifier="live")
    assert found["ImageConfigResponse"]["ImageConfig"] == {
        "EntryPoint": ["python", "-m", "awslambdaric"],
        "Command": ["labelloop.serve.function.handler"],
    }
    assert found["Environment"]["Variables"]["MODEL_DIR"].startswith("/tmp/")
    assert place.client.get_function_url_config(FunctionName="cats", Qualifier="live")["AuthType"] == "AWS_IAM"


def test_a_canary_gets_its_share_until_its_time_is_over(place: Place) -> None:
    place.bring("v1", CANARY)
    deployer, version = place.deployer(CANARY), place.version("v2")
    assert deployer.deploy(version).between == ("v1", "v2")
    assert place.alias["RoutingConfig"]["AdditionalVersionWeights"] == {"2": 0.1}
    assert {ask() for _ in range(12)} == {"v1", "v2"}
    assert deployer.go_on(version).between == ("v1", "v2")
    assert deployer.state().between == ("v1", "v2"), "whoever looks sees it"

    place.hours_pass()
    stands = deployer.go_on(version)
    assert (stands.version, stands.between) == ("v2", ())
    assert {ask() for _ in range(12)} == {"v2"}
    assert len(place.tested) == 2, "each of them once"


def test_an_alarm_takes_a_canary_back(place: Place) -> None:
    place.bring("v1", CANARY)
    deployer, version = place.deployer(CANARY), place.version("v2")
    deployer.deploy(version)
    place.ring()
    stands = deployer.go_on(version)
    assert (stands.version, stands.between) == ("v1", ())
    assert stands.reason == "was taken back, for in CloudWatch cats-errors is in ALARM"
    assert {ask() for _ in range(12)} == {"v1"}
    assert deployer.go_on(version) == stands, "also for a worker that was killed before it could tell"

    held = place.bring("v2", CANARY)
    assert "no call was given to it, for in CloudWatch cats-errors is in ALARM" in held.reason
    place.ring("OK")
    assert place.bring("v2", CANARY).between == ("v1", "v2"), "nothing is in the way of another try"


def test_a_canary_that_is_given_up_gets_no_more_calls(place: Place) -> None:
    place.bring("v1", CANARY)
    assert place.bring("v2", CANARY).between == ("v1", "v2")
    place.test = badly
    stands = place.bring("v3", CANARY)
    assert (stands.version, stands.between) == ("v1", ()), "an alarm would be heard by nobody"
    assert "it is no good" in stands.reason
    assert {ask() for _ in range(12)} == {"v1"}


@pytest.mark.parametrize("operation", ["CreateFunction", "CreateAlias", "CreateFunctionUrlConfig", "PublishVersion"])
def test_an_answer_that_is_lost_is_no_failure(place: Place, operation: str) -> None:
    place.aws.hang_up(f"lambda:{operation}", after=True)
    assert place.bring("v1").version == "v1"
    assert place.published == ["v1"]


def test_what_answers_wrongly_gets_no_call(place: Place) -> None:
    place.test = lambda address, bundle: problems(EndpointSpec(address), bundle)
    assert place.bring("v1").version == "v1", "what is right passes all checks of labelloop test-endpoint"
    make_bundle(wrong := place.folder / "wrong", classes=("green", "red", "blue"), gain=5)
    place.functions.instead["v2"] = wrong

    stands = place.bring("v2")
    assert stands.version == "v1"
    assert "golden samples: the scores are right, but under other classes" in stands.reason
    assert ask() == "v1"


def test_the_way_back_is_the_alias(place: Place) -> None:
    place.bring("v1", CANARY)
    place.bring("v2", CANARY)
    place.ring()
    before = len(place.aws.calls)
    stands = place.deployer(CANARY).rollback(place.version("v1"))
    assert (stands.version, stands.between) == ("v1", ())
    assert {ask() for _ in range(12)} == {"v1"}
    changed = [name for name in place.aws.calls[before:] if "Update" in name or "Publish" in name or "Put" in name]
    assert changed == ["lambda:UpdateAlias"]
    assert len(place.tested) == 2


def test_the_last_versions_stay_and_older_ones_go(place: Place) -> None:
    for number in range(1, 6):
        place.bring(f"v{number}")
    assert place.published == ["v3", "v4", "v5"]
    assert place.bundles == ["v3", "v4", "v5"]
    place.deployer().rollback(place.version("v3"))
    place.bring("v6")
    assert place.published == ["v4", "v5", "v6"]
    assert ask() == "v6"


@pytest.mark.parametrize(
    ("after", "step"),
    [
        (True, 6),
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
        assert place.bring(name).version == name
        published = place.published
        assert published.count(name) == 1
        assert place.bundles == sorted(published)
    assert number > 15
    assert len(place.published) == 3


def test_while_lambda_needs_its_time_no_worker_waits(place: Place) -> None:
    place.bring("v1")
    slow = {"on": True}

    def look(call: Call) -> Response:
        told = place.aws.pass_on(call)
        found = json.loads(told.get_data())
        if slow["on"] and call.request.args.get("Qualifier") == "$LATEST":
            found["LastUpdateStatus"] = "InProgress"
        return call.answer(found)

    place.aws.operations[LOOK] = look
    deployer, version = place.deployer(), place.version("v2")
    assert deployer.deploy(version).between == ("v1", "v2")
    assert deployer.go_on(version).between == ("v1", "v2")
    assert place.published == ["v1"]
    slow["on"] = False
    assert deployer.go_on(version).version == "v2"


def test_a_change_that_lambda_cannot_make_says_why(place: Place) -> None:
    place.bring("v1")
    broken = {"on": True}

    def look(call: Call) -> Response:
        told = place.aws.pass_on(call)
        found = json.loads(told.get_data())
        if broken["on"] and "-v2-" in found.get("Description", ""):
            found |= {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "the image is gone"}
        return call.answer(found)

    place.aws.operations[LOOK] = look
    stands = place.bring("v2")
    assert (stands.version, stands.between) == ("v1", ())
    assert stands.reason == "function cats: the image is gone"
    assert ask() == "v1"
    broken["on"] = False
    assert place.bring("v2").version == "v2"


def test_a_role_that_lacks_an_action_is_told_which_on_what(place: Place) -> None:
    place.bring("v1")
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:cats"
    place.aws.deny("lambda:UpdateFunctionConfiguration", arn)
    with pytest.raises(DeployError, match=rf"role of this process do lambda:UpdateFunctionConfiguration on {arn}"):
        place.bring("v2")
    assert ask() == "v1"
    assert place.bring("v2").version == "v2"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("AccessDeniedException", r"allow these credentials lambda:InvokeFunction on it"),
        ("ExpiredTokenException", r"ExpiredTokenException.*expired"),
    ],
)
def test_who_may_not_ask_is_told_what_to_do(place: Place, code: str, told: str) -> None:
    place.bring("v1")
    place.aws.fail("lambda:Invoke", code, 403)
    with pytest.raises(Denied, match=told):
        ask()


def test_who_may_call_its_url(place: Place) -> None:
    place.bring("v1", f"{ADDRESS}&url=none")
    with pytest.raises(place.client.exceptions.ResourceNotFoundException):
        place.client.get_function_url_config(FunctionName="cats", Qualifier="live")
    place.bring("v2", f"{ADDRESS}&url=public")
    assert place.client.get_function_url_config(FunctionName="cats", Qualifier="live")["AuthType"] == "NONE"
    place.bring("v3", f"{ADDRESS}&url=public")
    policy = json.loads(place.client.get_policy(FunctionName="cats", Qualifier="live")["Policy"])
    assert {one["Action"] for one in policy["Statement"]} == {"lambda:InvokeFunction", "lambda:InvokeFunctionUrl"}
    place.bring("v4")
    assert place.client.get_function_url_config(FunctionName="cats", Qualifier="live")["AuthType"] == "AWS_IAM"
