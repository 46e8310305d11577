"""A project whose versions are brought to an endpoint of a cloud, by the jobs of this process."""

from labelloop.loop import jobs
from labelloop.loop.deploy import deployment_of
from labelloop.loop.hub import Hub
from labelloop.models.champion import ChampionPointer
from labelloop.models.deployments import Deployment
from labelloop.models.versions import VersionRecord, Versions
from support.bundles import COLOURS, make_bundle, picture
from support.studio_api import StudioApi

CONFIG = """<View><Image name="image" value="$image"/><Choices name="label" toName="image">
<Choice value="red"/><Choice value="green"/><Choice value="blue"/></Choices></View>"""


def ask_for_colours(studio: StudioApi) -> None:
    """Let the project be connected, and have a picture of each of three colours."""
    studio.config = CONFIG
    studio.connect("labelloop")
    studio.pictures |= {f"/data/upload/7/{number}.png": picture(COLOURS[number - 1]) for number in (1, 2, 3)}
    studio.add_tasks(3)


def publish_versions(hub: Hub) -> None:
    """Publish three versions, none of them champion."""
    made = Versions(hub.store, hub.project(7))
    for number in (1, 2, 3):
        folder = hub.settings.directory / "made" / str(number)
        make_bundle(folder, gain=4.0 + number)
        name = made.claim(f"run{number}")
        made.publish(name, folder, VersionRecord(name, f"run{number}", "head", None, "", True, f"{name} is good"))


def bring(hub: Hub, version: str | None) -> str:
    """Bring a version there, however often that is looked at."""
    told = jobs.deploy(str(hub.project(7)), version)
    for _ in range(30):
        if "on its way" not in told:
            return told
        told = jobs.deploy(str(hub.project(7)), None)
    raise AssertionError(told)


def seen(hub: Hub) -> Deployment:
    """Give what was last seen there."""
    found = deployment_of(hub, hub.project(7))
    assert found is not None
    return found


def announced(hub: Hub) -> tuple[str | None, str | None]:
    """Give champion and announced version."""
    found = ChampionPointer(hub.store, hub.project(7)).read()
    return found.champion, found.announced
