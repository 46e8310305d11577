"""What importing costs."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["labelloop.train", "labelloop.train.metrics", "labelloop.train.dataset"])
def test_torch_stays_out_until_a_training_needs_it(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'timm', 'sklearn'}} & sys.modules.keys()))"
    assert said(code) == "[]"


def said(code: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    return done.stdout.strip()
