"""Which of several control tags a project learns: the first, or the one that it names, and everybody says which."""

import pytest

from labelloop.cli.doctor import diagnose
from labelloop.data.labeling import Labeling
from labelloop.errors import LabelConfigError
from labelloop.kinds import base
from labelloop.loop.hub import Hub
from labelloop.loop.project_endpoint import learn
from labelloop.loop.project_labels import labeling_of
from labelloop.loop.standing import standing
from labelloop.loop.status import project_status
from labelloop.loop.sweep import sweep_project
from labelloop.types import ANNOTATIONS, IMAGES
from support import outlined_kind
from support.studio_api import StudioApi

from .conftest import MakeHub

SKY = (
    '<View ><Image name="image" value="$image"/><RectangleLabels name="box" toName="image"><Label value="car"/>'
    '</RectangleLabels><Choices name="sky" toName="image"><Choice value="clear"/></Choices>'
    '<Choices name="road" toName="image"><Choice value="wet"/></Choices></View>'
)
FOREIGN = {"trainer": "command:./train.sh", "deployer": "command:./deploy.sh"}


@pytest.fixture(autouse=True)
def boxes(monkeypatch: pytest.MonkeyPatch, studio: StudioApi) -> None:
    """Let there be a kind of boxes, and a project that asks for them beside two choices."""
    monkeypatch.setattr(base, "KINDS", {outlined_kind.NAME: outlined_kind.__name__, **base.KINDS})
    studio.config = SKY
    studio.add_tasks(1)


def asked(hub: Hub) -> Labeling:
    learn(hub, hub.project(7))
    return labeling_of(hub, hub.project(7))


def test_the_first_is_learned_and_status_and_doctor_say_what_could_be(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.connect("labelloop")
    hub = make_hub(weights="/nowhere/a.safetensors")
    assert (asked(hub).kind, asked(hub).classes) == (outlined_kind.NAME, ("car",))
    sweep_project(hub, hub.project(7), scan_now=True)
    told = (
        "<RectangleLabels name='box'> as outlined; <Choices name='sky'> or <Choices name='road'> could be, too: "
        '"learn" in extra_params chooses'
    )
    stands = project_status(hub, hub.project(7))
    assert stands.learns == stands.to_json()["learns"] == told
    assert f"  learns {told}" in standing(stands)
    labels = {one.name: one for one in diagnose(hub, 7)}["labels"]
    assert labels.ok
    assert "chooses <Choices name='sky'> or <Choices name='road'> instead" in labels.detail


def test_another_one_is_learned_where_it_is_named(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.connect("labelloop", extra_params={"learn": "road"})
    studio.annotate(1, "wet")
    studio.tasks[1]["annotations"][0]["result"][0]["from_name"] = "road"
    hub = make_hub(weights="/nowhere/a.safetensors")
    labeling = asked(hub)
    assert (labeling.kind, labeling.classes, labeling.asked) == (IMAGES, ("wet",), "<Choices name='road'>")
    assert [example.votes[0].labels for example in labeling.examples()] == [{"wet"}]
    assert "<Choices name='road'>" in {one.name: one for one in diagnose(hub, 7)}["labels"].detail
    sweep_project(hub, hub.project(7), scan_now=True)
    assert project_status(hub, hub.project(7)).learns.startswith("<Choices name='road'> as image-classification")


def test_a_name_that_is_not_there_is_told_with_those_that_are(studio: StudioApi, make_hub: MakeHub) -> None:
    studio.connect("labelloop", extra_params={"learn": "lane"})
    hub = make_hub(weights="/nowhere/a.safetensors")
    with pytest.raises(LabelConfigError, match=r"'lane'.*name one of 'box', 'sky', 'road', or"):
        asked(hub)
    labels = {one.name: one for one in diagnose(hub, 7)}["labels"]
    assert not labels.ok
    assert "'lane'" in labels.detail


def test_a_trainer_of_ones_own_learns_what_it_always_has_until_a_tag_is_named(
    studio: StudioApi, make_hub: MakeHub
) -> None:
    studio.connect("labelloop")
    hub = make_hub(**FOREIGN)
    assert (asked(hub).kind, asked(hub).asked) == (IMAGES, "<Choices name='sky'>")
    studio.config = SKY.replace("Choices", "Taxonomy")
    assert (asked(hub).kind, asked(hub).classes) == (ANNOTATIONS, ("car", "clear", "wet"))
    studio.backends[0]["extra_params"] = {"learn": "box"}
    assert (asked(hub).kind, asked(hub).classes) == (outlined_kind.NAME, ("car",))
