"""deploy/systemd: a unit that systemd takes, and that fits what ``labelloop start`` does."""

import os
import subprocess
import sys
from configparser import ConfigParser
from dataclasses import fields
from pathlib import Path

import pytest

from labelloop.settings import Settings
from labelloop.web.machine import machine_services
from support.servers import free_port
from support.tools import require_tool

FOLDER = Path(__file__).parents[3] / "deploy/systemd"
UNIT = FOLDER / "labelloop.service"


@pytest.fixture(scope="module")
def service() -> dict[str, str]:
    """The unit's section [Service]; each of its names stands there once."""
    unit = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text())
    return dict(unit["Service"])


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """What labelloop.env sets."""
    lines = [line for line in (FOLDER / "labelloop.env").read_text().splitlines() if line and line[0] != "#"]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = require_tool("systemd-analyze", "it comes with systemd")
    # What is not installed here is replaced by what is.
    there = UNIT.read_text().replace("/opt/labelloop/bin/labelloop", sys.executable)
    (tmp_path / UNIT.name).write_text(there)

    done = subprocess.run([analyze, "verify", tmp_path / UNIT.name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_settings_that_cannot_work_are_not_tried_again(service: dict[str, str]) -> None:
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == str(os.EX_CONFIG)


def test_there_is_time_to_end_everything_one_after_the_other(service: dict[str, str], tmp_path: Path) -> None:
    settings = Settings(port=free_port(), endpoint=f"http://127.0.0.1:{free_port()}", model_dir=str(tmp_path))
    services = machine_services(settings, {})

    assert [one.name for one in services] == ["redis", "inference", "worker", "web"]
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > sum(one.grace_seconds for one in services)


def test_what_is_written_may_be_written(service: dict[str, str], environment: dict[str, str]) -> None:
    state = Path("/var/lib") / service["StateDirectory"]

    assert service["ProtectSystem"] == "strict"
    assert state in Path(environment["MODEL_DIR"]).parents
    # Redis' socket: commands of a shell have to find it where the service has it.
    assert service["ReadWritePaths"].split() == ["/tmp"]
    assert "PrivateTmp" not in service


def test_nothing_is_forbidden_that_training_needs(service: dict[str, str]) -> None:
    assert not {"PrivateDevices", "MemoryDenyWriteExecute", "ProcSubset"} & set(service)
    assert {"AF_INET", "AF_INET6", "AF_UNIX"} <= set(service["RestrictAddressFamilies"].split())


def test_its_settings_are_settings_and_work(environment: dict[str, str]) -> None:
    assert set(environment) <= {entry.metadata["name"] for entry in fields(Settings)}
    assert Settings.from_environment(environment).model_dir == environment["MODEL_DIR"]
