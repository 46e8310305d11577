"""Connecting a project: what Label Studio is told of drawing annotators and of extra_params."""

from contextlib import closing

import pytest
from click.testing import CliRunner

from labelloop.cli import main
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import extra_params
from labelloop.studio.client import Studio
from labelloop.studio.connect import connect
from support.studio_api import StudioApi

from .conftest import of_this_process

URL = "http://labelloop.internal:9090"
SMART = (
    '<View><Image name="i" value="$image"/><KeyPointLabels name="k" toName="i" {}><Label value="cat"/>'
    '</KeyPointLabels><BrushLabels name="b" toName="i"><Label value="cat"/></BrushLabels></View>'
)


def run(hub: Hub, **more: object) -> list[str]:
    """Connect; gives what was done."""
    with closing(Studio.of(hub.settings)) as client:
        return connect(client, 7, URL, hub.settings, "m1", **more)  # type: ignore[arg-type]


NOTHING = [f"Nothing to do: project 7 calls {URL}, its webhook and sampling are in order."]


@pytest.mark.parametrize(
    ("attribute", "asked"),
    [('smart="true"', True), ("smart='true'", True), ('smartOnly="true"', True), ('smart="false"', False), ("", False)],
)
def test_a_label_config_with_smart_tags_makes_it_interactive(
    studio: StudioApi, studio_hub: Hub, attribute: str, asked: bool
) -> None:
    studio.config = SMART.format(attribute)
    run(studio_hub)
    assert studio.backends[0]["is_interactive"] is asked


def test_smart_tags_that_come_later_are_seen_and_nobodys_choice_is_undone(studio: StudioApi, studio_hub: Hub) -> None:
    run(studio_hub)
    studio.config = SMART.format('smart="true"')
    told = run(studio_hub)
    assert studio.backends[0]["is_interactive"] is True
    assert any("smart tags" in line for line in told)

    studio.config = SMART.format("")
    assert run(studio_hub) == NOTHING
    assert studio.backends[0]["is_interactive"] is True


def test_extra_params_are_set_kept_changed_and_taken_away(studio: StudioApi, studio_hub: Hub) -> None:
    run(studio_hub, extra_params={"threshold": 0.5})
    assert studio.backends[0]["extra_params"] == {"threshold": 0.5}

    assert run(studio_hub) == NOTHING
    studio.backends[0]["title"] = "somebody's"
    run(studio_hub)
    assert studio.backends[0]["extra_params"] == {"threshold": 0.5}, "they go along with every change"

    run(studio_hub, extra_params={"threshold": 0.75})
    assert studio.backends[0]["extra_params"] == {"threshold": 0.75}
    run(studio_hub, extra_params={})
    assert studio.backends[0]["extra_params"] == {}


def test_a_label_studio_that_is_too_old_is_connected_and_told_to_be_upgraded(
    studio: StudioApi, studio_hub: Hub
) -> None:
    studio.release = "1.11.0"
    told = run(studio_hub)
    assert len(studio.backends) == 1
    assert told[-1].startswith("Upgrade Label Studio 1.11.0 to 1.12 or later")


def test_the_command_refuses_a_name_that_cannot_be_learned_and_says_where_nothing_can(
    studio: StudioApi, studio_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["connect", "--project", "7", "--url", URL]
    for _ in of_this_process(studio_hub, monkeypatch):
        refused = CliRunner().invoke(main, [*words, "--extra-params", '{"learn": "sky"}'])
        assert refused.exit_code == 1
        assert "names the control tag 'sky', and nothing of that name can be learned here" in refused.output
        assert extra_params(studio_hub, studio_hub.project(7)) is None, "nobody has heard of it"
        assert not studio.backends

        studio.config = '<View><Text name="t" value="$t"/><TextArea name="note" toName="t"/></View>'
        told = CliRunner().invoke(main, words)
        assert told.exit_code == 0
        assert "Nothing is learned here yet. LabelLoop learns nothing of this label config: <TextArea" in told.output
