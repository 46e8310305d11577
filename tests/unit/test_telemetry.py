"""Libraries that tell their makers what they are used for are told not to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# It keeps quiet where these are set.
_SPARED = {"CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}


@pytest.mark.process
@pytest.mark.parametrize(("given", "tells"), [({}, False), ({"ORT_DISABLE_TELEMETRY": "0"}, True)])
def test_onnxruntime_tells_its_makers_nothing(tmp_path: Path, given: dict[str, str], tells: bool) -> None:
    """It would begin by keeping a number of this user's in their home, as it does where somebody wants it to tell."""
    environment = {name: value for name, value in os.environ.items() if name not in _SPARED} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-c", "import labelloop.serve.engines.onnx"]
    done = subprocess.run(command, env=environment | given, capture_output=True, text=True, timeout=60, check=True)

    assert done.stderr == ""
    assert [path.name for path in tmp_path.rglob("deviceid")] == ["deviceid"] * tells
