"""What the tests of clouds share: one stand-in of AWS, as new for each test."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from support.aws import StandIn, aws_stand_in


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
