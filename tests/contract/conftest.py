"""What all contract tests share."""

import time
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace

import botocore.endpoint
import botocore.session
import pytest

from labelloop.retries import retries

LONGEST_PAUSE = 0.05
"""Seconds between two tries of the same call, in the processes of these tests."""


@pytest.fixture(scope="session", autouse=True)
def aws_descriptions_are_read_once() -> Iterator[None]:
    """Let all botocore sessions of this process share the files that describe AWS: each would read megabytes anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(botocore.session.create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def tries_follow_each_other_quickly() -> Iterator[None]:
    """Cut the pauses before a call is tried again, LabelLoop's and botocore's: unit tests say how long they are."""

    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, LONGEST_PAUSE))

    *more, _ = retries.__defaults__ or ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retries, "__defaults__", (*more, sleep))
        patch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=sleep))
        yield
