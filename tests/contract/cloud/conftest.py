"""What the tests of clouds share: a stand-in of AWS and one of Google Cloud, each as new for each test."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

import support.aws
import support.google
from labelloop.cloud.google.client import Google
from labelloop.sources.google_api import GoogleApi
from support.aws import StandIn, aws_stand_in
from support.google import google_stand_in


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with aws_stand_in(tmp_path_factory.mktemp("aws")) as aws:
        yield aws


@pytest.fixture
def aws(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """AWS as on an account's first day; this process finds it by its environment, and tries again without a pause."""
    stand_in.reset()
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    stand_in.use(monkeypatch)
    return stand_in


@pytest.fixture(scope="session")
def google_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[support.google.StandIn]:
    with google_stand_in(tmp_path_factory.mktemp("google")) as google:
        yield google


@pytest.fixture
def google(google_session: support.google.StandIn, monkeypatch: pytest.MonkeyPatch) -> support.google.StandIn:
    """Google Cloud as on a project's first day; this process finds it by its environment, and waits for nothing."""
    google_session.reset()
    for made in (Google, GoogleApi):
        monkeypatch.setitem(made.__init__.__kwdefaults__ or {}, "wait", lambda _: None)
    google_session.use(monkeypatch)
    return google_session
