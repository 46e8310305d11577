"""The workflow for GitHub Actions: as GitHub reads it, and by commands that there are."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from check_jsonschema import main as check
from click.testing import CliRunner

from labelloop.cli import main

FILE = Path(__file__).parents[2] / "deploy" / "github" / "labelloop-aws.yml"


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(FILE.read_text())
    return found


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    held: list[dict[str, Any]] = workflow["jobs"]["pipeline"]["steps"]
    return held


def test_github_would_take_it() -> None:
    answer = CliRunner().invoke(check, ["--builtin-schema", "vendor.github-workflows", str(FILE)])
    assert answer.exit_code == 0, answer.output


def test_it_holds_no_key_and_asks_for_a_token_instead(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}
    (signed_in,) = [one for one in steps(workflow) if "configure-aws-credentials" in one.get("uses", "")]
    assert set(signed_in["with"]) == {"role-to-assume", "aws-region"}
    assert "secrets." not in FILE.read_text()


def test_a_commit_checks_applies_and_starts(workflow: dict[Any, Any]) -> None:
    assert "push" in workflow[True], "YAML 1.1 reads `on` as true"
    ran = "\n".join(one.get("run", "") for one in steps(workflow))
    order = [ran.index(word) for word in ("terraform validate", "aws pipeline apply", "aws pipeline start")]
    assert order == sorted(order)


def test_every_option_in_it_is_one_of_its_command(workflow: dict[Any, Any]) -> None:
    lines = [one["run"] for one in steps(workflow) if one.get("run", "").startswith("labelloop ")]
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line)[1:]
        command = words[: next(at for at, word in enumerate(words) if word.startswith("--"))]
        shown = CliRunner().invoke(main, [*command, "--help"]).output
        known = set(re.findall(r"--[a-z-]+", shown))
        assert {word for word in words if word.startswith("--")} <= known


def test_no_text_of_an_event_gets_into_a_shell(workflow: dict[Any, Any]) -> None:
    assert not [one["run"] for one in steps(workflow) if "${{" in one.get("run", "")]


@pytest.mark.process
def test_what_it_installs_is_enough_for_its_commands() -> None:
    """It installs LabelLoop without what training needs."""
    absent = (
        "torch",
        "timm",
        "optuna",
        "sklearn",
        "lightning",
        "albumentations",
        "matplotlib",
        "onnx",
        "yaml",
        "boto3",
    )
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r})); from labelloop.cli import main; "
        "main(['aws', 'pipeline', 'apply', '--help'], standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--spot" in done.stdout
