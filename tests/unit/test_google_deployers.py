"""Addresses of the deployer on Google Cloud, and what versions are called there."""

import re

import pytest

from labelloop.cloud.names import Names, group_of
from labelloop.deployers.opening import check_deployer
from labelloop.deployers.vertex_address import VertexTarget
from labelloop.deployers.vertex_state import identity
from labelloop.errors import SettingsError
from labelloop.loop.startup import clashes
from labelloop.setting_values import deployer_address, registry_address
from labelloop.settings import Settings
from labelloop.types import ProjectKey

PLACE = "vertex://shop/europe-west4/cats"
GOOD = (
    PLACE,
    f"{PLACE}?machine=n1-standard-4&replicas=1..3&gpu=NVIDIA_TESLA_T4&gpus=2&canary=20&wait=600",
    f"{PLACE}?machine=g2-standard-8&gpu=NVIDIA_L4",
    f"{PLACE}?machine=a2-megagpu-16g&gpu=NVIDIA_TESLA_A100&gpus=16",
    f"{PLACE}?machine=a3-ultragpu-8g&gpu=NVIDIA_H200_141GB&gpus=8",
    f"{PLACE}?dedicated=no&account=models@shop.iam.gserviceaccount.com",
    "vertex://example.com:shop/us-central1/1234567890123456789",
)
BAD = (
    ("vertex://shop/europe-west4", "a deployer's address is"),
    ("vertex://shop/global/cats", "a region such as europe-west4"),
    ("vertex://shop/europe-west4/Cats", "lower-case letters"),
    (f"vertex://shop/europe-west4/{'a' * 47}", "at most 46"),
    (f"{PLACE}?machine=N1", "machine is a machine type such as n1-standard-2"),
    (f"{PLACE}?replicas=0", "replicas is a number of replicas, or a range such as 1..3"),
    (f"{PLACE}?replicas=3..1", "replicas goes from the least to the most: 1..3"),
    (f"{PLACE}?canary=100", "canary is a whole number from 1 to 99"),
    (f"{PLACE}?gpus=2", "gpus counts accelerators: name their type"),
    (f"{PLACE}?gpu=t4", "gpu is a type of accelerator"),
    (f"{PLACE}?gpu=NVIDIA_L4", "machine=n1-standard-2 takes no NVIDIA_L4: that is built into g2-"),
    (f"{PLACE}?machine=g2-standard-8", "machine=g2-standard-8 has its GPUs built in: name them, gpu=NVIDIA_L4"),
    (f"{PLACE}?machine=a2-ultragpu-1g&gpu=NVIDIA_TESLA_A100", "name them, gpu=NVIDIA_A100_80GB"),
    (f"{PLACE}?machine=e2-standard-8&gpu=NVIDIA_TESLA_T4", "machine=e2-standard-8 takes no GPU"),
    (f"{PLACE}?dedicated=maybe", "dedicated is yes or no"),
    (f"{PLACE}?account=models", "account is the e-mail address"),
    (f"{PLACE}?region=eu", "knows no option 'region'"),
)


@pytest.mark.parametrize("address", GOOD)
def test_addresses_that_are_read(address: str) -> None:
    assert deployer_address(address) == ""
    check_deployer(address)


@pytest.mark.parametrize(("address", "told"), BAD, ids=[address for address, _ in BAD])
def test_an_address_that_is_wrong_says_where(address: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        check_deployer(address)


def test_what_an_address_says() -> None:
    target = VertexTarget.parse(GOOD[1])
    assert (target.project, target.location, target.endpoint, target.canary) == ("shop", "europe-west4", "cats", 20)
    machine = {"machineType": "n1-standard-4", "acceleratorType": "NVIDIA_TESLA_T4", "acceleratorCount": 2}
    told = {"machineSpec": machine, "minReplicaCount": 1, "maxReplicaCount": 3}
    assert target.capacity(target.least, target.most) == told
    assert target.address("other", "") == "vertex://shop/europe-west4/other"
    assert target.address("other", "a.goog") == "vertex://shop/europe-west4/other?dedicated=a.goog"
    assert VertexTarget.parse(GOOD[0]).capacity(1, 1)["machineSpec"] == {"machineType": "n1-standard-2"}


def test_a_deployer_of_another_endpoint_than_the_one_that_is_asked_is_told() -> None:
    def told(endpoint: str) -> bool:
        return "another endpoint" in " ".join(clashes(Settings(deployer=GOOD[1], endpoint=endpoint)))

    assert told("vertex://shop/europe-west4/dogs")
    assert not told(f"{PLACE}?dedicated=yes")
    assert not told("https://cats.shop.example.com/predict")


@pytest.mark.parametrize("key", ["1795187630/7", "localhost-8080/7", "ls.corp-8080/7", f"{'a' * 70}/7"])
def test_names_are_those_that_vertex_ai_takes(key: str) -> None:
    project = ProjectKey.parse(key)
    assert re.fullmatch(r"[a-z_][a-z0-9_-]{0,62}", group_of("labelloop", project))
    name = Names(project).of("v12", "facts")
    assert re.fullmatch(r"[1-9]\d{9}", identity(name))
    assert re.fullmatch(r"[a-z][a-z0-9-]{0,61}[a-z0-9]", f"{'a' * 46}-check-{name.rpartition('-')[2]}")
    assert identity(name) != identity(Names(project).of("v12", "other facts"))


@pytest.mark.parametrize(
    ("address", "fine"),
    [("vertex://shop/europe-west4", True), ("vertex://shop", False), ("vertex://shop/europe-west4/cats", False)],
)
def test_a_registrys_address(address: str, fine: bool) -> None:
    assert (registry_address(address) == "") is fine
