"""A program of one's own as a deployer, and what is kept of what it says: real children, a real store."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.deployers.base import Deployable, Deployed
from labelloop.deployers.opening import open_deployer
from labelloop.errors import DeployError, Fenced, SettingsError
from labelloop.models.deployments import Deployment, Deployments, take_place
from labelloop.models.file_store import FileStore
from labelloop.setting_values import whole_addresses
from labelloop.types import ProjectKey
from support.file_bundle import write_bundle

PROJECT = ProjectKey("1795187630", 7)
PAGE = Path(__file__).parents[2] / "docs" / "deployers.md"

Write = Callable[[str], str]


@pytest.fixture
def program(tmp_path: Path) -> Write:
    """Write a shell script, and give its address."""

    def write(content: str) -> str:
        path = tmp_path / "deploy.sh"
        path.write_text(content)
        path.chmod(0o755)
        return f"command:{path}"

    return write


def version(folder: Path, name: str) -> Deployable:
    return Deployable(PROJECT, name, write_bundle(folder / "cache" / name, name.encode()))


def test_the_pages_program_deploys_tells_and_rolls_back(
    tmp_path: Path, program: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.search(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    place = tmp_path / "srv"
    place.mkdir()
    monkeypatch.setenv("PLACE", str(place))
    deployer = open_deployer(program(shown[1]) + "?verbs=state,rollback", PROJECT)

    assert (deployer.name, deployer.tells, deployer.state()) == ("deploy.sh", True, Deployed())
    assert deployer.deploy(version(tmp_path, "v1")) == Deployed("v1")
    assert deployer.deploy(version(tmp_path, "v2")) == Deployed("v2")
    assert (place / "current" / "model.onnx").read_bytes() == b"model.onnxv2"
    assert deployer.rollback(version(tmp_path, "v1")) == Deployed("v1")
    assert (place / "current" / "model.onnx").read_bytes() == b"model.onnxv1"
    assert deployer.check() == "deploy.sh says that v1 serves"


def test_the_folder_holds_the_version_and_takes_nothing_from_the_cache(tmp_path: Path, program: Write) -> None:
    kept, made = tmp_path / "kept", version(tmp_path, "v3")
    address = program(f'#!/bin/sh\ncp -R "$2" {kept}; cp -R "$2" {kept}; echo changed > "$2/bundle/new"\n')
    before = {path.name: path.read_bytes() for path in made.bundle.iterdir()}
    done = open_deployer(address, PROJECT).deploy(replace(made, model="registry/3"))

    assert (done.version, done.between) == ("v3", ())
    assert done.since
    told = json.loads((kept / "deployment.json").read_text())
    assert told == {"project": "1795187630/7", "version": "v3", "model": "registry/3", "bundle": "bundle"}
    assert {path.name: path.read_bytes() for path in (kept / "bundle").iterdir()} == before
    assert {path.name: path.read_bytes() for path in made.bundle.iterdir()} == before
    assert not list((made.bundle.parent / ".deploy").iterdir())


@pytest.mark.parametrize(
    ("told", "means"),
    [
        ("{}", Deployed()),
        ('{"version": null, "between": null}', Deployed()),
        (
            '{"version": "v2", "since": "now", "between": ["v2", "v3"], "reason": "slow"}',
            Deployed("v2", "now", ("v2", "v3"), "slow"),
        ),
    ],
)
def test_what_a_state_may_leave_out(program: Write, told: str, means: Deployed) -> None:
    assert open_deployer(program(f"#!/bin/sh\necho '{told}'\n") + "?verbs=state").state() == means


@pytest.mark.parametrize(
    "told", ["v2", "[]", "7", '{"version": 2}', '{"between": "v2"}', '{"between": [2]}', '{"verison": "v2"}', ""]
)
def test_a_state_that_is_none_says_what_is_expected(program: Write, told: str) -> None:
    deployer = open_deployer(program(f"#!/bin/sh\necho '{told}'\n") + "?verbs=state")
    with pytest.raises(DeployError, match=r"deploy\.sh state answered .* expected a JSON object such as"):
        deployer.state()


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"'azure' is no kind of deployer\. There are command, sagemaker, lambda and vertex"
    ):
        open_deployer("azure://cats")


def test_addresses_are_put_together_that_a_list_has_cut() -> None:
    listed = ["local", "command:./a.sh?verbs=state", "rollback", "command:./b.sh"]
    assert whole_addresses(listed) == ("local", "command:./a.sh?verbs=state,rollback", "command:./b.sh")
    assert whole_addresses(()) == ()
    cut = ["sagemaker://a?alarms=one", "two", "lambda://b?alarms=three", "four"]
    assert whole_addresses(cut) == ("sagemaker://a?alarms=one,two", "lambda://b?alarms=three,four")


def test_whoever_has_looked_earlier_writes_nothing(tmp_path: Path) -> None:
    kept = Deployments(FileStore(tmp_path), PROJECT)
    empty = kept.read("here")
    first = kept.replace(empty, replace(empty, version="v1", brought=("v1",)))
    assert kept.read("here") == first == Deployment.parse(first.to_json())
    with pytest.raises(Fenced):
        kept.replace(empty, replace(empty, version="v2"))
    between = kept.replace(first, replace(first, between=("v1", "v2"), wanted="v2", stage="begun"))
    assert (between.answers, between.serves("v1"), first.serves("v1")) == ("v1 or v2", False, True)
    assert kept.read("elsewhere") == Deployment("elsewhere"), "of another endpoint nothing is known"


def test_what_is_damaged_counts_as_not_there(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.write(f"{PROJECT}/deployed.json", b"{")
    kept = Deployments(store, PROJECT)
    assert kept.read("here") == Deployment("here")
    assert kept.replace(Deployment("here"), Deployment("here", "v1")) == kept.read("here")


def test_an_endpoint_is_one_projects(tmp_path: Path) -> None:
    store, other = FileStore(tmp_path), ProjectKey("1795187630", 8)
    both = frozenset((str(PROJECT), str(other)))
    assert [take_place(store, "here", PROJECT, both.__contains__) for _ in range(2)] == ["", ""]
    assert take_place(store, "here", other, both.__contains__) == str(PROJECT)
    assert take_place(store, "there", other, both.__contains__) == ""
    assert take_place(store, "here", other, {str(other)}.__contains__) == "", "of a project that is gone"
    assert take_place(store, "here", PROJECT, both.__contains__) == str(other)
