"""Which test items were chosen by score: those of before there were tables, and those by reference (loop/order.py)."""

from dataclasses import replace

from labelloop.data.manifest import Manifest
from labelloop.errors import Damaged, NotFound
from labelloop.loop.hub import Hub
from labelloop.loop.order import all_orders, read_order
from labelloop.loop.project_labels import manifest_file
from labelloop.run.context import Labeled
from labelloop.types import ProjectKey, side


def with_chosen(hub: Hub, project: ProjectKey, labeled: Labeled) -> Labeled:
    """Name the test tasks that annotators got because of their scores. Raises StoreError."""
    tasks = {item.task for item in labeled.manifest.distinct() if side(item.content) == "test"}
    chosen: set[int] = set()
    served: set[int] = set()
    for order in all_orders(hub.store, project):
        arms = {task: arm for task in tasks if (arm := order.arm(task)) is not None}
        served |= arms.keys()
        chosen |= {task for task, arm in arms.items() if arm == "ordered"}
    unserved = tasks - served
    if unserved and (first := _first_without_order(hub, project)):
        # Nobody could choose what the first version learned from.
        chosen |= unserved - _learned_from(hub, project, first)
    return replace(labeled, chosen=frozenset(chosen))


def _first_without_order(hub: Hub, project: ProjectKey) -> str:
    """Name the project's first champion where its tasks were served before there were tables; empty for none.

    What was taken over from another project never served tasks of this one.
    """
    history = hub.pointer(project).read().history
    if not history or hub.projects.copied_from(project):
        return ""
    first = history[0].version
    return first if read_order(hub.store, project, first) is None else ""


def _learned_from(hub: Hub, project: ProjectKey, version: str) -> set[int]:
    """Give the tasks that a version's manifest had; none where that is not there any more, or damaged."""
    record = hub.versions(project).find(version)
    run = hub.runs(project).find(record.run) if record is not None else None
    try:
        with manifest_file(hub, project, run.manifest if run is not None else "") as file:
            return {item.task for item in Manifest.from_file(file).items}
    except (NotFound, Damaged):
        return set()
