"""Taking over what is kept of another project: copied into a project's own folder; what was there stays as it is."""

import json
from contextlib import suppress
from dataclasses import dataclass

from labelloop.errors import Conflict, NotFound
from labelloop.models.champion import ChampionPointer
from labelloop.models.projects import Projects
from labelloop.models.store import Store
from labelloop.models.versions import Versions
from labelloop.types import Progress, ProjectKey

_OWN = ("project.json", "champion.json", "registry.json")
"""What a folder does not take from another: how Label Studio calls this backend, what a registry has of another
project; the champion is set last."""

_OF_TASKS = ("order/", "contents/", "features/taken.json")
"""By which order that project's tasks were served, and what they show, says nothing of others."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """What a project would take over, or has: objects by their path below the folder, versions, the champion."""

    source: ProjectKey
    target: ProjectKey
    objects: tuple[str, ...]
    versions: tuple[str, ...]
    champion: str | None


def plan_takeover(store: Store, projects: Projects, source: ProjectKey, target: ProjectKey) -> Takeover:
    """Look at what there is to take over; nothing is written. Raises NotFound where there is nothing, StoreError.

    Raises Conflict where the project has versions of its own, unless they are what an earlier call has brought.
    """
    if source == target:
        raise Conflict(f"project {target.id} lies in {source} already: there is nothing to take over")
    objects = [path.removeprefix(f"{source}/") for path in store.walk(f"{source}/")]
    if not objects:
        raise NotFound(f"there is nothing in {source}: `labelloop status` names what else the store holds")
    if projects.copied_from(target) != str(source) and (own := Versions(store, target).names()):
        raise Conflict(
            f"project {target.id} has versions of its own in {target}, up to {own[-1]}, and only a project without any "
            "can take over another's: make a new project in Label Studio for that, or train on with these"
        )
    taken = (path for path in objects if path not in _OWN and not path.startswith(_OF_TASKS))
    # The note of the newest run comes last, when the run is there.
    copied = sorted(taken, key=lambda path: (path == "latest-run.json", path))
    champion = ChampionPointer(store, source).read().champion
    return Takeover(source, target, tuple(copied), tuple(Versions(store, source).names()), champion)


def take_over(store: Store, projects: Projects, plan: Takeover, progress: Progress) -> None:
    """Copy everything, then make the champion the project's; killed and called again, it goes on where it was.

    The caller holds both projects. The champion is not announced: the loop does that, with predictions for the tasks
    of this project.
    """
    projects.note_copy(plan.target, plan.source)
    for done, path in enumerate(plan.objects, 1):
        content = store.read(f"{plan.source}/{path}").content
        with suppress(Conflict):
            store.create(f"{plan.target}/{path}", _renamed(path, content, plan.target))
        progress("objects", done, len(plan.objects))
    ChampionPointer(store, plan.target).inherit(ChampionPointer(store, plan.source).read())


def _renamed(path: str, content: bytes, target: ProjectKey) -> bytes:
    """Give an object's content, with the project's new name in the records that tell it; damaged ones stay damaged."""
    listed, run = path.startswith("manifests/"), path.startswith("runs/")
    head, newline, rest = content.partition(b"\n") if listed else (content, b"", b"")
    with suppress(ValueError):
        record = json.loads(head) if listed or run else None
        if isinstance(record, dict) and "project" in record:
            record["project"] = str(target)
            compact = json.dumps(record, sort_keys=True, separators=(",", ":"))
            return (compact if listed else json.dumps(record, indent=2)).encode() + newline + rest
    return content
