"""What the tests of Labelbox share: a stand-in of it, as new for each test."""

from collections.abc import Iterator

import pytest

from support.labelbox import LabelboxStandIn, labelbox_stand_in


@pytest.fixture(scope="session")
def labelbox_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelboxStandIn]:
    with labelbox_stand_in(tmp_path_factory.mktemp("labelbox"), part=2000) as labelbox:
        yield labelbox


@pytest.fixture
def labelbox(labelbox_session: LabelboxStandIn, monkeypatch: pytest.MonkeyPatch) -> LabelboxStandIn:
    """Labelbox as on an organization's first day; this process finds it by its environment."""
    labelbox_session.reset()
    labelbox_session.use(monkeypatch)
    return labelbox_session
