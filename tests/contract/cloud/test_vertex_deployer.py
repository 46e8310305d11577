"""Versions onto a Vertex AI endpoint: tested before traffic moves, a canary, the way back, cut at every call."""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labelloop.bundle_info import ForeignInfo
from labelloop.deployers.base import Deployable, Deployed, Deployer, EndpointTest
from labelloop.deployers.opening import open_deployer
from labelloop.endpoint_suite.problems import problems
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import CloudAway, DeployError
from labelloop.models.bundle import write_foreign
from labelloop.settings import Settings
from labelloop.types import Input, Output, ProjectKey, Target
from support.bundles import make_bundle, picture
from support.crash_store import Killed
from support.google import LOCATION, Call, Refused, StandIn
from support.google import PROJECT as SHOP
from support.google.kills import dying_at

PROJECT = ProjectKey("1795187630", 7)
PLACE = f"vertex://{SHOP}/{LOCATION}/cats"
ADDRESS = f"{PLACE}?machine=n1-standard-4&replicas=1..3&canary=20&wait=600"
MODEL = "labelloop-1795187630-7"
SETTINGS = Settings(
    google_inference_image="europe-docker.pkg.dev/shop-1/labelloop/inference:1", google_folder="gs://labelloop/team"
)


def well(address: str, bundle: Path) -> str:
    return ""


@dataclass
class Place:
    """A project with a bucket, the deployer of one endpoint, and versions to bring there.

    ``test`` judges an endpoint before traffic moves, all of them well if nothing else is said; ``tested`` are those.
    """

    google: StandIn
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    test: EndpointTest = well
    tested: list[str] = field(default_factory=list)
    passed: float = 0.0

    def deployer(self, address: str = ADDRESS, project: ProjectKey = PROJECT, **settings: str) -> Deployer:
        return open_deployer(address, project, replace(SETTINGS, **settings), self.judge)  # type: ignore[arg-type]

    def judge(self, address: str, bundle: Path) -> str:
        self.tested.append(address)
        return self.test(address, bundle)

    def version(self, name: str, project: ProjectKey = PROJECT) -> Deployable:
        folder = self.folder / name
        if not folder.exists():
            make_bundle(folder, gain=float(name[1:]) + 3)
        return Deployable(project, name, folder)

    def bring(self, name: str, address: str = ADDRESS) -> Deployed:
        """Bring a version there, however often that takes a look; time flies when its canary waits."""
        deployer, version = self.deployer(address), self.version(name)
        stands = deployer.deploy(version)
        for _ in range(30):
            if not stands.between:
                return stands
            if sorted(self.traffic.values()) == [20, 80]:
                self.later(600)
            stands = deployer.go_on(version)
        raise AssertionError(f"{name} never comes to an end: {stands}")

    def shared(self, name: str) -> Deployed:
        """Bring a version until it has its canary's share."""
        deployer, version = self.deployer(), self.version(name)
        stands = deployer.deploy(version)
        for _ in range(30):
            if len(self.traffic) == 2:
                return stands
            stands = deployer.go_on(version)
        raise AssertionError(f"{name} never gets a share: {stands}")

    def later(self, seconds: float) -> None:
        """Let time pass for the deployer."""
        self.passed += seconds
        clock = SimpleNamespace(time=lambda: time.time() + self.passed)
        for module in ("vertex", "vertex_state"):
            self.monkeypatch.setattr(f"labelloop.deployers.{module}.time", clock)

    @property
    def endpoints(self) -> list[str]:
        found = self.google.ask("GET", "endpoints").get("endpoints", ())
        return sorted(one["name"].rpartition("/")[2] for one in found)

    @property
    def endpoint(self) -> Any:
        return self.google.ask("GET", "endpoints/cats")

    @property
    def deployed(self) -> list[str]:
        """The versions that are deployed to the endpoint."""
        return sorted(one["displayName"].split("-")[3] for one in self.endpoint.get("deployedModels", ()))

    @property
    def traffic(self) -> dict[str, int]:
        """Each version's share of the traffic."""
        if "cats" not in self.endpoints:
            return {}
        told = self.endpoint
        names = {one["id"]: one["displayName"].split("-")[3] for one in told.get("deployedModels", ())}
        return {names[one]: share for one, share in told.get("trafficSplit", {}).items()}

    @property
    def models(self) -> list[str]:
        """The versions of which the project's model has one, the oldest first."""
        found = self.google.ask("GET", f"models/{MODEL}:listVersions").get("models", ())
        numbered = sorted(found, key=lambda one: int(one["versionId"]))
        aliases = [[name for name in one["versionAliases"] if re.fullmatch(r"v\d+", name)] for one in numbered]
        return [name for names in aliases for name in names or ["?"]]

    @property
    def files(self) -> list[str]:
        """The versions whose files lie in the bucket."""
        names = self.google.objects.names("gs://labelloop/team/")
        found = {name.split("models/1795187630/7/")[1].split("-")[0] for name in names if "model.json" in name}
        return sorted(found, key=lambda name: int(name[1:]))

    @property
    def parent(self) -> str:
        return f"projects/{SHOP}/locations/{LOCATION}"

    def busy(self, endpoint: str) -> bool:
        return bool(self.google.operations.pending(f"{self.parent}/endpoints/{endpoint}"))

    def slow(self, verb: str = "deployModel") -> None:
        """Let deployments, or what else is asked, go on until they are settled."""

        def looks(number: int | None) -> Callable[[Call], None]:
            return lambda _: setattr(self.google.operations, "looks", number)

        self.google.before(f"POST endpoints/*:{verb}", looks(None), times=None)
        self.google.after(f"POST endpoints/*:{verb}", looks(1), times=None)

    def begun(self, name: str) -> Deployed:
        """Bring a version until it is being deployed to the endpoint itself."""
        self.slow()
        deployer, version = self.deployer(), self.version(name)
        stands = deployer.deploy(version)
        for _ in range(9):
            if self.busy("cats"):
                return stands
            self.settle()
            stands = deployer.go_on(version)
        raise AssertionError(f"{name} is never deployed: {stands}")

    def settle(self) -> None:
        """Let what goes on come to its end."""
        self.google.operations.finish()


@pytest.fixture
def place(google: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    google.bucket("labelloop")
    return Place(google, tmp_path, monkeypatch)


def ask() -> str:
    """Say which version answers a picture."""
    endpoint = open_endpoint(EndpointSpec(PLACE, base=Settings.from_environment().vertex_base_url))
    (answer,) = endpoint.invoke([Input(picture("red"), "image/png")], Target())
    assert isinstance(answer, Output)
    return answer.model_version


def test_a_version_is_tested_beside_the_endpoint_and_then_serves(place: Place) -> None:
    deployer, version = place.deployer(), place.version("v1")
    assert deployer.state() == Deployed(absent=True)
    assert deployer.check() == f"{PLACE} is not there yet: the first deployment makes it"

    begun = deployer.deploy(version)
    assert begun.between == ("v1",)
    (trial,) = place.endpoints
    assert trial.startswith("cats-check-")
    assert not place.tested

    stands = place.bring("v1")
    assert (stands.version, stands.between, stands.reason) == ("v1", (), "")
    assert stands.since
    assert place.tested == [
        f"vertex://{SHOP}/{LOCATION}/{trial}?dedicated={trial}.{LOCATION}-1.prediction.vertexai.goog"
    ]
    place.settle()
    assert place.endpoints == ["cats"], "the trial endpoint is gone"
    assert ask() == "v1"
    assert place.deployer().check() == f"{PLACE}: v1 serves since {stands.since}"
    (deployed,) = place.endpoint["deployedModels"]
    assert deployed["dedicatedResources"] == {
        "machineSpec": {"machineType": "n1-standard-4"},
        "minReplicaCount": 1,
        "maxReplicaCount": 3,
    }
    assert place.endpoint["dedicatedEndpointEnabled"]


def test_a_canary_answers_beside_what_serves_until_its_time_is_over(place: Place) -> None:
    place.bring("v1")
    stands = place.shared("v2")
    deployer, version = place.deployer(), place.version("v2")
    assert (stands.version, stands.between) == ("v1", ("v1", "v2"))
    assert place.traffic == {"v1": 80, "v2": 20}
    (trial,) = (one for one in place.endpoints if one != "cats")
    assert "deployedModels" not in place.google.ask("GET", f"endpoints/{trial}"), "the trial is not paid for meanwhile"
    place.settle()
    assert place.endpoints == ["cats"]

    assert {ask() for _ in range(30)} == {"v1", "v2"}
    place.later(590)
    assert deployer.go_on(version).between == ("v1", "v2")
    assert deployer.state().between == ("v1", "v2"), "whoever looks sees it"
    place.later(11)
    stands = deployer.go_on(version)
    assert (stands.version, stands.between) == ("v2", ())
    assert {ask() for _ in range(10)} == {"v2"}
    place.settle()
    assert place.deployed == ["v2"], "who serves nobody is not paid for"


def test_a_share_that_somebody_takes_back_is_not_given_again(place: Place) -> None:
    place.bring("v1")
    place.shared("v2")
    told = place.endpoint
    (first,) = (one["id"] for one in told["deployedModels"] if "-v1-" in one["displayName"])
    place.google.ask("PATCH", "endpoints/cats", {"trafficSplit": {first: 100}}, updateMask="trafficSplit")
    stands = place.deployer().go_on(place.version("v2"))
    assert (stands.version, stands.between) == ("v1", ())
    assert stands.reason == "v2 had a share of the traffic, and somebody took it back"
    assert place.bring("v2").version == "v2", "nothing is in the way of another try"
    assert len(place.tested) == 2, "which needs no other test"


def test_what_answers_wrongly_gets_no_traffic(place: Place) -> None:
    base = Settings.from_environment().vertex_base_url
    place.test = lambda address, bundle: problems(EndpointSpec(address, base=base), bundle)
    assert place.bring("v1").version == "v1", "what is right passes all checks of labelloop test-endpoint"
    make_bundle(wrong := place.folder / "wrong", classes=("green", "red", "blue"), gain=5)
    place.google.served.instead["v2"] = wrong

    stands = place.bring("v2")
    assert stands.version == "v1"
    assert "before any traffic moved" in stands.reason
    assert "golden samples: the scores are right, but under other classes" in stands.reason
    assert (place.deployed, place.traffic, ask()) == (["v1"], {"v1": 100}, "v1")
    place.deployer().state()
    place.settle()
    place.deployer().rollback(place.version("v1"))
    place.settle()
    assert place.endpoints == ["cats"], "what is left of the trial goes with the next deployment"


def test_the_way_back_is_short(place: Place) -> None:
    place.bring("v1")
    place.shared("v2")
    deployer, version = place.deployer(), place.version("v1")
    stands = deployer.rollback(version)
    assert (stands.version, stands.between, ask()) == ("v1", (), "v1"), "at once, where it is deployed still"
    place.settle()
    assert place.deployed == ["v1"]

    place.bring("v2")
    place.settle()
    before = len(place.google.calls)
    place.slow()
    assert deployer.rollback(version).between == ("v2", "v1")
    place.settle()
    stands = deployer.go_on(version)
    assert (stands.between, place.traffic) == ((), {"v1": 100}), "no canary on the way back"
    assert (stands.version, ask()) == ("v1", "v1")
    assert len(place.tested) == 3, "it was tested when it came"
    made = [name for name in place.google.calls[before:] if name.endswith((":upload", "POST endpoints"))]
    assert not made, "model and endpoint are there still"
    place.settle()
    again = deployer.rollback(version)
    assert (again.version, again.between, place.deployed) == ("v1", (), ["v1"]), "once more changes nothing"


def test_an_endpoint_that_is_busy_is_waited_for_before_the_way_back(place: Place) -> None:
    for name in ("v1", "v2"):
        place.bring(name)
        place.settle()
    stands, deployer, version = place.begun("v3"), place.deployer(), place.version("v3")
    assert (stands.version, stands.between) == ("v2", ("v2", "v3"))
    with pytest.raises(CloudAway, match=r"endpoint cats is busy \(DeployModel\): v1 is brought after it"):
        deployer.rollback(place.version("v1"))
    for _ in range(5):
        assert deployer.go_on(version).between == ("v2", "v3"), "it is the loop that loses patience"
    stands = deployer.rollback(place.version("v2"))
    assert (stands.version, stands.between) == ("v2", ("v2",)), "it serves, and what was begun is yet to go"
    for _ in range(3):
        place.settle()
        stands = deployer.go_on(place.version("v2"))
    assert (stands.between, place.deployed) == ((), ["v2"])
    assert deployer.rollback(place.version("v1")).between == ("v2", "v1")


def test_one_that_is_just_being_taken_away_is_no_way_back(place: Place) -> None:
    place.bring("v1")
    place.settle()
    place.shared("v2")
    place.slow("undeployModel")
    place.later(600)
    assert place.deployer().go_on(place.version("v2")).version == "v2"
    assert (place.deployed, place.busy("cats")) == (["v1", "v2"], True)
    before = len(place.google.calls)
    with pytest.raises(CloudAway, match=r"endpoint cats is busy \(UndeployModel\): v1 is brought after it"):
        place.deployer().rollback(place.version("v1"))
    assert "aiplatform:PATCH endpoints/*" not in place.google.calls[before:]
    place.settle()
    assert place.deployer().rollback(place.version("v1")).between


def test_a_version_that_was_given_up_leaves_no_endpoint_behind(place: Place) -> None:
    place.bring("v1")
    place.settle()
    place.slow()
    deployer = place.deployer()
    deployer.deploy(place.version("v2"))
    assert len(place.endpoints) == 2

    version = place.version("v1")
    stands = deployer.rollback(version)
    assert (stands.version, stands.between) == ("v1", ("v1",)), "Google deletes no endpoint that is being changed"
    assert deployer.go_on(version) == stands
    for _ in range(3):
        place.settle()
        stands = deployer.go_on(version)
    assert stands.between == ()
    place.settle()
    assert place.endpoints == ["cats"]


def test_what_somebody_else_has_there_is_left_alone(place: Place) -> None:
    place.bring("v1")
    place.settle()
    other = ProjectKey("1795187630", 8)
    theirs = place.deployer(f"{PLACE}", other)
    version = place.version("v9", other)
    stands = theirs.deploy(version)
    for _ in range(20):
        stands = theirs.go_on(version) if stands.between else stands
    place.settle()
    assert theirs.state().version == "v9"
    assert place.deployer().state() == Deployed(), "none of this project's serves"
    assert place.deployed == ["v1", "v9"], "each project takes away its own"
    assert "deployed without traffic: v1" in place.deployer().check()
    assert place.bring("v2").version == "v2"
    place.settle()
    assert place.deployed == ["v2", "v9"]


def test_the_last_versions_stay_and_older_ones_go(place: Place) -> None:
    for number in range(1, 6):
        place.bring(f"v{number}")
        place.settle()
    assert place.models == place.files == ["v3", "v4", "v5"]
    place.deployer().rollback(place.version("v3"))
    assert place.bring("v3").version == "v3"
    for name in ("v6", "v7"):
        place.bring(name)
        place.settle()
    assert place.models == ["v5", "v6", "v7"]


@pytest.mark.parametrize(
    ("after", "step"),
    [
        (True, 17),
        pytest.param(False, 2, marks=pytest.mark.slow),
        pytest.param(True, 2, marks=pytest.mark.slow),
    ],
    ids=["some", "before every second", "after every second"],
)
def test_killed_between_two_calls_it_makes_nothing_twice(place: Place, after: bool, step: int) -> None:
    place.bring("v1")
    place.settle()
    for number in count(1, step):
        name = f"v{number + 1}"
        with dying_at(number - 1, after=after), suppress(Killed):
            place.bring(name)
            break
        stands = place.bring(name)
        assert (stands.version, stands.between) == (name, ())
        place.settle()
        assert (place.endpoints, place.deployed) == (["cats"], [name])
        assert place.models.count(name) == 1
        assert place.files == place.models
    place.settle()
    assert number > 40
    assert len(place.models) == 3


def test_a_trial_endpoint_that_fails_says_why_and_goes(place: Place) -> None:
    place.bring("v1")
    place.settle()
    place.google.operations.fail("deployModel", "INTERNAL", "Model server never became ready")
    stands = place.bring("v2")
    assert (stands.version, stands.between) == ("v1", ())
    assert "it could not be deployed to endpoint cats-check-" in stands.reason
    assert "Model server never became ready" in stands.reason
    place.settle()
    assert place.endpoints == ["cats"]
    assert place.bring("v2").version == "v2"


def test_a_deployment_that_fails_after_an_hour_leaves_what_serves(place: Place) -> None:
    place.bring("v1")
    place.settle()
    place.begun("v2")
    deployer, version = place.deployer(), place.version("v2")
    quota = "The following quotas are exceeded: aiplatform.googleapis.com/custom_model_serving_cpus"
    place.google.operations.pending(f"{place.parent}/endpoints/cats")[0].fault = Refused("RESOURCE_EXHAUSTED", quota)
    assert deployer.go_on(version).between == ("v1", "v2")
    place.settle()
    stands = deployer.go_on(version)
    assert (stands.version, stands.between) == ("v1", ())
    assert "the quota aiplatform.googleapis.com/custom_model_serving_cpus is used up" in stands.reason
    place.google.mend()
    assert (place.traffic, ask(), place.endpoints) == ({"v1": 100}, "v1", ["cats"])
    assert place.bring("v2").version == "v2"


def test_who_lacks_a_permission_is_told_which(place: Place) -> None:
    place.bring("v1")
    place.settle()
    place.google.deny("aiplatform.endpoints.deploy")
    with pytest.raises(DeployError, match=r"a role with aiplatform\.endpoints\.deploy"):
        place.bring("v2")
    assert ask() == "v1"
    place.google.mend()
    assert place.bring("v2").version == "v2"


@pytest.mark.parametrize("operation", ["POST endpoints/*:deployModel", "PATCH endpoints/*", "POST models:upload"])
def test_what_passes_is_waited_for(place: Place, operation: str) -> None:
    place.bring("v1")
    place.settle()
    place.google.exhaust(operation, "aiplatform.googleapis.com/custom_model_serving_cpus", times=None)
    with pytest.raises(CloudAway, match=r"the quota aiplatform\.googleapis\.com/custom_model_serving_cpus is used up"):
        place.bring("v2")
    assert ask() == "v1"
    place.google.mend()
    assert place.bring("v2").version == "v2"
    place.settle()
    assert (place.deployed, place.models, place.endpoints) == (["v2"], ["v1", "v2"], ["cats"])


def test_an_answer_that_is_lost_is_not_paid_for_twice(place: Place) -> None:
    for operation in ("POST endpoints", "POST models:upload", "POST endpoints/*:deployModel"):
        place.google.hang_up(operation, after=True)
        with suppress(CloudAway):
            place.bring("v1")
    assert place.bring("v1").version == "v1"
    place.settle()
    assert (place.deployed, place.models, place.endpoints) == (["v1"], ["v1"], ["cats"])


def test_a_region_without_the_machine_says_so(place: Place) -> None:
    place.bring("v1")
    place.settle()

    def lacking(_: Call) -> None:
        raise Refused("INVALID_ARGUMENT", "Machine type g2-standard-8 is not supported in europe-west4.")

    place.google.before("POST endpoints/*:deployModel", lacking)
    with pytest.raises(DeployError, match=r"g2-standard-8 is not supported in europe-west4"):
        place.bring("v2", f"{PLACE}?machine=g2-standard-8&gpu=NVIDIA_L4")
    assert (place.traffic, ask()) == ({"v1": 100}, "v1")
    place.bring("v2")
    place.settle()
    assert place.endpoints == ["cats"], "the empty trial endpoint of the attempt is gone"


def test_accelerators_an_account_and_a_shared_endpoint_are_said_to_google(place: Place) -> None:
    account = "models@shop-1.iam.gserviceaccount.com"
    address = f"{PLACE}?machine=n1-standard-8&gpu=NVIDIA_TESLA_T4&gpus=2&dedicated=no&account={account}"
    assert place.bring("v1", address).version == "v1"
    told = place.endpoint
    assert "dedicatedEndpointDns" not in told
    (deployed,) = told["deployedModels"]
    machine = {"machineType": "n1-standard-8", "acceleratorType": "NVIDIA_TESLA_T4", "acceleratorCount": 2}
    assert deployed["dedicatedResources"] == {"machineSpec": machine, "minReplicaCount": 1, "maxReplicaCount": 1}
    assert deployed["serviceAccount"] == account
    assert place.tested[0].endswith(place.tested[0].rpartition("/")[2]), "by the service's own address"
    assert "dedicated" not in place.tested[0]


def test_a_model_that_google_has_trained_is_deployed_as_it_is(place: Place) -> None:
    place.bring("v1")
    place.settle()
    parent = place.parent
    place.google.served.images["theirs"] = lambda *_: b'{"predictions": ["cat"]}'
    told = {"displayName": "automl", "containerSpec": {"imageUri": "theirs"}}
    made = place.google.models.add(parent, {**told, "supportedDeploymentResourcesTypes": ["AUTOMATIC_RESOURCES"]}, "77")
    folder = place.folder / "v2"
    write_foreign(folder, ForeignInfo(("cat", "dog"), "single", "automl", model="automl"), {})
    version = Deployable(PROJECT, "v2", folder, f"{made['model']}@1")
    deployer = place.deployer()
    stands = deployer.deploy(version)
    for _ in range(10):
        if sorted(place.traffic.values()) == [20, 80]:
            place.later(600)
        stands = deployer.go_on(version)
    assert (stands.version, stands.between) == ("v2", ())
    (deployed,) = (one for one in place.endpoint["deployedModels"] if one["model"] == made["model"])
    assert deployed["automaticResources"] == {"minReplicaCount": 1, "maxReplicaCount": 3}
    assert len(place.tested) == 1, "no bundle tells what it should answer"
    with pytest.raises(DeployError, match="its model lies elsewhere, as somebodys-model-7"):
        deployer.deploy(replace(version, model="somebodys-model-7"))


def test_what_automl_has_trained_gets_a_shared_endpoint_for_dedicated_ones_take_none(place: Place) -> None:
    place.google.served.images["theirs"] = lambda *_: b'{"predictions": ["cat"]}'
    told = {"displayName": "automl", "containerSpec": {"imageUri": "theirs"}}
    trained = {
        "supportedDeploymentResourcesTypes": ["AUTOMATIC_RESOURCES"],
        "modelSourceInfo": {"sourceType": "AUTOML"},
    }
    made = place.google.models.add(place.parent, {**told, **trained}, "77")
    folder = place.folder / "v2"
    write_foreign(folder, ForeignInfo(("cat", "dog"), "single", "automl", model="automl"), {})
    version = Deployable(PROJECT, "v2", folder, made["model"])
    place.deployer().deploy(version)
    assert "dedicatedEndpointDns" not in place.endpoint
    body = {"displayName": "by hand", "dedicatedEndpointEnabled": True}
    place.google.ask("POST", "endpoints", body, endpointId="dogs")
    place.settle()
    with pytest.raises(DeployError, match=r"dogs is a dedicated endpoint.* name another endpoint for v2"):
        place.deployer(f"vertex://{SHOP}/{LOCATION}/dogs").deploy(version)


def test_an_endpoint_by_number_has_to_be_there(place: Place) -> None:
    number = f"vertex://{SHOP}/{LOCATION}/4711"
    with pytest.raises(DeployError, match=f"there is no endpoint {number}"):
        place.bring("v1", number)
    place.google.ask("POST", "endpoints", {"displayName": "by hand"}, endpointId="4711")
    place.settle()
    assert place.bring("v1", number).version == "v1"
    place.settle()
    assert place.tested[0].startswith(f"vertex://{SHOP}/{LOCATION}/endpoint-4711-check-")


def test_nothing_begins_without_what_it_needs(place: Place) -> None:
    version = place.version("v1")
    with pytest.raises(DeployError, match="needs LABELLOOP_GOOGLE_INFERENCE_IMAGE"):
        place.deployer(google_inference_image="").deploy(version)
    with pytest.raises(DeployError, match="LABELLOOP_GOOGLE_FOLDER"):
        place.deployer(google_folder="").deploy(version)
    assert not place.google.calls
