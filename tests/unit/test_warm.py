"""What the web process does before it answers: never a reason not to start."""

import logging
from pathlib import Path

import pytest

from labelloop.endpoints.fake import FakeEndpoint
from labelloop.loop.process import open_hub
from labelloop.settings import Settings
from labelloop.studio import rendering
from labelloop.web.app import warm_up


def test_the_endpoint_is_opened_and_not_asked_and_the_checker_is_loaded(tmp_path: Path) -> None:
    hub = open_hub(Settings(endpoint="fake://?classes=cat,dog", model_dir=str(tmp_path)))
    rendering._interface.cache_clear()
    warm_up(hub)

    assert len(hub._endpoints) == 1
    assert isinstance(hub.endpoint, FakeEndpoint)
    assert hub.endpoint.asked == []
    assert rendering._interface.cache_info().currsize == 1


def test_an_impossible_endpoint_is_logged_and_raises_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warm_up(open_hub(Settings(endpoint="ftp://me:hush@here", model_dir=str(tmp_path))))
    assert "LABELLOOP_ENDPOINT" in caplog.text
    assert "hush" not in caplog.text
