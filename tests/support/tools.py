"""Programs that a test needs and no requirements file brings: skipped for where they are missing, asked for in CI."""

import os
import shutil
from typing import NoReturn

import pytest

REQUIRED = "LABELLOOP_REQUIRE_TOOLS"
"""Set to 1: a missing tool fails the tests that need it, so that CI cannot pass by skipping them."""


def require_tool(name: str, remedy: str) -> str:
    """Give the path of a program; without it the test is skipped, or fails where ``LABELLOOP_REQUIRE_TOOLS`` is 1."""
    found = shutil.which(name)
    return found if found is not None else missing_tool(f"{name} is not installed: {remedy}")


def missing_tool(reason: str) -> NoReturn:
    """Skip the test, or fail it where ``LABELLOOP_REQUIRE_TOOLS`` is 1."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{reason} ({REQUIRED}=1)")
    pytest.skip(reason)
